# SPDX-License-Identifier: Apache-2.0
"""Transfer on this engine: the tile sizes of relatives' best schedules become sketches that a task's search starts from.

Ansor's search takes no schedules from outside, but it asks custom rules for sketches.
A sketch whose tile sizes are all given is sampled as it is: only what comes after them, such as unrolling, is drawn at random.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from math import prod
from typing import Any

import numpy as np
from tvm import auto_scheduler
from tvm.auto_scheduler.measure import MeasureInput
from tvm.auto_scheduler.measure_record import load_record_from_string
from tvm.auto_scheduler.search_policy import PreloadCustomSketchRule

from familyseer.measure import MeasureResult
from familyseer.records import canonical_json
from familyseer.task import Task, TaskKey
from familyseer.transfer import Choices, Donor, DonorPool, Sketch, Tile

__all__ = ["TransferSeeds", "seed_rule", "sketch_of", "with_choices"]

_PER_SKETCH = 3  # seeds beside each of a task's own sketches: a quarter stays random
_SCOUTS = 64  # schedules sampled to see a task's sketches with their tile sizes
_CHOSEN_LATER = ("AN", "PR")  # annotations and pragmas: the search draws them after the tile sizes

Steps = list[list[Any]]


class TransferSeeds:
    """Schedules of relatives, rescaled.

    Parameters
    ----------
    relatives
        The members of a task's present family, itself included.
    """

    def __init__(self, relatives: Callable[[TaskKey], Collection[TaskKey]]) -> None:
        self.pool = DonorPool()
        self._relatives = relatives
        self._lengths: dict[TaskKey, list[int]] = {}

    def learn(self, described: Task, task: Any, states: Sequence[Any], results: Sequence[MeasureResult]) -> None:
        """Take note of measured states of a task."""
        donors = []
        for state, result in zip(states, results, strict=True):
            sketch = self._sketch(described, task, state) if result.costs else None
            if sketch is not None:
                donors.append(Donor(result.cost, sketch))
        if donors:
            self.pool.add(described.key, donors)

    def states_for(self, described: Task, task: Any, rng: np.random.Generator) -> list[Any]:
        """Return states of a task with tile sizes that were good for its relatives; none of them was measured."""
        own: dict[tuple[str, ...], tuple[Sketch, Steps]] = {}
        for state in _scout(task).sample_initial_population():
            steps = _steps_of(task, state)
            length = self._length(described, task, steps)
            sketch = sketch_of(steps[:length])
            if sketch is not None:
                own.setdefault(sketch.form, (sketch, steps[:length]))
        found = self.pool.seeds(
            described.key,
            [sketch for sketch, _ in own.values()],
            _PER_SKETCH * len(own),
            relatives=self._relatives(described.key),
            rng=rng,
        )
        starts = [steps for _, steps in own.values()]
        states = [_state_of(task, with_choices(starts[seed.sketch], seed.choices)) for seed in found]
        return [state for state in states if state is not None]

    def _sketch(self, described: Task, task: Any, state: Any) -> Sketch | None:
        steps = _steps_of(task, state)
        return sketch_of(steps[: self._length(described, task, steps)])

    def _length(self, described: Task, task: Any, steps: Steps) -> int:
        """Return how many of the steps of a complete state are its sketch's."""
        if described.key not in self._lengths:
            sketches = _scout(task).generate_sketches()
            self._lengths[described.key] = sorted({len(sketch.transform_steps) for sketch in sketches})
        names = [step[0] for step in steps]
        end = next((i for i, name in enumerate(names) if name in _CHOSEN_LATER), len(names))
        return max((length for length in self._lengths[described.key] if length <= end), default=0)


def sketch_of(steps: Steps) -> Sketch | None:
    """Read what a sketch does and which tile sizes it has; None where there are none.

    Parameters
    ----------
    steps
        Transformation steps as TVM's log has them.
    """
    form, choices = [], []
    for step in steps:
        if _is_tiling(step):
            name, stage, axis, extent, factors, _ = step
            form.append(canonical_json([name, stage, axis, len(factors)]))
            choices.append(Tile((extent // prod(factors), *factors)))
        else:
            form.append(canonical_json(step))
    return Sketch(tuple(form), tuple(choices)) if choices else None


def with_choices(steps: Steps, choices: Choices) -> Steps:
    """Return the steps of a sketch with these tile sizes instead of its own."""
    tiles = iter(choices)
    changed = []
    for step in steps:
        tile = next(tiles) if _is_tiling(step) else None
        changed.append([*step[:4], list(tile.factors[1:]), *step[5:]] if isinstance(tile, Tile) else step)
    return changed


def _is_tiling(step: list[Any]) -> bool:
    """Whether it splits a loop of known extent into factors of which the outermost follows from the others."""
    if step[0] != "SP" or not isinstance(step[3], int) or step[5] != 1:
        return False
    factors = step[4]
    return all(isinstance(f, int) and f > 0 for f in factors) and step[3] % prod(factors) == 0


def _scout(task: Any) -> Any:
    """Return a policy that samples a task's space without any model."""
    params = {"evolutionary_search_population": _SCOUTS, "sample_init_min_population": _SCOUTS // 4}
    return auto_scheduler.SketchPolicy(task, auto_scheduler.RandomModel(), params=params, seed=1, verbose=0)


def _steps_of(task: Any, state: Any) -> Steps:
    steps: Steps = json.loads(MeasureInput(task, state).serialize()[0])[1][1]
    return steps


def _state_of(task: Any, steps: Steps) -> Any:
    """Apply steps to a task; None where TVM refuses them."""
    start = json.loads(MeasureInput(task, task.compute_dag.get_init_state()).serialize()[0])
    start[1][1] = steps
    line = json.dumps({"i": start, "r": [[1.0], 0, 0.0, 0], "v": "v0.6"})
    try:
        loaded, _ = load_record_from_string(line)
        return task.compute_dag.infer_bound_from_state(loaded.state).state_object
    except (RuntimeError, ValueError, TypeError):
        return None


def seed_rule(states: Callable[[], Sequence[Any]]) -> PreloadCustomSketchRule:
    """Return the rule that adds what `states` gives, when the search first asks, to the sketches of a task."""

    def meet(policy: Any, state: Any, stage: int) -> int:
        untouched = not len(state.transform_steps) and stage == len(state.stages) - 1
        return int(PreloadCustomSketchRule.APPLY if untouched else PreloadCustomSketchRule.PASS)

    def apply(policy: Any, state: Any, stage: int) -> list[list[Any]]:
        return [[found, -1] for found in states()]

    return PreloadCustomSketchRule(meet, apply, "relatives")
