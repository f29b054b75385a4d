# SPDX-License-Identifier: Apache-2.0
"""No inner tile fills a round."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.transfer.variety import most_alike, turns


@pytest.mark.parametrize(
    ("tiles", "most", "expected"),
    [
        ([], 2, []),
        (["a", "a", "a", "a", "a", "b"], 2, [0, 0, 1, 1, 2, 0]),
        (["a", "b", "a", "b"], 1, [0, 0, 1, 1]),
        ([None, None, None, "a"], 1, [0, 0, 0, 0]),
    ],
)
def test_a_tile_beyond_its_places_waits_for_the_next_turn(tiles, most, expected):
    """Two places here, one there; what takes none never waits."""
    assert turns(tiles, most) == expected


@given(st.lists(st.sampled_from(["a", "b", "c", None])), st.integers(1, 5))
def test_no_tile_has_more_than_its_places_and_none_waits_in_vain(tiles, most):
    """Every turn but a tile's last is full of it."""
    found = turns(tiles, most)
    taken = Counter(pair for pair in zip(tiles, found, strict=True) if pair[0] is not None)
    assert max(taken.values(), default=0) <= most
    assert all(taken[tile, turn - 1] == most for tile, turn in taken if turn)
    assert all(turn == 0 for tile, turn in zip(tiles, found, strict=True) if tile is None)


@pytest.mark.parametrize(("count", "share", "expected"), [(64, 0.25, 16), (8, 0.25, 2), (1, 0.25, 2), (16, 1.0, 16)])
def test_two_at_least_may_be_alike(count, share, expected):
    """Even in a small round."""
    assert most_alike(count, share) == expected
