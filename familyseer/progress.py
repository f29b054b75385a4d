# SPDX-License-Identifier: Apache-2.0
"""Live progress of a tuning run: a bar with the time left, and a line per round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from familyseer.measure import INVALID_COST, MeasureResult

__all__ = ["RoundProgress"]


class RoundProgress:
    """Shows what is tuned, how far the run is and when it will end; a callback of tuner and measurer alike.

    On a terminal the bar moves with every candidate; elsewhere only the lines of finished rounds are written, whole
    and each at once.

    Parameters
    ----------
    total
        Trials of the whole run.
    console
        Where to write.
    """

    def __init__(self, total: int, console: Console) -> None:
        self._console = console
        self._total = total
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("trials"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=total)

    def __enter__(self) -> RoundProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def pre_tune(self, task_scheduler: Any, task_id: int) -> None:
        """Name the task that is searched now."""
        self._bar.update(self._task, description=task_scheduler.tasks[task_id].desc, completed=task_scheduler.ct)

    def __call__(self, policy: Any, inputs: Sequence[Any], results: Sequence[MeasureResult]) -> None:
        """Move the bar by the candidates just measured."""
        self._bar.advance(self._task, len(results))

    def post_tune(self, task_scheduler: Any, task_id: int) -> None:
        """Write what the round gave: its number, trials so far, the task's best latency and the weighted sum of all."""
        self._bar.update(self._task, completed=task_scheduler.ct)
        width = len(str(self._total))
        self._console.print(
            f"round {sum(task_scheduler.task_cts):>4}  trials {task_scheduler.ct:>{width}}/{self._total}  "
            f"best {_ms(task_scheduler.states[task_id].best_cost):>10}  total {_ms(task_scheduler.cur_score):>10}  "
            f"{task_scheduler.tasks[task_id].desc}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _ms(seconds: float) -> str:
    return "-" if seconds >= INVALID_COST else f"{seconds * 1e3:.4f} ms"
