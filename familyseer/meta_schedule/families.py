# SPDX-License-Identifier: Apache-2.0
"""What a log says of the families of its tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from familyseer.cost_model import XGBCostModel
from familyseer.errors import LogError
from familyseer.families.keys import DEFAULT_POLICY, PolicyName
from familyseer.families.learner import FamilyModel, family_model
from familyseer.meta_schedule.family_policy import FamilySketchPolicy
from familyseer.meta_schedule.measure_record import load_tasks
from familyseer.meta_schedule.resume import recorded_rounds, restore_models
from familyseer.records import LogContents, MeasureRecord, Ranking, RecordLog, families_by, for_target
from familyseer.report import FamilyMap, FamilyRow, family_map
from familyseer.task import Task, TaskKey

__all__ = ["map_families"]


def map_families(log_file: Path, target: str) -> FamilyMap:
    """Work out the families of a log's tasks for one target.

    They are those that the run with a family policy ended with, and the models' scores are what it recorded. Of a log
    without such a run, they are those that the recommended policy would have now.

    Raises
    ------
    LogError
        The log cannot be read, or has no task that this TVM can rebuild.
    """
    contents = RecordLog(log_file).read()
    found = load_tasks(contents, target)
    if not found:
        raise LogError(f"the log {str(log_file)!r} must hold tasks for {target} that this TVM can rebuild; it has none")
    described = [info for _, info in found]
    name = _policy(contents, target)
    model = family_model(described, name, partial(XGBCostModel, adaptive_training=True))
    policies = [FamilySketchPolicy(task, model, name=str(name), described=info, verbose=0) for task, info in found]
    rounds = recorded_rounds(contents, described, log_file)
    restore_models(contents, policies, model, rounds)
    reasons = [change.reason for change in families_by(str(name), contents.families, target)]
    return _map(model, described, [record for _, records in rounds for record in records], reasons)


def _policy(contents: LogContents, target: str) -> PolicyName:
    """Return the last family policy that measured anything."""
    for record in reversed(list(for_target(contents.records, target))):
        if ".family_" in record.policy:
            return PolicyName.parse(record.policy)
    return PolicyName.parse(DEFAULT_POLICY)


def _map(
    model: FamilyModel, tasks: Sequence[Task], records: Sequence[MeasureRecord], reasons: Sequence[str]
) -> FamilyMap:
    tracker, trials = model.tracker, Counter(record.task for record in records)
    foreseen = _foreseen(records)
    known = tracker.evidence()
    if known.keys:
        tracker.cluster(known)
    by_key = {task.key: task for task in tasks}
    rows = [
        FamilyRow(
            name=label,
            tasks=tuple(by_key[key] for key in members),
            trials=tuple(trials[key] for key in members),
            serving=" and ".join(sorted({model.serving(key) for key in members})),
            confidence=model.family_confidence(label),
            foreseen={key: foreseen[key] for key in members if key in foreseen},
        )
        for label, members in model.partition.families
    ]
    return family_map(rows, by_key, known, tracker.clustering, reasons)


def _foreseen(records: Sequence[MeasureRecord]) -> dict[TaskKey, float]:
    """Return the speed of the best foreseen candidate over that of the best, of each task that has one."""
    best = Ranking().extend(records).best()
    first = Ranking().extend(record for record in records if record.foreseen).best()
    return {key: best[key].cost / record.cost for key, record in first.items()}
