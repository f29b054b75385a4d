# SPDX-License-Identifier: Apache-2.0
"""The model that knows nothing: what every other must beat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from familyseer.cost_model.base import CostModel
from familyseer.cost_model.files import header_number, read_model, write_model
from familyseer.features import FeatureSet
from familyseer.task import TaskKey

__all__ = ["RandomCostModel"]


class RandomCostModel(CostModel):
    """Score programs at random, uniformly in [0, 1).

    The i-th call of `predict` gives the same scores in every process; a saved model goes on where it stopped.

    Parameters
    ----------
    seed
        Whole number ≥ 0.

    Examples
    --------
    >>> features = FeatureSet.from_arrays([[[1.0]], [[2.0]]])
    >>> RandomCostModel(seed=1).predict("conv", features).round(3).tolist()
    [0.332, 0.612]
    """

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed
        self._calls = 0

    def is_trained(self, task_key: TaskKey) -> bool:
        """Return False: it never learns."""
        return False

    def save(self, path: str | Path) -> None:
        """Write the seed and how often it was used."""
        write_model(path, "random", {"seed": self._seed, "calls": self._calls}, b"")

    def load(self, path: str | Path) -> None:
        """Take over seed and position of a saved model."""
        header, _ = read_model(path, "random")
        self._seed, self._calls = header_number(path, header, "seed"), header_number(path, header, "calls")

    def _update(self, task_key: TaskKey, features: FeatureSet, costs: NDArray[np.float64]) -> None:
        pass

    def _predict(self, task_key: TaskKey, features: FeatureSet) -> NDArray[np.float64]:
        self._calls += 1
        return np.random.default_rng([self._seed, self._calls]).random(len(features))
