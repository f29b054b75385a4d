# SPDX-License-Identifier: Apache-2.0
"""The gradient scheduler follows Ansor's formula, and is not led astray by failures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from familyseer.errors import InvalidInputError
from familyseer.measure import MeasureResult
from familyseer.schedulers import GradientScheduler, weighted_sum
from tests.schedulers.states import FAILED, tuned


def gradient(objective=sum, seed=0, **options):
    """Return a new scheduler that minimises the sum unless told otherwise."""
    return GradientScheduler(objective, rng=np.random.default_rng(seed), **options)


def test_gradient_of_a_task_without_a_past_is_its_outlook():
    """With fewer rounds than the window only (1 − alpha) · g/t counts."""
    states = [tuned("a", 0.004), tuned("b", 0.006, 0.003)]

    assert gradient().gradients(states) == pytest.approx([-0.8 * 0.004, -0.8 * 0.0015])


def test_gradient_of_a_task_with_a_past_weighs_both():
    """From 10 to 5 ms over 3 rounds, then g/t = 1.25 ms: 0.2 · 5/3 + 0.8 · 1.25 ms."""
    states = [tuned("a", 0.010, 0.008, 0.006, 0.005), tuned("b", 0.001)]

    assert gradient().gradients(states) == pytest.approx([-0.2 * 0.005 / 3 - 0.8 * 0.00125, -0.0008])


def test_alpha_and_window_are_used():
    """With alpha 1 only the past counts, over the given window."""
    states = [tuned("a", 0.010, 0.008, 0.006, 0.005)]

    assert gradient(alpha=1.0, backward_window_size=2).gradients(states) == pytest.approx([-0.0015])
    assert gradient(alpha=1.0, backward_window_size=4).gradients(states) == [0.0]


def test_the_objective_decides_what_a_fall_is_worth():
    """Weights move the choice from the task with the larger gain to the more frequent one."""
    states = [tuned("a", 0.010, 0.008, 0.006, 0.005), tuned("b", 0.001)]

    assert gradient(weighted_sum([1, 1])).next_task(states) == 0
    assert gradient(weighted_sum([1, 2])).next_task(states) == 1


def test_only_the_slowest_task_counts_for_a_maximum():
    """The chain rule gives no gradient to tasks that do not move the objective."""
    states = [tuned("a", 0.001), tuned("b", 0.1, 0.1), tuned("c", 0.09)]

    assert gradient(max).gradients(states) == pytest.approx([0.0, -0.04, 0.0])


def test_a_similar_faster_task_raises_the_outlook():
    """At 0.2 TFLOP/s next to a similar task at 1, half of its speed is expected at least: 4 ms instead of 9."""
    slow = tuned("a", *[0.01] * 10, flops=2e9, similarity="conv2d_44")
    fast = tuned("b", 0.002, flops=2e9, similarity="conv2d_44")

    assert gradient(alpha=0.0).gradients([slow, fast]) == pytest.approx([-0.006, -0.002])
    assert gradient(alpha=0.0, beta=4.0).gradients([slow, fast]) == pytest.approx([-0.002, -0.002])


@pytest.mark.parametrize(
    "other",
    [
        tuned("b", 0.002, flops=2e9, similarity="dense_44"),
        tuned("b", FAILED, FAILED, flops=2e9, similarity="conv2d_44"),
    ],
)
def test_another_kind_of_task_does_not_raise_the_outlook(other):
    """Only similar tasks that have a schedule tell what is possible."""
    slow = tuned("a", *[0.01] * 10, flops=2e9, similarity="conv2d_44")

    assert gradient(alpha=0.0).gradients([slow, other])[0] == pytest.approx(-0.001)


def test_tasks_without_a_label_are_not_similar():
    """Empty labels are no group."""
    states = [tuned("a", *[0.01] * 10, flops=2e9), tuned("b", 0.002, flops=2e9)]

    assert gradient(alpha=0.0).gradients(states)[0] == pytest.approx(-0.001)


@pytest.mark.parametrize(
    ("rounds", "cost", "outlook"),
    [
        (7, 0.01, -0.01 / 7),  # more than 5 rounds ahead and over twice slower: left alone
        (6, 0.01, -0.006),  # not long enough
        (7, 0.0035, -0.0005),  # fast enough: g/t, as the bound of 4 ms lies above its latency
    ],
)
def test_a_task_that_stays_slow_leaves_its_group(rounds, cost, outlook):
    """A task over 5 rounds ahead of the others and still over `beta` slower is not similar after all."""
    states = [
        tuned("a", *[cost] * rounds, flops=2e9, similarity="conv2d_44"),
        tuned("b", 0.002, flops=2e9, similarity="conv2d_44"),
    ]
    scheduler = gradient(alpha=0.0)

    scheduler.observe(states, 0)

    assert scheduler.gradients(states)[0] == pytest.approx(outlook)


def test_a_task_that_left_its_group_does_not_come_back():
    """When the others catch up in rounds, it stays out, and they no longer look at it."""
    left = tuned("a", *[0.01] * 7, flops=2e9, similarity="conv2d_44")
    scheduler = gradient(alpha=0.0)
    scheduler.observe([left, tuned("b", 0.002, flops=2e9, similarity="conv2d_44")], 0)
    fast = tuned("a", *[0.01] * 7, 0.0001, flops=2e9, similarity="conv2d_44")
    others = [tuned(k, *[0.002] * 8, flops=2e9, similarity="conv2d_44") for k in "bc"]

    scheduler.observe([fast, *others], 0)

    assert scheduler.gradients([fast, *others]) == pytest.approx([-0.0001 / 8, -0.002 / 8, -0.002 / 8])


def test_failures_before_the_first_schedule_are_no_progress():
    """A window that begins at 1e10 s would make the gradient stick to the task."""
    late = tuned("a", FAILED, 0.001, 0.001, 0.001)
    scheduler = gradient()

    assert scheduler.gradients([late, tuned("b", 0.002)]) == pytest.approx([-0.8 * 0.00025, -0.8 * 0.002])
    assert scheduler.next_task([late, tuned("b", 0.002)]) == 1


def test_a_task_without_any_schedule_has_no_gradient():
    """After its warm-up a task with nothing but failures is the last choice, and does not disturb the others."""
    states = [tuned("a", FAILED, FAILED), tuned("b", 2e-6, 2e-6), tuned("c", 1e-6)]

    assert gradient().gradients(states) == pytest.approx([0.0, -0.8e-6, -0.8e-6])
    assert gradient().next_task([states[0], states[1]]) == 1


def test_all_tasks_without_schedules_are_still_a_choice():
    """If only failures are alive the scheduler answers, it does not fail itself."""
    assert gradient().next_task([tuned("a", FAILED, FAILED), tuned("b", 0.1, alive=False)]) == 0


def test_ties_are_broken_by_the_seed_and_the_round():
    """Equal tasks are all chosen as rounds go by, alike for the same seed and otherwise for another."""
    ties = [[tuned(key, *[0.01] * n) for key in "abcd"] for n in range(1, 31)]

    choices = [gradient(seed=1).next_task(states) for states in ties]

    assert set(choices) == {0, 1, 2, 3}
    assert choices == [gradient(seed=1).next_task(states) for states in ties]
    assert choices != [gradient(seed=2).next_task(states) for states in ties]


@pytest.mark.parametrize("rounds", range(1, 11))
def test_a_tie_among_fewer_tasks_has_the_same_winner(rounds):
    """When another task retires, the one that won the tie still wins it."""
    states = [tuned(key, *[0.01] * rounds) for key in "abcd"]
    winner = gradient().next_task(states)

    without_one = [
        [replace(state, alive=index != gone) for index, state in enumerate(states)] for gone in {0, 1, 2, 3} - {winner}
    ]

    assert [gradient().next_task(fewer) for fewer in without_one] == [winner] * 3


def replay(costs, rounds):
    """Return how many of `rounds` each task gets when its latency stays at its cost."""
    states = [tuned(f"k{index}") for index in range(len(costs))]
    scheduler = gradient()
    for _ in range(rounds):
        index = scheduler.next_task(states)
        states[index] = states[index].after_round([MeasureResult(costs=(costs[index],))])
        scheduler.observe(states, index)
    return [state.rounds for state in states]


def test_a_ten_times_faster_task_waits_for_ten_rounds_of_the_other():
    """Once 10.5 ms / t falls below 1 ms, the fast task gets its second round, not before."""
    assert replay([0.0105, 0.001], 12) == [11, 1]
    assert replay([0.0105, 0.001], 13) == [11, 2]


def test_a_thousand_times_faster_task_starves():
    """As with Ansor: within 100 rounds the fast task gets none but its warm-up."""
    assert replay([0.0105, 0.00001], 100) == [99, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -0.1}, "`alpha` must be a number from 0 to 1; got -0.1"),
        ({"alpha": float("nan")}, "`alpha` must be a number from 0 to 1; got nan"),
        ({"beta": 0.5}, "`beta` must be a number ≥ 1; got 0.5"),
        ({"backward_window_size": 0}, "`backward_window_size` must be an integer ≥ 1; got 0"),
        ({"backward_window_size": True}, "`backward_window_size` must be an integer ≥ 1; got True"),
    ],
)
def test_refuses_options_without_a_meaning(options, message):
    """Options out of range are refused by name."""
    with pytest.raises(InvalidInputError, match=message):
        gradient(**options)


def test_refuses_an_objective_that_turns_out_to_be_decreasing():
    """An objective that only misbehaves at the real latencies is refused when that shows."""
    states = [tuned("a", 0.5), tuned("b", 0.5)]

    with pytest.raises(InvalidInputError, match="must not grow when a latency falls"):
        gradient(lambda costs: costs[0] - costs[1]).next_task(states)
