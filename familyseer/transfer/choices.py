# SPDX-License-Identifier: Apache-2.0
"""A schedule as the choices that were made in a sketch, and its relatives: rescaled to other extents, or one step away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log2, prod, sqrt
from types import MappingProxyType

import numpy as np

from familyseer.transfer.factors import Factors, kept, moved, prime_factors, scaled

__all__ = [
    "Choice",
    "Choices",
    "Kinds",
    "Option",
    "Places",
    "Tile",
    "distance",
    "fits",
    "fitted",
    "inner_tile",
    "iterations",
    "jittered",
    "kinds_of",
    "most_tiled",
    "neighbours",
    "random_tile",
    "randomised",
    "transferred",
]

_OPTION_SHARE = 0.2  # of jitters; the rest moves a divisor
_FUTILE = 20  # draws in vain after which a donor has nothing more to give


@dataclass(frozen=True, slots=True)
class Tile:
    """How one loop is tiled."""

    factors: Factors

    @property
    def extent(self) -> int:
        """Iterations of the loop."""
        return prod(self.factors)


@dataclass(frozen=True, slots=True)
class Option:
    """Which of `of` possibilities was taken; `of` is 0 where their number depends on the rest of the schedule."""

    index: int
    of: int = 0


Choice = Tile | Option
Choices = tuple[Choice, ...]
"""What a sketch leaves open, in its order: with it a schedule is complete."""


Places = Mapping[int, tuple[int, ...]]
"""The indices known at options whose number a sketch does not tell, by the position of the choice."""

_NOWHERE: Places = MappingProxyType({})


Kinds = tuple[tuple[str, int], ...]
"""Which choices a sketch leaves open, whatever the extents of its loops."""


def kinds_of(choices: Sequence[Choice]) -> Kinds:
    """Return the kinds of choices.

    Examples
    --------
    >>> kinds_of([Tile((4, 2)), Option(1, 3)])
    (('tile', 2), ('option', 3))
    """
    return tuple(
        ("tile", len(choice.factors)) if isinstance(choice, Tile) else ("option", choice.of) for choice in choices
    )


def fits(donor: Sequence[Choice], own: Sequence[Choice]) -> bool:
    """Return whether two sketches leave the same kinds of choices open, so that one's can be made in the other."""
    return kinds_of(donor) == kinds_of(own)


def most_tiled(choices: Sequence[Choice]) -> dict[int, Tile]:
    """Return the loops that are split into the most parts, by the position of their choice.

    Examples
    --------
    >>> most_tiled([Tile((16, 3)), Tile((4, 2, 8)), Option(1, 4)])
    {1: Tile(factors=(4, 2, 8))}
    """
    tiles = {i: choice for i, choice in enumerate(choices) if isinstance(choice, Tile)}
    parts = max((len(tile.factors) for tile in tiles.values()), default=0)
    return {i: tile for i, tile in tiles.items() if len(tile.factors) == parts}


def inner_tile(choices: Sequence[Choice]) -> tuple[int, ...]:
    """Return the innermost factors of the loops that are tiled most often: what fills registers and vectors.

    Where all of these are 1, the next level outside does so, unless it is the outermost: its factors come before them then.
    Schedules that share their inner tiles tend to be about as fast as each other can become, so they tell what has been
    explored.

    Examples
    --------
    >>> inner_tile([Tile((4, 2, 1, 8)), Tile((7, 1, 1, 14)), Tile((16, 3)), Option(1, 4)])
    (8, 14)
    >>> inner_tile([Tile((4, 2, 8, 1)), Tile((7, 1, 14, 1))])
    (8, 14, 1, 1)
    """
    most = [tile.factors for tile in most_tiled(choices).values()]
    parts = len(most[0]) if most else 0
    depth = next((i for i in range(1, parts) if any(factors[-i] > 1 for factors in most)), 1)
    return tuple(factors[i] for i in range(-depth, 0) for factors in most)


def distance(donor: Sequence[Choice], own: Sequence[Choice]) -> float:
    """Return how different the extents are: the Euclidean norm of the binary logarithms of their ratios.

    Examples
    --------
    >>> distance([Tile((2, 8)), Option(1, 4)], [Tile((8, 8)), Option(0, 4)])
    2.0
    """
    ratios = [
        log2(mine.extent / theirs.extent)
        for theirs, mine in zip(donor, own, strict=True)
        if isinstance(theirs, Tile) and isinstance(mine, Tile)
    ]
    return sqrt(sum(ratio * ratio for ratio in ratios))


def iterations(choices: Sequence[Choice]) -> int:
    """Return how many iterations the loops have that are tiled.

    Examples
    --------
    >>> iterations([Tile((4, 2)), Tile((3, 1)), Option(1, 3)])
    24
    """
    return prod(choice.extent for choice in choices if isinstance(choice, Tile))


def fitted(donor: Sequence[Choice], own: Sequence[Choice]) -> tuple[Choices, Choices]:
    """Return a donor's choices for loops of other extents, with no more changed than these ask for.

    First with every factor kept that divides, then with the change of extent spread over the levels (`kept` and `scaled`);
    with equal extents both are the donor's own.

    Parameters
    ----------
    donor
        What was good elsewhere.
    own
        Any choices of the sketch they are for; `fits` must hold.

    Examples
    --------
    >>> fitted([Tile((4, 2)), Option(1, 3)], [Tile((16, 1)), Option(0, 3)])[0]
    (Tile(factors=(8, 2)), Option(index=1, of=3))
    """
    keeping, scaling = (
        tuple(
            replace(theirs, factors=rule(theirs.factors, mine.extent))
            if isinstance(theirs, Tile) and isinstance(mine, Tile)
            else theirs
            for theirs, mine in zip(donor, own, strict=True)
        )
        for rule in (kept, scaled)
    )
    return keeping, scaling


