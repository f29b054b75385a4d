# SPDX-License-Identifier: Apache-2.0
"""What a task scheduler tells its user after each round, as in ``tvm.auto_scheduler``."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from familyseer.measure import INVALID_COST

if TYPE_CHECKING:
    from familyseer.meta_schedule.task_scheduler import TaskScheduler

__all__ = ["LogEstimatedLatency", "PrintTableInfo", "TaskSchedulerCallback"]


class TaskSchedulerCallback:
    """Called before and after each round of a task."""

    def pre_tune(self, task_scheduler: TaskScheduler, task_id: int) -> None:
        """Take note that task `task_id` is tuned next."""

    def post_tune(self, task_scheduler: TaskScheduler, task_id: int) -> None:
        """Take note that task `task_id` was tuned."""


def _milliseconds(seconds: float) -> str:
    return "-" if seconds >= INVALID_COST else f"{1e3 * seconds:.3f}"


class PrintTableInfo(TaskSchedulerCallback):
    """Print the progress of all tasks before each round.

    Parameters
    ----------
    console
        Where to print; None means standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()

    def pre_tune(self, task_scheduler: TaskScheduler, task_id: int) -> None:
        """Print one line per task, then the estimated total; nothing with ``verbose=0``."""
        if task_scheduler.tune_option.verbose < 1:
            return
        table = Table("ID", "Task", "Latency (ms)", "Speed (GFLOPS)", "Trials", title="Task Scheduler")
        for index, (task, state) in enumerate(zip(task_scheduler.tasks, task_scheduler.states, strict=True)):
            speed = f"{state.speed / 1e9:.2f}" if state.has_schedule else "-"
            table.add_row(str(index), Text(task.desc), _milliseconds(state.best_cost), speed, str(state.trials))
        self._console.print(table)
        self._console.print(
            f"Estimated total latency: {_milliseconds(task_scheduler.cur_score)} ms  Trials: {task_scheduler.ct}  "
            f"Used time: {time.time() - task_scheduler.tic:.0f} s  Next ID: {task_id}"
        )


class LogEstimatedLatency(TaskSchedulerCallback):
    """Append the estimated total latency to a file after each round.

    TVM deleted the file first, and with it the history of a run that is resumed; here it is kept.

    Parameters
    ----------
    log_file
        The file, tab-separated.
    """

    def __init__(self, log_file: str | os.PathLike[str]) -> None:
        self.log_file = os.fspath(log_file)

    def post_tune(self, task_scheduler: TaskScheduler, task_id: int) -> None:
        """Append one line."""
        score = task_scheduler.cur_score
        latency = "N/A" if score >= INVALID_COST else f"{score * 1e3:.3f}"
        elapsed = time.time() - task_scheduler.tic
        with open(self.log_file, "a", encoding="utf-8") as file:
            file.write(f"ElapsedTime(s)\t{elapsed:.0f}\tEstimatedLatency(ms)\t{latency}\tTrials\t{task_scheduler.ct}\n")
