# SPDX-License-Identifier: Apache-2.0
"""Whose schedules a task may start from: the best of its relatives, nearest shape first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np

from familyseer.task import TaskKey
from familyseer.transfer.choices import Choices, distance, fits, inner_tile, neighbours, transferred

__all__ = ["Donor", "DonorPool", "Match", "Seed", "Sketch"]

_PER_TASK = 4  # schedules that a task can give, each with another inner tile
_TOLERANCE = 1.5  # how much slower than a task's best one of them may be
_DONOR_TASKS = 4  # nearest tasks that a task takes from


@dataclass(frozen=True, slots=True)
class Sketch:
    """A program with its choices.

    Parameters
    ----------
    form
        What is done to the program, step by step: equal where two programs are treated alike.
    choices
        What was chosen on the way.
    """

    form: tuple[str, ...]
    choices: Choices

    @property
    def tile(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Its inner tile, told apart from those of other forms: what two schedules share that are much alike."""
        return self.form, inner_tile(self.choices)


@dataclass(frozen=True, slots=True)
class Donor:
    """A measured schedule and its latency in seconds."""

    cost: float
    sketch: Sketch


@dataclass(frozen=True, slots=True)
class Seed:
    """Choices for one of a task's own sketches, and the task whose schedule they were made of."""

    sketch: int
    choices: Choices
    donor: TaskKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A task that may give to another: whether they are relatives, how far apart, and which of its schedules fit where."""

    task: TaskKey
    related: bool
    distance: float
    donors: Sequence[tuple[Donor, int]]


@dataclass(slots=True)
class DonorPool:
    """The best schedules of every task.

    What it gives depends on what was measured alone, not on the order in which tasks were measured.
    """

    _best: dict[TaskKey, list[Donor]] = field(default_factory=dict)

    def add(self, task: TaskKey, donors: Sequence[Donor]) -> None:
        """Take note of measured schedules of a task: the best ones with different inner tiles are kept."""
        ranked = sorted([*self._best.get(task, ()), *donors], key=lambda donor: (donor.cost, repr(donor.sketch)))
        kept: dict[Any, Donor] = {}
        for donor in ranked:
            kept.setdefault(donor.sketch.tile, donor)
        self._best[task] = list(kept.values())[:_PER_TASK]

    def forget(self, tasks: Collection[TaskKey]) -> None:
        """Take nothing from some tasks any more."""
        self._best = {task: donors for task, donors in self._best.items() if task not in tasks}

    def best(self) -> Mapping[TaskKey, Sequence[Donor]]:
        """Return what each task could give, fastest first."""
        return MappingProxyType({task: tuple(donors) for task, donors in self._best.items()})

    def seeds(
        self,
        task: TaskKey,
        sketches: Sequence[Sketch],
        count: int,
        *,
        relatives: Collection[TaskKey] = (),
        rng: np.random.Generator,
    ) -> list[Seed]:
        """Return up to `count` different seeds for a task.

        Donors are the best of the four nearest tasks with a sketch that leaves the same choices open: relatives before
        others, then by the distance of their shapes. A task that has schedules of its own starts from the steps that lead
        away from its best, too (`familyseer.transfer.choices.neighbours`). All take turns, own steps first, then the
        nearest donor.

        Parameters
        ----------
        task
            Whose seeds.
        sketches
            Those of the task, with any choices.
        count
            Seeds wanted; fewer when there are no more.
        relatives
            Members of its family.
        rng
            See `familyseer.transfer.choices.transferred`.
        """
        matches = self.matches(task, sketches, relatives)
        streams = [self._own_steps(task, sketches, rng)]
        streams += [
            _stream(match.task, donor, place, sketches[place], rng)
            for rank in range(_PER_TASK)
            for match in matches
            for donor, place in match.donors[rank : rank + 1]
        ]
        return list(islice(_distinct(_in_turns(streams)), count))

    def _own_steps(self, task: TaskKey, sketches: Sequence[Sketch], rng: np.random.Generator) -> Iterator[Seed]:
        """Give the neighbours of a task's best schedule in random order."""
        own = self._best.get(task, [])
        position = _closest(own[0].sketch, sketches) if own else None
        if position is not None:
            steps = neighbours(own[0].sketch.choices)
            for i in rng.permutation(len(steps)):
                yield Seed(position, steps[i], task)

    def matches(self, task: TaskKey, sketches: Sequence[Sketch], relatives: Collection[TaskKey]) -> list[Match]:
        """Return the tasks that may give to a task, relatives before others, then the nearest; arguments as for `seeds`."""
        found = []
        for other, donors in self._best.items():
            good = [
                (donor, place)
                for donor in donors
                if other != task
                and donor.cost <= _TOLERANCE * donors[0].cost
                and (place := _closest(donor.sketch, sketches)) is not None
            ]
            if good:
                best, place = good[0]
                away = distance(best.sketch.choices, sketches[place].choices)
                found.append(Match(task=other, related=other in relatives, distance=away, donors=good))
        return sorted(found, key=lambda match: (not match.related, match.distance, match.task))[:_DONOR_TASKS]


def _closest(donor: Sketch, sketches: Sequence[Sketch]) -> int | None:
    """Return which sketch is most like a donor's among those that leave the same choices open."""
    fitting = [i for i, sketch in enumerate(sketches) if fits(donor.choices, sketch.choices)]
    likeness = {i: SequenceMatcher(None, donor.form, sketches[i].form, autojunk=False).ratio() for i in fitting}
    return max(fitting, key=lambda i: likeness[i], default=None)


def _stream(task: TaskKey, donor: Donor, place: int, own: Sketch, rng: np.random.Generator) -> Iterator[Seed]:
    for choices in transferred(donor.sketch.choices, own.choices, rng):
        yield Seed(place, choices, task)


def _in_turns(streams: Sequence[Iterator[Seed]]) -> Iterator[Seed]:
    waiting = list(streams)
    while waiting:
        for stream in list(waiting):
            seed = next(stream, None)
            if seed is None:
                waiting.remove(stream)
            else:
                yield seed


def _distinct(seeds: Iterator[Seed]) -> Iterator[Seed]:
    seen = set()
    for seed in seeds:
        if (seed.sketch, seed.choices) not in seen:
            seen.add((seed.sketch, seed.choices))
            yield seed
