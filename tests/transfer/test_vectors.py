# SPDX-License-Identifier: Apache-2.0
"""Inner tiles that fill vectors: exact, within bounds, and new to the task that they are for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.transfer import Experience, Option, Sketch, Tile, Tried, Vectors, untried_vectors
from familyseer.transfer.choices import inner_tile, kinds_of
from familyseer.transfer.vectors import is_vector, vector_tiled

CONVOLUTION = (Tile((256, 1, 1, 1)), Tile((14, 1, 1, 1)), Tile((14, 1, 1, 1)), Tile((256, 1)), Option(0, 4), Option(1))

WHOLE = Vectors(shortest=8, least=0, most=256, whole_loops=True)


def rng(seed: int = 0) -> np.random.Generator:
    """Return a generator."""
    return np.random.default_rng(seed)


def test_the_tiles_of_a_convolution():
    """Of 256 channels, 14 rows and 14 columns: 7 or 14 columns by a divisor of another loop, 64 elements if there are."""
    drawn = [vector_tiled(CONVOLUTION, rng(seed), {5: (2, 7)}, Vectors()) for seed in range(400)]
    assert {inner_tile(choices) for choices in drawn} == {
        (16, 1, 7),
        (1, 14, 7),
        *((n, 1, 14) for n in (8, 16)),
        *((1, n, 14) for n in (7, 14)),
    }
    assert {choices[4].index for choices in drawn} == {0, 1, 2, 3}
    assert {choices[5] for choices in drawn} == {Option(2), Option(7)}, "a location that is known"
    assert len({choices[3].factors for choices in drawn}) == 9, "256 = 2^8, any split of it"


def test_whole_loops():
    """Along the last loop, alone in half of the draws, and in half of them with an empty level inside."""
    drawn = [vector_tiled(CONVOLUTION, rng(seed), {}, WHOLE) for seed in range(400)]
    outer = [choices for choices in drawn if all(choice.factors[-1] == 1 for choice in choices[:3])]
    tiles = [inner_tile(choices)[:3] for choices in drawn]
    assert 160 < len(outer) < 240
    assert all(is_vector(inner_tile(choices), WHOLE) and len(inner_tile(choices)) == 6 for choices in outer)
    assert 160 < tiles.count((1, 1, 14)) < 240
    assert set(tiles) == {(1, 1, 14), *((n, 1, 14) for n in (2, 4, 8, 16)), *((1, n, 14) for n in (2, 7, 14))}
    assert {tuple(choice.extent for choice in choices[:4]) for choices in drawn} == {(256, 14, 14, 256)}


def test_where_the_last_loop_has_no_run_another_has_a_vector():
    """As in three columns."""
    own = (Tile((512, 1, 1, 1)), Tile((3, 1, 1, 1)), Tile((3, 1, 1, 1)))
    drawn = [inner_tile(vector_tiled(own, rng(seed), {}, WHOLE))[:3] for seed in range(400)]
    vectors = (8, 16, 32)
    assert set(drawn) == {tile for n in vectors for tile in [(n, 1, 1), (n, 3, 1), (n, 1, 3)]}
    drawn = [inner_tile(vector_tiled(own, rng(seed), {}, Vectors())) for seed in range(400)]
    assert set(drawn) == {tile for n in vectors for tile in [(n, 3, 1), (n, 1, 3)]}, "beside another loop"


@given(
    st.lists(st.integers(1, 512), min_size=1, max_size=4),
    st.lists(st.integers(1, 64), max_size=2),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_every_draw_is_a_schedule_of_the_same_sketch(spatial, reduced, seed, whole):
    """Extents stay, kinds stay, and the inner tile is a vector by at most sixteen, 256 or 512 elements at most."""
    own = (*(Tile((extent, 1, 1, 1)) for extent in spatial), *(Tile((1, extent)) for extent in reduced), Option(0, 3))
    rule = WHOLE if whole else Vectors()
    drawn = vector_tiled(own, rng(seed), {}, rule)
    if drawn is None:
        assert all(extent % 8 for extent in spatial)
        assert all(spatial[-1] % size for size in range(rule.shortest, 65))
        return
    sizes = sorted(inner_tile(drawn), reverse=True)
    assert is_vector(inner_tile(drawn), rule)
    long, *rest = (size for size in sizes if size > 1)
    assert kinds_of(drawn) == kinds_of(own)
    assert [c.extent for c in drawn if isinstance(c, Tile)] == [*spatial, *reduced]
    assert long in range(rule.shortest, 65)
    assert long * int(np.prod(rest)) <= rule.most
    assert len(rest) <= 1


@pytest.mark.parametrize(
    ("tile", "expected"),
    [
        *((tile, True) for tile in [(16, 14), (1, 32), (8, 16), (16, 16), (8, 1, 1), (7, 28), (64, 8)]),
        *((tile, False) for tile in [(), (1, 1), (4, 4), (65, 2), (18, 17), (64, 16), (8, 2, 2), (6, 6)]),
    ],
)
def test_which_tiles_are_vectors(tile, expected):
    """7 to 64 by at most 16, 512 in all, along two loops at most."""
    assert is_vector(tile, Vectors()) is expected


@pytest.mark.parametrize(
    "own",
    [
        (Tile((49, 1, 1, 1)), Tile((5, 1, 1, 1))),  # the last has no run, no other is a multiple of eight
        (Tile((64, 1)), Tile((64, 1))),  # split into two: nothing in registers
        (Option(0, 4),),
        (),
    ],
)
def test_where_there_is_no_vector_nothing_is_drawn(own):
    """Nor made up."""
    assert vector_tiled(own, rng(), {}, Vectors()) is None
    assert untried_vectors("own", [Sketch(("t",), own)], Experience(), 8, rng(), Vectors()) == []


def test_a_loop_alone_is_a_vector():
    """As in a dense layer of one row."""
    own = (Tile((1, 1, 1, 1)), Tile((1000, 1, 1, 1)))
    drawn = [vector_tiled(own, rng(seed), {}, Vectors()) for seed in range(99)]
    assert {inner_tile(choices) for choices in drawn} == {(1, n) for n in (8, 10, 20, 25, 40, 50)}


def test_what_a_task_has_measured_does_not_come_again():
    """Its own alone: for another task the tile is new."""
    own = Sketch(("t",), (Tile((8, 1, 1)), Tile((6, 1, 1))))
    experience = Experience()
    experience.add("own", Tried(1e-3, Sketch(("t",), (Tile((1, 1, 8)), Tile((2, 1, 3))))))
    tiles = [
        {inner_tile(c) for _, c in untried_vectors(task, [own], experience, 64, rng(), Vectors())}
        for task in ("own", "b")
    ]
    assert tiles == [{(8, 2), (8, 6)}, {(8, 2), (8, 3), (8, 6)}]
    for n in (2, 6):
        experience.add("own", Tried(1e-3, Sketch(("t",), (Tile((1, 1, 8)), Tile((6 // n, 1, n))))))
    assert untried_vectors("own", [own], experience, 64, rng(), Vectors()) == []


def test_each_draw_names_its_sketch():
    """And the same generator draws the same."""
    sketches = [Sketch(("a",), (Tile((16, 1, 1)),)), Sketch(("b",), (Tile((5, 1, 1)),)), Sketch(("c",), CONVOLUTION)]
    found = untried_vectors("own", sketches, Experience(), 32, rng(1), Vectors())
    assert {place for place, _ in found} == {0, 2}
    assert all(kinds_of(choices) == kinds_of(sketches[place].choices) for place, choices in found)
    assert found == untried_vectors("own", sketches, Experience(), 32, rng(1), Vectors())
    assert untried_vectors("own", [], Experience(), 32, rng(1), Vectors()) == []
