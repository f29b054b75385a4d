# SPDX-License-Identifier: Apache-2.0
"""Where a search gets candidates from other than its own sampling: the place for transfer between relatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from familyseer.measure import MeasureResult
from familyseer.task import Task
from familyseer.transfer import Hope

__all__ = ["SeedSource"]


class SeedSource:
    """Where a policy gets candidates from other than sampling and its own best; this one knows of none."""

    def learn(self, task: Task, traces: Sequence[str], results: Sequence[MeasureResult]) -> None:
        """Take note of schedules: their traces, as JSON text, and what measuring them gave."""

    def seeds_for(self, task: Task, sketches: Sequence[str], count: int, rng: np.random.Generator) -> Sequence[str]:
        """Return up to `count` traces, as JSON text, that may fit the task whose sketches are given; best first."""
        return ()

    def efforts(self, task: Task, traces: Sequence[str]) -> Sequence[float]:
        """Return how much longer each schedule takes for its compilation, as a logarithm; 0 where nothing is known."""
        return [0.0] * len(traces)

    def proposals(
        self,
        task: Task,
        sketches: Sequence[str],
        count: int,
        *,
        share: float,
        build_weight: float,
        hope: Hope,
        rng: np.random.Generator,
    ) -> Sequence[str]:
        """Return up to `count` traces of a search among choices, best first, see `familyseer.transfer.propose`."""
        return ()

    def copies(self, task: Task, sketches: Sequence[str]) -> Sequence[str]:
        """Return traces that are copies of what faster relatives did (`familyseer.transfer.copies`), best first."""
        return ()

    def vectors(self, task: Task, sketches: Sequence[str], count: int, rng: np.random.Generator) -> Sequence[str]:
        """Return up to `count` traces with inner tiles that are new to the task (`familyseer.transfer.untried_vectors`)."""
        return ()
