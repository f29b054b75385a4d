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

__all__ = ["STRATEGIES", "first_rounds", "make_scheduler"]

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
        ``"gradient"``: for family policies small first rounds, priors before others, then by gain per second
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
    return FamilyGradientScheduler(objective, order=first_rounds(policy, tasks, guests), **options)


def first_rounds(policy: PolicyName, tasks: Sequence[Task], guests: Sequence[Task] = ()) -> tuple[TaskKey, ...]:
    """Return the order of all tasks' first rounds: priors, then those that compute most.

    A family has a prior where somebody is to learn from it, and no guest who was tuned before.
    """
    partition = partition_tasks(policy, tasks)
    warm = set(guest_labels(guests, tasks, partition, policy.family).values())
    cold = {key for label, members in partition.families if len(members) > 1 and label not in warm for key in members}
    early = [key for key in priors(tasks, partition) if key in cold]
    heaviest = sorted(tasks, key=lambda task: -task.weight * task.flops)
    return tuple(dict.fromkeys([*early, *(task.key for task in heaviest)]))
