# SPDX-License-Identifier: Apache-2.0
"""Task states for tests of schedulers."""

from __future__ import annotations

from hypothesis import strategies as st

from familyseer.measure import INVALID_COST
from familyseer.schedulers import TaskState

FAILED = INVALID_COST


def tuned(key: str, *history: float, flops: float = 0.0, similarity: str = "", alive: bool = True) -> TaskState:
    """Return the state of a task whose best latency after each round was `history`; rounds of 10 trials."""
    best_round = history.index(history[-1]) + 1 if history and history[-1] < INVALID_COST else 0
    return TaskState(
        key=key,
        flops=flops,
        similarity=similarity,
        rounds=len(history),
        trials=10 * len(history),
        best_cost=history[-1] if history else INVALID_COST,
        best_round=best_round,
        best_trial=10 * best_round,
        history=history,
        alive=alive,
    )


@st.composite
def task_states(draw) -> list[TaskState]:
    """Tasks in all stages, at least one of them alive."""
    costs = st.lists(st.one_of(st.just(FAILED), st.floats(1e-7, 10)), max_size=6)
    states = [
        tuned(
            f"k{index}",
            *sorted(draw(costs), reverse=True),
            flops=draw(st.sampled_from([0.0, 1e6, 1e9])),
            similarity=draw(st.sampled_from(["", "conv2d_40"])),
            alive=draw(st.booleans()),
        )
        for index in range(draw(st.integers(1, 5)))
    ]
    return states if any(state.alive for state in states) else [*states, tuned("last", 0.1)]
