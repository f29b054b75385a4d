# SPDX-License-Identifier: Apache-2.0
"""Logs of tuning runs, as studies of their best schedules read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from familyseer.errors import InvalidInputError
from familyseer.meta_schedule.measure_record import load_tasks
from familyseer.records import Ranking, RecordLog, for_target
from familyseer.task import TaskKey

__all__ = ["read_best"]


def read_best(log: Path, most: int) -> tuple[Mapping[TaskKey, tuple[Any, Any]], Ranking]:
    """Return the tasks of a log of one target, each with its description, and the `most` best trials of each."""
    contents = RecordLog(log).read()
    targets = {workload.task.target for workload in contents.workloads}
    if len(targets) != 1:
        raise InvalidInputError(f"{log} must be a log of one target; it has {len(targets)}")
    (target,) = targets
    ranking = Ranking(most).extend(record for record in for_target(contents.records, target) if record.is_trial)
    return {info.key: (task, info) for task, info in load_tasks(contents, target)}, ranking
