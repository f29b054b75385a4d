# SPDX-License-Identifier: Apache-2.0
"""Tune what its relatives learn from first, then where the objective is expected to fall fastest per second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pow
from typing import Any

import numpy as np

from familyseer.ledger import share, whole_number
from familyseer.schedulers.base import TaskState, is_valid_cost
from familyseer.schedulers.gradient import GradientScheduler
from familyseer.task import TaskKey

__all__ = ["FamilyGradientScheduler"]

_TURNS = 16  # rounds per task after which one that had none is given one
_SEARCH = 1.0  # what a round costs beside its candidates: a second or, where trials are counted, one trial


class FamilyGradientScheduler(GradientScheduler):
    """Ansor's gradient, with four changes for tasks that are relatives.

    First rounds are small and have an order: priors come first, so that all others can start from what was found there.
    (More rounds for them, half a round per relative as Jeong et al., OSDI 2025, have it, let the others wait too long.)
    A round counts by the seconds that building and running its candidates took: for a task with latency g after S seconds,
    whose slope of the objective is f', the expected change per second is

        f' · (alpha · (g(S) − g(S − window)) / seconds of the window + (1 − alpha) · min(−g / S, (beta · FLOPs / fastest − g) / r))

    where `r` is the mean of the task's seconds per round. (Where a run counts trials instead, read trials for seconds.)
    Beyond `settled` trials what is hoped for, the minimum above, falls with the third power of the trials instead of the first:
    in recorded searches of three networks the next eight trials lowered the logarithm of a latency by 0.2 on average after 8
    trials, by 0.05 after 16 and 24, by 0.01 to 0.02 after 32 and by 0.002 after 64, so that heavy tasks kept others from rounds
    that were worth more. And no task waits for ever: one that had no round for as long as all tasks could have had 16 gets the
    next. What was spent is part of the measurements, so that a resumed run decides as an uninterrupted one.

    Parameters
    ----------
    order
        Of the tasks' first rounds; those that it does not name come after it.
    few
        Trials of a first round, and of later ones unless the model ranks candidates badly.
    foreseen
        Trials of a first round that relatives' models foresee, see `round_size`; `few` at most.
    sure
        Rank correlation below which rounds grow, see `round_size`; 0: they never do.
    settled
        Trials of a task after which less is hoped for.
    objective, rng, **options
        As for `GradientScheduler`.
    """

    def __init__(
        self,
        objective: Callable[[list[float]], object],
        *,
        rng: np.random.Generator,
        order: Sequence[TaskKey] = (),
        few: int = 8,
        foreseen: int = 4,
        sure: float = 0.2,
        settled: int = 24,
        **options: Any,
    ) -> None:
        super().__init__(objective, rng=rng, **options)
        self._order = tuple(order)
        self._few = whole_number("few", few, at_least=1)
        self._foreseen = min(whole_number("foreseen", foreseen, at_least=1), self._few)
        self._sure = share("sure", sure)
        self._settled = whole_number("settled", settled, at_least=1)
        self._turn = 0
        self._last_turn: dict[TaskKey, int] = {}

    def next_task(self, states: Sequence[TaskState]) -> int:
        """Return the index of the task to tune next: first rounds, then others that are due a round, then by the gradient."""
        new = {state.key: index for index, state in enumerate(states) if state.alive and not state.rounds}
        first = next((key for key in self._order if key in new), None)
        return super().next_task(states) if first is None else new[first]

    def round_size(self, states: Sequence[TaskState], index: int, most: int) -> int:
        """Return from `few` to `most`: the worse the model has ranked what it chose, the more.

        A round of few learns from each of them before it chooses the next; one of many spares the search where that has
        nothing to say. It has `few` from a rank correlation of `sure` up, and `most` at 0. (Among chosen candidates 0.2 is
        a good one.) It has `few` before the model was judged, too: they are enough to judge it. First rounds have `few`:
        until each task has had one, the network is as slow as what is missing. They have `foreseen` as soon as the
        candidates of other tasks' first rounds were not ranked worse than by chance: then the best of what relatives
        suggest are among the first of them.
        """
        state = states[index]
        if not state.rounds:
            foreseen = state.confidence.batches and state.confidence.rank_correlation >= 0
            return min(self._foreseen if foreseen else self._few, most)
        weighed = state.confidence.batches and self._sure
        trust = min(max(state.confidence.rank_correlation / self._sure, 0.0), 1.0) if weighed else 1.0
        return min(most, round(most * pow(self._few / most, trust)))

    def observe(self, states: Sequence[TaskState], index: int) -> None:
        """Take note of whose turn it was."""
        super().observe(states, index)
        self._turn += 1
        self._last_turn[states[index].key] = self._turn

    def _choose(self, states: Sequence[TaskState], live: Sequence[int]) -> int:
        waited = {i: self._turn - self._last_turn.get(states[i].key, self._turn) for i in live}
        longest = max(live, key=lambda i: waited[i])
        return longest if waited[longest] > _TURNS * len(live) else super()._choose(states, live)

    def _backward(self, state: TaskState) -> float:
        start = state.rounds - 1 - self._window
        if start < 0 or not is_valid_cost(state.history[start]):
            return 0.0
        return (state.history[-1] - state.history[start]) / (_spent(state, -1) - _spent(state, start))

    def _forward(self, states: Sequence[TaskState], index: int) -> float:
        state = states[index]
        spent = _spent(state, -1)
        bound = -state.best_cost / spent
        similar = self._similar(states, state)
        if len(similar) > 1 and state.flops > 0:
            reachable = self._beta * state.flops / max(other.speed for other in similar)
            bound = min(bound, (reachable - state.best_cost) / (spent / state.rounds))
        return bound * min(1.0, self._settled / max(state.trials, 1)) ** 2


def _spent(state: TaskState, position: int) -> float:
    """Return what a task had been given after a round; where it is not known, each round counts as one."""
    rounds = range(1, state.rounds + 1)[position]
    return state.spent[position] + _SEARCH * rounds if state.spent else float(rounds)
