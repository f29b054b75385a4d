# SPDX-License-Identifier: Apache-2.0
"""Where a search gets candidates from other than its own sampling: the place for transfer between relatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from familyseer.task import Task

__all__ = ["NoSeeds", "SeedSource"]


class SeedSource(Protocol):
    """Where a policy gets candidates from other than sampling and its own best."""

    def learn(self, task: Task, traces: Sequence[str], costs: Sequence[float]) -> None:
        """Take note of measured schedules: their traces, as JSON text, and latencies in seconds."""

    def seeds_for(self, task: Task, sketches: Sequence[str], count: int, rng: np.random.Generator) -> Sequence[str]:
        """Return up to `count` traces, as JSON text, that may fit the task whose sketches are given; best first."""

    def proposals(
        self, task: Task, sketches: Sequence[str], count: int, share: float, rng: np.random.Generator
    ) -> Sequence[str]:
        """Return up to `count` traces of a search among choices, best first; at most `share` of them with one inner tile."""


class NoSeeds:
    """The source of no seeds."""

    def learn(self, task: Task, traces: Sequence[str], costs: Sequence[float]) -> None:
        """Forget them."""

    def seeds_for(self, task: Task, sketches: Sequence[str], count: int, rng: np.random.Generator) -> Sequence[str]:
        """Return nothing."""
        return ()

    def proposals(
        self, task: Task, sketches: Sequence[str], count: int, share: float, rng: np.random.Generator
    ) -> Sequence[str]:
        """Return nothing."""
        return ()
