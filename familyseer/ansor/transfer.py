# SPDX-License-Identifier: Apache-2.0
"""Transfer on this engine: the tile sizes of relatives' best schedules become sketches that a task's search starts from.

Ansor's search takes no schedules from outside, but it asks custom rules for sketches.
A sketch whose tile sizes are all given is sampled as it is: only what comes after them, such as unrolling, is drawn at random.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import auto_scheduler
from tvm.auto_scheduler.measure import MeasureInput
from tvm.auto_scheduler.measure_record import load_record_from_string
from tvm.auto_scheduler.search_policy import PreloadCustomSketchRule

from familyseer.measure import INVALID_COST, MeasureResult
from familyseer.records import canonical_json, trace_digest
from familyseer.task import TaskKey
from familyseer.transfer import (
    Choices,
    Donor,
    DonorPool,
    Experience,
    Hope,
    Proposal,
    Seed,
    Sketch,
    Tile,
    Tried,
    propose,
    untried_vectors,
)
from familyseer.transfer.variety import turns
from familyseer.transfer.vectors import is_vector

__all__ = ["TransferSeeds", "seed_rule", "sketch_of", "with_choices"]

_PER_TILE = 2  # new states with one inner tile that a ranking has at its top
_TRIES = 4  # tile sizes with a new inner tile that a search starts from, for each that is to be measured
_VECTOR_LEVELS = 2  # innermost ones that a vector may be at: a compiler that vectorises whole loops wants none inside
_RANDOM = 0.25  # of the sketches that a search starts from leave their tile sizes open
_SCOUTS = 64  # schedules sampled to see a task's sketches with their tile sizes
_CHOSEN_LATER = ("AN", "PR")  # annotations and pragmas: the search draws them after the tile sizes

Steps = list[list[Any]]
Tiled = tuple[tuple[str, ...], tuple[int, ...]]
"""`familyseer.transfer.Sketch.tile`."""


class TransferSeeds:
    """Schedules of relatives, rescaled.

    Parameters
    ----------
    relatives
        The members of a task's present family, itself included.
    """

    def __init__(self, relatives: Callable[[TaskKey], Collection[TaskKey]]) -> None:
        self.pool, self.experience = DonorPool(), Experience()
        self._relatives = relatives
        self._spaces: dict[TaskKey, _Space] = {}
        self._measured: dict[TaskKey, set[str]] = {}
        self._wanted: dict[TaskKey, int] = {}
        self._met: dict[TaskKey, set[tuple[int, ...]]] = {}

    def learn(self, task: Any, states: Sequence[Any], results: Sequence[MeasureResult]) -> None:
        """Take note of measured states of a task."""
        key, space, made = _key(task), self._space(task), [_steps_of(task, state) for state in states]
        self._measured.setdefault(key, set()).update(trace_digest(canonical_json(steps)) for steps in made)
        found = [
            (sketch, result.cost)
            for steps, result in zip(made, results, strict=True)
            if (sketch := space.sketch_of(steps))
        ]
        donors = [Donor(cost, sketch) for sketch, cost in found if cost < INVALID_COST]
        if donors:
            self.pool.add(key, donors)
        for sketch, cost in found:
            self.experience.add(key, Tried(cost, sketch))

    def begin(self, task: Any, vectors: int) -> None:
        """Say how many candidates of the round that begins are to have an inner tile that is new to the task."""
        self._wanted[_key(task)], self._met[_key(task)] = vectors, set()

    def states_for(self, task: Any, count: int, rng: np.random.Generator, hope: Hope | None = None) -> list[Any]:
        """Return states of a task to start a search from, beside its own sketches; none where nothing is known.

        Up to `count` have tile sizes: those that promise most of a search among them, or while too little was measured for
        that, those that were good for relatives; and some that are new (`familyseer.transfer.untried_vectors`). The others
        are its sketches again, so that a quarter of all is open. For `hope` see `familyseer.transfer.propose`.
        """
        key, space = _key(task), self._space(task)
        sketches, relatives = [sketch for sketch, _ in space.own], self._relatives(key)
        found: Sequence[Proposal | Seed] = propose(
            key,
            sketches,
            self.pool,
            self.experience,
            count,
            relatives=relatives,
            hope=hope,
            rng=rng,
        ) or self.pool.seeds(key, sketches, count, relatives=relatives, rng=rng)
        chosen = [(seed.sketch, seed.choices) for seed in found]
        if chosen:
            tries = min(count // 2, _TRIES * self._wanted.get(key, 0))
            vectors = untried_vectors(key, sketches, self.experience, tries, rng, levels=_VECTOR_LEVELS)
            chosen = chosen[: count - len(vectors)] + vectors
        made = [_state_of(task, with_choices(space.own[i][1], choices)) for i, choices in chosen]
        states = [state for state in made if state is not None]
        wanted = ceil(len(states) * _RANDOM / (1 - _RANDOM))  # TVM adds every sketch once
        return states + space.open * (ceil(wanted / len(space.open)) - 1)

    def spread(self, task: Any, states: Sequence[Any], scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores (n,) by which no two inner tiles fill a round: beyond two new states of each, the others come first.

        Before all come as many as `begin` said that have a vector for an inner tile, new to the task, one of each; the same
        in every generation of a round.
        """
        key, space = _key(task), self._space(task)
        known = self._measured.get(key, set())
        ranked = np.argsort(-scores, kind="stable")
        tiles = [_new_tile(space, _steps_of(task, states[i]), known) for i in ranked]
        waits = np.empty(len(scores))
        waits[ranked] = turns(tiles, _PER_TILE)
        waits[[ranked[i] for i in self._vectors(key, tiles)]] = -1.0
        return scores - waits * (np.ptp(scores) + 1.0)

    def _vectors(self, key: TaskKey, tiles: Sequence[Tiled | None]) -> list[int]:
        """Return at which places of a ranking new inner tiles are that this round is to measure."""
        tried = self.experience.inner_tiles(key)
        met, wanted = self._met.setdefault(key, set()), self._wanted.get(key, 0)
        first: dict[tuple[int, ...], int] = {}
        for place, tile in enumerate(tiles):
            if tile and is_vector(tile[1]) and tile[1] not in tried:
                first.setdefault(tile[1], place)
        met.update([tile for tile in first if tile not in met][: max(0, wanted - len(met))])
        return [first[tile] for tile in met & first.keys()]

    def _space(self, task: Any) -> _Space:
        key = _key(task)
        if key not in self._spaces:
            self._spaces[key] = _Space.of(task)
        return self._spaces[key]


