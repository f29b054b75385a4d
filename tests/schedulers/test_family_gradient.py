# SPDX-License-Identifier: Apache-2.0
"""An order of first rounds, gain per second, small rounds, and nobody waits for ever."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from familyseer.measure import MeasureResult
from familyseer.metrics import Confidence
from familyseer.schedulers import FamilyGradientScheduler, TaskState
from tests.schedulers.states import tuned

TRUSTED = Confidence(batches=3, rank_correlation=0.5, top_quality=0.9)


def scheduler(objective=sum, **options) -> FamilyGradientScheduler:
    """Return a scheduler of the sum of latencies."""
    return FamilyGradientScheduler(objective, rng=np.random.default_rng(7), **options)


def test_first_rounds_have_an_order():
    """Each task has one before any has a second; those that the order does not name come last."""
    states = [tuned("a"), tuned("b"), tuned("c"), tuned("d", 0.1)]
    order = ["d", "b", "c", "nobody"]

    assert scheduler(order=order).next_task(states) == 1
    states[1] = tuned("b", 0.1)
    assert scheduler(order=order).next_task(states) == 2
    states[2] = tuned("c", 0.1)
    assert scheduler(order=order).next_task(states) == 0


def test_a_retired_task_is_passed_over():
    """A space that holds nothing has no round."""
    assert scheduler(order=["a"]).next_task([tuned("a", alive=False), tuned("b")]) == 1


@pytest.mark.parametrize(
    ("rounds", "confidence", "expected"),
    [
        (0, Confidence(), 8),
        (0, TRUSTED, 4),
        (0, replace(TRUSTED, rank_correlation=0.0), 4),
        (0, replace(TRUSTED, rank_correlation=-0.1), 8),
        (1, Confidence(), 8),
        (4, TRUSTED, 8),
        (4, replace(TRUSTED, rank_correlation=0.2), 8),
        (4, replace(TRUSTED, rank_correlation=0.1), 23),
        (4, replace(TRUSTED, rank_correlation=0.0), 64),
        (4, replace(TRUSTED, rank_correlation=-0.5), 64),
    ],
)
def test_rounds_are_small_unless_the_model_ranks_badly(rounds, confidence, expected):
    """Large are those of tasks that had one and whose model ranks badly; foreseen ones are smallest."""
    state = replace(tuned("a", *[0.1] * rounds), confidence=confidence)

    assert scheduler().round_size([state], 0, 64) == expected
    assert scheduler().round_size([state], 0, 3) == 3
    assert scheduler(foreseen=8).round_size([state], 0, 64) == (expected if rounds else 8)
    if rounds:
        assert scheduler(sure=0.0).round_size([state], 0, 64) == 8


def test_seconds_count_and_not_rounds():
    """Equal latencies after equal rounds: the task whose rounds took a fourth of the time is expected to gain more."""
    states = [replace(tuned(key, 0.1, 0.1), spent=(half, 2 * half)) for key, half in (("a", 7.0), ("b", 1.0))]
    subject = scheduler(alpha=0.0)

    assert subject.gradients(states) == pytest.approx([-0.1 / 16, -0.1 / 4])  # a second of search per round
    assert subject.next_task(states) == 1


def test_past_gains_count_per_second():
    """From 200 to 100 ms in the three rounds of the window, which took 5 s with search."""
    state = replace(tuned("a", 0.2, 0.2, 0.1, 0.1), spent=(1.0, 2.0, 2.5, 3.0))

    assert scheduler(alpha=1.0).gradients([state]) == pytest.approx([-0.1 / 5])


def test_a_similar_faster_task_raises_the_outlook():
    """Half of the similar task's speed is expected after one more round of 2 s."""
    slow = replace(tuned("a", *[0.01] * 4, flops=2e9, similarity="conv2d_44"), spent=(1.0, 2.0, 3.0, 4.0))
    fast = replace(tuned("b", 0.002, flops=2e9, similarity="conv2d_44"), spent=(1.0,))

    assert scheduler(alpha=0.0, settled=40).gradients([slow, fast]) == pytest.approx([-0.006 / 2, -0.002 / 2])
    assert scheduler(alpha=0.0, settled=10).gradients([slow, fast]) == pytest.approx([-0.006 / 2 / 16, -0.002 / 2])


def test_hope_falls_faster_beyond_what_is_usual():
    """A task with twelve times the latency waits once it had three times the trials of the other; with hope as Ansor's it does not."""
    states = [tuned("heavy", *[1.2] * 6), tuned("light", *[0.1] * 2)]

    assert scheduler(alpha=0.0).gradients(states) == pytest.approx([-0.2 * 0.4**2, -0.05])
    assert scheduler().next_task(states) == 1
    assert scheduler(settled=10**9).gradients(states) == scheduler(settled=60).gradients(states)
    assert scheduler(settled=60).next_task(states) == 0


def test_without_seconds_rounds_count():
    """Old records do not say how long they took."""
    assert scheduler(alpha=0.0).gradients([tuned("a", 0.1, 0.1)]) == pytest.approx([-0.05])


def test_results_tell_their_seconds():
    """A round adds what building and running its candidates took."""
    results = [MeasureResult(costs=(0.1,), build_seconds=0.5, run_seconds=0.25)] * 2
    once = TaskState(key="a").after_round(results)

    assert once.spent == (1.5,)
    assert once.after_round(results[:1]).spent == (1.5, 2.25)


def test_no_task_waits_for_ever():
    """A task a hundred thousand times faster than the others has a round whenever all could have had sixteen."""
    subject = scheduler()
    states = [tuned("slow", 10.0), tuned("slower", 20.0), tuned("fast", 1e-4)]
    for index in range(3):
        subject.observe(states, index)
    turns = []
    for _ in range(200):
        index = subject.next_task(states)
        states[index] = states[index].after_round([MeasureResult(costs=(states[index].best_cost,))])
        subject.observe(states, index)
        turns.append(index)

    assert [turn for turn, index in enumerate(turns) if index == 2] == [49, 99, 149, 199]
    assert Counter(turns).most_common(1)[0][0] == 1
