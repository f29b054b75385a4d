# SPDX-License-Identifier: Apache-2.0
"""What measured choices teach of others: a model that ranks schedules before any of them is built.

The cost model of programs needs each of them scheduled and lowered, a few milliseconds; this one needs their numbers alone.
On the candidates of recorded searches it puts as many pairs in order as that model, and both together more than either.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import log, log1p, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from familyseer.measure import INVALID_COST
from familyseer.task import TaskKey
from familyseer.transfer.choices import Choices, Kinds, Option, Places, Tile, distance, inner_tile, iterations, kinds_of
from familyseer.transfer.donors import Sketch

__all__ = ["ChoiceModel", "Experience", "Hope", "Tried", "effort_of", "encode"]

_LEAST = 16  # measured schedules before the model says anything
_MOST = 2000  # that are learnt, those nearest to what their tasks can reach
_FLOOR = -4.0  # slower than 55 times the best is as slow as can be
_FASTER = 4.0  # times faster than its best, at most, that a task can become by what relatives show
_TREES, _EFFORT_TREES = 64, 16
_ELSE_SECONDS = 0.5  # of one core, that a candidate takes beside its compilation


def encode(choices: Choices) -> list[float]:
    """Describe choices by numbers: of each loop extent, factors and the sizes of its inner tiles, all as binary logarithms.

    Options are their indices. At the end stands, for each number of levels, the size of the tiles over all loops that have
    as many.

    Examples
    --------
    >>> encode((Tile((2, 4)), Tile((1, 8))))
    [3.0, 1.0, 2.0, 2.0, 3.0, 0.0, 3.0, 3.0, 1.0, 5.0]
    """
    numbers: list[float] = []
    levels: dict[int, list[float]] = {}
    for choice in choices:
        if isinstance(choice, Tile):
            logs = [log2(factor) for factor in choice.factors]
            numbers += [sum(logs), *logs, *accumulate(logs[:0:-1])]
            total = levels.setdefault(len(logs), [0.0] * len(logs))
            levels[len(logs)] = [a + b for a, b in zip(total, logs, strict=True)]
        else:
            numbers.append(float(choice.index))
    return [*numbers, *(total for count in sorted(levels) for total in levels[count])]


def effort_of(build_seconds: float) -> float:
    """Return the logarithm of how much longer a candidate takes for its compilation.

    Examples
    --------
    >>> effort_of(0.0)
    0.0
    """
    return log1p(build_seconds / _ELSE_SECONDS)


class ChoiceModel:
    """Extremely randomised trees (Geurts et al., 2006) from choices to the logarithm of relative throughput, and to effort.

    Parameters
    ----------
    rows
        (n, d), see `encode`; a number that stands for the form of the sketch comes first.
    labels
        (n,) at most 0.
    efforts
        (n,) see `effort_of`.
    seed
        Of the trees.
    """

    def __init__(
        self, rows: NDArray[np.float64], labels: NDArray[np.float64], efforts: NDArray[np.float64], *, seed: int
    ) -> None:
        from sklearn.ensemble import ExtraTreesRegressor  # here, so that importing familyseer stays fast

        self._trees = ExtraTreesRegressor(_TREES, min_samples_leaf=2, max_features=0.5, random_state=seed)
        self._trees.fit(rows, labels)
        self._effort = ExtraTreesRegressor(_EFFORT_TREES, min_samples_leaf=2, max_features=0.5, random_state=seed)
        self._effort.fit(rows, efforts)

    def scores(
        self, form: tuple[str, ...], candidates: Sequence[Choices]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation of the trees' predictions for choices of one sketch, (n,) each."""
        votes = _votes(self._trees, form, candidates)
        return votes.mean(axis=0), votes.std(axis=0)

    def efforts(self, form: tuple[str, ...], candidates: Sequence[Choices]) -> NDArray[np.float64]:
        """Return the predicted efforts of choices of one sketch, (n,)."""
        return np.asarray(_votes(self._effort, form, candidates).mean(axis=0))


def _votes(trees: Any, form: tuple[str, ...], candidates: Sequence[Choices]) -> NDArray[np.float64]:
    """Return what each tree says of each candidate, (trees, n); several times faster than scikit-learn's own loop."""
    if not candidates:
        return np.zeros((1, 0))
    number = _number(form)
    rows = np.array([[number, *encode(choices)] for choices in candidates], dtype=np.float32)
    return np.array([tree.tree_.predict(rows)[:, 0] for tree in trees.estimators_])


def _number(form: tuple[str, ...]) -> float:
    """Return a number in [0, 1) that tells forms apart, whatever else has been seen."""
    return zlib.crc32("\n".join(form).encode()) / 2**32


@dataclass(frozen=True, slots=True)
class Hope:
    """How much a task is hoped to become as fast, per iteration of its loops, as relatives of like extents.

    Parameters
    ----------
    weight
        From 1 to 0: its own best is as fast as it gets.
    after
        Measured schedules of the task, before which its own best is.
    """

    weight: float = 1.0
    after: int = 24


@dataclass(frozen=True, slots=True)
class Tried:
    """A measured schedule, its latency in seconds (`INVALID_COST` for one that failed) and what compiling it took."""

    cost: float
    sketch: Sketch
    build_seconds: float = 0.0

    @property
    def speed(self) -> float:
        """Iterations per second of the loops that are tiled; 0 for one that failed."""
        return iterations(self.sketch.choices) / self.cost if self.cost < INVALID_COST else 0.0


