# SPDX-License-Identifier: Apache-2.0
"""What a scheduler sees of a task, what it optimises, and what it must answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import fsum, isfinite, log

from familyseer.errors import FamilySeerError, InvalidInputError
from familyseer.measure import INVALID_COST, MeasureResult
from familyseer.metrics import Confidence
from familyseer.task import Task, TaskKey

__all__ = [
    "ROUNDS_BEFORE_RETIREMENT",
    "Objective",
    "TaskScheduler",
    "TaskState",
    "is_valid_cost",
    "known_costs",
    "seconds_of",
    "similarity_label",
    "weighted_sum",
]

ROUNDS_BEFORE_RETIREMENT = 2
"""Rounds that a task without any valid schedule gets; the first of a small budget may be only a few trials."""

_FLOPS_BUCKET_BASE = 1.618  # Ansor's: tasks within this factor of floating-point operations may be similar
_RELATIVE_STEP = 1e-3
_ROUNDING = 1e-9


def similarity_label(task: Task) -> str:
    """Return a label that tasks of similar speed (FLOP/s) share; empty when nothing can be said.

    As Ansor's tag: the operator and ``floor(log_1.618(FLOPs + 1))``.
    """
    if task.flops <= 0 or task.operator in ("", "other"):
        return ""
    return f"{task.operator}_{int(log(task.flops + 1, _FLOPS_BUCKET_BASE))}"


def is_valid_cost(cost: float) -> bool:
    """Return whether a latency in seconds is one: positive, and not the mark of a failure."""
    return 0 < cost < INVALID_COST


def seconds_of(result: MeasureResult) -> float:
    """Return the seconds that building and running a candidate took."""
    return result.all_cost


_UNKNOWN = Confidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """How far the tuning of one task is.

    Parameters
    ----------
    key
        Identity of the task.
    flops
        Floating-point operations of one call; 0 when unknown.
    similarity
        Tasks with the same label are expected to reach similar FLOP/s; empty for none (see `similarity_label`).
    rounds, trials
        Rounds that measured something, and candidates measured.
    best_cost
        Lowest valid latency in seconds; `INVALID_COST` while there is none.
    best_round, best_trial
        `rounds` and `trials` after the round that found it; 0 while there is none.
    history
        `best_cost` after each round.
    spent
        What its candidates have cost in all, after each round: seconds of building and running, or whatever else the run
        counts them by (see `familyseer.tuner.Tuner`); empty when unknown.
    alive
        Whether it may be chosen.
    confidence
        How far the cost model that serves it can be trusted at present.
    """

    key: TaskKey
    flops: float = 0.0
    similarity: str = ""
    rounds: int = 0
    trials: int = 0
    best_cost: float = INVALID_COST
    best_round: int = 0
    best_trial: int = 0
    history: tuple[float, ...] = ()
    spent: tuple[float, ...] = ()
    alive: bool = True
    confidence: Confidence = _UNKNOWN

    def __post_init__(self) -> None:
        if len(self.history) != self.rounds:
            raise InvalidInputError(
                f"`history` must have one cost per round; got {len(self.history)} for {self.rounds} rounds"
            )
        if len(self.spent) not in (0, self.rounds):
            raise InvalidInputError(
                f"`spent` must have one number per round, or none; got {len(self.spent)} for {self.rounds} rounds"
            )

    @property
    def has_schedule(self) -> bool:
        """Whether any candidate was valid."""
        return is_valid_cost(self.best_cost)

    @property
    def needs_warm_up(self) -> bool:
        """Whether it is due a round before anything is weighed: its first, or another after failures only."""
        return self.alive and not self.has_schedule and self.rounds < ROUNDS_BEFORE_RETIREMENT

    @property
    def speed(self) -> float:
        """Best FLOP/s; 0 when unknown."""
        return self.flops / self.best_cost if self.has_schedule else 0.0

    def after_round(
        self, results: Sequence[MeasureResult], effort: Callable[[MeasureResult], float] = seconds_of
    ) -> TaskState:
        """Return the state after a round with these results (at least one), each of which cost `effort`."""
        best = min((result.cost for result in results if is_valid_cost(result.cost)), default=INVALID_COST)
        rounds, trials, better = self.rounds + 1, self.trials + len(results), best < self.best_cost
        best_cost = best if better else self.best_cost
        spent = (self.spent[-1] if self.spent else 0.0) + sum(map(effort, results))
        return replace(
            self,
            rounds=rounds,
            trials=trials,
            best_cost=best_cost,
            best_round=rounds if better else self.best_round,
            best_trial=trials if better else self.best_trial,
            history=(*self.history, best_cost),
            spent=(*self.spent, spent) if len(self.spent) == self.rounds else (),
        )


def known_costs(states: Sequence[TaskState]) -> list[float]:
    """Return the best latencies; a task without one counts as the fastest that has, or `INVALID_COST` if none has.

    An objective of 1e10 seconds would swallow the microseconds of the others in rounding (sums), overflow (products) or
    hide them (maxima). The smallest known latency does none of this.
    """
    fastest = min((state.best_cost for state in states if state.has_schedule), default=INVALID_COST)
    return [state.best_cost if state.has_schedule else fastest for state in states]


class Objective:
    """A function of all latencies that tuning minimises, with the checks that a user's function needs.

    Parameters
    ----------
    function
        Takes the latencies (t,) in seconds, in order of the tasks, and returns a number. It must never grow when a
        latency falls. A return value with an attribute ``value`` is unwrapped, as Ansor did.

    Examples
    --------
    >>> Objective(max)([0.25, 0.5])
    0.5
    """

    def __init__(self, function: Callable[[list[float]], object]) -> None:
        self._function = function

    def __call__(self, costs: Sequence[float]) -> float:
        """Return the objective of latencies (t,); raises `InvalidInputError` if that is not a finite number."""
        try:
            score = self._function(list(costs))
            number = float(getattr(score, "value", score))  # type: ignore[arg-type]
        except FamilySeerError:
            raise
        except Exception as err:  # the user's code: whatever it raises, they need to know which function it was
            raise InvalidInputError(
                f"`objective_func` must return a number for {len(costs)} latencies in seconds; "
                f"it raised {type(err).__name__}: {err}"
            ) from err
        if not isfinite(number):
            raise InvalidInputError(
                f"`objective_func` must return a finite number for {len(costs)} latencies in seconds; got {number!r}"
            )
        return number

    def check(self, num_tasks: int) -> None:
        """Try the function on plausible latencies, so that a wrong one fails before hours of measuring."""
        costs = [1e-3] * num_tasks
        here = self(costs)
        for index in range(num_tasks):
            self._fall(here, costs, index, 0.5)

    def slopes(self, costs: Sequence[float], indices: Sequence[int]) -> list[float]:
        """Return the derivatives by the latencies at `indices`, each ≥ 0.

        Finite differences with a step of 1/1000 of the latency. Ansor steps 0.1 ms, which makes the latency of a task
        of microseconds negative.
        """
        here = self(costs)
        return [self._fall(here, costs, i, _RELATIVE_STEP) / (_RELATIVE_STEP * costs[i]) for i in indices]

    def _fall(self, here: float, costs: Sequence[float], index: int, fraction: float) -> float:
        lowered = list(costs)
        lowered[index] *= 1 - fraction
        there = self(lowered)
        if there - here > _ROUNDING * abs(here):
            raise InvalidInputError(
                f"`objective_func` must not grow when a latency falls; it grew from {here:.9g} to {there:.9g} when "
                f"the latency of task {index} fell from {costs[index]:.9g} s to {lowered[index]:.9g} s"
            )
        return max(here - there, 0.0)


def weighted_sum(weights: Sequence[float]) -> Objective:
    """Return the default objective: the sum of weight times latency."""
    weights = tuple(weights)
    # fsum: the built-in sum rounds differently from Python 3.12 on.
    return Objective(lambda costs: fsum(weight * cost for weight, cost in zip(weights, costs, strict=True)))


class TaskScheduler(ABC):
    """Choose the task of the next round.

    The tuner asks `next_task` before every round and tells `observe` after it. When a run is resumed, it replays the
    logged rounds through `observe` alone: what a scheduler remembers must come from there, so that it decides as if
    never interrupted. Use an instance for one run.
    """

    def next_task(self, states: Sequence[TaskState]) -> int:
        """Return the index of the task to tune next; it is alive.

        Tasks due a warm-up round come first: those never tuned, then those with failures only, each in order.
        """
        live = [index for index, state in enumerate(states) if state.alive]
        if not live:
            raise InvalidInputError(f"`states` must hold at least one task alive; got 0 of {len(states)}")
        waiting = [index for index in live if states[index].needs_warm_up]
        if waiting:
            return min(waiting, key=lambda index: states[index].rounds)
        return self._choose(states, live)

    def round_size(self, states: Sequence[TaskState], index: int, most: int) -> int:
        """Return how many candidates of task `index` to measure next, at least one and at most `most`; this many by default."""
        return most

    def observe(self, states: Sequence[TaskState], index: int) -> None:
        """Learn that task `index` has been tuned for a round; `states` are those after it. Does nothing by default."""
        return

    @abstractmethod
    def _choose(self, states: Sequence[TaskState], live: Sequence[int]) -> int:
        """Return one of the indices in `live`, which are not empty and past their warm-up."""
