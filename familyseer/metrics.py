# SPDX-License-Identifier: Apache-2.0
"""How well scores rank programs: agreement of pairs, recall of the best, and speed of the best that would be picked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from familyseer.errors import InvalidInputError
from familyseer.measure import INVALID_COST

__all__ = ["Confidence", "pairwise_accuracy", "peak_at_k", "top_k_recall"]

_BLOCK = 1 << 22
"""Pairs that are looked at together: bounds memory to some tens of MB whatever n is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """How far a model's predictions can be trusted, as a running mean over the batches that it had not learnt.

    Parameters
    ----------
    batches
        Batches that were judged; 0 means that nothing is known.
    rank_correlation
        Goodman and Kruskal's gamma of predicted and measured order, ``2 · pairwise_accuracy − 1``, in [-1, 1].
    top_quality
        Speed of the best of the predicted top 8 (of a batch below 16, of its better half) over that of the batch's best,
        in [0, 1].
    """

    batches: int = 0
    rank_correlation: float = 0.0
    top_quality: float = 0.0


def pairwise_accuracy(costs: ArrayLike, scores: ArrayLike, *, tolerance: float = 0.0) -> float:
    """Return the share of pairs of programs whose order the scores tell.

    With ``P = {(i, j): (1 + tolerance) · costs[i] < costs[j]}``, the mean over ``P`` of
    ``[scores[i] > scores[j]] + ½ [scores[i] = scores[j]]``.
    It is 1 for a perfect model, ½ for one that knows nothing, 0 for one that is always wrong.
    This is the concordance index (Harrell et al., JAMA 247, 1982): equal truths judge nothing, and
    equal scores are half right.

    Parameters
    ----------
    costs
        (n,) true latencies in seconds; NaN, infinite or ≥ `INVALID_COST` means failed, slower than all that did not.
    scores
        (n,) predictions, higher is better.
    tolerance
        Relative difference up to which two latencies count as equal and their pair is left out.

    Returns
    -------
    Share in [0, 1]; NaN when no pair is left to judge.

    Examples
    --------
    >>> pairwise_accuracy([1.0, 2.0, 4.0], [0.9, 0.1, 0.5])
    0.6666666666666666
    """
    truth, guess = _checked(costs, scores)
    if not tolerance >= 0:
        raise InvalidInputError(f"`tolerance` must be a number ≥ 0; got {tolerance!r}")
    right, total = 0.0, 0
    step = max(1, _BLOCK // max(1, len(truth)))
    for start in range(0, len(truth), step):
        block = slice(start, start + step)
        faster = truth[block, None] * (1 + tolerance) < truth[None, :]
        higher, equal = guess[block, None] > guess[None, :], guess[block, None] == guess[None, :]
        right += np.count_nonzero(faster & higher) + 0.5 * np.count_nonzero(faster & equal)
        total += np.count_nonzero(faster)
    return float(right / total) if total else float("nan")


def top_k_recall(costs: ArrayLike, scores: ArrayLike, *, k: int) -> float:
    """Return the share of the k picks that are truly among the k fastest.

    ``|{i in picks_k: costs[i] ≤ k-th smallest cost}| / k``, where ``picks_k`` are the k highest scores: recall at k
    (Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, chapter 8) where what is as fast as the
    k-th is relevant too.
    Equal scores are picked slowest first, so that a model gains nothing from saying nothing. k above n means n.
    A failed program is never among the fastest.

    Parameters
    ----------
    costs, scores
        (n,), as in `pairwise_accuracy`; n ≥ 1.
    k
        Number of programs that would be measured, ≥ 1.

    Examples
    --------
    >>> top_k_recall([1.0, 2.0, 3.0, 4.0], [0.9, 0.1, 0.8, 0.2], k=2)
    0.5
    """
    truth, guess = _checked(costs, scores)
    picks = _picks(truth, guess, k)
    threshold = np.sort(truth)[len(picks) - 1]
    return float(np.mean((truth[picks] <= threshold) & np.isfinite(truth[picks])))


def peak_at_k(costs: ArrayLike, scores: ArrayLike, *, k: int) -> float:
    """Return how close the best of the k picks comes to the best there is.

    ``min(costs) / min(costs[picks_k])``: TenSet's top-k score
    (Zheng et al., NeurIPS 2021 datasets track) of one task.
    Equal scores are picked slowest first. k above n means n.

    Parameters
    ----------
    costs, scores, k
        As in `top_k_recall`.

    Returns
    -------
    Fraction in [0, 1] of the best speed; 0 when every pick failed, NaN when every program did.

    Examples
    --------
    >>> peak_at_k([1.0, 2.0, 4.0], [0.1, 0.9, 0.5], k=2)
    0.5
    """
    truth, guess = _checked(costs, scores)
    best, found = truth.min(initial=np.inf), truth[_picks(truth, guess, k)].min()
    if not np.isfinite(best):
        return float("nan")
    return 1.0 if found == best else float(best / found)


def _checked(costs: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    truth, guess = np.array(costs, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != guess.shape:
        raise InvalidInputError(
            f"`scores` must be a vector with one number per cost; got shapes {guess.shape!r} and {truth.shape!r}"
        )
    if np.any(truth < 0):
        raise InvalidInputError(f"`costs` must be ≥ 0 seconds; got {float(np.nanmin(truth))!r}")
    if np.isnan(guess).any():
        raise InvalidInputError("`scores` must be numbers; got NaN")
    truth[~(truth < INVALID_COST)] = np.inf
    return truth, guess


def _picks(truth: NDArray[np.float64], guess: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    if k < 1:
        raise InvalidInputError(f"`k` must be a whole number ≥ 1; got {k!r}")
    if not len(truth):
        raise InvalidInputError("`costs` must hold at least one program; got 0")
    return np.lexsort((-truth, -guess))[:k]
