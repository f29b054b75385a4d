# SPDX-License-Identifier: Apache-2.0
"""Transfer on this engine: what a MetaSchedule trace chose, and the trace of a sketch with other choices."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from familyseer.measure import MeasureResult
from familyseer.meta_schedule.seeds import SeedSource
from familyseer.records import canonical_json
from familyseer.task import Task, TaskKey
from familyseer.transfer import (
    Choice,
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
from familyseer.transfer.choices import kinds_of

__all__ = ["OwnSeeds", "TransferSeeds", "sketch_of", "with_choices"]

_ENDS = "EnterPostproc"  # what follows was derived from what is before
_PLACED = ("ComputeAt", "ReverseComputeAt")  # instructions that say more by the loop that they name


class TransferSeeds(SeedSource):
    """The `SeedSource` that rescales the best schedules of relatives.

    Parameters
    ----------
    relatives
        The members of a task's present family, itself included.
    """

    def __init__(self, relatives: Callable[[TaskKey], Collection[TaskKey]]) -> None:
        self.pool, self.experience = DonorPool(), Experience()
        self._relatives = relatives

    def learn(self, task: Task, traces: Sequence[str], results: Sequence[MeasureResult]) -> None:
        """Take note of schedules and what measuring them gave."""
        found = [
            (sketch, result) for trace, result in zip(traces, results, strict=True) if (sketch := sketch_of(trace))
        ]
        donors = [Donor(result.cost, sketch) for sketch, result in found if result.costs]
        if donors:
            self.pool.add(task.key, donors)
        for sketch, result in found:
            self.experience.add(task.key, Tried(result.cost, sketch, result.build_seconds))

    def seeds_for(self, task: Task, sketches: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
        """Return up to `count` traces for a task, made of its sketches' and without their post-processing."""
        own = _readable(sketches)
        found = self.pool.seeds(
            task.key, [sketch for _, sketch in own], count, relatives=self._relatives(task.key), rng=rng
        )
        return _made(own, found)

    def efforts(self, task: Task, traces: Sequence[str]) -> list[float]:
        """Return how much longer each schedule takes for its compilation, as a logarithm; 0 where nothing is known."""
        return [self._effort(trace) for trace in traces]

    def _effort(self, trace: str) -> float:
        sketch = sketch_of(trace)
        model = self.experience.model(kinds_of(sketch.choices)) if sketch else None
        return float(model.efforts(sketch.form, [sketch.choices])[0]) if sketch and model else 0.0

    def proposals(
        self,
        task: Task,
        sketches: Sequence[str],
        count: int,
        *,
        share: float,
        build_weight: float,
        hope: Hope,
        rng: np.random.Generator,
    ) -> list[str]:
        """Return up to `count` traces as `seeds_for` does, but of a search among choices (`familyseer.transfer.propose`)."""
        own = _readable(sketches)
        found = propose(
            task.key,
            [sketch for _, sketch in own],
            self.pool,
            self.experience,
            count,
            relatives=self._relatives(task.key),
            share=share,
            build_weight=build_weight,
            hope=hope,
            rng=rng,
        )
        return _made(own, found)

    def copies(self, task: Task, sketches: Sequence[str]) -> list[str]:
        """Return traces as `seeds_for` does, copies of what faster relatives did; the fastest relative's first."""
        own = _readable(sketches)
        found = copies(
            task.key,
            [sketch for _, sketch in own],
            self.pool,
            self.experience,
            relatives=self._relatives(task.key),
        )
        return _made(own, found)

    def vectors(self, task: Task, sketches: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
        """Return up to `count` traces as `seeds_for` does, with inner tiles that are new to the task."""
        own = _readable(sketches)
        found = untried_vectors(task.key, [sketch for _, sketch in own], self.experience, count, rng, Vectors())
        return [with_choices(own[i][0], choices) for i, choices in found]


class OwnSeeds(SeedSource):
    """The `SeedSource` without transfer: every task learns from its own schedules alone, in the same way."""

    def __init__(self) -> None:
        self._sources: dict[TaskKey, TransferSeeds] = {}

    def learn(self, task: Task, traces: Sequence[str], results: Sequence[MeasureResult]) -> None:
        """Take note of schedules for the task itself."""
        self._source(task).learn(task, traces, results)

    def seeds_for(self, task: Task, sketches: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
        """Return the steps that lead away from the task's best schedule."""
        return self._source(task).seeds_for(task, sketches, count, rng)

    def efforts(self, task: Task, traces: Sequence[str]) -> list[float]:
        """Return how much longer each schedule takes for its compilation, judged by those of the task."""
        return self._source(task).efforts(task, traces)

    def proposals(self, task: Task, sketches: Sequence[str], count: int, **options: Any) -> list[str]:
        """Return what a search among choices finds with the task's own experience."""
        return self._source(task).proposals(task, sketches, count, **options)

    def vectors(self, task: Task, sketches: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
        """Return schedules with inner tiles that are new to the task."""
        return self._source(task).vectors(task, sketches, count, rng)

    def _source(self, task: Task) -> TransferSeeds:
        return self._sources.setdefault(task.key, TransferSeeds(lambda key: ()))


def _readable(sketches: Sequence[str]) -> list[tuple[str, Sketch]]:
    """Return the traces that leave choices open, and what each does and chose."""
    return [(trace, sketch) for trace in sketches if (sketch := sketch_of(trace))]


def _made(own: Sequence[tuple[str, Sketch]], found: Sequence[Seed | Proposal]) -> list[str]:
    """Return the traces of what was found for readable sketches."""
    return [with_choices(own[one.sketch][0], one.choices) for one in found]


def sketch_of(trace: str) -> Sketch | None:
    """Read what a trace does and chose; None where it leaves nothing open or chose what is not known here.

    Parameters
    ----------
    trace
        JSON text of a sketch's or a measured schedule's trace; its post-processing is left out.
    """
    insts, decided = _parts(trace)
    form: list[str] = []
    choices: list[Choice] = []
    loops: dict[str, int] = {}
    for position, (name, inputs, attrs, outputs) in enumerate(insts):
        if name.startswith("Sample"):
            choice = _choice(name, attrs, decided.get(position))
            if choice is None:
                return None
            choices.append(choice)
        if name in ("GetLoops", "Split", "Fuse"):
            loops |= {output: len(loops) + i for i, output in enumerate(outputs)}
        if not name.startswith("Get"):  # those only look, and TVM leaves out the idle ones
            form.append(f"{name} {loops.get(str(inputs[1]), '')}" if name in _PLACED else name)
    return Sketch(tuple(form), tuple(choices)) if choices else None


def with_choices(trace: str, choices: Choices) -> str:
    """Return a sketch's trace, as JSON text without post-processing, with these choices instead of its own."""
    insts, _ = _parts(trace)
    places = [i for i, inst in enumerate(insts) if inst[0].startswith("Sample")]
    decisions = [
        [place, list(choice.factors) if isinstance(choice, Tile) else choice.index]
        for place, choice in zip(places, choices, strict=True)
    ]
    return canonical_json([insts, decisions])


def _parts(trace: str) -> tuple[list[Any], dict[int, Any]]:
    """Return the instructions before post-processing, and the decisions by their position."""
    insts, decisions = json.loads(trace)
    names = [inst[0] for inst in insts]
    return insts[: names.index(_ENDS) if _ENDS in names else len(insts)], dict(decisions)


def _choice(name: str, attrs: Sequence[Any], decision: Any) -> Choice | None:
    if name == "SamplePerfectTile" and isinstance(decision, list):
        return Tile(tuple(int(factor) for factor in decision))
    if name == "SampleCategorical" and decision is not None:
        return Option(int(decision), of=len(attrs[0]))
    if name == "SampleComputeLocation" and decision is not None:
        return Option(int(decision))
    return None
