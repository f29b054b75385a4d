# SPDX-License-Identifier: Apache-2.0
"""Alignment: whether two tasks taught the same things about the same kinds of programs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from familyseer.cost_model.base import relative_throughput
from familyseer.features import FeatureSet

__all__ = ["alignment"]

_TREES = 50  # 100 tell hardly more
_RIDGE = 0.5  # of the mean of the kernel's diagonal; 0.1 and 2 give the same families
_NOISE = 16.0  # programs at which half of what is learnt of a task is noise


def alignment(programs: Sequence[tuple[FeatureSet, NDArray[np.float64]]], *, seed: int = 0) -> NDArray[np.float64]:
    """Return how much alike are the functions from programs to speed that tasks teach, (t, t), symmetric, 1 for equals.

    A forest of extremely randomised trees (Geurts et al., Machine Learning 63, 2006) learns the speeds of all programs.
    Its leaves are a feature space: two programs are as near as the share of trees that put them into one leaf (Breiman's
    proximity, Machine Learning 45, 2001). In it every task is fitted by kernel ridge regression to the normal scores of
    its latencies, and the alignment of two tasks is the cosine of their fits (as the kernel alignment of Cristianini et
    al., NeurIPS 2001), corrected for attenuation by noise (Spearman, 1904) with a reliability of ``n / (n + 16)`` for n
    programs.
    Unlike accuracy it needs no programs to judge by, so it is precise for few; and tasks that share no leaves, of which
    neither tells anything of the other, have 0.

    Parameters
    ----------
    programs
        Per task n programs and their latencies (n,) in seconds; infinite ones are slower than all others.
    seed
        Of the forest.
    """
    if not programs:
        return np.zeros((0, 0))
    sizes = np.array([len(costs) for _, costs in programs])
    leaves = _leaves(
        np.concatenate([np.nan_to_num(features.gathered()) for features, _ in programs]),
        np.log(np.concatenate([np.maximum(relative_throughput(costs, costs.min()), 1e-3) for _, costs in programs])),
        seed,
    )
    kernel, weights = _proximity(leaves), np.zeros((len(sizes), len(leaves)))
    for row, (end, (_, costs)) in enumerate(zip(np.cumsum(sizes), programs, strict=True)):
        mine = slice(end - len(costs), end)
        weights[row, mine] = _fit(kernel[mine, mine], costs)
    inner = weights @ kernel @ weights.T
    length = np.sqrt(np.maximum(np.diag(inner), np.finfo(float).tiny))
    reliability = np.sqrt(sizes / (sizes + _NOISE))
    aligned = np.clip(inner / np.outer(length, length) / np.outer(reliability, reliability), -1, 1)
    np.fill_diagonal(aligned, 1)
    return np.asarray((aligned + aligned.T) / 2)


def _leaves(matrix: NDArray[np.float32], labels: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Return the leaf (n, trees) of each tree that each program falls into."""
    from sklearn.ensemble import ExtraTreesRegressor  # slow to import

    forest = ExtraTreesRegressor(_TREES, min_samples_leaf=5, max_features=0.3, random_state=seed, n_jobs=-1)
    return np.asarray(forest.fit(matrix, labels).apply(matrix), dtype=np.int64)


def _proximity(leaves: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of trees (n, n) in which two programs fall into the same leaf."""
    count, trees = leaves.shape
    numbers = leaves + np.concatenate([[0], np.cumsum(leaves.max(axis=0) + 1)[:-1]])
    hot = csr_array((np.ones(count * trees), numbers.ravel(), np.arange(0, count * trees + 1, trees)))
    return np.asarray((hot @ hot.T).toarray() / trees)


def _fit(kernel: NDArray[np.float64], costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights (n,) of a ridge regression of speed on the centred kernel (n, n); they sum to 0."""
    centred = kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()
    ridge = _RIDGE * max(float(np.trace(centred)) / len(costs), np.finfo(float).tiny)
    return np.asarray(np.linalg.solve(centred + ridge * np.eye(len(costs)), _normal_scores(costs)))


def _normal_scores(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a normal sample would have in these ranks, the fastest highest, with mean 0; equals share theirs."""
    from scipy.stats import norm, rankdata  # slow to import

    scores = norm.ppf((rankdata(-costs) - 0.5) / len(costs))
    return np.asarray(scores - scores.mean())
