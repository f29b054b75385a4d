# SPDX-License-Identifier: Apache-2.0
"""What every cost model promises, and how latencies become what it learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from familyseer.errors import InvalidInputError
from familyseer.features import FeatureSet
from familyseer.measure import INVALID_COST
from familyseer.metrics import Confidence
from familyseer.task import TaskKey

__all__ = ["CostModel", "relative_throughput"]


class CostModel(ABC):
    """Learn from measured programs of any number of tasks, and score programs that were not measured.

    The tuner calls `update` after each round of measurements and `acquisition` for every generation of a search.
    Scores compare programs of one task only.
    """

    def update(self, task_key: TaskKey, features: FeatureSet, costs: ArrayLike) -> None:
        """Learn the measurements of one task; may train, may only remember.

        Parameters
        ----------
        task_key
            The task that all the programs belong to.
        features
            n programs; those without stores are ignored.
        costs
            (n,) latencies in seconds; whatever is not between 0 and `INVALID_COST` marks a failed program.

        Raises
        ------
        InvalidInputError
            When the lengths differ, or the features have another length than those seen before.
        """
        self._update(task_key, features, _seconds(features, costs))

    def update_many(self, batches: Sequence[tuple[TaskKey, FeatureSet, ArrayLike]]) -> None:
        """Learn batches as `update` would one after another, in less time where training in between changes nothing.

        This is how a resumed run gets back the model that it had.
        """
        for task_key, features, costs in batches:
            self.update(task_key, features, costs)

    def prepare(self, task_key: TaskKey) -> None:  # noqa: B027 (most models are up to date when `update` returns)
        """Train now what would otherwise be trained when programs of this task are scored; for whoever keeps account of time."""

    def predict(self, task_key: TaskKey, features: FeatureSet) -> NDArray[np.float64]:
        """Return (n,) scores ≥ 0, higher is better: the guessed best latency of the task over the program's.

        A model that is not trained yet scores all programs alike; ask `is_trained` where variety is needed instead.
        """
        return self._predict(task_key, features)

    def acquisition(self, task_key: TaskKey, features: FeatureSet) -> NDArray[np.float64]:
        """Return (n,) scores ≥ 0 by which to choose what to measure next, higher is better.

        Those of `predict`, unless the model knows what it does not know: then what is uncertain scores higher.
        """
        return self._acquire(task_key, features)

    def predictions(self, task_key: TaskKey, features: FeatureSet) -> dict[str, NDArray[np.float64]]:
        """Return the scores (n,) of each trained model that this one consists of, by its name, for the record."""
        return {}

    def confidence(self, task_key: TaskKey) -> Confidence:
        """Return how far `predict` can be trusted for a task, from batches that were predicted before they were learnt."""
        return Confidence()

    @abstractmethod
    def is_trained(self, task_key: TaskKey) -> bool:
        """Return whether scores of this task's programs rest on measurements (not necessarily of this task)."""

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write the model, trained or not, replacing what is at `path` only once all is written.

        Raises
        ------
        ModelFileError
            When it cannot be written.
        """

    @abstractmethod
    def load(self, path: str | Path) -> None:
        """Replace this model's knowledge by that of a file that `save` wrote; on an error nothing changes.

        Raises
        ------
        ModelFileError
            When the file cannot be read, is not a model of this kind, or is one for features of another length.
        """

    @abstractmethod
    def _update(self, task_key: TaskKey, features: FeatureSet, costs: NDArray[np.float64]) -> None:
        """Learn; `costs` are positive, infinite where the program failed."""

    @abstractmethod
    def _predict(self, task_key: TaskKey, features: FeatureSet) -> NDArray[np.float64]:
        """Score."""

    def _acquire(self, task_key: TaskKey, features: FeatureSet) -> NDArray[np.float64]:
        """Score what to measure."""
        return self._predict(task_key, features)


def _seconds(features: FeatureSet, costs: ArrayLike) -> NDArray[np.float64]:
    """Return latencies (n,), infinite where the program failed."""
    seconds = np.array(costs, dtype=np.float64)
    if seconds.shape != (len(features),):
        raise InvalidInputError(
            f"`costs` must hold one latency per program; got shape {seconds.shape!r} for {len(features)} programs"
        )
    seconds[~((seconds > 0) & (seconds < INVALID_COST))] = np.inf
    return seconds


def relative_throughput(costs: NDArray[np.float64], best: float) -> NDArray[np.float64]:
    """Return best/this of latencies of one task whose best one is `best`, in [0, 1]; 0 for failed programs.

    Examples
    --------
    >>> relative_throughput(np.array([2.0, 1.0, np.inf]), 1.0).tolist()
    [0.5, 1.0, 0.0]
    """
    valid = np.isfinite(costs)
    throughput = np.zeros(len(costs))
    throughput[valid] = best / costs[valid]
    return throughput
