# SPDX-License-Identifier: Apache-2.0
"""The cost model of a family policy: a bank whose families follow the measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from familyseer.cost_model import ModelBank, XGBCostModel
from familyseer.cost_model.booster import BoosterModel
from familyseer.families.cross_accuracy import CrossAccuracy, Ranker
from familyseer.families.guests import guest_labels
from familyseer.families.keys import PolicyName
from familyseer.families.partition import Partition
from familyseer.families.tracking import FamilyTracker, PartitionChange
from familyseer.features import FeatureSet
from familyseer.task import Task, TaskKey

__all__ = ["FamilyModel", "family_model", "quick_ranker"]


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
        phase: Callable[[], AbstractContextManager[Any]] = nullcontext,
        **options: Any,
    ) -> None:
        self.tracker, self._guests = tracker, tuple(guests)
        super().__init__(self._labels(), make_model, **options)
        self._on_change, self._phase = on_change, phase
        self._undecided = False

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
            self._undecided = self.tracker.learn(task_key, features, np.asarray(costs, dtype=np.float64))
        super().update_many(batches)

    def learn_guests(self, batches: Sequence[tuple[TaskKey, FeatureSet, ArrayLike]]) -> None:
        """Learn what was measured of guests: they teach models, and families form without them."""
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
        if self.tracker.learn(task_key, features, costs):
            self.decide()

    def _labels(self) -> dict[TaskKey, str]:
        """Return the families of tasks and guests."""
        tracker = self.tracker
        return tracker.partition.labels() | guest_labels(self._guests, tracker.tasks, tracker.partition, tracker.kind)
