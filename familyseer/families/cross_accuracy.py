# SPDX-License-Identifier: Apache-2.0
"""Cross-accuracy: how well what one task taught ranks the programs of another (FamilySeer, arXiv 2201.00194, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from familyseer.errors import InvalidInputError
from familyseer.features import FeatureSet
from familyseer.metrics import pairwise_accuracy
from familyseer.task import TaskKey

__all__ = ["CrossAccuracy", "Ranker", "Train"]

_ENOUGH = 4
"""How many times `most` programs a task must have to be left alone."""

Matrix = NDArray[np.float64]

Ranker = Callable[[FeatureSet], NDArray[np.float64]]
"""Scores (n,) of n programs, higher is better."""

Train = Callable[[FeatureSet, NDArray[np.float64]], Ranker]
"""Learns n programs of one task with their latencies (n,) in seconds, infinite for a failed program."""


@dataclass(slots=True)
class _Measured:
    """What is known of one task: everything measured, and how much of it was used last."""

    features: list[FeatureSet] = field(default_factory=list)
    costs: list[NDArray[np.float64]] = field(default_factory=list)
    size: int = 0
    used: int = 0

    def first(self, count: int) -> tuple[FeatureSet, NDArray[np.float64]]:
        features, costs = FeatureSet.concat(self.features), np.concatenate(self.costs)
        return features[:count], costs[:count]


class CrossAccuracy:
    """The matrix ``A[i, j]``, kept up to date as measurements arrive, at bounded cost.

    Of each task at most `most` programs are drawn at random. ``A[i, j]`` is the `pairwise_accuracy` of a model that has
    learnt those of task i on those of task j, and ``A[i, i]`` the mean of two models that have learnt one half each, on
    the other half: no program is ranked by a model that learnt it.
    A task is looked at when it has `least` programs, and anew whenever these have doubled; then its row and its column
    are computed, and no other. After the first `4 · most` programs it is left as it is: t tasks cost O(t) trainings, and
    O(t²) predictions, however long a run is.

    Parameters
    ----------
    keys
        The tasks, in the order of rows and columns.
    train
        Makes a model of one task; cheap.
    least
        Programs that a task needs before it is judged, at least two.
    most
        Programs of a task that are used.
    tolerance
        Relative difference of latencies that the noise of measurements explains.
    seed
        Of what is drawn.
    """

    def __init__(
        self,
        keys: Sequence[TaskKey],
        train: Train,
        *,
        least: int = 24,
        most: int = 64,
        tolerance: float = 0.02,
        seed: int = 0,
    ) -> None:
        for name, value, at_least in [("least", least, 2), ("most", most, least)]:
            if value < at_least:
                raise InvalidInputError(f"`{name}` must be a whole number ≥ {at_least}; got {value!r}")
        self.keys = tuple(keys)
        self._train, self._least, self._most = train, least, most
        self._tolerance, self._seed = tolerance, seed
        self._measured = {key: _Measured() for key in self.keys}
        self._stale: set[TaskKey] = set()
        self._rankers: dict[TaskKey, Ranker] = {}
        self._own: dict[TaskKey, float] = {}
        self._programs: dict[TaskKey, tuple[FeatureSet, NDArray[np.float64]]] = {}
        self._matrix: Matrix = np.full((len(self.keys), len(self.keys)), np.nan)

    def add(self, key: TaskKey, features: FeatureSet, costs: NDArray[np.float64]) -> bool:
        """Take note of n programs with their latencies (n,); return whether `matrix` will change by them."""
        if key not in self._measured:
            raise InvalidInputError(f"`key` must be one of the {len(self.keys)} tasks; got {key!r}")
        filled = features.counts > 0
        mine = self._measured[key]
        if not filled.any() or mine.size >= _ENOUGH * self._most:
            return False
        mine.features.append(features[filled])
        mine.costs.append(costs[filled])
        mine.size += int(filled.sum())
        if mine.size < max(self._least, 2 * mine.used):
            return False
        mine.used = mine.size
        self._stale.add(key)
        return True

    @property
    def judged(self) -> frozenset[TaskKey]:
        """The tasks with enough programs."""
        return frozenset(key for key, mine in self._measured.items() if mine.used)

    def matrix(self) -> Matrix:
        """Return A (t, t); NaN where a task has too few programs, or none that differ."""
        order = [key for key in self.keys if key in self._stale]
        for key in order:
            self._learn(key)
        known = [index for index, key in enumerate(self.keys) if key in self._rankers]
        for i in known:
            columns = [j for j in known if self.keys[i] in self._stale or self.keys[j] in self._stale]
            self._matrix[i, columns] = self._row(i, columns)
        self._stale.clear()
        return np.array(self._matrix)

    def programs(self, key: TaskKey) -> tuple[FeatureSet, NDArray[np.float64]]:
        """Return the programs of a task that `matrix` was last made of, with their latencies (n,)."""
        return self._programs[key]

    def _learn(self, key: TaskKey) -> None:
        """Draw the programs of a task, learn them, and find out how well their halves tell of each other."""
        features, costs = self._measured[key].first(self._measured[key].used)
        rng = np.random.default_rng([self._seed, crc32(key.encode()), len(costs)])
        drawn = rng.permutation(len(costs))[: self._most]
        self._programs[key] = features, costs = features[drawn], costs[drawn]
        self._rankers[key] = self._train(features, costs)
        halves = slice(None, None, 2), slice(1, None, 2)
        self._own[key] = float(
            np.mean(
                [
                    self._accuracy(costs[judged], self._train(features[learnt], costs[learnt])(features[judged]))
                    for learnt, judged in (halves, halves[::-1])
                ]
            )
        )

    def _row(self, i: int, columns: Sequence[int]) -> list[float]:
        """Return A[i, columns]; the model predicts all the programs at once."""
        if not columns:
            return []
        parts = [self._programs[self.keys[j]] for j in columns]
        together = FeatureSet.concat([features for features, _ in parts])
        ends = np.cumsum([len(costs) for _, costs in parts])
        scores = np.split(self._rankers[self.keys[i]](together), ends[:-1])
        return [
            self._own[self.keys[i]] if j == i else self._accuracy(costs, predicted)
            for j, (_, costs), predicted in zip(columns, parts, scores, strict=True)
        ]

    def _accuracy(self, costs: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
        return pairwise_accuracy(costs, scores, tolerance=self._tolerance)
