# SPDX-License-Identifier: Apache-2.0
"""What a search policy remembers of the candidates of its task that were measured."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from math import inf

from tvm.s_tir import Schedule

from familyseer.measure import MeasureResult
from familyseer.meta_schedule.space import module_hash

__all__ = ["Measured"]

_REMEMBERED = 128  # traces of the best candidates, from which later populations grow


class Measured:
    """The identities of all measured candidates, and the traces of the best.

    Attributes
    ----------
    trials
        Candidates that were measured.
    """

    def __init__(self) -> None:
        self.trials = 0
        self._identities: set[int] = set()
        self._best: list[tuple[float, int, str]] = []  # heap of (-cost, tie, trace)

    def __contains__(self, schedule: Schedule) -> bool:
        return module_hash(schedule) in self._identities

    def __len__(self) -> int:
        """Return how many different programs were measured."""
        return len(self._identities)

    def add(self, schedules: Sequence[Schedule], traces: Sequence[str], results: Sequence[MeasureResult]) -> None:
        """Take note of a batch."""
        self._identities.update(map(module_hash, schedules))
        self.trials += len(results)
        for trace, result in zip(traces, results, strict=True):
            if result.costs:
                heapq.heappush(self._best, (-result.cost, -len(self), trace))
        while len(self._best) > _REMEMBERED:
            heapq.heappop(self._best)

    @property
    def best_cost(self) -> float:
        """Seconds of the fastest candidate, infinite before there is one."""
        return -max(self._best)[0] if self._best else inf

    def best_traces(self, count: int) -> list[str]:
        """Return the traces of at most `count` of the fastest candidates, and of no more than are remembered, fastest first."""
        return [trace for _, _, trace in sorted(self._best, reverse=True)[:count]]

    def new(self, schedules: Sequence[Schedule], count: int, seen: set[int]) -> list[Schedule]:
        """Return the first `count` schedules neither measured before nor in `seen`, and add them to it."""
        picked: list[Schedule] = []
        for schedule in schedules:
            if len(picked) >= count:
                break
            identity = module_hash(schedule)
            if identity not in self._identities and identity not in seen:
                seen.add(identity)
                picked.append(schedule)
        return picked