def transferred(donor: Sequence[Choice], own: Sequence[Choice], rng: np.random.Generator) -> Iterator[Choices]:
    """Give a donor's choices for loops of other extents, all different.

    First those of `fitted`, then each loop does either and one or more divisors are moved to another level or options
    changed at random.

    Parameters
    ----------
    donor, own
        As for `fitted`.
    rng
        Draws all but the first two.
    """
    keeping, scaling = fitted(donor, own)
    seen: set[Choices] = set()
    for first in (keeping, scaling):
        if first not in seen:
            seen.add(first)
            yield first
    futile = 0
    while futile < _FUTILE:
        drawn = tuple(pair[int(rng.integers(2))] for pair in zip(keeping, scaling, strict=True))
        for _ in range(int(rng.geometric(0.5))):
            drawn = jittered(drawn, rng)
        futile = futile + 1 if drawn in seen else 0
        if drawn not in seen:
            seen.add(drawn)
            yield drawn


def neighbours(choices: Sequence[Choice], known: Places = _NOWHERE) -> list[Choices]:
    """Return all choices that are one step away.

    A step moves a prime divisor of a factor to the level next to it, or takes the option before or after; where their
    number is not told, any other of those that are `known`.

    Examples
    --------
    >>> neighbours([Tile((2, 1)), Option(0, 2)])
    [(Tile(factors=(1, 2)), Option(index=0, of=2)), (Tile(factors=(2, 1)), Option(index=1, of=2))]
    """
    return [
        (*choices[:place], changed, *choices[place + 1 :])
        for place, choice in enumerate(choices)
        for changed in _steps(choice, known.get(place, ()))
    ]


def _steps(choice: Choice, known: Sequence[int]) -> Iterator[Choice]:
    if isinstance(choice, Option):
        beside = (choice.index - 1, choice.index + 1)
        for index in _others(choice, known):
            if not choice.of or index in beside:
                yield replace(choice, index=index)
        return
    last = len(choice.factors) - 1
    for source, factor in enumerate(choice.factors):
        for destination in (source - 1, source + 1):
            if 0 <= destination <= last:
                for prime in prime_factors(factor):
                    yield Tile(moved(choice.factors, source, destination, prime))


def random_tile(extent: int, levels: int, rng: np.random.Generator) -> Tile:
    """Give each prime divisor of an extent to a level drawn at random.

    Examples
    --------
    >>> random_tile(7, 1, np.random.default_rng(0))
    Tile(factors=(7,))
    """
    factors = [1] * levels
    for prime in prime_factors(extent):
        while extent % prime == 0:
            extent //= prime
            factors[int(rng.integers(levels))] *= prime
    return Tile(tuple(factors))


def randomised(choices: Choices, rng: np.random.Generator, known: Places = _NOWHERE) -> Choices:
    """Draw every choice anew; where the number of options is not told, one of those that are `known`, if any are."""
    return tuple(_drawn(choice, known.get(place, ()), rng) for place, choice in enumerate(choices))


def _drawn(choice: Choice, known: Sequence[int], rng: np.random.Generator) -> Choice:
    if isinstance(choice, Tile):
        return random_tile(choice.extent, len(choice.factors), rng)
    return replace(choice, index=_one(range(choice.of) if choice.of else known or (choice.index,), rng))


def jittered(choices: Choices, rng: np.random.Generator, known: Places = _NOWHERE) -> Choices:
    """Move one prime divisor of a random loop to another level, or change one option; nothing where nothing can be.

    Where the number of options is not told, one of the others that are `known` is taken.
    """
    tiles = [i for i, c in enumerate(choices) if isinstance(c, Tile) and len(c.factors) > 1 and c.extent > 1]
    options = [i for i, c in enumerate(choices) if isinstance(c, Option) and _others(c, known.get(i, ()))]
    if not tiles and not options:
        return choices
    place = _one(options if not tiles or (options and rng.random() < _OPTION_SHARE) else tiles, rng)
    choice = choices[place]
    changed = (
        _other_level(choice, rng) if isinstance(choice, Tile) else _other_option(choice, known.get(place, ()), rng)
    )
    return (*choices[:place], changed, *choices[place + 1 :])


def _others(option: Option, known: Sequence[int]) -> list[int]:
    """Return the indices that an option could have instead: of all that there are, or of those that are known."""
    return [index for index in (range(option.of) if option.of else known) if index != option.index]


def _other_option(option: Option, known: Sequence[int], rng: np.random.Generator) -> Option:
    return replace(option, index=_one(_others(option, known), rng))


def _other_level(tile: Tile, rng: np.random.Generator) -> Tile:
    source = _one([i for i, factor in enumerate(tile.factors) if factor > 1], rng)
    destination = _one([i for i in range(len(tile.factors)) if i != source], rng)
    return Tile(moved(tile.factors, source, destination, _one(prime_factors(tile.factors[source]), rng)))


def _one(values: Sequence[int], rng: np.random.Generator) -> int:
    """Draw one, several times faster than ``rng.choice``."""
    return values[int(rng.integers(len(values)))]
