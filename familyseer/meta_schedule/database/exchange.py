# SPDX-License-Identifier: Apache-2.0
"""Write a log as a MetaSchedule JSON database, and take one in."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tvm
from tvm import IRModule
from tvm.s_tir import meta_schedule as ms
from tvm.target import Target

from familyseer.errors import EnvironmentFailure, InvalidInputError
from familyseer.measure import INVALID_COST, MeasureResult
from familyseer.meta_schedule.database.rebuild import commit_record, load_module
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.target import parse_target, target_json
from familyseer.meta_schedule.traces import TVM_ERRORS, first_line, rebuild_schedule, trace_json
from familyseer.records import MeasureRecord, RecordLog, WorkloadRecord, canonical_json, canonical_target, trace_digest
from familyseer.task import TaskKey

__all__ = ["IMPORTED", "export_database", "import_database"]

logger = logging.getLogger(__name__)

IMPORTED = "imported"
"""Policy name of records that came from a MetaSchedule database."""

_WORKLOADS, _RECORDS = "database_workload.json", "database_tuning_record.json"


def export_database(
    log_path: str | os.PathLike[str], work_dir: str | os.PathLike[str], *, target: Target | None = None
) -> int:
    """Write the valid records of a log as a MetaSchedule JSON database; return how many.

    As in `load_database` each carries its median run time; records that no longer apply are left out with a warning.

    Parameters
    ----------
    log_path
        A familyseer log.
    work_dir
        Folder of the database, which must not hold one yet.
    target
        Whose records to write; None where the log has those of one target only.

    Raises
    ------
    InvalidInputError
        The folder holds a database, or the log has records of several targets and none was chosen.
    LogError
        The log cannot be read.
    """
    log, folder = RecordLog(log_path), Path(work_dir)
    wanted = canonical_target(target_json(target)) if target is not None else _only_target(log)
    for name in (_WORKLOADS, _RECORDS):
        if (folder / name).exists() and (folder / name).stat().st_size:
            raise InvalidInputError(f"`work_dir` must not hold a database yet; {str(folder)!r} has {name}")
    folder.mkdir(parents=True, exist_ok=True)
    database = ms.database.JSONDatabase(work_dir=str(folder))
    modules: dict[TaskKey, IRModule | None] = {}
    written = 0
    for entry in log.scan():
        if isinstance(entry, WorkloadRecord) and canonical_target(entry.task.target) == wanted:
            if entry.task.key not in modules:
                modules[entry.task.key] = load_module(entry)
        elif isinstance(entry, MeasureRecord) and entry.valid and canonical_target(entry.target) == wanted:
            mod = modules.get(entry.task)
            written += mod is not None and commit_record(database, mod, entry, parse_target(json.loads(entry.target)))
    _check_written(folder, written)
    return written


def _only_target(log: RecordLog) -> str:
    """Return the one target of a log: a database that mixes targets would apply one's schedules to the other."""
    found = {canonical_target(entry.target) for entry in log.scan() if isinstance(entry, MeasureRecord)}
    if len(found) > 1:
        raise InvalidInputError(f"`target` must be given, as the log has records of {len(found)}: {sorted(found)}")
    return found.pop() if found else ""


def _check_written(folder: Path, expected: int) -> None:
    with (folder / _RECORDS).open("rb") as file:
        found = sum(line.endswith(b"\n") for line in file)
    if found != expected:  # JSONDatabase does not look whether its writes succeed
        raise EnvironmentFailure(f"only {found} of {expected} records reached {str(folder)!r}: is the disk full?")


def import_database(work_dir: str | os.PathLike[str], log_path: str | os.PathLike[str], target: Target) -> int:
    """Append the valid records of a MetaSchedule JSON database to a log; return how many.

    Left out, with a warning that counts them: records of another target, and what no longer applies.
    A record without a target counts as one of `target`. Importing again adds nothing.

    Parameters
    ----------
    work_dir
        Folder of the database.
    log_path
        A familyseer log, which need not exist.
    target
        Whose records to import.

    Raises
    ------
    InvalidInputError
        The folder holds no database.
    LogError, EnvironmentFailure
        The log cannot be written.
    """
    folder = Path(work_dir)
    for name in (_WORKLOADS, _RECORDS):
        if not (folder / name).is_file():
            raise InvalidInputError(f"`work_dir` must hold a MetaSchedule database; {str(folder)!r} has no {name}")
    tasks = [_import_workload(line, target) for line in _json_lines(folder / _WORKLOADS)]
    measured_at = (folder / _RECORDS).stat().st_mtime
    imported = refused = 0
    log = RecordLog(log_path)
    seen = {(record.task, trace_digest(record.trace)) for record in log.open_for_append().records}
    try:
        for line in _json_lines(folder / _RECORDS):
            found = _import_record(line, tasks, target, measured_at)
            if found is None:
                refused += 1
                continue
            workload, record = found
            identity = (record.task, trace_digest(record.trace))
            if identity not in seen:
                seen.add(identity)
                log.add_workload(workload)
                log.append(record)
                imported += 1
    finally:
        log.close()
    if refused:
        logger.warning("%d records of %s are of another target, failed, or do not apply; left out", refused, folder)
    return imported


def _json_lines(path: Path) -> Iterator[Any]:
    """Yield the value of each line, None for one that is not JSON: line numbers are references here."""
    with path.open("rb") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                yield None


def _import_workload(line: Any, target: Target) -> SearchTask | None:
    try:
        mod = ms.database.Workload.from_json(line).mod
        return SearchTask(func=mod, target=target)
    except TVM_ERRORS as err:
        logger.warning("a workload of the database is set aside: %s", first_line(err))
        return None


def _import_record(
    line: Any, tasks: list[SearchTask | None], target: Target, measured_at: float
) -> tuple[WorkloadRecord, MeasureRecord] | None:
    """Return what a line of ``database_tuning_record.json`` holds; None where it is of no use for `target`."""
    try:
        index, (trace, run_secs, described, _args) = line
        task = tasks[index] if type(index) is int and 0 <= index < len(tasks) else None
        costs = tuple(float(seconds) for seconds in run_secs or () if 0 < float(seconds) < INVALID_COST)
        if task is None or not costs or not (described is None or _is_same(described, target)):
            return None
        # written anew, since MetaSchedule's files say 1 and 0 for true and false
        text = canonical_json(trace_json(rebuild_schedule(task.mod, canonical_json(trace))))
    except (TypeError, ValueError) as err:  # InvalidInputError is a ValueError
        logger.warning("a record of the database is set aside: %s", first_line(err))
        return None
    record = MeasureRecord(
        task=task.task.key,
        target=task.task.target,
        trace=text,
        result=MeasureResult(costs=costs, timestamp=measured_at),
        policy=IMPORTED,
        tvm_version=str(tvm.__version__),
    )
    return WorkloadRecord(task=task.task, workload=str(tvm.ir.save_json(task.mod))), record


def _is_same(described: Any, target: Target) -> bool:
    return canonical_target(target_json(parse_target(described))) == canonical_target(target_json(target))
