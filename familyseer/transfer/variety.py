# SPDX-License-Identifier: Apache-2.0
"""Variety of what is measured: a round explores little when all its schedules have one inner tile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

__all__ = ["most_alike", "turns"]


def most_alike(count: int, share: float) -> int:
    """Return how many of `count` schedules may have one inner tile: a share of them, but two at least.

    Examples
    --------
    >>> most_alike(16, 0.25), most_alike(4, 0.25)
    (4, 2)
    """
    return max(2, int(share * count))


def turns(tiles: Iterable[Hashable | None], most: int) -> list[int]:
    """Return in which turn each of ranked candidates comes when no tile has more than `most` places in a turn.

    Parameters
    ----------
    tiles
        The tile of each, best candidate first; None for one that takes no place.
    most
        Places of one tile in a turn.

    Examples
    --------
    >>> turns(["a", "a", "a", "b", None, "a"], 2)
    [0, 0, 1, 0, 0, 1]
    """
    counts: Counter[Hashable] = Counter()
    found = []
    for tile in tiles:
        found.append(0 if tile is None else counts[tile] // most)
        counts[tile] += tile is not None
    return found
