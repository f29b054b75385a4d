# SPDX-License-Identifier: Apache-2.0
"""Load the best records of a log into a MetaSchedule database in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from math import inf

from tvm.s_tir import meta_schedule as ms
from tvm.target import Target

from familyseer.errors import InvalidInputError
from familyseer.meta_schedule.database.rebuild import commit_record, load_module
from familyseer.meta_schedule.target import target_json
from familyseer.records import (
    FamiliesRecord,
    LogEntry,
    MeasureRecord,
    NetworkRecord,
    QuarantinedLine,
    Ranking,
    RecordLog,
    WorkloadRecord,
    canonical_target,
)
from familyseer.task import Task, TaskKey

__all__ = ["LoadReport", "load_database"]

_NO_SCHEDULE = "[[],[]]"  # the trace of an untuned program: there is nothing to apply
_SPARE = 16  # records kept per task and per record asked for, should the best no longer apply


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What became of the lines of a log.

    Parameters
    ----------
    loaded
        Records now in the database.
    failed
        Measurements for the target that had failed.
    other_target
        Measurements for another target.
    stale
        Records that were wanted but no longer apply: their workload or trace is not what this TVM makes of it.
    orphans
        Valid measurements whose workload line is missing.
    missing
        The target's tasks without any record that can be used.
    unbeaten
        The target's tasks whose untuned program is faster than every record; they stay untuned.
    quarantined
        Lines that cannot be read.
    """

    loaded: int = 0
    failed: int = 0
    other_target: int = 0
    stale: int = 0
    orphans: int = 0
    missing: tuple[Task, ...] = ()
    unbeaten: tuple[Task, ...] = ()
    quarantined: tuple[QuarantinedLine, ...] = ()


@dataclass(slots=True)
class _Harvest:
    """The best records of one target, collected line by line so that memory does not grow with the log."""

    target: str
    ranking: Ranking
    workloads: dict[TaskKey, WorkloadRecord] = field(default_factory=dict)
    untuned: dict[TaskKey, float] = field(default_factory=dict)
    quarantined: list[QuarantinedLine] = field(default_factory=list)
    failed: int = 0
    other_target: int = 0

    def add(self, entry: LogEntry) -> None:
        if isinstance(entry, QuarantinedLine):
            self.quarantined.append(entry)
        elif isinstance(entry, WorkloadRecord):
            if canonical_target(entry.task.target) == self.target:
                self.workloads.setdefault(entry.task.key, entry)
        elif isinstance(entry, NetworkRecord | FamiliesRecord):
            return
        elif canonical_target(entry.target) != self.target:
            self.other_target += 1
        elif not entry.valid:
            self.failed += 1
        elif entry.trace == _NO_SCHEDULE:
            self.untuned[entry.task] = min(entry.cost, self.untuned.get(entry.task, inf))
        else:
            self.ranking.add(entry)

    def wanted(self, key: TaskKey) -> list[MeasureRecord]:
        """Return the ranked records that are faster than the program without a schedule."""
        return [record for record in self.ranking.ranked(key) if record.cost < self.untuned.get(key, inf)]


def load_database(
    log_path: str | os.PathLike[str], target: Target, *, top_k: int = 1
) -> tuple[ms.database.MemoryDatabase, LoadReport]:
    """Return a database of the best records of each workload for one target, as far as they beat no schedule at all.

    MetaSchedule's look-ups ignore the target, so no record of another target gets in.
    Each record's run time is our measure of it, the median, because MetaSchedule ranks by the mean.

    Parameters
    ----------
    log_path
        A familyseer log.
    target
        What will be compiled for.
    top_k
        How many records per workload.

    Raises
    ------
    LogError
        The log cannot be read.
    """
    if top_k < 1:
        raise InvalidInputError(f"`top_k` must be ≥ 1; got {top_k!r}")
    harvest = _Harvest(target=canonical_target(target_json(target)), ranking=Ranking(top_k * _SPARE))
    for entry in RecordLog(log_path).scan():
        harvest.add(entry)
    database = ms.database.MemoryDatabase()
    loaded, stale = 0, 0
    missing: list[Task] = []
    unbeaten: list[Task] = []
    for key, workload in harvest.workloads.items():
        committed, refused = _commit_best(database, workload, harvest.wanted(key), target, top_k)
        loaded, stale = loaded + committed, stale + refused
        if not committed:
            (missing if harvest.wanted(key) or not harvest.ranking.ranked(key) else unbeaten).append(workload.task)
    report = LoadReport(
        loaded=loaded,
        failed=harvest.failed,
        other_target=harvest.other_target,
        stale=stale,
        orphans=sum(len(harvest.ranking.ranked(key)) for key in harvest.ranking if key not in harvest.workloads),
        missing=tuple(missing),
        unbeaten=tuple(unbeaten),
        quarantined=tuple(harvest.quarantined),
    )
    return database, report


def _commit_best(
    database: ms.database.Database, workload: WorkloadRecord, ranked: list[MeasureRecord], target: Target, top_k: int
) -> tuple[int, int]:
    """Commit the first `top_k` records that still apply; return how many, and how many before them did not."""
    mod = load_module(workload)
    committed = refused = 0
    for record in ranked:
        if committed == top_k:
            break
        if mod is not None and commit_record(database, mod, record, target):
            committed += 1
        else:
            refused += 1
    return committed, refused
