# SPDX-License-Identifier: Apache-2.0
"""Ranking metrics against literal values, a brute-force oracle and their invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer import metrics
from familyseer.errors import InvalidInputError
from familyseer.metrics import pairwise_accuracy, peak_at_k, top_k_recall

# Few distinct values, so that ties are common.
SAMPLES = st.lists(st.tuples(st.integers(1, 6), st.integers(-3, 3)), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("costs", "scores", "expected"),
    [
        ([1, 2, 3], [3, 2, 1], 1.0),
        ([1, 2, 3], [1, 2, 3], 0.0),
        ([1, 2, 3], [0, 0, 0], 0.5),
        ([1, 1, 2], [5, 9, 1], 1.0),
        ([1, 2, 4], [2, 2, 1], 5 / 6),
        ([1, math.inf, 1e10, math.nan], [2, 1, 3, 1], 2 / 3),
    ],
)
def test_pairwise_accuracy_of_small_cases(costs, scores, expected):
    """Right, wrong and unknown orders; equal truths, equal scores, failed programs."""
    assert pairwise_accuracy(costs, scores) == pytest.approx(expected)


@pytest.mark.parametrize("costs", [[], [1.0], [2.0, 2.0], [1e10, math.inf]])
def test_without_a_pair_to_judge_there_is_no_accuracy(costs):
    """NaN, not a number that looks like a result."""
    assert math.isnan(pairwise_accuracy(costs, [0.0] * len(costs)))


def test_near_equal_truth_is_left_out():
    """At 5 % tolerance only the slow program can be told from the others."""
    assert pairwise_accuracy([1.0, 1.04, 2.0], [1, 3, 2], tolerance=0.05) == 0.5


@given(SAMPLES)
def test_pairwise_accuracy_equals_counting_pairs(samples):
    """The vectorised form agrees with two nested loops."""
    pairs = [(a, b) for a in samples for b in samples if a[0] < b[0]]
    points = [1.0 if a[1] > b[1] else 0.5 if a[1] == b[1] else 0.0 for a, b in pairs]
    costs, scores = zip(*samples, strict=True)

    assert pairwise_accuracy(costs, scores) == pytest.approx(np.mean(points) if points else math.nan, nan_ok=True)


@given(SAMPLES)
def test_pairwise_accuracy_does_not_depend_on_the_block_size(samples):
    """Looking at few pairs at a time gives the same share."""
    costs, scores = zip(*samples, strict=True)
    whole = pairwise_accuracy(costs, scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_BLOCK", 5)

        assert pairwise_accuracy(costs, scores) == pytest.approx(whole, nan_ok=True)


@given(SAMPLES, st.integers(1, 12))
def test_only_the_order_of_scores_matters(samples, k):
    """A strictly increasing function of the scores changes no metric."""
    costs, scores = zip(*samples, strict=True)
    bent = np.exp(np.array(scores, dtype=float)) * 7 - 2

    assert pairwise_accuracy(costs, bent) == pytest.approx(pairwise_accuracy(costs, scores), nan_ok=True)
    assert top_k_recall(costs, bent, k=k) == top_k_recall(costs, scores, k=k)
    assert peak_at_k(costs, bent, k=k) == peak_at_k(costs, scores, k=k)


@given(SAMPLES)
def test_reversing_the_scores_mirrors_the_accuracy(samples):
    """What was right becomes wrong, and ties stay halves."""
    costs, scores = zip(*samples, strict=True)
    mirrored = 1 - pairwise_accuracy(costs, [-score for score in scores])

    assert pairwise_accuracy(costs, scores) == pytest.approx(mirrored, nan_ok=True)


@given(SAMPLES, st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_order_of_programs_does_not_matter(samples, k, random):
    """Ties are not broken by position."""
    shuffled = random.sample(samples, len(samples))
    costs, scores = zip(*samples, strict=True)
    other_costs, other_scores = zip(*shuffled, strict=True)

    assert top_k_recall(other_costs, other_scores, k=k) == top_k_recall(costs, scores, k=k)
    assert peak_at_k(other_costs, other_scores, k=k) == peak_at_k(costs, scores, k=k)


@pytest.mark.parametrize(
    ("costs", "scores", "k", "recall", "peak"),
    [
        ([1, 2, 3, 4], [4, 3, 2, 1], 2, 1.0, 1.0),
        ([1, 2, 3, 4], [1, 2, 3, 4], 2, 0.0, 1 / 3),
        ([1, 2, 3, 4], [0, 0, 0, 0], 1, 0.0, 1 / 4),
        ([1, 1, 3, 4], [1, 2, 0, 0], 1, 1.0, 1.0),
        ([2, 4], [0, 1], 9, 1.0, 1.0),
        ([2, math.inf, 1e10], [0, 1, 2], 2, 0.0, 0.0),
    ],
)
def test_top_k_metrics_of_small_cases(costs, scores, k, recall, peak):
    """Right, wrong and unknown orders; equal truths, more picks than programs, failed picks."""
    assert top_k_recall(costs, scores, k=k) == pytest.approx(recall)
    assert peak_at_k(costs, scores, k=k) == pytest.approx(peak)


def test_peak_of_a_task_that_always_fails_is_not_a_number():
    """There is no best to come close to."""
    assert math.isnan(peak_at_k([math.inf, 1e10], [1, 2], k=1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pairwise_accuracy([1, 2], [1]), r"one number per cost; got shapes \(1,\) and \(2,\)"),
        (lambda: pairwise_accuracy([1, -2], [1, 2]), r"`costs` must be ≥ 0 seconds; got -2.0"),
        (lambda: pairwise_accuracy([1, 2], [1, math.nan]), r"`scores` must be numbers; got NaN"),
        (lambda: pairwise_accuracy([1, 2], [1, 2], tolerance=-1), r"`tolerance` must be a number ≥ 0; got -1"),
        (lambda: peak_at_k([1], [1], k=0), r"`k` must be a whole number ≥ 1; got 0"),
        (lambda: top_k_recall([], [], k=1), r"`costs` must hold at least one program; got 0"),
    ],
)
def test_refuses_what_cannot_be_ranked(call, message):
    """The message names the argument and what it was."""
    with pytest.raises(InvalidInputError, match=message):
        call()
