# SPDX-License-Identifier: Apache-2.0
"""Round-robin gives every live task its turn."""

from __future__ import annotations

from familyseer.measure import MeasureResult
from familyseer.schedulers import RoundRobinScheduler
from tests.schedulers.states import tuned


def test_goes_round():
    """Live tasks take turns in order, and a retired one is passed over."""
    states = [tuned("a"), tuned("b", alive=False), tuned("c"), tuned("d")]
    turns = []
    for _ in range(7):
        index = RoundRobinScheduler().next_task(states)
        turns.append(index)
        states[index] = states[index].after_round([MeasureResult(costs=(1.0,))])

    assert turns == [0, 2, 3, 0, 2, 3, 0]
