# SPDX-License-Identifier: Apache-2.0
"""Inner tiles that fill vectors and registers: good ones are few, and a random schedule seldom has one.

In recorded searches of ResNet-18 and BERT (LLVM, AVX-512) about a third of the random schedules whose innermost tile has a
run of 8 or more along the last loop, whose iterations are neighbours in memory, take at most 1.3 times as long as the best of
their task; of those with 128 to 511 elements there, along one other loop besides, about half do; of all others one in 25.
What no schedule had, no model asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from familyseer.task import TaskKey
from familyseer.transfer.choices import Choices, Places, Tile, inner_tile, kinds_of, most_tiled, random_tile, randomised
from familyseer.transfer.donors import Sketch
from familyseer.transfer.experience import Experience

__all__ = ["Vectors", "is_vector", "untried_vectors", "vector_places", "vector_tiled"]

_VECTORS = (8, 16, 32)  # elements along a loop where the last one has no run
_REPEATS = range(2, 17)  # of a run or vector, along another loop
_LONGEST = 64  # elements of a run
_FIRST = 4  # times as many of a task's first round, when no model knows better
_PARTS = 3  # a loop that is split into fewer has no registers to fill


@dataclass(frozen=True, slots=True)
class Vectors:
    """Which inner tiles a compiler makes good vectors of.

    Parameters
    ----------
    shortest
        Elements of a run along the last loop; the longest has 64.
    least, most
        Elements of the tile; fewer than the least where the loops have no more.
    whole_loops
        Whether the compiler looks for vectors itself, in loops that have nothing inside: the tile may be at the level outside
        of an empty innermost one then, and a run alone will do.
    """

    shortest: int = 7
    least: int = 64
    most: int = 512
    whole_loops: bool = False


def vector_places(count: int, share: float, *, first: bool) -> int:
    """Return how many of a round's `count` candidates have an inner tile that is new to the task.

    Parameters
    ----------
    count
        Candidates of the round.
    share
        Of them; four times as much of the first round, all at most.
    first
        Whether nothing was measured of the task.

    Examples
    --------
    >>> vector_places(8, 0.125, first=True), vector_places(8, 0.125, first=False), vector_places(4, 0.125, first=False)
    (4, 1, 0)
    """
    return int(count * min(share * (_FIRST if first else 1), 1.0))


def untried_vectors(
    task: TaskKey,
    sketches: Sequence[Sketch],
    experience: Experience,
    count: int,
    rng: np.random.Generator,
    rule: Vectors,
) -> list[tuple[int, Choices]]:
    """Draw `count` times choices with a vector as inner tile; return those whose inner tile was not measured of the task.

    Parameters
    ----------
    task, sketches
        What they are for; the choices come with the position of their sketch.
    experience
        What was measured.
    count
        Draws.
    rng
        Draws them.
    rule
        Which inner tiles are drawn.
    """
    tried = experience.inner_tiles(task)
    places = [experience.places(kinds_of(sketch.choices)) for sketch in sketches]
    found = []
    for _ in range(count if sketches else 0):
        i = int(rng.integers(len(sketches)))
        drawn = vector_tiled(sketches[i].choices, rng, places[i], rule)
        if drawn and inner_tile(drawn) not in tried:
            found.append((i, drawn))
    return found


def is_vector(tile: Sequence[int], rule: Vectors) -> bool:
    """Return whether an inner tile is one that `vector_tiled` can draw.

    Examples
    --------
    >>> [is_vector(tile, Vectors()) for tile in [(16, 1, 14), (7, 28), (1, 8), (4, 4), (8, 2, 2), (32, 32)]]
    [True, True, True, False, False, False]
    """
    first, second, *others = sorted((size for size in (*tile, 1, 1)), reverse=True)
    vector = rule.shortest <= first <= _LONGEST and (second == 1 or second in _REPEATS)
    return vector and first * second <= rule.most and set(others) <= {1}


def vector_tiled(choices: Choices, rng: np.random.Generator, known: Places, rule: Vectors) -> Choices | None:
    """Draw an inner tile: a run along the last of the most tiled loops by 2 to 16 of another; all else as `randomised`.

    Where the last loop has no run, another has a vector of 8, 16 or 32; where no other loop has a divisor from 2 to 16, the
    run is all; where there is nothing of all this, or loops are split into two parts at most, there is nothing to draw.
    For a compiler that looks for vectors itself half of the runs are alone, and half of the tiles at the level outside of an
    empty innermost one.

    Examples
    --------
    >>> vector_tiled((Tile((7, 1, 1)), Tile((8, 1, 1)), Tile((2, 2))), np.random.default_rng(0), {}, Vectors())
    (Tile(factors=(1, 1, 7)), Tile(factors=(1, 1, 8)), Tile(factors=(4, 1)))
    """
    tiles = most_tiled(choices)
    parts = max((len(tile.factors) for tile in tiles.values()), default=0)
    loops = {i: tile.extent for i, tile in tiles.items()}
    vectors = _vectors(loops, rule)
    if parts < _PARTS or not vectors:
        return None
    place, vector = vectors[int(rng.integers(len(vectors)))]
    others = [(i, n) for i, extent in loops.items() if i != place for n in _REPEATS if extent % n == 0]
    others = [(i, repeats) for i, repeats in others if vector * repeats <= rule.most]
    others = [(i, repeats) for i, repeats in others if vector * repeats >= rule.least] or others
    if rule.whole_loops and rng.integers(2):
        others = []
    inner = dict.fromkeys(loops, 1) | dict([others[int(rng.integers(len(others)))]] if others else []) | {place: vector}
    drawn = list(randomised(choices, rng, known))
    inside = (1,) if rule.whole_loops and rng.integers(2) else ()
    for i, size in inner.items():
        drawn[i] = Tile((*random_tile(loops[i] // size, parts - 1 - len(inside), rng).factors, size, *inside))
    return tuple(drawn)


def _vectors(loops: Mapping[int, int], rule: Vectors) -> list[tuple[int, int]]:
    """Return the loops that can have a run or vector, and its size."""
    last = max(loops, default=0)
    runs = [(last, size) for size in range(rule.shortest, _LONGEST + 1) if loops.get(last, 1) % size == 0]
    return runs or [(i, size) for i, extent in loops.items() for size in _VECTORS if extent % size == 0]
