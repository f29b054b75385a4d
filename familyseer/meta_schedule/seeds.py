# SPDX-License-Identifier: Apache-2.0
"""Where a search gets candidates from other than its own sampling: the place for transfer between relatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from familyseer.task import Task

__all__ = ["NoSeeds", "SeedSource"]


class SeedSource(Protocol):
    """Where a policy gets candidates from other than sampling and its own best."""

    def seeds_for(self, task: Task, count: int) -> Sequence[str]:
        """Return up to `count` traces, as JSON text, that may fit the task; best first."""


class NoSeeds:
    """The source of no seeds."""

    def seeds_for(self, task: Task, count: int) -> Sequence[str]:
        """Return nothing."""
        return ()
