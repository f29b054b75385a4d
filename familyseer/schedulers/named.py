# SPDX-License-Identifier: Apache-2.0
"""Which scheduler a strategy's name means for a search policy; the same on every engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from familyseer.errors import InvalidInputError
from familyseer.families.guests import guest_labels
from familyseer.families.keys import PolicyName, partition_tasks
from familyseer.families.priors import priors
from familyseer.schedulers.base import TaskScheduler
from familyseer.schedulers.family_gradient import FamilyGradientScheduler
from familyseer.schedulers.gradient import GradientScheduler
from familyseer.schedulers.round_robin import RoundRobinScheduler
from familyseer.task import Task, TaskKey

__all__ = ["STRATEGIES", "first_tasks", "make_scheduler"]

STRATEGIES = ("gradient", "ansor", "round-robin")


def make_scheduler(
    strategy: str,
    objective: Callable[[list[float]], object],
    *,
    policy: PolicyName | None = None,
    tasks: Sequence[Task] = (),
    guests: Sequence[Task] = (),
    **options: Any,
) -> TaskScheduler:
    """Return a new scheduler.

    Parameters
    ----------
    strategy
        ``"gradient"``: for family policies priors first, then by gain per second in small rounds
        (`FamilyGradientScheduler`), else Ansor's. ``"ansor"``: Ansor's for all policies. ``"round-robin"``.
    objective
        See `GradientScheduler`.
    policy
        None where each task brings its own.
    tasks, guests
        Those to tune, and what earlier runs know (`familyseer.families.guests`).
    **options
        Of `GradientScheduler`.
    """
    if strategy not in STRATEGIES:
        raise InvalidInputError(f"`strategy` must be one of {', '.join(STRATEGIES)}; got {strategy!r}")
    if strategy == "round-robin":
        return RoundRobinScheduler()
    if strategy == "ansor" or policy is None or policy.family == "shared":
        return GradientScheduler(objective, **options)
    return FamilyGradientScheduler(objective, priors=first_tasks(policy, tasks, guests), **options)


def first_tasks(policy: PolicyName, tasks: Sequence[Task], guests: Sequence[Task] = ()) -> tuple[TaskKey, ...]:
    """Return the tasks to tune first: the priors of families without guests, who were tuned before."""
    partition = partition_tasks(policy, tasks)
    warm = set(guest_labels(guests, tasks, partition, policy.family).values())
    return tuple(key for key in priors(tasks, partition) if partition.family_of(key) not in warm)
