# SPDX-License-Identifier: Apache-2.0
"""Take a run up again where its log ends."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from familyseer.cost_model import CostModel
from familyseer.errors import InvalidInputError
from familyseer.families.learner import FamilyModel
from familyseer.families.partition import Partition
from familyseer.meta_schedule.search_policy import SearchPolicy, SketchPolicy
from familyseer.records import FamiliesRecord, LogContents, MeasureRecord, families_by, trials_for
from familyseer.task import Task

__all__ = ["Round", "recorded_rounds", "restore_models"]

logger = logging.getLogger(__name__)

Round = tuple[int, list[MeasureRecord]]
"""Index of a task, and what was measured of it between two decisions of the scheduler."""


def recorded_rounds(contents: LogContents, tasks: Sequence[Task], log_file: Path) -> list[Round]:
    """Return the rounds that a log holds of these tasks and their target, in the order in which they were measured.

    Raises
    ------
    LogError
        When the log cannot be read, or holds trials but none for the tasks' target.
    """
    records = trials_for(contents.records, tasks[0].target, log_file)
    index_of = {task.key: index for index, task in enumerate(tasks)}
    return [
        (index_of[key], list(group))
        for (key, _), group in groupby(records, key=lambda record: (record.task, record.round))
        if key in index_of
    ]


def restore_models(
    contents: LogContents, policies: Sequence[SearchPolicy], model: CostModel | None, rounds: Sequence[Round]
) -> None:
    """Let policies, and the model that they share, become what they were after these rounds.

    A `FamilyModel` gets back its families, and its trust in its parts, from what the log says of both. What it had not
    yet decided when the run was interrupted it decides now, and all of it where another policy had measured.
    """
    if not isinstance(model, FamilyModel) or not rounds:
        _learn(policies, model, rounds)
        return
    last, name = rounds[-1][1][0], policies[0].name
    decided = families_by(name, contents.families, last.target)
    changes = {(change.task, change.round): change for change in decided}
    for _, records in rounds:
        model.judge(records[0].task, [record.cost for record in records], _predictions(records, name))
        change = changes.get((records[0].task, records[0].round))
        if change is not None:
            _adopt(model, change)
    _learn(policies, model, rounds)
    if all(record.policy != name for _, records in rounds for record in records):
        model.decide()
    elif (last.task, last.round) not in changes:
        model.catch_up()


def _adopt(model: FamilyModel, change: FamiliesRecord) -> None:
    try:
        model.adopt(Partition(families=change.families))
    except InvalidInputError as err:
        logger.warning("the log's families after round %d of task %s are left out: %s", change.round, change.task, err)


def _predictions(records: Sequence[MeasureRecord], policy: str) -> dict[str, list[float]]:
    """Return what each model that scored all of a round's candidates had said of them.

    The families of another policy are others, and so were their models.
    """
    names = set.intersection(*(set(record.predicted) for record in records))
    if any(record.policy != policy for record in records):
        names &= {"shared"}
    return {name: [record.predicted[name] for record in records] for name in sorted(names)}


def _learn(policies: Sequence[SearchPolicy], model: CostModel | None, rounds: Sequence[Round]) -> None:
    """Let policies, and the model that they share, learn rounds in the order in which they were measured."""
    batches = []
    for index, records in rounds:
        policy = policies[index]
        if isinstance(policy, SketchPolicy) and policy.model is model:
            batches += policy.recall(records)
        elif isinstance(policy, SketchPolicy):
            policy.restore(records)
    if model is not None:
        model.update_many(batches)
