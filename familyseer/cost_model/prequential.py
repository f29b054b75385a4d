# SPDX-License-Identifier: Apache-2.0
"""How well models predict: each batch of measurements judges them before they learn it (Dawid, JRSS A 147, 1984)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from familyseer.errors import InvalidInputError
from familyseer.metrics import Confidence, pairwise_accuracy, peak_at_k

__all__ = ["RunningScores"]

_TOP = 8


@dataclass(slots=True)
class _Mean:
    """A mean in which a value counts `decay` times as much as the one after it."""

    decay: float
    count: int = 0
    mean: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        weight = (1 - self.decay) / (1 - self.decay**self.count)
        self.mean += weight * (value - self.mean)


class RunningScores:
    """Running scores of models that predict the same batches.

    Parameters
    ----------
    decay
        What a batch counts of the next one, in (0, 1): 0.9 remembers about ten.
    tolerance
        Relative difference of latencies that the noise of measurements explains; such pairs judge nobody.

    Examples
    --------
    >>> scores = RunningScores()
    >>> scores.judge([1.0, 2.0, 3.0], {"shared": [1, 2, 3], "family": [3, 2, 1]})
    >>> scores.advantage("family", over="shared")
    1.0
    """

    def __init__(self, *, decay: float = 0.9, tolerance: float = 0.02) -> None:
        if not 0 < decay < 1:
            raise InvalidInputError(f"`decay` must be a number between 0 and 1; got {decay!r}")
        self._decay, self._tolerance = decay, tolerance
        self._accuracy: dict[str, _Mean] = {}
        self._top: dict[str, _Mean] = {}
        self._advantage: dict[tuple[str, str], _Mean] = {}

    def judge(self, costs: ArrayLike, predictions: Mapping[str, ArrayLike]) -> None:
        """Take note of what each model had predicted, before it learnt `costs`.

        Parameters
        ----------
        costs
            (n,) latencies in seconds, of one task; infinite or ≥ `INVALID_COST` for a failed program. A batch in which
            no two latencies differ by more than the tolerance judges nobody.
        predictions
            (n,) of each model, higher is better.
        """
        accuracy = {
            name: pairwise_accuracy(costs, scores, tolerance=self._tolerance) for name, scores in predictions.items()
        }
        if not all(map(isfinite, accuracy.values())):
            return
        k = max(1, min(_TOP, int(np.size(costs)) // 2))
        for name, scores in predictions.items():
            self._mean(self._accuracy, name).add(accuracy[name])
            self._mean(self._top, name).add(peak_at_k(costs, scores, k=k))
        for one in accuracy:
            for other in accuracy.keys() - {one}:
                self._mean(self._advantage, (one, other)).add(accuracy[one] - accuracy[other])

    def _mean(self, means: dict[Any, _Mean], name: Any) -> _Mean:
        return means.setdefault(name, _Mean(self._decay))

    def to_json(self) -> dict[str, Any]:
        """Return the scores as an object that `json.dumps` takes."""
        return {
            "accuracy": {name: [mean.count, mean.mean] for name, mean in self._accuracy.items()},
            "top": {name: [mean.count, mean.mean] for name, mean in self._top.items()},
            "advantage": [[one, other, mean.count, mean.mean] for (one, other), mean in self._advantage.items()],
        }

    @classmethod
    def from_json(cls, data: Any) -> RunningScores:
        """Make scores of what `to_json` returned; anything else raises `InvalidInputError`."""
        scores = cls()
        try:
            for name, target in [("accuracy", scores._accuracy), ("top", scores._top)]:
                target.update({str(model): scores._restored(*pair) for model, pair in data[name].items()})
            if scores._accuracy.keys() != scores._top.keys():
                raise ValueError("accuracy and top of different models")
            for one, other, count, mean in data["advantage"]:
                scores._advantage[str(one), str(other)] = scores._restored(count, mean)
        except (AttributeError, KeyError, TypeError, ValueError) as err:
            raise InvalidInputError(f"running scores must be what `to_json` returned; got {data!r:.200}") from err
        return scores

    def _restored(self, count: Any, mean: Any) -> _Mean:
        if type(count) is not int or count < 0 or not isfinite(mean):
            raise ValueError(f"{count!r} batches with a mean of {mean!r}")
        return _Mean(self._decay, count, float(mean))

    def confidence(self, name: str) -> Confidence:
        """Return how far a model can be trusted."""
        if name not in self._accuracy:
            return Confidence()
        accuracy, top = self._accuracy[name], self._top[name]
        return Confidence(batches=accuracy.count, rank_correlation=2 * accuracy.mean - 1, top_quality=top.mean)

    def advantage(self, name: str, *, over: str) -> float:
        """Return by how much more pairs a model had in order than another, on batches that both predicted; else 0."""
        found = self._advantage.get((name, over))
        return found.mean if found else 0.0
