# SPDX-License-Identifier: Apache-2.0
"""Take a run up again where its log ends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from familyseer.cost_model import CostModel
from familyseer.meta_schedule.search_policy import SearchPolicy, SketchPolicy
from familyseer.records import MeasureRecord, RecordLog, trials_for
from familyseer.task import Task

__all__ = ["Round", "recorded_rounds", "restore_policies"]

Round = tuple[int, list[MeasureRecord]]
"""Index of a task, and what was measured of it between two decisions of the scheduler."""


def recorded_rounds(log_file: Path, tasks: Sequence[Task]) -> list[Round]:
    """Return the rounds that a log has of these tasks and their target, in the order in which they were measured.

    Raises
    ------
    LogError
        When the log cannot be read, or holds trials but none for the tasks' target.
    """
    records = trials_for(RecordLog(log_file).read().records, tasks[0].target, log_file)
    index_of = {task.key: index for index, task in enumerate(tasks)}
    return [
        (index_of[key], list(group))
        for (key, _), group in groupby(records, key=lambda record: (record.task, record.round))
        if key in index_of
    ]


def restore_policies(policies: Sequence[SearchPolicy], model: CostModel | None, rounds: Sequence[Round]) -> None:
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
