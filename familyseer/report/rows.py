# SPDX-License-Identifier: Apache-2.0
"""A tuning log as rows: per task, in all, before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum

from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.records import UNTUNED, MeasureRecord, Ranking, best_per_task, for_target
from familyseer.task import Task, TaskKey

__all__ = [
    "GainRow",
    "TaskRow",
    "Totals",
    "gain_rows",
    "gain_totals",
    "ranked",
    "task_rows",
    "totals",
    "uncovered",
    "untuned_latencies",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """What was measured of one task.

    Parameters
    ----------
    task
        The task.
    trials, valid
        Candidates measured, and how many of them ran.
    best
        Lowest latency of one call in seconds; None without a valid record.
    share
        Part of the network's weighted latency, 0 to 1, among the tasks with a valid record; None without one.
    failures
        Class of failure and how often, the most frequent first.
    """

    task: Task
    trials: int = 0
    valid: int = 0
    best: float | None = None
    share: float | None = None
    failures: tuple[tuple[MeasureErrorNo, int], ...] = ()

    @property
    def gflops(self) -> float | None:
        """Billions of operations per second at the best latency; None when either is unknown."""
        return self.task.flops / self.best / 1e9 if self.best and self.task.flops else None

    @property
    def weighted(self) -> float | None:
        """Seconds that all calls of the task take together; None without a valid record."""
        return None if self.best is None else self.task.weight * self.best


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What was measured in all.

    Parameters
    ----------
    tasks, covered
        Tasks, and how many of them have a valid record.
    trials, valid
        Candidates measured, and how many of them ran.
    latency
        Weighted sum of the best latencies of the covered tasks, in seconds.
    failures
        Class of failure and how often, the most frequent first.
    """

    tasks: int
    covered: int
    trials: int
    valid: int
    latency: float
    failures: tuple[tuple[MeasureErrorNo, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GainRow:
    """One task before and after tuning.

    Parameters
    ----------
    name
        The task's name.
    weight
        How often the network calls it.
    before, after
        Latency of one call in seconds, untuned and with what would be compiled now, the faster of the untuned and the
        best measured; None when unknown.
    tuned
        Whether a schedule is faster than none.
    """

    name: str
    weight: float
    before: float | None
    after: float | None
    tuned: bool

    @property
    def speedup(self) -> float | None:
        """How many times faster it became; None when either latency is unknown."""
        return self.before / self.after if self.before and self.after else None


@dataclass(slots=True)
class _Tally:
    trials: int = 0
    valid: int = 0
    failures: Counter[MeasureErrorNo] = field(default_factory=Counter)

    def add(self, result: MeasureResult) -> None:
        self.trials += 1
        if result.costs:
            self.valid += 1
        else:
            self.failures[result.error_no] += 1


def task_rows(tasks: Sequence[Task], records: Iterable[MeasureRecord], target: str) -> tuple[TaskRow, ...]:
    """Return one row per task, in the order of `tasks`.

    Parameters
    ----------
    tasks
        The tasks to report; records of others are left out.
    records
        Read once and not kept, so an iterator over a log of any size serves.
    target
        Records for other targets are left out, as are those of untuned programs.
    """
    tallies = {task.key: _Tally() for task in tasks}
    ranking = Ranking()
    for record in for_target(records, target):
        if record.task in tallies and record.policy != UNTUNED:
            ranking.add(record)
            if record.is_trial:
                tallies[record.task].add(record.result)
    best = {key: record.cost for key, record in ranking.best().items()}
    total = fsum(task.weight * best.get(task.key, 0.0) for task in tasks)
    return tuple(_row(task, tallies[task.key], best.get(task.key), total) for task in tasks)


def _row(task: Task, tally: _Tally, best: float | None, total: float) -> TaskRow:
    return TaskRow(
        task=task,
        trials=tally.trials,
        valid=tally.valid,
        best=best,
        share=task.weight * best / total if best is not None and total > 0 else None,
        failures=ranked(tally.failures),
    )


def ranked(failures: Counter[MeasureErrorNo]) -> tuple[tuple[MeasureErrorNo, int], ...]:
    """Return the classes of failure and their counts, the most frequent first."""
    return tuple(sorted(failures.items(), key=lambda item: (-item[1], item[0])))


def totals(rows: Sequence[TaskRow]) -> Totals:
    """Return the sums over all rows."""
    failures: Counter[MeasureErrorNo] = Counter()
    for row in rows:
        failures.update(dict(row.failures))
    return Totals(
        tasks=len(rows),
        covered=sum(row.best is not None for row in rows),
        trials=sum(row.trials for row in rows),
        valid=sum(row.valid for row in rows),
        latency=fsum(row.weighted or 0.0 for row in rows),
        failures=ranked(failures),
    )


def uncovered(rows: Sequence[TaskRow]) -> tuple[Task, ...]:
    """Return the tasks without any valid record: compiling falls back to their untuned code."""
    return tuple(row.task for row in rows if row.best is None)


def untuned_latencies(records: Iterable[MeasureRecord], target: str) -> dict[TaskKey, float]:
    """Return the latency in seconds of each untuned program measured on `target`: what `gain_rows` compares with."""
    yardsticks = (record for record in records if record.policy == UNTUNED)
    return {key: record.cost for key, record in best_per_task(yardsticks, target).items()}


def gain_rows(rows: Sequence[TaskRow], untuned: Mapping[TaskKey, float]) -> tuple[GainRow, ...]:
    """Return each task's latency before and after tuning.

    Parameters
    ----------
    rows
        From `task_rows`.
    untuned
        Latency in seconds of the untuned code, by task key; keys may be missing.
    """
    return tuple(_gain(row, untuned.get(row.task.key)) for row in rows)


def _gain(row: TaskRow, before: float | None) -> GainRow:
    after = min((cost for cost in (before, row.best) if cost is not None), default=None)
    tuned = row.best is not None and (before is None or row.best < before)
    return GainRow(name=row.task.name, weight=row.task.weight, before=before, after=after, tuned=tuned)


def gain_totals(gains: Sequence[GainRow]) -> tuple[float, float]:
    """Return the weighted latencies before and after, in seconds, over the rows where both are known."""
    both = [(row.weight, row.before, row.after) for row in gains if row.before is not None and row.after is not None]
    return fsum(w * before for w, before, _ in both), fsum(w * after for w, _, after in both)
