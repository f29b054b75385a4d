# SPDX-License-Identifier: Apache-2.0
"""What a run has spent: every trial counted once per task, every second once per phase and task."""

from __future__ import annotations

import operator
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Literal, get_args

from familyseer.errors import InvalidInputError
from familyseer.task import TaskKey

__all__ = ["PHASES", "Budget", "Ledger", "LedgerSnapshot", "Phase", "share", "whole_number"]

Phase = Literal["search", "build", "run", "train", "families", "other"]
PHASES: tuple[Phase, ...] = get_args(Phase)


def whole_number(name: str, value: object, *, at_least: int, remedy: str = "") -> int:
    """Return `value` as an int, or raise `InvalidInputError` that calls it `name`.

    Accepts what counts as an integer to Python (``int``, ``numpy.int64``); refuses ``bool`` and ``900.0``.
    """
    try:
        number = at_least - 1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = at_least - 1
    if number < at_least:
        raise InvalidInputError(f"`{name}` must be an integer ≥ {at_least}; got {value!r}. {remedy}".rstrip())
    return number


def share(name: str, value: object) -> float:
    """Return `value` as a float from 0 to 1, or raise `InvalidInputError` that calls it `name`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise InvalidInputError(f"`{name}` must be a number from 0 to 1; got {value!r}")
    return float(value)


@dataclass(frozen=True, slots=True)
class Budget:
    """How many candidates may be measured in all, those of the runs that this one resumes included.

    Parameters
    ----------
    max_trials
        What users know as ``num_measure_trials``.

    Examples
    --------
    >>> Budget(100).remaining(64)
    36
    """

    max_trials: int

    def __post_init__(self) -> None:
        remedy = "Set how many candidates may be measured in all, for example 900 per task."
        object.__setattr__(
            self, "max_trials", whole_number("num_measure_trials", self.max_trials, at_least=1, remedy=remedy)
        )

    def remaining(self, used: int) -> int:
        """Return how many trials are left after `used`; 0 when a resumed log already holds more than the budget."""
        return max(self.max_trials - used, 0)

    def round_size(self, num_tasks: int, num_measures_per_round: int) -> int:
        """Return the trials of one round, at most `num_measures_per_round`, such that each task can be tuned once."""
        wanted = whole_number("num_measures_per_round", num_measures_per_round, at_least=1)
        if self.max_trials < num_tasks:
            raise InvalidInputError(
                f"`num_measure_trials` must be at least the number of tasks ({num_tasks}), so that each is tuned at "
                f"least once; got {self.max_trials}. Raise it, or tune fewer tasks."
            )
        return min(wanted, self.max_trials // num_tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSnapshot:
    """What had been spent at one moment; read-only.

    Parameters
    ----------
    trials
        Measured candidates per task, restored ones included.
    restored
        Those of `trials` that were read from a log.
    seconds
        Wall seconds of this process per phase and task; the key ``""`` holds what belongs to no single task.
    """

    trials: Mapping[TaskKey, int]
    restored: Mapping[TaskKey, int]
    seconds: Mapping[Phase, Mapping[TaskKey, float]]

    @property
    def total_trials(self) -> int:
        """Measured candidates of all tasks, restored ones included."""
        return sum(self.trials.values())

    @property
    def total_seconds(self) -> float:
        """Wall seconds of all phases."""
        return sum(self.phase_seconds(phase) for phase in PHASES)

    def phase_seconds(self, phase: Phase) -> float:
        """Return the wall seconds of one phase over all tasks."""
        return sum(self.seconds[phase].values())


class Ledger:
    """The one account of trials and seconds of a run.

    The tuner charges trials; whoever searches, builds, runs or trains opens a phase around it. Use it from one thread:
    it measures where that thread's time goes, so what other threads overlap with it is not counted twice.

    Parameters
    ----------
    clock
        Monotonic seconds.

    Examples
    --------
    >>> ledger = Ledger()
    >>> ledger.charge_trials("conv", 64)
    >>> with ledger.phase("search", "conv"):
    ...     pass
    >>> ledger.snapshot().total_trials
    64
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._trials: defaultdict[TaskKey, int] = defaultdict(int)
        self._restored: defaultdict[TaskKey, int] = defaultdict(int)
        self._seconds: dict[Phase, defaultdict[TaskKey, float]] = {phase: defaultdict(float) for phase in PHASES}
        self._open: list[tuple[Phase, TaskKey]] = []
        self._settled_at = 0.0

    def charge_trials(self, task_key: TaskKey, count: int, *, restored: bool = False) -> None:
        """Add `count` measured candidates to a task; `restored` tells that an earlier run measured them."""
        count = whole_number("count", count, at_least=0)
        self._trials[task_key] += count
        if restored:
            self._restored[task_key] += count

    @contextmanager
    def phase(self, name: Phase, task_key: TaskKey = "") -> Iterator[None]:
        """Charge the time inside the ``with`` block to a phase of a task.

        A phase opened inside another one takes its time away from the outer one, so no second counts twice.
        """
        if name not in PHASES:
            raise InvalidInputError(f"`name` must be one of {', '.join(PHASES)}; got {name!r}")
        self._settle()
        self._open.append((name, task_key))
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def move(self, source: Phase, to: Phase, task_key: TaskKey, seconds: float) -> None:
        """Charge seconds of one phase to another.

        Where two phases overlap, only who did the work can tell them apart.
        """
        self._settle()
        self._seconds[source][task_key] -= seconds
        self._seconds[to][task_key] += seconds

    def snapshot(self) -> LedgerSnapshot:
        """Return what has been spent until now, the elapsed part of open phases included."""
        self._settle()
        return LedgerSnapshot(
            trials=MappingProxyType(dict(self._trials)),
            restored=MappingProxyType(dict(self._restored)),
            seconds=MappingProxyType({p: MappingProxyType(dict(s)) for p, s in self._seconds.items()}),
        )

    def _settle(self) -> None:
        """Charge the time since the last call to the innermost open phase."""
        now = self._clock()
        if self._open:
            name, task_key = self._open[-1]
            self._seconds[name][task_key] += now - self._settled_at
        self._settled_at = now
