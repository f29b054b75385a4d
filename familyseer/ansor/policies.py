# SPDX-License-Identifier: Apache-2.0
"""What a family policy's name means on this engine: a model that all tasks share, and a search policy for each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from familyseer.ansor.cost_model import FamilyCostModel
from familyseer.ansor.family_policy import FamilySketchPolicy
from familyseer.ansor.journal import Journal
from familyseer.ansor.records import Log
from familyseer.ansor.transfer import TransferSeeds
from familyseer.cost_model import XGBCostModel
from familyseer.errors import InvalidInputError
from familyseer.families.keys import PolicyName
from familyseer.families.learner import FamilyModel, family_model
from familyseer.ledger import Ledger
from familyseer.task import Task

__all__ = ["Policies", "family_name", "make_policies"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Policies:
    """The parts of a run.

    Parameters
    ----------
    name
        The policy's.
    learner, model
        The model and what TVM sees of it.
    seeds
        What relatives found; None where transfer is off.
    search
        One policy per task.
    journal
        What is told of rounds and families.
    """

    name: str
    learner: FamilyModel
    model: FamilyCostModel
    seeds: TransferSeeds | None
    search: Sequence[FamilySketchPolicy]
    journal: Journal


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
    journal: Journal | None = None,
) -> Policies:
    """Make the parts of a run after `log`; `familyseer.ansor.resume.restore` then lets the model learn it.

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
        Where all but TVM's own search, build and run is charged.
    journal
        What is to be told of rounds and families; None: nothing is.

    Raises
    ------
    InvalidInputError
        TVM has no such parameter.
    """
    account, journal = ledger or Ledger(), journal or Journal(None)
    learner = family_model(
        described,
        name,
        partial(XGBCostModel, seed=seed),
        seed=seed,
        on_change=journal.record,
        phase=lambda: account.phase("families"),
    )
    if model_file is not None and Path(model_file).exists():
        learner.load(Path(model_file))
    seeds = TransferSeeds(learner.relatives) if transfer else None
    model = FamilyCostModel(learner, account, spread=seeds.spread if seeds else None, seed=seed)
    search = [
        FamilySketchPolicy(
            task,
            model,
            params=params,
            seed=_stream(seed, index),
            verbose=verbose,
            seeds=seeds,
            measured=[state.line for state in log.states if state.task == index] if log else (),
            journal=journal,
        )
        for index, task in enumerate(tasks)
    ]
    return Policies(name=str(name), learner=learner, model=model, seeds=seeds, search=search, journal=journal)


def _stream(seed: int, index: int) -> int:
    """Return the seed of a task's policy: no two tasks of any two runs have the same."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])
