# SPDX-License-Identifier: Apache-2.0
"""Alignment: whether two tasks taught the same things about the same kinds of programs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["alignment"]

_RIDGE = 0.5  # of the mean of the kernel's diagonal; 0.1 and 2 give the same families
_NOISE = 16.0  # programs at which half of what is learnt of a task is noise


def alignment(leaves: Sequence[NDArray[np.int64]], costs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return how much alike are the functions from programs to speed that tasks teach, (t, t), symmetric, 1 for equals.

    The leaves of a booster that all tasks share are a feature space: two programs are as near as the share of trees that
    put them into one leaf (Breiman's proximity, Machine Learning 45, 2001). In it every task is fitted by kernel ridge
    regression to the normal scores of its latencies, and the alignment of two tasks is the cosine of their fits (as the
    kernel alignment of Cristianini et al., NeurIPS 2001), corrected for attenuation by noise (Spearman, 1904) with a
    reliability of ``n / (n + 16)`` for n programs.
    Unlike accuracy it needs no programs to judge by, so it is precise for few; and tasks that share no leaves, of which
    neither tells anything of the other, have 0.

    Parameters
    ----------
    leaves
        Per task the leaves (n, trees) of its n programs.
    costs
        Per task the latencies (n,) in seconds; infinite ones are slower than all others.
    """
    together = np.concatenate(leaves)
    kernel = _proximity(together)
    ends = np.cumsum([len(part) for part in leaves])
    weights = np.zeros((len(leaves), len(together)))
    for row, (end, latencies) in enumerate(zip(ends, costs, strict=True)):
        mine = slice(end - len(latencies), end)
        weights[row, mine] = _fit(kernel[mine, mine], latencies)
    inner = weights @ kernel @ weights.T
    length = np.sqrt(np.maximum(np.diag(inner), np.finfo(float).tiny))
    sizes = np.array([len(part) for part in leaves])
    reliability = np.sqrt(sizes / (sizes + _NOISE))
    aligned = np.clip(inner / np.outer(length, length) / np.outer(reliability, reliability), -1, 1)
    np.fill_diagonal(aligned, 1)
    return np.asarray((aligned + aligned.T) / 2)


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
