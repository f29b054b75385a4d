# SPDX-License-Identifier: Apache-2.0
"""Running scores: means that forget, comparisons on common batches, and the way through a file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.cost_model import RunningScores
from familyseer.errors import InvalidInputError
from familyseer.metrics import Confidence

COSTS, RIGHT, WRONG, HALF = [1.0, 2.0, 3.0], [3, 2, 1], [1, 2, 3], [0, 0, 0]


def test_nothing_is_known_at_first():
    """No batch, no confidence and no advantage."""
    scores = RunningScores()

    assert scores.confidence("shared") == Confidence(batches=0, rank_correlation=0.0, top_quality=0.0)
    assert scores.advantage("family", over="shared") == 0


def test_confidence_is_a_mean_over_batches():
    """One batch in order, one the other way round: by weights 0.9 and 1."""
    scores = RunningScores(decay=0.9)
    scores.judge(COSTS, {"shared": RIGHT})
    assert scores.confidence("shared") == Confidence(batches=1, rank_correlation=1.0, top_quality=1.0)

    scores.judge(COSTS, {"shared": WRONG})
    found = scores.confidence("shared")
    assert found.batches == 2
    assert found.rank_correlation == pytest.approx((0.9 - 1) / 1.9)
    assert found.top_quality == pytest.approx((0.9 + 1 / 3) / 1.9)


def test_advantage_counts_common_batches():
    """A batch that only one model predicted compares nobody."""
    scores = RunningScores()
    scores.judge(COSTS, {"shared": WRONG})
    assert scores.advantage("family", over="shared") == 0

    scores.judge(COSTS, {"shared": HALF, "family": RIGHT})
    assert scores.advantage("family", over="shared") == 0.5
    assert scores.advantage("shared", over="family") == -0.5


@pytest.mark.parametrize("costs", [[1e10] * 3, [1.0, 1.01, 1.015], [2.0, 2.0, 2.0]])
def test_batch_without_differences_judges_nobody(costs):
    """All failed, all within the noise, all equal."""
    scores = RunningScores()
    scores.judge(costs, {"shared": RIGHT})

    assert scores.confidence("shared").batches == 0


def test_top_is_the_better_half_of_a_small_batch():
    """Of four, the two highest scores are looked at: the second best is the best of them."""
    scores = RunningScores()
    scores.judge([1.0, 2.0, 3.0, 4.0], {"shared": [0, 3, 2, 1]})

    assert scores.confidence("shared").top_quality == 0.5


@given(st.lists(st.permutations(range(3)), max_size=6))
def test_survives_a_file(orders):
    """What comes back goes on exactly as what went in."""
    scores = RunningScores()
    for order in orders:
        scores.judge(COSTS, {"shared": order, "family": RIGHT})
    back = RunningScores.from_json(json.loads(json.dumps(scores.to_json())))
    for each in (scores, back):
        each.judge(COSTS, {"shared": WRONG, "family": WRONG})

    assert back.to_json() == scores.to_json()


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"accuracy": {"a": [1]}, "top": {}, "advantage": []},
        {"accuracy": {"a": [-1, 0.5]}, "top": {}, "advantage": []},
        {"accuracy": {"a": [1, float("nan")]}, "top": {}, "advantage": []},
        {"accuracy": {}, "top": {}, "advantage": [["a", "b", 1]]},
        {"accuracy": {"a": [1, "x"]}, "top": {}, "advantage": []},
    ],
)
def test_what_is_no_score_is_refused(data):
    """Damaged files give a clear error."""
    with pytest.raises(InvalidInputError, match="running scores must be what `to_json` returned"):
        RunningScores.from_json(data)


@pytest.mark.parametrize("decay", [0, 1, -0.5, float("nan")])
def test_decay_lies_between_nothing_and_everything(decay):
    """The message says so."""
    with pytest.raises(InvalidInputError, match="`decay` must be a number between 0 and 1"):
        RunningScores(decay=decay)
