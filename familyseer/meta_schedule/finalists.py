# SPDX-License-Identifier: Apache-2.0
"""Time the fastest candidates of each task again, together, before one of them is called the best."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from familyseer.measure import MeasureResult
from familyseer.meta_schedule.measure_record import MeasureCallback, MeasureInput, State
from familyseer.meta_schedule.measurer import MeasureRequest, ProgramMeasurer
from familyseer.meta_schedule.search_policy import measure_request
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.records import FINALIST, MeasureRecord, Ranking
from familyseer.task import Task, TaskKey

__all__ = ["RIVALS", "finalists_of", "time_finalists"]

logger = logging.getLogger(__name__)

RIVALS = 1.05
"""How many times the latency of the fastest a candidate may have had to be timed again."""
_PASSES = 3


def finalists_of(
    ranking: Ranking, tasks: Sequence[Task], most: int, rivals: float = RIVALS
) -> dict[TaskKey, list[MeasureRecord]]:
    """Return, of each task whose best record is in dispute, those that may be it.

    They are up to `most` records with at most `rivals` times the latency of the fastest. Nothing is in dispute where there
    is only one, or where all have been timed together before.
    """
    found = {}
    for task in tasks:
        ranked = ranking.ranked(task.key)[:most]
        disputed = [record for record in ranked if record.cost <= rivals * ranked[0].cost]
        if len(disputed) > 1 and any(record.is_trial for record in disputed):
            found[task.key] = disputed
    return found


@dataclass(frozen=True, slots=True)
class _Final:
    """Stands for the policy in the records of finalists; equal rounds were timed together."""

    described: Task
    round: int
    seed: int
    name: str = FINALIST


def time_finalists(
    tasks: Mapping[TaskKey, tuple[SearchTask, Task]],
    finalists: Mapping[TaskKey, Sequence[MeasureRecord]],
    measurer: ProgramMeasurer,
    *,
    seed: int,
) -> dict[TaskKey, list[MeasureRecord]]:
    """Time finalists in three passes, each in another order, and tell the measurer's callbacks of the medians.

    The best of each task is told first, so that a log that ends in the middle has it. One that fails now is told of too; a
    task all of whose finalists fail keeps what it had, and nothing is told of it.

    Parameters
    ----------
    tasks
        The tasks and how the log describes them.
    finalists
        From `finalists_of`.
    measurer
        Times them in full.
    seed
        Of the orders.

    Returns
    -------
    dict
        The new records of each task, the best first.
    """
    entries = [record for records in finalists.values() for record in records]
    requests = [_request(tasks[record.task][0], record) for record in entries]
    timings: list[list[MeasureResult]] = [[] for _ in entries]
    rng = np.random.default_rng(seed)
    for _ in range(_PASSES):
        order = rng.permutation(len(entries))
        for position, result in zip(order, measurer.measure([requests[i] for i in order]), strict=True):
            timings[position].append(result)
    told: dict[TaskKey, list[MeasureRecord]] = {}
    for record, results in zip(entries, timings, strict=True):
        told.setdefault(record.task, []).append(replace(record, policy=FINALIST, result=_merged(results)))
    return {key: _tell(tasks[key], records, measurer.callbacks) for key, records in told.items()}


def _request(task: SearchTask, record: MeasureRecord) -> MeasureRequest:
    return measure_request(record.task, task, State(task, record.trace).schedule)


def _merged(results: Sequence[MeasureResult]) -> MeasureResult:
    """Return the passes as one result: the median of each is one of its latencies; failed when any has."""
    failed = next((result for result in results if not result.costs), None)
    return failed or replace(
        results[-1],
        costs=tuple(result.cost for result in results),
        build_seconds=sum(result.build_seconds for result in results),
        run_seconds=sum(result.run_seconds for result in results),
    )


def _tell(
    task: tuple[SearchTask, Task], records: Sequence[MeasureRecord], callbacks: Sequence[MeasureCallback]
) -> list[MeasureRecord]:
    if not any(record.valid for record in records):
        logger.warning("All finalists of %s failed when they were timed again; the first timings stand", task[1].name)
        return []
    number = max(record.round for record in records)
    best_first = [replace(record, round=number) for record in sorted(records, key=lambda record: record.cost)]
    for record in best_first:
        final = _Final(task[1], number, record.seed)
        for callback in callbacks:
            callback(final, [MeasureInput(task[0], State(task[0], record.trace))], [record.result])
    return best_first
