# SPDX-License-Identifier: Apache-2.0
"""Transfer on this engine: the tile sizes of relatives' best schedules become sketches that a task's search starts from.

Ansor's search takes no schedules from outside, but it asks custom rules for sketches.
A sketch whose tile sizes are all given is sampled as it is: only what comes after them, such as unrolling, is drawn at random.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
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
    Option,
    Proposal,
    Seed,
    Sketch,
    Tile,
    Tried,
    Vectors,
    copies,
    propose,
    untried_vectors,
)
from familyseer.transfer.choices import inner_tile
from familyseer.transfer.variety import turns
from familyseer.transfer.vectors import is_vector

__all__ = ["TransferSeeds", "seed_rule", "sketch_of", "with_choices"]

_PER_TILE = 2  # new states with one inner tile that a ranking has at its top
_PER_TILING = 2  # proposals for each of the tile sizes that a search starts from: some differ in the unrolling alone
_VECTORS = Vectors(shortest=8, least=0, most=256, whole_loops=True)
_TRIES = 4  # tile sizes with a new inner tile that a search starts from, for each that is to be measured
_RANDOM = 0.25  # of the sketches that a search starts from leave their tile sizes open …
_RANDOM_AT_FIRST = 0.5  # … and of those of one that knows of no good ones
_SCOUTS = 64  # schedules sampled to see a task's sketches with their tile sizes
_UNROLL = "auto_unroll_max_step$"
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
        self.pool, self.experience = DonorPool(), Experience()
        self._relatives = relatives
        self._spaces: dict[TaskKey, _Space] = {}
        self._measured: dict[TaskKey, set[str]] = {}
        self._rounds: dict[TaskKey, _Round] = {}

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

    def begin(self, task: Any, vectors: int, copied: int = 0) -> None:
        """Say what the round that begins is to measure whatever the models say of it.

        Parameters
        ----------
        task
            Whose round.
        vectors
            How many candidates with an inner tile that is new to the task.
        copied
            How many copies of what faster relatives did (`familyseer.transfer.copies`).
        """
        self._rounds[_key(task)] = _Round(vectors, copied)

    def states_for(self, task: Any, count: int, rng: np.random.Generator, hope: Hope | None = None) -> list[Any]:
        """Return states of a task to start a search from, beside its own sketches; none where nothing is known or new.

        Up to `count` have tile sizes: those that promise most of a search among them, or while too little was measured for
        that, those that were good for relatives; and some that are new (`familyseer.transfer.untried_vectors`). Beside them
        are those of the copies that the round is to have, twice, since what comes after them is drawn at random. The others
        are its sketches again, so that a quarter of all is open, a half where all are new. For `hope` see `familyseer.transfer.propose`.
        """
        key, space, now = _key(task), self._space(task), self._round(task)
        sketches, relatives = [sketch for sketch, _ in space.own], self._relatives(key)
        copied = copies(key, sketches, self.pool, self.experience, relatives=relatives)[: now.copies]
        now.copied = {Sketch(sketches[seed.sketch].form, seed.choices): "" for seed in copied}
        found: Sequence[Proposal | Seed] = propose(
            key,
            sketches,
            self.pool,
            self.experience,
            _PER_TILING * count,
            relatives=relatives,
            hope=hope,
            rng=rng,
        ) or self.pool.seeds(key, sketches, _PER_TILING * count, relatives=relatives, rng=rng)
        chosen = list(dict.fromkeys((seed.sketch, _tiles(seed.choices)) for seed in found))[:count]
        tries = min(count // 2, _TRIES * now.vectors)
        vectors = untried_vectors(key, sketches, self.experience, tries, rng, _VECTORS)
        random = _RANDOM if chosen else _RANDOM_AT_FIRST
        chosen = chosen[: count - len(vectors)] + vectors
        chosen += 2 * [(seed.sketch, seed.choices) for seed in copied]
        made = [_state_of(task, with_choices(space.own[i][1], choices)) for i, choices in chosen]
        states = [state for state in made if state is not None]
        wanted = ceil(len(states) * random / (1 - random))  # TVM adds every sketch once
        return states + space.open * (ceil(wanted / len(space.open)) - 1)

    def spread(self, task: Any, states: Sequence[Any], scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores (n,) by which no two inner tiles fill a round: beyond two new states of each, the others come first.

        Before all come the copies and as many with a vector for an inner tile, new to the task, one of each, as `begin` said;
        the same in every generation of a round.
        """
        space, known, now = self._space(task), self._measured.get(_key(task), set()), self._round(task)
        ranked = np.argsort(-scores, kind="stable")
        steps = [_steps_of(task, states[i]) for i in ranked]
        digests = [trace_digest(canonical_json(each)) for each in steps]
        found = [
            None if digest in known else space.sketch_of(each) for digest, each in zip(digests, steps, strict=True)
        ]
        waits = np.empty(len(scores))
        waits[ranked] = turns([sketch and sketch.tile for sketch in found], _PER_TILE)
        waits[[ranked[i] for i in now.meet_vectors(found, self.experience.inner_tiles(_key(task)))]] = -1.0
        waits[[ranked[i] for i in now.meet_copies(found, digests)]] = -2.0
        return scores - waits * (np.ptp(scores) + 1.0)

    def _round(self, task: Any) -> _Round:
        return self._rounds.setdefault(_key(task), _Round())

    def _space(self, task: Any) -> _Space:
        key = _key(task)
        if key not in self._spaces:
            self._spaces[key] = _Space.of(task)
        return self._spaces[key]


