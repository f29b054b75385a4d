# SPDX-License-Identifier: Apache-2.0
"""The cost model of a family policy: a bank whose families follow the measurements."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from familyseer.cost_model import ModelBank, XGBCostModel
from familyseer.cost_model.booster import BoosterModel
from familyseer.cost_model.prequential import RunningScores
from familyseer.families.cross_accuracy import CrossAccuracy, Ranker
from familyseer.families.guests import guest_labels
from familyseer.families.keys import PolicyName
from familyseer.families.partition import Partition
from familyseer.families.tracking import FamilyTracker, PartitionChange
from familyseer.features import FeatureSet
from familyseer.task import Task, TaskKey

__all__ = ["FamilyModel", "family_model", "quick_ranker"]

logger = logging.getLogger(__name__)

_TRUSTED_BATCHES = 3  # that guests are listened to, however they do


def quick_ranker(features: FeatureSet, costs: NDArray[np.float64], *, seed: int = 0) -> Ranker:
    """Return what ranks programs after having learnt those of one task, in some hundredths of a second."""
    model = XGBCostModel(seed=seed, rounds=100, members=1, min_samples=1)
    model.update("task", features, costs)
    return lambda others: model.predict("task", others)


def family_model(
    tasks: Sequence[Task],
    policy: PolicyName | str,
    make_model: Callable[[], BoosterModel],
    *,
    seed: int = 0,
    **options: Any,
) -> FamilyModel:
    """Return the cost model of a family policy; `options` are those of `FamilyModel`, such as `guests`."""
    accuracy = CrossAccuracy([task.key for task in tasks], partial(quick_ranker, seed=seed), seed=seed)
    return FamilyModel(FamilyTracker(tasks, policy, accuracy, seed=seed), make_model, **options)


class FamilyModel(ModelBank):
    """A `ModelBank` that a `FamilyTracker` regroups after each batch of measurements.

    Parameters
    ----------
    tracker
        Decides which tasks are families.
    make_model
        Makes an untrained model.
    guests
        Tasks of earlier runs (`familyseer.families.guests`), whose keys are none of this run's.
    on_change
        Told of every change of the partition, after it has been made.
    on_misled
        Called once, when guests that mislead have been forgotten: whoever heeds them otherwise is to do so no more.
    phase
        Opened around what families cost beside training, for whoever keeps account of time.
    **options
        Those of `ModelBank`.
    """

    def __init__(
        self,
        tracker: FamilyTracker,
        make_model: Callable[[], BoosterModel],
        *,
        guests: Sequence[Task] = (),
        on_change: Callable[[PartitionChange], None] = lambda change: None,
        on_misled: Callable[[], None] = lambda: None,
        phase: Callable[[], AbstractContextManager[Any]] = nullcontext,
        **options: Any,
    ) -> None:
        self.tracker, self._guests = tracker, tuple(guests)
        super().__init__(self._labels(), make_model, **options)
        self._on_change, self._on_misled, self._phase = on_change, on_misled, phase
        self._undecided = False
        self._heeds_guests, self._with_guests = bool(self._guests), RunningScores()

    @property
    def partition(self) -> Partition:
        """The present families."""
        return self.tracker.partition

    def adopt(self, partition: Partition) -> None:
        """Take over a partition that was decided before the run was interrupted."""
        self.tracker.adopt(partition)
        self.regroup(self._labels())

    def update_many(self, batches: Sequence[tuple[TaskKey, FeatureSet, ArrayLike]]) -> None:
        """Learn batches of the past: neither do they judge the models, nor change the families (see `adopt`)."""
        for task_key, features, costs in batches:
            self._undecided = self._tell(task_key, features, np.asarray(costs, dtype=np.float64))
        super().update_many(batches)

    def judge(self, task_key: TaskKey, costs: ArrayLike, predictions: Mapping[str, ArrayLike]) -> None:
        """Take note of what `predictions` had said of a batch; guests that mislead are not listened to any more."""
        super().judge(task_key, costs, predictions)
        if not self._heeds_guests or "shared" not in predictions:
            return
        self._with_guests.judge(costs, {"shared": predictions["shared"]})
        found = self._with_guests.confidence("shared")
        if found.batches >= _TRUSTED_BATCHES and found.rank_correlation < 0:
            self._heeds_guests = False
            self.forget([guest.key for guest in self._guests])
            self._on_misled()
            logger.warning(
                "What earlier runs had stored ranks this run's programs worse than chance (rank correlation %.2f) and is "
                "not listened to any more",
                found.rank_correlation,
            )

    def learn_guests(self, batches: Sequence[tuple[TaskKey, FeatureSet, ArrayLike]]) -> None:
        """Learn what was measured of guests: they teach models, and families form without them.

        Should the shared model, after three batches of this run, have ranked programs worse than chance, it forgets them.
        """
        super().update_many(batches)

    def catch_up(self) -> None:
        """Decide on the last batch of `update_many`, if that was not done before the run was interrupted."""
        if self._undecided:
            self.decide()

    def decide(self) -> None:
        """Form families of what is known."""
        self._undecided = False
        with self._phase():
            change = self.tracker.decide()
        if change is not None:
            self.regroup(self._labels())
            self._on_change(change)

    def _update(self, task_key: TaskKey, features: FeatureSet, costs: NDArray[np.float64]) -> None:
        super()._update(task_key, features, costs)
        if self._tell(task_key, features, costs):
            self.decide()

    def _tell(self, task_key: TaskKey, features: FeatureSet, costs: NDArray[np.float64]) -> bool:
        """Let the tracker learn a batch, and return whether it is time to decide; what `adopt` said of the last is past."""
        if self._undecided:
            self.tracker.skip()
            self._undecided = False
        return self.tracker.learn(task_key, features, costs)

    def _labels(self) -> dict[TaskKey, str]:
        """Return the families of tasks and guests."""
        tracker = self.tracker
        return tracker.partition.labels() | guest_labels(self._guests, tracker.tasks, tracker.partition, tracker.kind)
