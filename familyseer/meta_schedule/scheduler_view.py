# SPDX-License-Identifier: Apache-2.0
"""How far a run is, under the names that ``tvm.auto_scheduler.TaskScheduler`` has for it: what callbacks look at."""

from __future__ import annotations

import numpy as np

from familyseer.cost_model import CostModel
from familyseer.families.keys import partition_tasks
from familyseer.families.learner import FamilyModel
from familyseer.families.partition import Partition
from familyseer.meta_schedule.knowledge import Knowledge
from familyseer.meta_schedule.tuning_options import TuningOptions
from familyseer.schedulers.base import TaskState
from familyseer.task import Task
from familyseer.tuner import Tuner

__all__ = ["SchedulerView"]


class SchedulerView:
    """The readable side of a `familyseer.meta_schedule.task_scheduler.TaskScheduler`.

    Attributes
    ----------
    described
        The tasks as the method sees them.
    tune_option
        Of the last `tune`.
    """

    described: tuple[Task, ...]
    tune_option: TuningOptions
    _knowledge: Knowledge
    _tuner: Tuner | None

    @property
    def model(self) -> CostModel | None:
        """The cost model that the tasks share; None before `tune`, and where each policy brought its own."""
        return self._knowledge.model

    @property
    def partition(self) -> Partition:
        """The present families; all tasks are one where they share a model."""
        if isinstance(self.model, FamilyModel):
            return self.model.partition
        return partition_tasks("shared", self.described)

    @property
    def states(self) -> tuple[TaskState, ...]:
        """How far each task is."""
        return self._tuner.states if self._tuner else tuple(TaskState(key=task.key) for task in self.described)

    @property
    def task_cts(self) -> list[int]:
        """Rounds of each task."""
        return [state.rounds for state in self.states]

    @property
    def task_best_cts(self) -> list[int]:
        """Round in which each task's best latency was found."""
        return [state.best_round for state in self.states]

    @property
    def task_costs_history(self) -> list[list[float]]:
        """Best latency of each task after each of its rounds."""
        return [list(state.history) for state in self.states]

    @property
    def best_costs(self) -> np.ndarray:
        """Best latency of each task in seconds, shape (t,); 1e10 where there is none."""
        return np.array([state.best_cost for state in self.states])

    @property
    def dead_tasks(self) -> set[int]:
        """Tasks that were given up."""
        return set(self._tuner.retired) if self._tuner else set()

    @property
    def ct(self) -> int:
        """Trials so far, those of a resumed log included."""
        return self._tuner.trials if self._tuner else 0

    @property
    def best_ct(self) -> int:
        """Trials at which the objective last improved."""
        return self._tuner.best_trial if self._tuner else 0

    @property
    def cur_score(self) -> float:
        """The objective of the best latencies; 1e10 while a task has none."""
        return self._tuner.score if self._tuner else 1e10

    @property
    def num_measures_per_round(self) -> int:
        """Candidates of a round."""
        return self._tuner.num_measures_per_round if self._tuner else self.tune_option.num_measures_per_round
