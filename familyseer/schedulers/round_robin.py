# SPDX-License-Identifier: Apache-2.0
"""Give every live task one turn after another."""

from __future__ import annotations

from collections.abc import Sequence

from familyseer.schedulers.base import TaskScheduler, TaskState

__all__ = ["RoundRobinScheduler"]


class RoundRobinScheduler(TaskScheduler):
    """Give every live task one turn after another: the one with the fewest rounds, the first of those.

    Latencies are ignored, so this is the baseline that other schedulers must beat. It remembers nothing.

    Examples
    --------
    >>> first = TaskState(key="conv", rounds=1, best_cost=0.5, history=(0.5,))
    >>> RoundRobinScheduler().next_task([first, TaskState(key="dense")])
    1
    """

    def _choose(self, states: Sequence[TaskState], live: Sequence[int]) -> int:
        return min(live, key=lambda index: states[index].rounds)
