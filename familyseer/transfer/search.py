# SPDX-License-Identifier: Apache-2.0
"""Search among choices: evolution over numbers, which costs microseconds where one over programs costs milliseconds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from familyseer.task import TaskKey
from familyseer.transfer.choices import Choices, Places, inner_tile, jittered, kinds_of, neighbours, randomised
from familyseer.transfer.donors import DonorPool, Seed, Sketch
from familyseer.transfer.experience import ChoiceModel, Experience, Hope
from familyseer.transfer.variety import most_alike, turns

__all__ = ["Proposal", "propose"]

_STARTS = 64  # seeds from relatives, and as many drawn at random
_OWN = 3  # best schedules of the task whose neighbours are tried
# A longer search finds what the model is wrong about: with three generations of 384 children, five convolutions ended at
# 9.7 and 6.1 ms instead of 5.0 and 4.6.
_GENERATIONS, _PARENTS, _CHILDREN = 1, 32, 64
_CROSSED = 0.4  # of the children have two parents
_OPTIMISM = 0.5  # standard deviations added to a prediction: what is not known may be good


@dataclass(frozen=True, slots=True)
class Proposal:
    """Choices for one of a task's sketches, and how good they may be: a logarithm of relative throughput."""

    sketch: int
    choices: Choices
    score: float


def propose(
    task: TaskKey,
    sketches: Sequence[Sketch],
    pool: DonorPool,
    experience: Experience,
    count: int,
    *,
    relatives: Collection[TaskKey] = (),
    share: float = 0.25,
    build_weight: float = 0.0,
    hope: Hope | None = None,
    rng: np.random.Generator,
) -> list[Proposal]:
    """Return up to `count` different proposals for a task, best first; none while nothing comparable was measured.

    Parameters
    ----------
    task, sketches, relatives
        As for `DonorPool.seeds`.
    pool, experience
        What was measured.
    share
        Of the proposals that may have one inner tile, so that not all are alike.
    build_weight
        How much effort (`familyseer.transfer.experience.effort_of`) takes from a score.
    hope
        See `Experience.model`.
    rng
        Draws all that is drawn.
    """
    kinds = [kinds_of(sketch.choices) for sketch in sketches]
    models = {i: model for i, kind in enumerate(kinds) if (model := experience.model(kind, relatives, hope))}
    if not models:
        return []
    starts: dict[int, list[Choices]] = {i: [] for i in models}
    places = {kind: experience.places(kind) for kind in set(kinds)}  # sketches share them
    known = [places[kind] for kind in kinds]
    own = _own(task, pool, sketches, known)
    for seed in [*pool.seeds(task, sketches, _STARTS, relatives=relatives, rng=rng), *own]:
        if seed.sketch in starts:
            starts[seed.sketch].append(seed.choices)
    for i in models:
        starts[i] += [randomised(sketches[i].choices, rng, known[i]) for _ in range(_STARTS // len(models))]
    found: dict[tuple[int, Choices], float] = {}
    for i, model in models.items():
        found |= _evolved(i, starts[i], _Judge(model, sketches[i].form, build_weight), known[i], rng)
    ranked = sorted(found, key=lambda key: -found[key])  # stable, and found in an order that follows from `rng`
    waits = turns([(place, inner_tile(choices)) for place, choices in ranked], most_alike(count, share))
    varied = [key for key, turn in zip(ranked, waits, strict=True) if not turn]
    return [Proposal(*key, found[key]) for key in varied[:count]]


def _own(task: TaskKey, pool: DonorPool, sketches: Sequence[Sketch], known: Sequence[Places]) -> list[Seed]:
    """Return the neighbours of the task's best schedules."""
    forms = {sketch.form: i for i, sketch in enumerate(sketches)}
    best = [(forms[d.sketch.form], d.sketch) for d in pool.best().get(task, ())[:_OWN] if d.sketch.form in forms]
    return [Seed(i, step, task) for i, sketch in best for step in neighbours(sketch.choices, known[i])]


@dataclass(frozen=True, slots=True)
class _Judge:
    """Scores choices of one sketch: upper confidence bounds, less for what takes long to compile."""

    model: ChoiceModel
    form: tuple[str, ...]
    build_weight: float

    def scores(self, candidates: Sequence[Choices]) -> list[float]:
        mean, deviation = self.model.scores(self.form, candidates)
        found = mean + _OPTIMISM * deviation
        if self.build_weight:
            found -= self.build_weight * self.model.efforts(self.form, candidates)
        return [float(score) for score in found]


def _evolved(
    place: int, starts: Sequence[Choices], judge: _Judge, known: Places, rng: np.random.Generator
) -> dict[tuple[int, Choices], float]:
    """Return all that was met on the way with its score."""
    scores: dict[Choices, float] = {}
    fresh = list(dict.fromkeys(starts))
    for generation in range(_GENERATIONS + 1):
        scores |= dict(zip(fresh, judge.scores(fresh), strict=True))
        if generation < _GENERATIONS:
            parents = sorted(scores, key=lambda choices: -scores[choices])[:_PARENTS]
            children = (_child(parents, known, rng) for _ in range(_CHILDREN))
            fresh = [child for child in dict.fromkeys(children) if child not in scores]
    return {(place, choices): score for choices, score in scores.items()}


def _child(parents: Sequence[Choices], known: Places, rng: np.random.Generator) -> Choices:
    # The better half of the parents has three quarters of the children.
    first, second = (parents[int(len(parents) * rng.random() ** 2)] for _ in range(2))
    if rng.random() < _CROSSED:
        first = tuple(pair[int(rng.integers(2))] for pair in zip(first, second, strict=True))
    return jittered(first, rng, known)
