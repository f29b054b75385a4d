# SPDX-License-Identifier: Apache-2.0
"""Made-up programs whose latency follows from their features."""

from __future__ import annotations

import numpy as np

from familyseer.features import FeatureSet


def make_programs(n: int, *, seed: int = 0, width: int = 6, most_stores: int = 3) -> tuple[FeatureSet, np.ndarray]:
    """Return n programs of one to `most_stores` stores, and latencies that rise with their first feature."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, most_stores + 1, n)
    features = FeatureSet(rows=rng.random((counts.sum(), width)), counts=counts)
    work = np.array([features[[i]].rows[:, 0].sum() for i in range(n)])
    return features, 1e-3 * np.exp(work)
