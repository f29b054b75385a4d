# SPDX-License-Identifier: Apache-2.0
"""Choices of one sketch made in another."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.transfer.choices import Option, Tile, distance, fits, inner_tile, jittered, neighbours, transferred

tiles = st.lists(st.integers(1, 8), min_size=1, max_size=4).map(lambda factors: Tile(tuple(factors)))
options = st.integers(1, 5).flatmap(lambda of: st.builds(Option, st.integers(0, of - 1), st.just(of)))
sketches = st.lists(tiles | options | st.builds(Option, st.integers(-2, 9)), min_size=1, max_size=5).map(tuple)


@st.composite
def pairs(draw):
    """Draw choices of two sketches that fit each other."""
    donor = draw(sketches)
    own = tuple(
        Tile(tuple(draw(st.integers(1, 8)) for _ in choice.factors)) if isinstance(choice, Tile) else choice
        for choice in donor
    )
    return donor, own


def some(donor, own, count=24, seed=0):
    """Return the first variants."""
    return list(islice(transferred(donor, own, np.random.default_rng(seed)), count))


@given(pair=pairs())
def test_variants_fit_and_differ(pair):
    """Every variant has the new extents and possible options, and none comes twice."""
    donor, own = pair
    found = some(donor, own)

    assert len(found) == len(set(found)) >= 1
    for variant in found:
        assert fits(variant, own)
        assert distance(variant, own) == 0
        for theirs, choice in zip(donor, variant, strict=True):
            if isinstance(choice, Option):
                assert choice == theirs or 0 <= choice.index < choice.of


@given(donor=sketches)
def test_equal_extents_begin_with_the_donor(donor):
    """The schedule of a twin is taken as it is."""
    assert some(donor, donor)[0] == donor


def test_the_first_two_keep_and_scale():
    """Then divisors move."""
    donor, own = (Tile((4, 2, 1, 8)), Option(1, 4)), (Tile((512, 1, 1, 1)), Option(0, 4))
    found = some(donor, own, 40)

    assert found[:2] == [(Tile((32, 2, 1, 8)), Option(1, 4)), (Tile((8, 4, 2, 8)), Option(1, 4))]
    assert len(found) == 40
    assert {choices[1].index for choices in found} == {0, 1, 2, 3}


def test_equal_seeds_give_equal_variants():
    """And other seeds others."""
    donor, own = (Tile((4, 4, 4)),), (Tile((128, 1, 1)),)

    assert some(donor, own, 10) == some(donor, own, 10)
    assert some(donor, own, 10) != some(donor, own, 10, seed=1)


@pytest.mark.parametrize("donor", [(Tile((5,)),), (Tile((1, 1)),), (Option(0, 1),), (Option(-1),)])
def test_nothing_to_vary_gives_one(donor):
    """Where there is no choice, the only one is given, and it ends."""
    assert some(donor, donor) == [donor]


def test_a_prime_extent_is_moved_as_a_whole():
    """Extents that have no divisors have few variants."""
    assert set(some((Tile((2, 2)),), (Tile((13, 1)),))) == {(Tile((13, 1)),), (Tile((1, 13)),)}


@pytest.mark.parametrize(
    ("donor", "own", "expected"),
    [
        ((Tile((2, 2)), Option(0, 3)), (Tile((9, 1)), Option(2, 3)), True),
        ((Tile((2, 2)),), (Tile((2, 2, 1)),), False),
        ((Option(0, 3),), (Option(0, 4),), False),
        ((Option(0, 3),), (Tile((3,)),), False),
        ((Tile((2,)),), (Tile((2,)), Tile((2,))), False),
        ((Option(4),), (Option(-1),), True),
    ],
)
def test_what_fits(donor, own, expected):
    """Levels and numbers of options must agree, extents and what was chosen need not."""
    assert fits(donor, own) is expected


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ((Tile((4, 2, 8)), Tile((16, 2)), Option(1, 3), Tile((1, 7, 1))), (8, 1)),
        ((Tile((4,)), Tile((9,))), (4, 9)),
        ((Tile((4, 1, 8, 1)), Tile((2, 7, 14, 1)), Tile((16, 2))), (8, 14, 1, 1)),
        ((Tile((4, 1, 8, 2)), Tile((2, 7, 14, 1))), (2, 1)),
        ((Tile((4, 2, 1, 1)), Tile((7, 1, 1, 1))), (2, 1, 1, 1, 1, 1)),
        ((Tile((32, 1, 1)), Tile((7, 1, 1))), (1, 1)),
        ((Option(0, 2),), ()),
    ],
)
def test_inner_tiles_are_those_of_the_loops_tiled_most(choices, expected):
    """Reductions, tiled less often, and options do not count; nor do innermost levels that are empty, unless all are."""
    assert inner_tile(choices) == expected


def test_neighbours_are_one_step_away():
    """A prime to the next level, or the option beside."""
    assert neighbours((Tile((6, 1, 2)), Option(2, 3), Option(4))) == [
        (Tile((3, 2, 2)), Option(2, 3), Option(4)),
        (Tile((2, 3, 2)), Option(2, 3), Option(4)),
        (Tile((6, 2, 1)), Option(2, 3), Option(4)),
        (Tile((6, 1, 2)), Option(1, 3), Option(4)),
    ]


def test_an_option_among_an_untold_number_steps_to_any_that_is_known():
    """As there is no telling which compute locations are near each other."""
    choices = (Tile((3,)), Option(4), Option(1, 2))
    assert neighbours(choices, {1: (1, 4, 6)}) == [
        (Tile((3,)), Option(1), Option(1, 2)),
        (Tile((3,)), Option(6), Option(1, 2)),
        (Tile((3,)), Option(4), Option(0, 2)),
    ]
    assert neighbours((Option(4),), {0: (4,)}) == []


def test_jitters_reach_every_known_option_and_nothing_else():
    """Also where the present one is not known; where nothing can be moved all stays."""
    rng = np.random.default_rng(0)
    drawn = [jittered((Tile((1,)), Option(4), Option(0)), rng, {1: (1, 4, 6)}) for _ in range(40)]
    assert {choices[1] for choices in drawn} == {Option(1), Option(6)}
    assert {(choices[0], choices[2]) for choices in drawn} == {(Tile((1,)), Option(0))}
    assert jittered((Option(3),), rng, {0: (2,)}) == (Option(2),)
    assert jittered((Option(3), Tile((1, 1))), rng, {0: (3,)}) == (Option(3), Tile((1, 1)))


@given(own=sketches)
def test_a_step_can_be_taken_back(own):
    """Neighbours are mutual."""
    assert all(own in neighbours(other) for other in neighbours(own))