@dataclass(frozen=True, slots=True)
class _Space:
    """What is known of a task's space.

    Parameters
    ----------
    open
        Its sketches, whose tile sizes are not yet chosen.
    lengths
        How many steps these have, ascending.
    own
        Each sketch with some tile sizes, and its steps.
    """

    open: list[Any]
    lengths: list[int]
    own: list[tuple[Sketch, Steps]]

    @classmethod
    def of(cls, task: Any) -> _Space:
        """Learn it from a small sample."""
        scout = _scout(task)
        sketches = list(scout.generate_sketches())
        lengths = sorted({len(sketch.transform_steps) for sketch in sketches})
        own: dict[tuple[str, ...], tuple[Sketch, Steps]] = {}
        for state in scout.sample_initial_population():
            steps = _steps_of(task, state)
            start = steps[: _length(steps, lengths)]
            sketch = sketch_of(start)
            if sketch is not None:
                own.setdefault(sketch.form, (sketch, start))
        return cls(open=sketches, lengths=lengths, own=list(own.values()))

    def sketch_of(self, steps: Steps) -> Sketch | None:
        """Return the sketch of a complete state."""
        return sketch_of(steps[: _length(steps, self.lengths)])


def _key(task: Any) -> TaskKey:
    return str(task.workload_key)


def _new_tile(space: _Space, steps: Steps, known: Collection[str]) -> Tiled | None:
    """Return the inner tile of a complete state that is not measured yet; it has one where it has tile sizes."""
    sketch = None if trace_digest(canonical_json(steps)) in known else space.sketch_of(steps)
    return sketch.tile if sketch else None


def _length(steps: Steps, lengths: Sequence[int]) -> int:
    """Return how many of the steps of a complete state are its sketch's."""
    end = next((i for i, step in enumerate(steps) if step[0] in _CHOSEN_LATER), len(steps))
    return max((length for length in lengths if length <= end), default=0)


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