@dataclass(slots=True)
class _Round:
    """What a round of a task is to measure whatever the models say of it, and what of that the search has met.

    Parameters
    ----------
    vectors, copies
        See `TransferSeeds.begin`.
    met
        Inner tiles that are new to the task.
    copied
        The copies, each with the digest of the state that is to be it, empty before one was met.
    """

    vectors: int = 0
    copies: int = 0
    met: set[tuple[int, ...]] = field(default_factory=set)
    copied: dict[Sketch, str] = field(default_factory=dict)

    def meet_vectors(self, ranked: Sequence[Sketch | None], tried: Collection[tuple[int, ...]]) -> list[int]:
        """Return at which places of a ranking of new states vectors are that this round is to measure."""
        first: dict[tuple[int, ...], int] = {}
        for place, sketch in enumerate(ranked):
            tile = inner_tile(sketch.choices) if sketch else ()
            if is_vector(tile, _VECTORS) and tile not in tried:
                first.setdefault(tile, place)
        self.met.update([tile for tile in first if tile not in self.met][: max(0, self.vectors - len(self.met))])
        return [first[tile] for tile in self.met & first.keys()]

    def meet_copies(self, ranked: Sequence[Sketch | None], digests: Sequence[str]) -> list[int]:
        """Return at which places of a ranking of new states copies are, one of each."""
        found = []
        for place, (sketch, digest) in enumerate(zip(ranked, digests, strict=True)):
            if sketch in self.copied and self.copied[sketch] in ("", digest):
                self.copied[sketch] = digest
                found.append(place)
        return found


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
            sketch = _complete(sketch_of(start), steps)
            if sketch is not None:
                own.setdefault(sketch.form, (sketch, start))
        return cls(open=sketches, lengths=lengths, own=list(own.values()))

    def sketch_of(self, steps: Steps) -> Sketch | None:
        """Return the sketch of a complete state."""
        return _complete(sketch_of(steps[: _length(steps, self.lengths)]), steps)


def _key(task: Any) -> TaskKey:
    return str(task.workload_key)


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


def _tiles(choices: Choices) -> Choices:
    return tuple(choice for choice in choices if isinstance(choice, Tile))


def _complete(sketch: Sketch | None, steps: Steps) -> Sketch | None:
    """Return a sketch with how far the loops of a complete state are unrolled, which is not chosen with the tile sizes.

    Without it tile sizes would be blamed for it: it can make a kernel several times slower.
    """
    if sketch is None:
        return None
    unrolled = [step[3] for step in steps if step[0] == "PR" and step[3].startswith(_UNROLL)]
    return replace(sketch, choices=(*sketch.choices, *(Option(int(text[len(_UNROLL) :])) for text in unrolled)))


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
