# SPDX-License-Identifier: Apache-2.0
"""What a family policy's name means on this engine: a model that all tasks share, and a search policy for each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from familyseer.ansor.cost_model import FamilyCostModel
from familyseer.ansor.family_policy import FamilySketchPolicy
from familyseer.ansor.records import Log, Round
from familyseer.ansor.transfer import TransferSeeds
from familyseer.cost_model import XGBCostModel
from familyseer.errors import InvalidInputError
from familyseer.families.keys import PolicyName
from familyseer.families.learner import FamilyModel, family_model
from familyseer.ledger import Ledger
from familyseer.task import Task

__all__ = ["Policies", "family_name", "make_policies", "restore"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Policies:
    """The parts of a run.

    Parameters
    ----------
    learner, model
        The model and what TVM sees of it.
    seeds
        What relatives found; None where transfer is off.
    search
        One policy per task.
    """

    learner: FamilyModel
    model: FamilyCostModel
    seeds: TransferSeeds | None
    search: Sequence[FamilySketchPolicy]


def family_name(search_policy: object) -> PolicyName | None:
    """Return the policy that a name means if that is one with families; others are TVM's own business."""
    try:
        name = PolicyName.parse(search_policy) if isinstance(search_policy, str) else None
    except InvalidInputError:
        return None
    return name if name is not None and name.family != "shared" else None


def make_policies(
    name: PolicyName,
    tasks: Sequence[Any],
    described: Sequence[Task],
    *,
    params: Mapping[str, Any] | None = None,
    verbose: int = 1,
    seed: int = 0,
    transfer: bool = True,
    log: Log | None = None,
    model_file: str | os.PathLike[str] | None = None,
    ledger: Ledger | None = None,
) -> Policies:
    """Make the parts of a run, as they were after what `log` holds; `restore` then lets the model learn it.

    Parameters
    ----------
    name, tasks, described
        What to tune, and how.
    params, verbose, seed
        Of the search policies.
    transfer
        Whether tasks start from the tile sizes of their relatives.
    log
        Measurements that are not to be repeated.
    model_file
        Folder of a saved model to start from, if it exists.
    ledger
        Where training is charged.
    """
    learner = family_model(described, name, partial(XGBCostModel, seed=seed), seed=seed)
    if model_file is not None and Path(model_file).exists():
        learner.load(Path(model_file))
    seeds = TransferSeeds(learner.relatives) if transfer else None
    model = FamilyCostModel(learner, ledger, spread=seeds.spread if seeds else None)
    search = [
        FamilySketchPolicy(
            task,
            model,
            params=params,
            seed=seed + index,
            verbose=verbose,
            seeds=seeds,
            measured=[state.line for state in log.states if state.task == index] if log else (),
        )
        for index, task in enumerate(tasks)
    ]
    return Policies(learner=learner, model=model, seeds=seeds, search=search)


def restore(policies: Policies, rounds: Sequence[Round], tasks: Sequence[Any]) -> None:
    """Let model, families and donors become what they were after these rounds."""
    for index, states in rounds:
        given, results = [state.state for state in states], [state.result for state in states]
        policies.model.learn(tasks[index], given, results)
        if policies.seeds is not None:
            policies.seeds.learn(tasks[index], given, results)
