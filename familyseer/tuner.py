# SPDX-License-Identifier: Apache-2.0
"""The tuning loop: rounds of measurements, one task at a time, until the budget or the hope is spent."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType

from familyseer.errors import InvalidInputError
from familyseer.ledger import Budget, Ledger, share, whole_number
from familyseer.measure import INVALID_COST, MeasureResult
from familyseer.metrics import Confidence
from familyseer.schedulers.base import (
    ROUNDS_BEFORE_RETIREMENT,
    Objective,
    TaskScheduler,
    TaskState,
    known_costs,
    seconds_of,
    similarity_label,
    weighted_sum,
)
from familyseer.task import Task, TaskKey

__all__ = ["RoundOutcome", "StopReason", "Tuner", "TuningSummary"]

logger = logging.getLogger(__name__)

_NEVER = -1
_EXPLORED = "search space explored: no new candidate"


class StopReason(str, Enum):
    """Why tuning ended."""

    BUDGET = "budget"
    """All trials are spent."""
    EARLY_STOPPING = "early_stopping"
    """The objective has not fallen for as many trials as ``early_stopping`` says."""
    SMALL_GAIN = "small_gain"
    """As many trials again are expected to bring less than ``min_gain`` says."""
    ALL_RETIRED = "all_retired"
    """No task is worth or capable of another round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOutcome:
    """What one round gave.

    Parameters
    ----------
    results
        One per measured candidate, at most as many as were asked for.
    exhausted
        Whether the task's search space holds no further candidate.
    """

    results: Sequence[MeasureResult] = ()
    exhausted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSummary:
    """How tuning ended.

    Parameters
    ----------
    reason, message
        Why it stopped, for programs and for people.
    trials, restored_trials
        Candidates measured in all, and those of them read from a log.
    seconds
        Wall time of this call.
    score
        The objective of the best latencies; `INVALID_COST` while a task has none.
    retired
        Why tasks were given up, by key.
    """

    reason: StopReason
    message: str
    trials: int
    restored_trials: int
    seconds: float
    score: float
    retired: Mapping[TaskKey, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Progress:
    """All that rounds change, replaced as a whole so that an interrupt never leaves half a round behind."""

    states: tuple[TaskState, ...]
    retired: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    trials: int = 0
    best_score: float = INVALID_COST
    best_trial: int = 0
    curve: tuple[tuple[int, float], ...] = ()  # trials and objective after each round since the last warm-up


class Tuner:
    """Measure candidates of several tasks, one task a round, until a reason to stop.

    Works with any engine: `run_round` does the work, a scheduler decides whose turn it is, and this class keeps the
    account. A task is retired when its space is explored, when `ROUNDS_BEFORE_RETIREMENT` rounds gave no valid
    schedule, or by `per_task_early_stopping`. Whatever `run_round` or a hook raises passes through, `KeyboardInterrupt`
    too, and leaves the state as it was after the last complete round.

    Parameters
    ----------
    tasks
        Tasks with different keys.
    run_round
        Searches and measures: called with the index of a task and how many candidates to measure at most.
    scheduler
        A new one; not shared with another run.
    num_measure_trials
        Candidates to measure in all, restored ones included. At least one per task; never exceeded.
    num_measures_per_round
        Upper bound of a round; lowered so that every task can have one.
    objective
        What early stopping watches and `score` shows, as a function of all latencies (t,) in seconds;
        ``None``: the sum of weight times latency.
    early_stopping
        Stop when the objective has not fallen for this many trials; -1: never.
    per_task_early_stopping
        Retire a task when its latency has not fallen for more trials than this; ``None``: never.
    min_gain
        Stop when as many trials again are expected to lower the objective by a smaller share than this; 0: never. The
        objective falls about as a power of the trials, so that doubling them brings the same share as doubling them did
        last time: what the later half of all trials has brought.
    effort
        What measuring a candidate cost, which the scheduler sees in the states: its seconds, unless an engine has a better
        measure.
    before_round, after_round
        Called with the index of the task, and after the round also with its outcome.
    confidence
        How far the cost model that serves a task, by index, can be trusted; the scheduler sees it in the states.
    ledger
        Where trials and time are charged; ``None``: a new one with `clock`.
    clock
        Monotonic seconds.

    Raises
    ------
    InvalidInputError
        An argument is not as above.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        run_round: Callable[[int, int], RoundOutcome],
        scheduler: TaskScheduler,
        *,
        num_measure_trials: int,
        num_measures_per_round: int = 64,
        objective: Callable[[list[float]], object] | None = None,
        early_stopping: int = _NEVER,
        per_task_early_stopping: int | None = None,
        min_gain: float = 0.0,
        effort: Callable[[MeasureResult], float] = seconds_of,
        before_round: Callable[[int], None] = lambda index: None,
        after_round: Callable[[int, RoundOutcome], None] = lambda index, outcome: None,
        confidence: Callable[[int], Confidence] = lambda index: Confidence(),
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        _check_tasks(tasks)
        self.tasks = tuple(tasks)
        self.budget = Budget(num_measure_trials)
        self.num_measures_per_round = self.budget.round_size(len(tasks), num_measures_per_round)
        self.ledger = Ledger(clock=clock) if ledger is None else ledger
        self._objective = Objective(objective) if objective else weighted_sum([task.weight for task in tasks])
        self._objective.check(len(tasks))
        self._early_stopping = whole_number("early_stopping", early_stopping, at_least=_NEVER, remedy="-1 means never.")
        self._task_patience = _patience(per_task_early_stopping)
        self._min_gain = share("min_gain", min_gain)
        self._effort = effort
        self._run_round, self._scheduler, self._clock = run_round, scheduler, clock
        self._before_round, self._after_round, self._confidence = before_round, after_round, confidence
        self._restored_trials = 0
        self._progress = _Progress(states=tuple(_new_state(task) for task in tasks))

    @property
    def states(self) -> tuple[TaskState, ...]:
        """How far each task is, in order of the tasks (t,)."""
        return self._progress.states

    @property
    def retired(self) -> Mapping[int, str]:
        """Why tasks were given up, by index."""
        return self._progress.retired

    @property
    def trials(self) -> int:
        """Candidates measured in all, restored ones included."""
        return self._progress.trials

    @property
    def best_trial(self) -> int:
        """Trials when the objective last fell, or when the warm-up ended."""
        return self._progress.best_trial

    @property
    def score(self) -> float:
        """The objective of the best latencies; `INVALID_COST` while a task has none."""
        if not all(state.has_schedule for state in self.states):
            return INVALID_COST
        return self._objective([state.best_cost for state in self.states])

    def restore(self, rounds: Sequence[tuple[int, Sequence[MeasureResult]]]) -> None:
        """Replay the rounds of an interrupted run before the first step of this one.

        Their trials count towards the budget, and all decisions go on as if there had been no interruption. A round
        cut short by the interruption counts as a round, with the trials that it has. That a space was explored is not
        logged: such a task is asked once more, in vain and without a trial.

        Parameters
        ----------
        rounds
            Index of the task and its results, in the order in which they were measured.
        """
        if self.trials:
            raise InvalidInputError(f"`restore` must come before the first round; {self.trials} trials are measured")
        for index, _ in rounds:
            if not 0 <= index < len(self.tasks):
                raise InvalidInputError(f"`rounds` must name tasks 0 to {len(self.tasks) - 1}; got {index!r}")
        for index, results in rounds:
            self._account(index, RoundOutcome(results=results), restored=True)
        logger.info("Restored %d trials of %d rounds", self.trials, len(rounds))

    def run(self) -> TuningSummary:
        """Tune until there is a reason to stop."""
        start = self._clock()
        while self.step():
            pass
        reason = self.stop_reason()
        assert reason is not None
        message = self._explain(reason)
        logger.info("Tuning ended: %s", message)
        return TuningSummary(
            reason=reason,
            message=message,
            trials=self.trials,
            restored_trials=self._restored_trials,
            seconds=self._clock() - start,
            score=self.score,
            retired=MappingProxyType({self.tasks[index].key: why for index, why in self.retired.items()}),
        )

    def step(self) -> bool:
        """Run one round; return whether there was one to run."""
        if self.stop_reason() is not None:
            return False
        with self.ledger.phase("other"):
            states = [replace(state, confidence=self._confidence(i)) for i, state in enumerate(self.states)]
            index = self._scheduler.next_task(states)
            most = min(self.num_measures_per_round, self.budget.remaining(self.trials))
            wanted = self._scheduler.round_size(states, index, most)
        with self.ledger.phase("other", self.tasks[index].key):
            self._before_round(index)
            outcome = self._run_round(index, wanted)
            if len(outcome.results) > wanted:
                raise InvalidInputError(f"`run_round` must return ≤ {wanted} results; got {len(outcome.results)}")
            self._account(index, outcome)
            self._after_round(index, outcome)
        return True

    def stop_reason(self) -> StopReason | None:
        """Return why there is no further round, or ``None`` if there is one."""
        progress = self._progress
        if not self.budget.remaining(progress.trials):
            return StopReason.BUDGET
        if not any(state.alive for state in progress.states):
            return StopReason.ALL_RETIRED
        stale = progress.trials - progress.best_trial
        # With early_stopping=0 a round without a fall is one too many, a round with one is not.
        if self._early_stopping != _NEVER and stale >= max(self._early_stopping, 1):
            return StopReason.EARLY_STOPPING
        return StopReason.SMALL_GAIN if self._min_gain and self.expected_gain() < self._min_gain else None

    def expected_gain(self) -> float:
        """Return the share by which as many trials again are expected to lower the objective, from 0 to 1.

        It is 1 while the later half of the trials began before all tasks had a round, and where the objective was not
        positive, so that no share of it can be told.
        """
        before = [score for trials, score in self._progress.curve if 2 * trials <= self.trials]
        return 1 - self._progress.curve[-1][1] / before[-1] if before and before[-1] > 0 else 1.0

    def _explain(self, reason: StopReason) -> str:
        if reason is StopReason.BUDGET:
            return f"all {self.budget.max_trials} trials are spent"
        if reason is StopReason.EARLY_STOPPING:
            return f"no improvement in the last {self.trials - self.best_trial} trials"
        if reason is StopReason.SMALL_GAIN:
            return (
                f"the later half of {self.trials} trials brought {100 * self.expected_gain():.2g} %, "
                f"and as many again are expected to bring no more; asked for were {100 * self._min_gain:.2g} %"
            )
        reasons = Counter(self.retired.values())
        return "all tasks are retired: " + "; ".join(f"{why} ({count})" for why, count in reasons.items())

    def _account(self, index: int, outcome: RoundOutcome, *, restored: bool = False) -> None:
        """Count a round; one without any measurement only retires its task."""
        if not outcome.results:
            if not restored:
                self._progress = _with_task(self._progress, index, self.states[index], _EXPLORED)
            return
        count = len(outcome.results)
        progress = self._advanced(index, outcome)
        self._progress = progress
        self._restored_trials += count if restored else 0
        self.ledger.charge_trials(self.tasks[index].key, count, restored=restored)
        self._scheduler.observe(progress.states, index)
        if index in progress.retired:
            logger.info("Task %d (%s) is retired: %s", index, self.tasks[index].name, progress.retired[index])

    def _advanced(self, index: int, outcome: RoundOutcome) -> _Progress:
        before = self._progress
        state = before.states[index].after_round(outcome.results, self._effort)
        after = _with_task(before, index, state, _EXPLORED if outcome.exhausted else self._hopeless(state))
        trials = before.trials + len(outcome.results)
        score = self._progress_score(after.states)
        # Asking the tuned task, not all, also holds in a replay, which does not know which tasks had been retired.
        warming_up = before.states[index].needs_warm_up
        after = replace(after, curve=(*(() if warming_up else before.curve), (trials, score)))
        if warming_up or score < before.best_score:
            return replace(after, trials=trials, best_score=score, best_trial=trials)
        return replace(after, trials=trials)

    def _progress_score(self, states: Sequence[TaskState]) -> float:
        """Return the objective with retired tasks that have no latency counted as the fastest one."""
        if not any(state.has_schedule for state in states):
            return INVALID_COST
        return self._objective(known_costs(states))

    def _hopeless(self, state: TaskState) -> str:
        """Return why a task deserves no further round, or an empty text if it does."""
        if not state.has_schedule and state.rounds >= ROUNDS_BEFORE_RETIREMENT:
            return f"no valid schedule in {state.trials} trials"
        stale = state.trials - state.best_trial
        if state.has_schedule and self._task_patience is not None and stale > self._task_patience:
            return f"no improvement in the last {stale} trials"
        return ""


def _with_task(progress: _Progress, index: int, state: TaskState, why_retired: str) -> _Progress:
    states = list(progress.states)
    states[index] = replace(state, alive=not why_retired)
    retired = {other: why for other, why in progress.retired.items() if other != index}
    if why_retired:
        retired[index] = why_retired
    return replace(progress, states=tuple(states), retired=MappingProxyType(retired))


def _new_state(task: Task) -> TaskState:
    return TaskState(key=task.key, flops=task.flops, similarity=similarity_label(task))


def _patience(per_task_early_stopping: int | None) -> int | None:
    if per_task_early_stopping is None:
        return None
    return whole_number("per_task_early_stopping", per_task_early_stopping, at_least=0, remedy="None means never.")


def _check_tasks(tasks: Sequence[Task]) -> None:
    if not tasks:
        raise InvalidInputError("`tasks` must hold at least one task; got 0")
    repeated = [key for key, count in Counter(task.key for task in tasks).items() if count > 1]
    if repeated:
        raise InvalidInputError(
            f"`tasks` must hold each workload once; got {repeated!r} more than once. Merge them and add their weights."
        )
