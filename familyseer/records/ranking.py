# SPDX-License-Identifier: Apache-2.0
"""Which of a task's records are the best: the one place that says what two measurements of a candidate mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from familyseer.records.values import FINALIST, UNTUNED, MeasureRecord
from familyseer.task import TaskKey

__all__ = ["Ranking"]


@dataclass(slots=True)
class Ranking:
    """The fastest valid records of each task on one target, collected one by one in constant memory.

    Of many candidates that are timed once, the fastest is one whose timing was lucky. Where the finalists of a task were
    timed again together, these timings are what counts, and all trials before them no longer do; trials after them compete
    with them.

    Parameters
    ----------
    limit
        Records kept per task, at least.

    Examples
    --------
    >>> Ranking().best()
    {}
    """

    limit: int = 1
    _kept: dict[TaskKey, list[MeasureRecord]] = field(default_factory=dict)

    def add(self, record: MeasureRecord) -> None:
        """Take note of a record, in the order of the log; one that failed changes nothing."""
        if not record.valid:
            return
        kept = self._kept.setdefault(record.task, [])
        if record.policy == FINALIST:
            kept[:] = [other for other in kept if other.policy == UNTUNED or _timed_together(other, record)]
        kept.append(record)
        if len(kept) >= 2 * self.limit:
            kept.sort(key=_cost)  # stable: of equals the first measured
            del kept[self.limit :]

    def extend(self, records: Iterable[MeasureRecord]) -> Ranking:
        """Take note of records in the order of the log, and return this ranking."""
        for record in records:
            self.add(record)
        return self

    def ranked(self, task: TaskKey) -> list[MeasureRecord]:
        """Return the `limit` fastest records of a task, the best first, of equals the first measured."""
        return sorted(self._kept.get(task, ()), key=_cost)[: self.limit]

    def best(self) -> dict[TaskKey, MeasureRecord]:
        """Return the best record of each task that has one."""
        return {task: self.ranked(task)[0] for task in self._kept}

    def __iter__(self) -> Iterator[TaskKey]:
        """Yield the tasks that have a record."""
        return iter(self._kept)


def _cost(record: MeasureRecord) -> float:
    return record.cost


def _timed_together(one: MeasureRecord, other: MeasureRecord) -> bool:
    return one.policy == other.policy == FINALIST and one.round == other.round
