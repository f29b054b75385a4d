# SPDX-License-Identifier: Apache-2.0
"""In which order a model was shown programs, and which of them are worth a new training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from familyseer.task import TaskKey

__all__ = ["Arrivals"]


class Arrivals:
    """How many programs came in each batch, and of which task.

    What it answers follows from the batches alone, so that a resumed run trains on the same programs.

    Examples
    --------
    >>> arrivals = Arrivals()
    >>> for task, programs in [("a", 16), ("b", 16), ("a", 16), ("b", 4)]:
    ...     arrivals.add(task, programs)
    >>> arrivals.settled({"a", "b"}, growth=0.1)
    {'a': 32, 'b': 16}
    """

    def __init__(self) -> None:
        self._batches: list[tuple[TaskKey, int]] = []

    def add(self, task_key: TaskKey, programs: int) -> None:
        """Take note of a batch."""
        if programs:
            self._batches.append((task_key, programs))

    def forget(self, task_keys: Collection[TaskKey]) -> None:
        """Forget the batches of some tasks."""
        self._batches = [(key, programs) for key, programs in self._batches if key not in task_keys]

    def settled(self, task_keys: Collection[TaskKey], *, growth: float) -> dict[TaskKey, int]:
        """Return how many programs of each of these tasks had come when they last were more by a share of `growth`."""
        asked, counts, total, size = frozenset(task_keys), Counter[TaskKey](), 0, 0
        settled: dict[TaskKey, int] = {}
        for key, programs in self._batches:
            if key not in asked:
                continue
            counts[key] += programs
            total += programs
            if total - size >= growth * size:
                size, settled = total, dict(counts)
        return settled
