# SPDX-License-Identifier: Apache-2.0
"""The measured programs that a model has been shown, and which of them it trains on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from familyseer.features import FeatureSet
from familyseer.task import TaskKey

__all__ = ["SampleStore", "fair_quotas", "thin"]


class SampleStore:
    """Measured programs by task, in the order of arrival.

    Batches are kept as they come and joined when they are read: n programs cost O(n) memory, and a read O(n) time.
    """

    def __init__(self) -> None:
        self._batches: dict[TaskKey, list[tuple[FeatureSet, NDArray[np.float64]]]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, task_key: TaskKey, features: FeatureSet, costs: NDArray[np.float64]) -> None:
        """Append programs of one task with their latencies in seconds."""
        self._batches.setdefault(task_key, []).append((features, costs))
        self._size += len(features)

    def get(self, task_key: TaskKey) -> tuple[FeatureSet, NDArray[np.float64]] | None:
        """Return the programs of one task and their latencies; None without any."""
        return self._joined(task_key) if task_key in self._batches else None

    def first(self, programs: Mapping[TaskKey, int]) -> SampleStore:
        """Return a store of so many of each task's programs; what is added to one later is not in the other."""
        part = SampleStore()
        for key in self._batches.keys() & programs.keys():
            features, costs = self._joined(key)
            part.add(key, features[: programs[key]], costs[: programs[key]])
        return part

    def without(self, task_keys: Collection[TaskKey]) -> SampleStore:
        """Return a store of all other tasks' programs."""
        kept = self._batches.keys() - set(task_keys)
        return self.first({key: len(self._joined(key)[1]) for key in kept})

    def selection(self, limit: int, rng: np.random.Generator) -> list[tuple[FeatureSet, NDArray[np.float64], float]]:
        """Return at most `limit` programs: per task its features, its costs, and the best cost of all of its programs.

        Tasks share the limit as `fair_quotas` says, and each is thinned by `thin`.
        The order of tasks is that of their keys, so that it does not matter who came first.
        """
        keys = sorted(self._batches)
        joined = [self._joined(key) for key in keys]
        quotas = fair_quotas([len(costs) for _, costs in joined], limit)
        chosen = []
        for (features, costs), quota in zip(joined, quotas, strict=True):
            kept = thin(costs, quota, rng)
            chosen.append((features[kept], costs[kept], float(costs.min(initial=np.inf))))
        return chosen

    def _joined(self, key: TaskKey) -> tuple[FeatureSet, NDArray[np.float64]]:
        batches = self._batches[key]
        if len(batches) > 1:
            features = FeatureSet.concat([part for part, _ in batches])
            self._batches[key] = batches = [(features, np.concatenate([costs for _, costs in batches]))]
        return batches[0]


def fair_quotas(sizes: Sequence[int], limit: int) -> list[int]:
    """Share `limit` among tasks of these sizes: small ones keep all, the others as nearly equal shares as can be.

    Examples
    --------
    >>> fair_quotas([10, 100, 70], 90)
    [10, 40, 40]
    """
    quotas = [0] * len(sizes)
    left = limit
    by_size = sorted(range(len(sizes)), key=sizes.__getitem__)
    for done, task in enumerate(by_size):
        quotas[task] = min(sizes[task], left // (len(sizes) - done))
        left -= quotas[task]
    return quotas


def thin(costs: NDArray[np.float64], quota: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the indices, ascending, of `quota` programs: half of them the fastest, the others drawn from the rest.

    The search works among the fastest, and the others teach what to avoid.
    """
    if len(costs) <= quota:
        return np.arange(len(costs))
    order = np.argsort(costs, kind="stable")
    fastest, rest = np.split(order, [(quota + 1) // 2])
    drawn = rng.choice(rest, size=quota - len(fastest), replace=False)
    return np.sort(np.concatenate([fastest, drawn]))
