# SPDX-License-Identifier: Apache-2.0
"""States follow from results, and a user's objective is checked before it is trusted."""

from __future__ import annotations

from math import inf, log, nan, prod
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.errors import InvalidInputError
from familyseer.measure import INVALID_COST, MeasureErrorNo, MeasureResult
from familyseer.schedulers import Objective, TaskState, similarity_label, weighted_sum
from familyseer.schedulers.base import known_costs
from familyseer.task import Task
from tests.schedulers.states import FAILED, tuned

FAILURE = MeasureResult(error_no=MeasureErrorNo.RUN_TIMEOUT)


def ok(*costs):
    """Return a valid measurement."""
    return MeasureResult(costs=costs)


def test_a_round_is_counted_with_its_best():
    """The median of the best candidate becomes the task's latency; rounds, trials and history go on."""
    state = TaskState(key="a", flops=8.0).after_round([ok(3.0), FAILURE, ok(1.0, 9.0, 2.0)])

    assert (state.rounds, state.trials, state.best_cost, state.history) == (1, 3, 2.0, (2.0,))
    assert (state.best_round, state.best_trial, state.speed) == (1, 3, 4.0)


def test_a_round_without_improvement_leaves_the_best():
    """The best stays with the round that found it; an equal latency is no improvement."""
    state = tuned("a", 2.0).after_round([ok(2.0), ok(5.0)])

    assert (state.rounds, state.trials, state.best_cost, state.history) == (2, 12, 2.0, (2.0, 2.0))
    assert (state.best_round, state.best_trial) == (1, 10)


@pytest.mark.parametrize("result", [FAILURE, ok(nan), ok(inf), ok(0.0), ok(-1.0), ok(INVALID_COST)])
def test_an_impossible_latency_is_no_schedule(result):
    """Failures and latencies that no clock can give leave the task without a schedule."""
    state = TaskState(key="a", flops=8.0).after_round([result])

    assert (state.has_schedule, state.best_cost, state.best_round, state.speed) == (False, INVALID_COST, 0, 0.0)


@pytest.mark.parametrize(
    ("state", "due"),
    [
        (tuned("a"), True),
        (tuned("a", FAILED), True),
        (tuned("a", FAILED, FAILED), False),
        (tuned("a", 1.0), False),
        (tuned("a", alive=False), False),
    ],
)
def test_warm_up_lasts_until_a_schedule_or_two_rounds(state, due):
    """A task is warmed up by a valid schedule or by two rounds without one."""
    assert state.needs_warm_up is due


def test_refuses_a_history_of_another_length():
    """The history is indexed by rounds, so their numbers must agree."""
    with pytest.raises(InvalidInputError, match="one cost per round; got 1 for 2 rounds"):
        TaskState(key="a", rounds=2, history=(1.0,))


@pytest.mark.parametrize(
    ("operator", "flops", "label"),
    [
        ("conv2d", 1e9, "conv2d_43"),
        ("conv2d", 1.1e9, "conv2d_43"),
        ("conv2d", 2e9, "conv2d_44"),
        ("dense", 1e9, "dense_43"),
        ("conv2d", 0.0, ""),
        ("other", 1e9, ""),
        ("", 1e9, ""),
    ],
)
def test_similar_tasks_share_a_label(operator, flops, label):
    """Same operator and about the same FLOPs make tasks similar; what is unknown is similar to nothing."""
    assert similarity_label(Task(key="k", name="", operator=operator, flops=flops)) == label


def test_a_task_without_a_schedule_counts_as_the_fastest():
    """So an objective is neither swallowed by 1e10 s nor undefined at 0 s."""
    assert known_costs([tuned("a", 0.5), tuned("b", FAILED), tuned("c", 0.25)]) == [0.5, 0.25, 0.25]
    assert known_costs([tuned("b", FAILED)]) == [INVALID_COST]


def test_weighted_sum_is_the_sum_of_weight_times_latency():
    """The default objective, in seconds."""
    assert weighted_sum([2, 0.5])([0.25, 3.0]) == 2.0


@pytest.mark.parametrize("score", [SimpleNamespace(value=2.5), np.float32(2.5), np.array(2.5)])
def test_unwraps_what_an_objective_returns(score):
    """Numbers of numpy and objects with a value, as Ansor took them, are numbers."""
    assert Objective(lambda costs: score)([1.0]) == 2.5


@pytest.mark.parametrize("score", [nan, inf, -inf])
def test_refuses_an_objective_that_is_not_finite(score):
    """NaN and infinity would make every comparison wrong."""
    with pytest.raises(InvalidInputError, match=r"`objective_func` must return a finite number for 2 latencies.*; got"):
        Objective(lambda costs: score)([1.0, 2.0])


@pytest.mark.parametrize("score", [None, "fast", [1.0, 2.0], 1j])
def test_refuses_an_objective_that_is_no_number(score):
    """Anything else than a number is refused with the kind of the failure."""
    with pytest.raises(InvalidInputError, match=r"`objective_func` must return a number for 1 latencies.*Error"):
        Objective(lambda costs: score)([1.0])


def test_an_objective_that_raises_is_named_and_chained():
    """The user sees that it was their function, and its own error below."""
    with pytest.raises(InvalidInputError, match="it raised ZeroDivisionError: ") as caught:
        Objective(lambda costs: 1 / 0)([1.0])

    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_objective_cannot_change_the_latencies():
    """It gets a copy, so that a function that sorts in place does no harm."""
    costs = [2.0, 1.0]

    Objective(lambda mine: mine.sort() or mine[0])(costs)

    assert costs == [2.0, 1.0]


@pytest.mark.parametrize(
    "function", [lambda costs: -sum(costs), lambda costs: costs[0] - costs[1], lambda costs: 1 / min(costs)]
)
def test_refuses_an_objective_that_grows_when_a_latency_falls(function):
    """An objective with the wrong sign is found before anything is measured."""
    with pytest.raises(InvalidInputError, match=r"must not grow when a latency falls; it grew from .* of task"):
        Objective(function).check(3)


@pytest.mark.parametrize(
    "function", [sum, max, prod, lambda costs: sum(log(c) for c in costs), lambda costs: max(costs[0], 5.0)]
)
def test_accepts_objectives_that_make_sense(function):
    """Sums, maxima, products, geometric means and requirements pass the check."""
    Objective(function).check(5)


def test_slopes_are_derivatives():
    """A weighted sum has its weights as slopes, at microseconds as well as at seconds."""
    objective = weighted_sum([3.0, 1.0, 0.0])

    assert objective.slopes([2e-6, 1.5, 0.1], [0, 1, 2]) == pytest.approx([3.0, 1.0, 0.0], rel=1e-6)


def test_growth_by_rounding_is_no_slope():
    """An objective that grows in its last digits is flat, not wrong."""
    assert Objective(lambda costs: 1.0 + 1e-12 * (costs[0] < 0.5)).slopes([0.5], [0]) == [0.0]


@given(st.lists(st.floats(1e-7, 100), min_size=1, max_size=8))
def test_slopes_of_sensible_objectives_are_never_negative(costs):
    """Rounding never turns a slope negative nor accuses a monotone objective."""
    everything = range(len(costs))

    for function in (sum, max, lambda values: sum(v**2 for v in values) ** 0.5):
        assert min(Objective(function).slopes(costs, everything)) >= 0
