# SPDX-License-Identifier: Apache-2.0
"""Inner tiles that fill vectors and registers: good ones are few, and a random schedule seldom has one.

In recorded searches 16 x 14 (channels, columns) is the inner tile of the best schedule of most convolutions of ResNet-18, by
1.3 to 1.7 times on strided ones, and one random schedule in 200 has it. What no schedule had, no model asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from familyseer.task import TaskKey
from familyseer.transfer.choices import Choices, Places, Tile, inner_tile, kinds_of, most_tiled, random_tile, randomised
from familyseer.transfer.donors import Sketch
from familyseer.transfer.experience import Experience

__all__ = ["is_vector", "untried_vectors", "vector_tiled"]

_VECTORS = (8, 16, 32)  # elements along one loop
_RUNS = range(
    8, 65
)  # elements along the loop whose iterations are neighbours in memory, for a compiler to make vectors of
_REPEATS = range(2, 17)  # of the vector, along another
_MOST = 256  # elements in all: as many accumulators fit AVX-512's registers, with half of them left over
_PARTS = 3  # a loop that is split into fewer has no registers to fill


def untried_vectors(
    task: TaskKey,
    sketches: Sequence[Sketch],
    experience: Experience,
    count: int,
    rng: np.random.Generator,
    *,
    runs: bool = False,
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
    runs
        As for `vector_tiled`.
    """
    tried = experience.inner_tiles(task)
    places = [experience.places(kinds_of(sketch.choices)) for sketch in sketches]
    found = []
    for _ in range(count if sketches else 0):
        i = int(rng.integers(len(sketches)))
        drawn = vector_tiled(sketches[i].choices, rng, places[i], runs=runs)
        if drawn and inner_tile(drawn) not in tried:
            found.append((i, drawn))
    return found


def is_vector(tile: Sequence[int]) -> bool:
    """Return whether an inner tile is one that `vector_tiled` can draw.

    Examples
    --------
    >>> [is_vector(tile) for tile in [(16, 1, 14), (7, 28), (1, 8), (4, 4), (8, 2, 2), (32, 16)]]
    [True, True, True, False, False, False]
    """
    first, second, *others = sorted((size for size in (*tile, 1, 1)), reverse=True)
    vector = first in _RUNS and (second == 1 or second in _REPEATS)
    return vector and first * second <= _MOST and set(others) <= {1}


def vector_tiled(choices: Choices, rng: np.random.Generator, known: Places, *, runs: bool = False) -> Choices | None:
    """Draw an inner tile of 8, 16 or 32 by 2 to 16 elements of two of the most tiled loops, and all else as `randomised`.

    Where no other loop has a divisor from 2 to 16, the vector is all; where none has a vector, or loops are split into two
    parts at most, there is nothing to draw.

    With `runs`, for a compiler that makes vectors of whole loops, the vector is any 8 to 64 of the last loop if it has as
    many, alone in half of the draws, and in half of them the innermost level is empty and the tile at the one outside.

    Examples
    --------
    >>> vector_tiled((Tile((8, 1, 1)), Tile((1, 7, 1)), Tile((2, 2))), np.random.default_rng(0), {})
    (Tile(factors=(1, 1, 8)), Tile(factors=(1, 1, 7)), Tile(factors=(4, 1)))
    """
    tiles = most_tiled(choices)
    parts = max((len(tile.factors) for tile in tiles.values()), default=0)
    loops = {i: tile.extent for i, tile in tiles.items()}
    vectors = _vectors(loops, runs)
    if parts < _PARTS or not vectors:
        return None
    place, vector = vectors[int(rng.integers(len(vectors)))]
    others = [(i, n) for i, extent in loops.items() if i != place for n in _REPEATS if extent % n == 0]
    others = [(i, repeats) for i, repeats in others if vector * repeats <= _MOST]
    if runs and rng.integers(2):
        others = []
    inner = dict.fromkeys(loops, 1) | dict([others[int(rng.integers(len(others)))]] if others else []) | {place: vector}
    drawn = list(randomised(choices, rng, known))
    inside = (1,) if runs and rng.integers(2) else ()
    for i, size in inner.items():
        drawn[i] = Tile((*random_tile(loops[i] // size, parts - 1 - len(inside), rng).factors, size, *inside))
    return tuple(drawn)


def _vectors(loops: Mapping[int, int], runs: bool) -> list[tuple[int, int]]:
    """Return the loops that can have a vector, and its size."""
    along = [(max(loops), size) for size in _RUNS if loops[max(loops)] % size == 0] if runs and loops else []
    return along or [(i, size) for i, extent in loops.items() for size in _VECTORS if extent % size == 0]
