# SPDX-License-Identifier: Apache-2.0
"""Choose from measured records: those of one target, the trials to resume from, the best of each task."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from familyseer.errors import LogError
from familyseer.records.canonical import canonical_target
from familyseer.records.ranking import Ranking
from familyseer.records.values import FamiliesRecord, MeasureRecord
from familyseer.task import TaskKey

__all__ = ["best_per_task", "families_by", "for_target", "trials_for"]

logger = logging.getLogger(__name__)


def for_target(records: Iterable[MeasureRecord], target: str) -> Iterator[MeasureRecord]:
    """Yield the records of `target`, in their order."""
    wanted = canonical_target(target)
    return (record for record in records if canonical_target(record.target) == wanted)


def families_by(policy: str, families: Iterable[FamiliesRecord], target: str) -> list[FamiliesRecord]:
    """Return the changes of the partition that a policy decided for `target`, in their order."""
    wanted = canonical_target(target)
    return [change for change in families if change.policy == policy and canonical_target(change.target) == wanted]


def trials_for(records: Iterable[MeasureRecord], target: str, log: object) -> list[MeasureRecord]:
    """Return the trials for `target` from the records of `log`: what a run resumes from.

    Raises
    ------
    LogError
        There are trials, but all for other targets.
    """
    trials = [record for record in records if record.is_trial]
    usable = list(for_target(trials, target))
    if trials and not usable:
        raise LogError(
            f"the log {str(log)!r} must be of target {target}; its {len(trials)} records are for {trials[0].target}. "
            "Choose another log for this target."
        )
    if len(usable) < len(trials):
        logger.warning("%d records of %s are for another target and are left out", len(trials) - len(usable), log)
    return usable


def best_per_task(records: Iterable[MeasureRecord], target: str) -> dict[TaskKey, MeasureRecord]:
    """Return the best record of each task on `target` (see `Ranking`); tasks without a valid one are left out."""
    return Ranking().extend(for_target(records, target)).best()
