# SPDX-License-Identifier: Apache-2.0
"""Candidates and records as ``tvm.auto_scheduler`` names them, over familyseer's log."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import IRModule
from tvm.s_tir import Schedule
from tvm.target import Target

from familyseer.errors import InvalidInputError, UnsupportedError
from familyseer.measure import MeasureResult
from familyseer.meta_schedule.database.rebuild import load_module
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.target import parse_target, resolve_target, target_json
from familyseer.meta_schedule.traces import rebuild_schedule, trace_json
from familyseer.records import (
    FamiliesRecord,
    LogContents,
    MeasureRecord,
    RecordLog,
    WorkloadRecord,
    best_per_task,
    canonical_json,
    canonical_target,
)
from familyseer.records import same_target as same_target_json
from familyseer.task import Task

__all__ = [
    "MeasureCallback",
    "MeasureInput",
    "RecordReader",
    "RecordToFile",
    "State",
    "load_best_record",
    "load_records",
    "load_tasks",
    "record_of",
    "save_records",
]


class State:
    """One scheduled program of a task.

    Parameters
    ----------
    task
        What it computes.
    trace
        Its schedule as canonical JSON text.
    schedule
        The schedule itself where it is at hand; else it is replayed when first needed.
    """

    __slots__ = ("_schedule", "task", "trace")

    def __init__(self, task: SearchTask, trace: str, schedule: Schedule | None = None) -> None:
        self.task = task
        self.trace = trace
        self._schedule = schedule

    @classmethod
    def of(cls, task: SearchTask, schedule: Schedule) -> State:
        """Describe a schedule."""
        return cls(task, canonical_json(trace_json(schedule)), schedule)

    @classmethod
    def untuned(cls, task: SearchTask) -> State:
        """Describe the program as it is without any schedule."""
        return cls(task, "[[],[]]")

    @property
    def schedule(self) -> Schedule:
        """The schedule, replayed on the workload."""
        return self._schedule or rebuild_schedule(self.task.mod, self.trace)

    @property
    def mod(self) -> IRModule:
        """The scheduled program."""
        return self.schedule.mod


@dataclass(frozen=True, slots=True)
class MeasureInput:
    """What is measured: a task and one of its programs.

    Parameters
    ----------
    task, state
        The task and the program.
    predicted
        What each cost model said of the program, for the record (not in TVM).
    """

    task: SearchTask
    state: State
    predicted: Mapping[str, float] = field(default_factory=dict, kw_only=True)


class MeasureCallback:
    """Called as each candidate's measurement ends, with the policy that proposed it."""

    def start(self) -> None:
        """Prepare before anything is measured, so that what cannot work fails at once."""

    def __call__(self, policy: Any, inputs: Sequence[MeasureInput], results: Sequence[MeasureResult]) -> None:
        """Take note of results."""

    def finish(self) -> None:
        """Put everything in a safe place after the last measurement."""


def record_of(policy: Any, given: MeasureInput, result: MeasureResult) -> MeasureRecord:
    """Return what a log says of a measurement that `policy` proposed in its present round."""
    described = getattr(policy, "described", given.task.task)
    return MeasureRecord(
        task=described.key,
        target=described.target,
        trace=given.state.trace,
        result=result,
        policy=policy.name,
        seed=policy.seed,
        round=policy.round,
        tvm_version=str(tvm.__version__),
        predicted=given.predicted,
    )


class RecordToFile(MeasureCallback):
    """Append every measurement to a log, at once.

    Parameters
    ----------
    filename
        The log; made when missing. A second run that writes it at the same time is refused.
    """

    def __init__(self, filename: str | os.PathLike[str]) -> None:
        self.filename = os.fspath(filename)
        self._log = RecordLog(self.filename)
        self._open = False
        self._written: set[tuple[str, str]] = set()

    def start(self) -> None:
        """Open and lock the log; raises `LogError` when that is impossible."""
        if not self._open:
            self._log.open_for_append()
            self._open = True

    def __call__(self, policy: Any, inputs: Sequence[MeasureInput], results: Sequence[MeasureResult]) -> None:
        """Write one line per result."""
        self.start()
        for given, result in zip(inputs, results, strict=True):
            self._write_workload(getattr(policy, "described", given.task.task), given.task)
            self._log.append(record_of(policy, given, result))

    def record_families(self, families: FamiliesRecord) -> None:
        """Write a change of the partition."""
        self.start()
        self._log.add_families(families)

    def _write_workload(self, described: Task, task: SearchTask) -> None:
        identity = (described.key, described.target)
        if identity not in self._written:
            self._log.add_workload(WorkloadRecord(task=described, workload=str(tvm.ir.save_json(task.mod))))
            self._written.add(identity)

    def finish(self) -> None:
        """Force everything to the disk and let go of the log."""
        if self._open:
            self._log.close()
            self._open = False


