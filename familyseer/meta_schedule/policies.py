# SPDX-License-Identifier: Apache-2.0
"""What the name of a policy means on this engine: a search policy for each task."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from familyseer.errors import InvalidInputError
from familyseer.families.keys import PolicyName
from familyseer.ledger import Ledger
from familyseer.meta_schedule.family_policy import FamilySketchPolicy
from familyseer.meta_schedule.knowledge import Knowledge
from familyseer.meta_schedule.search_params import SearchParams
from familyseer.meta_schedule.search_policy import SearchPolicy, SketchPolicy
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.task import Task

__all__ = ["check_policies", "make_policies"]

logger = logging.getLogger(__name__)


def make_policies(
    name: PolicyName,
    tasks: Sequence[SearchTask],
    described: Sequence[Task],
    knowledge: Knowledge,
    *,
    params: Mapping[str, Any] | None,
    seed: int,
    verbose: int,
    ledger: Ledger,
) -> list[SearchPolicy]:
    """Return a policy for each task; those with families share the seeds of `knowledge` too, and not only its model."""
    idle = () if name.family == "shared" else SearchParams.parse(params).idle()
    if idle:
        logger.warning(
            "%s searches among choices, where %s mean nothing; add 'choice_search': False for the evolution of programs",
            *(name, ", ".join(idle)),
        )
    make = SketchPolicy if name.family == "shared" else partial(FamilySketchPolicy, seeds=knowledge.seeds)
    return [
        make(
            task,
            knowledge.model,
            params=params,
            seed=seed,
            verbose=verbose,
            name=str(name),
            described=known,
            ledger=ledger,
        )
        for task, known in zip(tasks, described, strict=True)
    ]


def check_policies(given: Sequence[Any], tasks: int, ledger: Ledger) -> list[SearchPolicy]:
    """Return policies that a user made, one per task, which from now on charge their time to `ledger`."""
    policies = list(given)
    if len(policies) != tasks or not all(isinstance(policy, SearchPolicy) for policy in policies):
        raise InvalidInputError(f"`search_policy` must be a name or one SearchPolicy per task ({tasks}); got {given!r}")
    for policy in policies:
        policy.ledger = ledger
    return policies
