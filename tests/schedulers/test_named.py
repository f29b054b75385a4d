# SPDX-License-Identifier: Apache-2.0
"""Which scheduler a strategy means, and in which order family policies give first rounds."""

from __future__ import annotations

import numpy as np
import pytest

from familyseer.errors import InvalidInputError
from familyseer.families.keys import PolicyName
from familyseer.schedulers import FamilyGradientScheduler, GradientScheduler, RoundRobinScheduler
from familyseer.schedulers.named import first_rounds, make_scheduler
from familyseer.task import Task

FAMILIES = PolicyName.parse("sketch.xgb.family_op")


def task(key: str, operator: str, size: int, *, weight: float = 1.0) -> Task:
    """Return a task of one loop that computes as much as its extent."""
    return Task(key=key, name=key, operator=operator, shape=(size,), flops=float(size), weight=weight)


TASKS = [
    task("small", "conv2d", 2),
    task("alone", "softmax", 64),
    task("middle", "conv2d", 8),
    task("large", "conv2d", 32),
    task("often", "dense", 16, weight=3.0),
]


def test_priors_come_first_and_then_what_computes_most():
    """Only a family of several has a prior, its most central task; weights count."""
    assert first_rounds(FAMILIES, TASKS) == ("middle", "alone", "often", "large", "small")


def test_a_family_with_guests_needs_no_prior():
    """A task of an earlier run has taught it."""
    guest = task("guest", "conv2d", 4)

    assert first_rounds(FAMILIES, TASKS, [guest]) == ("alone", "often", "large", "middle", "small")


@pytest.mark.parametrize(
    ("strategy", "policy", "expected"),
    [
        ("gradient", "sketch.xgb.family_op", FamilyGradientScheduler),
        ("gradient", "sketch.xgb", GradientScheduler),
        ("ansor", "sketch.xgb.family_op", GradientScheduler),
        ("round-robin", "sketch.xgb.family_op", RoundRobinScheduler),
    ],
)
def test_what_a_strategy_means(strategy, policy, expected):
    """Families have a gradient of their own."""
    made = make_scheduler(
        strategy, sum, policy=PolicyName.parse(policy), tasks=TASKS, rng=np.random.default_rng(0), alpha=0.2
    )

    assert type(made) is expected


def test_an_unknown_strategy_is_refused():
    """With the names that there are."""
    with pytest.raises(InvalidInputError, match="`strategy` must be one of gradient, ansor, round-robin; got 'greedy'"):
        make_scheduler("greedy", sum)
