# SPDX-License-Identifier: Apache-2.0
"""Logs that ``tvm.auto_scheduler.RecordToFile`` wrote: what of them belongs to the tasks at hand."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvm.auto_scheduler.measure_record import load_record_from_string

from familyseer.ansor.results import result_of
from familyseer.errors import LogError
from familyseer.measure import MeasureResult

__all__ = ["Log", "LoggedState", "Round", "mend", "read_log", "tvms_line"]

logger = logging.getLogger(__name__)

_VERSIONS = ("v0.2", "v0.3", "v0.4", "v0.5", "v0.6")
_TVM_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoggedState:
    """One line of a log.

    Parameters
    ----------
    task
        Index of the task it belongs to.
    state
        The schedule, with the bounds of its loops.
    result
        What was measured.
    line
        The line as it stands.
    """

    task: int
    state: Any
    result: MeasureResult
    line: str


Round = tuple[int, list[LoggedState]]
"""Index of a task, and what was measured of it between two decisions of the scheduler."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Log:
    """What a log holds of some tasks.

    Parameters
    ----------
    states
        In the order in which they were measured.
    set_aside
        How many lines are of no use, by reason.
    """

    states: Sequence[LoggedState]
    set_aside: Mapping[str, int]

    def rounds(self, size: int, ends: Mapping[int, Collection[int]] | None = None) -> list[Round]:
        """Return states in rounds of one task.

        Parameters
        ----------
        size
            Bounds them where nobody knows where they ended: TVM's log does not say.
        ends
            Of tasks, by index, how many states each had when a round of it ended.
        """
        rounds: list[Round] = []
        counts = Counter[int]()
        for state in self.states:
            known = (ends or {}).get(state.task, ())
            begun = bool(rounds) and rounds[-1][0] == state.task and counts[state.task] not in known
            if begun and (len(rounds[-1][1]) < size or counts[state.task] < max(known, default=0)):
                rounds[-1][1].append(state)
            else:
                rounds.append((state.task, [state]))
            counts[state.task] += 1
        return rounds


def read_log(path: str | os.PathLike[str], tasks: Sequence[Any]) -> Log:
    """Read the records of tasks for their target; whatever else a log holds is counted and left where it is.

    A file that does not exist is an empty log.

    Raises
    ------
    LogError
        The file cannot be read.
    """
    index_of = {str(task.workload_key): index for index, task in enumerate(tasks)}
    states, aside = [], Counter[str]()
    for line in _lines(Path(path)):
        parsed = _parse(line)
        if parsed is None:
            aside["that are no records of auto_scheduler"] += 1
            continue
        key, target = parsed
        if key not in index_of:
            aside["of other tasks"] += 1
        elif target != str(tasks[index_of[key]].target):
            aside["for other targets"] += 1
        else:
            state = _load(line, index_of[key], tasks[index_of[key]])
            if state is None:
                aside["with schedules that do not apply"] += 1
            else:
                states.append(state)
    if aside:
        logger.warning(
            "%s: lines left out: %s", path, ", ".join(f"{count} {why}" for why, count in sorted(aside.items()))
        )
    return Log(states=states, set_aside=dict(aside))


def mend(path: str | os.PathLike[str]) -> None:
    """End a log's last line, which a killed run may have left torn, so that the next record gets a line of its own."""
    try:
        with Path(path).open("rb") as file:
            torn = file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
        if torn:
            with Path(path).open("ab") as file:
                file.write(b"\n")
    except FileNotFoundError:
        return
    except OSError as err:
        raise LogError(f"the log {str(path)!r} cannot be written: {err.strerror or err}") from err


def tvms_line(state: LoggedState) -> str:
    """Return the line of a state for TVM, which would take a latency of 0 for the best there is, and divide by none."""
    record = json.loads(state.line)
    if not state.result.costs:
        record["r"][:2] = [[1e10], int(state.result.error_no)]
    return json.dumps(record)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    except OSError as err:
        raise LogError(f"the log {str(path)!r} cannot be read: {err.strerror or err}") from err
    return [line for line in text.split("\n") if line.strip()]


def _parse(line: str) -> tuple[str, str] | None:
    """Return workload key and target of a line that has the form of a record."""
    try:
        record = json.loads(line)
        (key, target, *_), (_, steps) = record["i"]
        costs, error, *_ = record["r"]
        known = record["v"] in _VERSIONS
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    sound = isinstance(key, str) and isinstance(target, str) and isinstance(steps, list) and all(map(_is_step, steps))
    return (key, target) if known and sound and isinstance(costs, list) and isinstance(error, int) else None


def _is_step(step: Any) -> bool:
    """Whether it is a name and its parameters, none of which TVM would take for an index before the first."""
    if not isinstance(step, list) or not step or not isinstance(step[0], str):
        return False
    return not any(isinstance(value, int) and value < 0 for value in step[1:])


def _load(line: str, index: int, task: Any) -> LoggedState | None:
    try:
        given, result = load_record_from_string(line)
        state = task.compute_dag.infer_bound_from_state(given.state).state_object
        return LoggedState(task=index, state=state, result=result_of(result), line=line)
    except _TVM_ERRORS:
        return None