@dataclass(frozen=True, slots=True)
class _Seen:
    task: TaskKey
    row: list[float]
    tried: Tried

    def label(self, reached: float) -> float:
        return max(log(reached / self.tried.cost), _FLOOR) if self.tried.cost < INVALID_COST else _FLOOR


@dataclass(slots=True)
class Experience:
    """The choices of all measured schedules, gathered by the kinds of choices that they leave open.

    What it says depends on what was measured alone, not on the order.

    Parameters
    ----------
    seed
        Of the models.
    """

    seed: int = 0
    _seen: dict[Kinds, list[_Seen]] = field(default_factory=dict)
    _models: dict[tuple[Kinds, frozenset[TaskKey]], tuple[int, dict[TaskKey, float], ChoiceModel]] = field(
        default_factory=dict
    )

    def add(self, task: TaskKey, tried: Tried) -> None:
        """Take note of a schedule of a task."""
        row = [_number(tried.sketch.form), *encode(tried.sketch.choices)]
        self._seen.setdefault(kinds_of(tried.sketch.choices), []).append(_Seen(task, row, tried))

    def of(self, task: TaskKey) -> tuple[Tried, ...]:
        """Return what was measured of a task, kind after kind."""
        return tuple(one.tried for seen in self._seen.values() for one in seen if one.task == task)

    def inner_tiles(self, task: TaskKey) -> set[tuple[int, ...]]:
        """Return the inner tiles that were measured of a task."""
        return {inner_tile(one.sketch.choices) for one in self.of(task)}

    def places(self, kinds: Kinds) -> Places:
        """Return which indices could be measured at options whose number a sketch does not tell: compute locations."""
        sound = [one.tried.sketch.choices for one in self._seen.get(kinds, []) if one.tried.cost < INVALID_COST]
        untold = [i for i, kind in enumerate(kinds) if kind == ("option", 0)]
        found = {i: {at.index for choices in sound if isinstance(at := choices[i], Option)} for i in untold}
        return {i: tuple(sorted(indices)) for i, indices in found.items() if indices}

    def forget(self, tasks: Collection[TaskKey]) -> None:
        """Forget what was measured of some tasks."""
        self._seen = {kinds: [one for one in seen if one.task not in tasks] for kinds, seen in self._seen.items()}
        self._models = {}

    def model(self, kinds: Kinds, relatives: Collection[TaskKey] = (), hope: Hope | None = None) -> ChoiceModel | None:
        """Return what ranks choices of these kinds; None while too few have been measured.

        Parameters
        ----------
        kinds
            What is left open.
        relatives
            Tasks of which each may be as fast as another; of all others their own best is as fast as it gets.
        hope
            How much so; None: of relatives, too, their own best is.
        """
        seen = self._seen.get(kinds, [])
        if len(seen) < _LEAST:
            return None
        hopes = _hopes(seen, relatives, hope) if relatives and hope else {}
        key = kinds, frozenset(relatives) if hopes else frozenset()  # one model for all that hope for nothing
        known = self._models.get(key)
        if known is None or known[:2] != (len(seen), hopes):
            known = self._models[key] = (len(seen), hopes, self._fit(seen, hopes))
        return known[2]

    def _fit(self, seen: Sequence[_Seen], hopes: Mapping[TaskKey, float]) -> ChoiceModel:
        reached = {task: one.tried.cost / hopes.get(task, 1.0) for task, one in _best(seen).items()}
        labelled = sorted(
            ((one.label(reached[one.task]), one.row, effort_of(one.tried.build_seconds)) for one in seen), reverse=True
        )
        labels, rows, efforts = zip(*labelled[:_MOST], strict=True)
        return ChoiceModel(np.array(rows), np.array(labels), np.array(efforts), seed=self.seed)


def _best(seen: Sequence[_Seen]) -> dict[TaskKey, _Seen]:
    """Return the fastest of each task."""
    best: dict[TaskKey, _Seen] = {}
    for one in seen:
        best[one.task] = min(one, best.get(one.task, one), key=lambda each: each.tried.cost)
    return best


def _hopes(seen: Sequence[_Seen], relatives: Collection[TaskKey], hope: Hope) -> dict[TaskKey, float]:
    """Return how many times faster than its best each task may become by what relatives show, where that is more than 1.

    Were its candidates related to its own best alone, a task that has found nothing good would praise what it has, and what
    is good for its relatives could not be told from it. A task may be slower by nature, and one with few measurements
    may learn most from its own: so nothing is hoped for before `hope.after` of its schedules were measured, and then to
    become as fast per iteration as a relative, `_FASTER` times faster at most, and half as many times for each two that their
    extents are apart (`familyseer.transfer.choices.distance`).
    """
    counts = Counter(one.task for one in seen)
    family = [one for task, one in _best(seen).items() if task in relatives and one.tried.speed]
    stuck = [one for one in family if counts[one.task] >= hope.after]
    hopes = {own.task: max(_hope(own, relative) for relative in family) ** hope.weight for own in stuck}
    return {task: times for task, times in hopes.items() if times > 1}


def _hope(own: _Seen, relative: _Seen) -> float:
    most = _FASTER * 2 ** (-distance(relative.tried.sketch.choices, own.tried.sketch.choices) / 2)
    return min(relative.tried.speed / own.tried.speed, most)
