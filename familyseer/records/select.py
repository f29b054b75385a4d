# SPDX-License-Identifier: Apache-2.0
"""Choose from measured records: those of one target, the best of each task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from familyseer.records.canonical import canonical_target
from familyseer.records.lines import MeasureRecord
from familyseer.task import TaskKey

__all__ = ["best_per_task", "for_target"]


def for_target(records: Iterable[MeasureRecord], target: str) -> Iterator[MeasureRecord]:
    """Yield the records of `target`, in their order."""
    wanted = canonical_target(target)
    return (record for record in records if canonical_target(record.target) == wanted)


def best_per_task(records: Iterable[MeasureRecord], target: str) -> dict[TaskKey, MeasureRecord]:
    """Return the fastest valid record of each task on `target`, of equals the first; tasks without one are left out."""
    best: dict[TaskKey, MeasureRecord] = {}
    for record in for_target(records, target):
        if record.valid and (record.task not in best or record.cost < best[record.task].cost):
            best[record.task] = record
    return best
