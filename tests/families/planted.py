# SPDX-License-Identifier: Apache-2.0
"""Made-up tasks whose families are known: those of one family are slow for the same reason."""

from __future__ import annotations

import numpy as np

from familyseer.features import FeatureSet
from familyseer.task import Task

WIDTH = 8


def make_task(family: int, seed: int, *, n: int = 64, noise: float = 0.02, operator: str = "") -> tuple:
    """Return a task, n of its programs, and their latencies, which grow with feature `family` and a little with the rest."""
    rng = np.random.default_rng([family, seed])
    rows = rng.random((n, WIDTH))
    weights = np.full(WIDTH, 0.1)
    weights[family] = 3.0
    scale = 10 ** rng.uniform(-6, -2)
    costs = scale * np.exp(rows @ weights + noise * rng.standard_normal(n))
    task = Task(key=f"f{family}-{seed}", name=f"task {family}.{seed}", operator=operator)
    return task, FeatureSet(rows=rows, counts=np.ones(n, dtype=np.int64)), costs


def make_network(sizes, **options) -> list[tuple]:
    """Return tasks of families of these sizes, in order."""
    return [make_task(family, seed, **options) for family, size in enumerate(sizes) for seed in range(size)]
