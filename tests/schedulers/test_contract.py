# SPDX-License-Identifier: Apache-2.0
"""What every scheduler must do; a new one joins `SCHEDULERS`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from familyseer.errors import InvalidInputError
from familyseer.schedulers import FamilyGradientScheduler, GradientScheduler, RoundRobinScheduler, weighted_sum
from tests.schedulers.states import FAILED, task_states, tuned

SCHEDULERS = {
    "round_robin": lambda num_tasks: RoundRobinScheduler(),
    "gradient": lambda num_tasks: GradientScheduler(sum, rng=np.random.default_rng(7)),
    "gradient_weighted": lambda num_tasks: GradientScheduler(
        weighted_sum(range(num_tasks)), rng=np.random.default_rng(7)
    ),
    "family_gradient": lambda num_tasks: FamilyGradientScheduler(sum, rng=np.random.default_rng(7)),
    "gradient_maximum": lambda num_tasks: GradientScheduler(max, rng=np.random.default_rng(7)),
}

every_scheduler = pytest.mark.parametrize("make", SCHEDULERS.values(), ids=SCHEDULERS.keys())


@every_scheduler
@given(states=task_states())
def test_chooses_a_live_task(make, states):
    """The answer is the index of a task that is alive."""
    assert states[make(len(states)).next_task(states)].alive


@every_scheduler
@given(states=task_states())
def test_answers_alike_whenever_asked(make, states):
    """Asking again, or a new scheduler made alike, gives the same answer: a resumed run decides as before."""
    asked_often = make(len(states))

    answers = {asked_often.next_task(states) for _ in range(3)}

    assert answers == {make(len(states)).next_task(states)}


@every_scheduler
@given(states=task_states())
def test_a_retired_task_leaves_the_order_of_the_others(make, states):
    """Unless it was the answer itself, a task that retires does not change the answer."""
    chosen = make(len(states)).next_task(states)
    others = [s if i == chosen else replace(s, alive=False) for i, s in enumerate(states)]

    assert make(len(states)).next_task(others) == chosen


@every_scheduler
def test_refuses_when_no_task_is_alive(make):
    """Asking without a live task is the caller's mistake, and the message says so."""
    with pytest.raises(InvalidInputError, match="`states` must hold at least one task alive; got 0 of 1"):
        make(1).next_task([tuned("a", 1.0, alive=False)])


@every_scheduler
def test_tunes_each_task_once_first(make):
    """Tasks without a round come first, in order, however slow the others are."""
    states = [tuned("a", 100.0), tuned("b"), tuned("c", FAILED), tuned("d")]

    assert make(4).next_task(states) == 1


@every_scheduler
def test_gives_a_failed_task_a_second_round_after_the_first_rounds(make):
    """One round of failures may be bad luck: it is repeated before anything else."""
    states = [tuned("a", 100.0), tuned("b", 0.001), tuned("c", FAILED), tuned("d", FAILED)]

    assert make(4).next_task(states) == 2


@every_scheduler
def test_skips_a_task_that_was_retired_in_the_warm_up(make):
    """A dead task is not warmed up, whether it has had a round or not."""
    states = [tuned("a", alive=False), tuned("b", FAILED, alive=False), tuned("c", 0.1)]

    assert make(3).next_task(states) == 2
