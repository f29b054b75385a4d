# SPDX-License-Identifier: Apache-2.0
"""Ansor's task scheduler: tune where the objective is expected to fall fastest (OSDI'20, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from familyseer.errors import InvalidInputError
from familyseer.ledger import share, whole_number
from familyseer.schedulers.base import Objective, TaskScheduler, TaskState, is_valid_cost, known_costs
from familyseer.task import TaskKey

__all__ = ["GradientScheduler"]

_ROUNDS_AHEAD = 5  # Ansor's: how much longer than all others a task may stay slow before it counts as dissimilar


class GradientScheduler(TaskScheduler):
    """Choose the task whose next round promises the steepest fall of the objective.

    For a task with latency g after t rounds, whose slope of the objective is f':

        f' · (alpha · (g(t) − g(t − window)) / window + (1 − alpha) · (min(g − g/t, beta · FLOPs / fastest) − g))

    where `fastest` is the highest FLOP/s among tasks with the same similarity label; a task that stays slower than
    that by `beta` although it had over 5 rounds more than every other one leaves its group. The first term is 0 until
    there are more rounds than the window, and when the window begins before the first valid schedule.

    As in Ansor, a task a thousand times faster than another waits until that one has had about a thousand rounds.

    Parameters
    ----------
    objective
        What to minimise, as a function of all latencies (t,) in seconds.
    rng
        Breaks ties. Only one number is drawn, here: decisions depend on it and on the states, not on how often the
        scheduler was asked, so a resumed run decides as an uninterrupted one.
    alpha
        Weight of the past against the outlook, from 0 to 1.
    beta
        How many times slower than a similar task one is expected to be at worst; at least 1.
    gamma
        Accepted because Ansor has it; Ansor never reads it and neither does this.
    backward_window_size
        Rounds to look back.
    """

    def __init__(
        self,
        objective: Callable[[list[float]], object],
        *,
        rng: np.random.Generator,
        alpha: float = 0.2,
        beta: float = 2.0,
        gamma: float = 0.5,
        backward_window_size: int = 3,
    ) -> None:
        if not 1 <= beta < float("inf"):
            raise InvalidInputError(f"`beta` must be a number ≥ 1; got {beta!r}")
        self._objective = objective if isinstance(objective, Objective) else Objective(objective)
        self._alpha, self._beta = share("alpha", alpha), beta
        self._window = whole_number("backward_window_size", backward_window_size, at_least=1)
        self._seed = int(rng.integers(2**63))
        self._dissimilar: set[TaskKey] = set()

    def gradients(self, states: Sequence[TaskState]) -> list[float]:
        """Return the expected change of the objective by one more round of each task, (t,), all ≤ 0.

        It is 0 for tasks that are not alive or have no valid schedule.
        """
        useful = [index for index, state in enumerate(states) if state.alive and state.has_schedule]
        gradients = [0.0] * len(states)
        if useful:
            slopes = self._objective.slopes(known_costs(states), useful)
            for index, slope in zip(useful, slopes, strict=True):
                past, outlook = self._backward(states[index]), self._forward(states, index)
                gradients[index] = slope * (self._alpha * past + (1 - self._alpha) * outlook)
        return gradients

    def observe(self, states: Sequence[TaskState], index: int) -> None:
        """Take the task that was tuned out of its similarity group if it has proved to be different."""
        state = states[index]
        others = [other for other in self._similar(states, state) if other.key != state.key]
        if others and state.rounds > _ROUNDS_AHEAD + max(other.rounds for other in others):
            fastest = max(state.speed, *(other.speed for other in others))
            if state.speed < fastest / self._beta:
                self._dissimilar.add(state.key)

    def _choose(self, states: Sequence[TaskState], live: Sequence[int]) -> int:
        # Finite differences of equal tasks differ in their last digits.
        gradients = [float(f"{gradient:.6g}") for gradient in self.gradients(states)]
        steepest = min(gradients[index] for index in live)
        ties = [index for index in live if gradients[index] == steepest]
        if len(ties) == 1:
            return ties[0]
        # One draw per task, so that the answer among the others stays the same when one of them retires.
        draws = np.random.default_rng([self._seed, sum(state.rounds for state in states)]).random(len(states))
        return max(ties, key=lambda index: float(draws[index]))

    def _backward(self, state: TaskState) -> float:
        """Return the mean change of the latency per round over the window, ≤ 0."""
        start = state.rounds - 1 - self._window
        if start < 0 or not is_valid_cost(state.history[start]):
            return 0.0  # a fall from 1e10 s would tie the scheduler to this task
        return (state.history[-1] - state.history[start]) / self._window

    def _forward(self, states: Sequence[TaskState], index: int) -> float:
        """Return the most optimistic believable change of the latency by one more round, ≤ 0."""
        state = states[index]
        bound = state.best_cost - state.best_cost / state.rounds
        similar = self._similar(states, state)
        if len(similar) > 1 and state.flops > 0:
            bound = min(bound, self._beta * state.flops / max(other.speed for other in similar))
        return bound - state.best_cost

    def _similar(self, states: Sequence[TaskState], state: TaskState) -> list[TaskState]:
        """Return the tasks of a task's similarity group, itself included; none when it has no group."""
        if not state.similarity or state.key in self._dissimilar:
            return []
        return [s for s in states if s.similarity == state.similarity and s.key not in self._dissimilar]