class RecordReader:
    """Read the pairs (`MeasureInput`, `MeasureResult`) of a log.

    Parameters
    ----------
    filename
        A familyseer log. Lines that cannot be read are left out; `familyseer show` names them.
    """

    def __init__(self, filename: str | os.PathLike[str]) -> None:
        self.filename = os.fspath(filename)

    def read_lines(
        self, max_lines: int | None = None, skip_lines: int = 0
    ) -> tuple[list[MeasureInput], list[MeasureResult]]:
        """Return the measurements after the first `skip_lines`, at most `max_lines`; None means all."""
        pairs = list(self)[skip_lines : None if max_lines is None else skip_lines + max_lines]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def __iter__(self) -> Iterator[tuple[MeasureInput, MeasureResult]]:
        return _pairs(RecordLog(self.filename).read())


class _Tasks:
    """The tasks that a log's workload lines rebuild, each once."""

    def __init__(self, contents: LogContents) -> None:
        self._lines = {(line.task.key, line.task.target): line for line in contents.workloads}
        self._built: dict[tuple[str, str], SearchTask | None] = {}

    def find(self, record: MeasureRecord) -> SearchTask | None:
        identity = (record.task, record.target)
        if identity not in self._built and identity in self._lines:
            self._built[identity] = _build(self._lines[identity])
        return self._built.get(identity)


def _build(line: WorkloadRecord) -> SearchTask | None:
    mod = load_module(line)
    if mod is None:
        return None
    return SearchTask(func=mod, target=parse_target(json.loads(line.task.target)), desc=line.task.name)


def load_tasks(contents: LogContents, target: str) -> list[tuple[SearchTask, Task]]:
    """Return the tasks that a log has for a target, rebuilt and as the method sees them; those that cannot be are left out."""
    lines = [line for line in contents.workloads if same_target_json(line.task.target, target)]
    built = [(_build(line), line.task) for line in lines]
    return [(task, described) for task, described in built if task is not None]


def _pairs(contents: LogContents) -> Iterator[tuple[MeasureInput, MeasureResult]]:
    tasks = _Tasks(contents)
    for record in contents.records:
        task = tasks.find(record)
        if task is not None:
            yield MeasureInput(task, State(task, record.trace)), record.result


def load_records(filename: str | os.PathLike[str]) -> list[tuple[MeasureInput, MeasureResult]]:
    """Return all measurements of a log."""
    return list(RecordReader(filename))


def save_records(
    filename: str | os.PathLike[str], inputs: Sequence[MeasureInput], results: Sequence[MeasureResult]
) -> None:
    """Append measurements to a log."""
    writer = RecordToFile(filename)
    try:
        writer(_Unknown(), inputs, results)
    finally:
        writer.finish()


class _Unknown:
    name, seed, round = "saved", 0, 0


def load_best_record(
    filename: str | os.PathLike[str],
    workload_key: str | None = None,
    target: Target | str | Mapping[str, Any] | None = None,
    include_compatible: bool = False,
) -> tuple[MeasureInput | None, MeasureResult | None]:
    """Return the fastest valid measurement, of one workload and for one target where these are given; (None, None) if there is none.

    ``include_compatible=True`` is refused: only records for exactly the target are ever used.
    """
    if include_compatible:
        raise UnsupportedError(
            "`include_compatible` does not exist on the MetaSchedule engine; records of another target are never used."
        )
    contents = RecordLog(os.fspath(filename)).read()
    wanted = None if target is None else target_json(resolve_target(target))
    targets = dict.fromkeys(canonical_target(r.target) for r in contents.records) if wanted is None else (wanted,)
    found = [
        record
        for each in targets
        for record in best_per_task(contents.records, each).values()
        if workload_key in (None, record.task)
    ]
    if not found:
        return None, None
    best = min(found, key=lambda record: record.cost)
    task = _Tasks(contents).find(best)
    if task is None:
        raise InvalidInputError(
            f"the log {os.fspath(filename)!r} must hold the workload of task {best.task}; its line is missing or damaged"
        )
    return MeasureInput(task, State(task, best.trace)), best.result
