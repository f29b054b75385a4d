# SPDX-License-Identifier: Apache-2.0
"""Tile factors of a loop, and what becomes of them when the loop gets another extent: arithmetic of divisors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log, prod

from familyseer.errors import InvalidInputError

__all__ = ["Factors", "divisors", "kept", "moved", "prime_factors", "scaled"]

Factors = tuple[int, ...]
"""Tile factors of one loop, outermost first; their product is the extent of the loop."""


@lru_cache(maxsize=4096)
def divisors(number: int) -> tuple[int, ...]:
    """Return all divisors of a number ≥ 1, ascending.

    Examples
    --------
    >>> divisors(12)
    (1, 2, 3, 4, 6, 12)
    """
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return tuple(sorted({*small, *(number // d for d in small)}))


@lru_cache(maxsize=4096)
def prime_factors(number: int) -> tuple[int, ...]:
    """Return the different primes that divide a number ≥ 1, ascending.

    Examples
    --------
    >>> prime_factors(12)
    (2, 3)
    """
    return tuple(d for d in divisors(number) if d > 1 and len(divisors(d)) == 2)


def kept(factors: Sequence[int], extent: int) -> Factors:
    """Keep each factor, from the innermost outwards, where it divides what is left; the outermost gets the rest.

    A factor that does not divide becomes the divisor nearest to it by ratio, so the innermost ones, which fill registers
    and vectors, stay as they are whenever they can.

    Parameters
    ----------
    factors
        Of the old extent, outermost first; at least one.
    extent
        The new extent, ≥ 1.

    Returns
    -------
    As many factors, whose product is `extent`; the old ones if that is their product.

    Examples
    --------
    >>> kept((4, 2, 1, 8), 32)
    (2, 2, 1, 8)
    >>> kept((4, 2, 1, 8), 12)
    (1, 2, 1, 6)
    """
    return _fitted(factors, factors, extent)


def scaled(factors: Sequence[int], extent: int) -> Factors:
    """Spread the change of the extent over all levels but the innermost, evenly by ratio.

    With n levels and ``r = extent / prod(factors)``, each level wants ``factor · r^(1/(n−1))`` and gets the nearest
    divisor of what is left; the innermost one is kept as by `kept`.

    Examples
    --------
    >>> scaled((4, 2, 4, 8), 2048)
    (8, 4, 8, 8)
    """
    ratio = (extent / prod(factors)) ** (1 / max(1, len(factors) - 1))
    return _fitted(factors, [*(factor * ratio for factor in factors[:-1]), factors[-1]], extent)


def moved(factors: Sequence[int], source: int, destination: int, divisor: int) -> Factors:
    """Move a divisor of one level's factor to another level; the product stays.

    Examples
    --------
    >>> moved((4, 2, 8), source=2, destination=0, divisor=2)
    (8, 2, 4)
    """
    if factors[source] % divisor:
        raise InvalidInputError(f"`divisor` must divide the factor {factors[source]}; got {divisor!r}")
    changed = list(factors)
    changed[source] //= divisor
    changed[destination] *= divisor
    return tuple(changed)


def _fitted(factors: Sequence[int], wanted: Sequence[float], extent: int) -> Factors:
    """Give each level the divisor of what is left that is nearest to its wish, innermost first."""
    if not factors or min(factors) < 1 or extent < 1:
        raise InvalidInputError(f"factors and extent must be whole numbers ≥ 1; got {list(factors)!r} and {extent!r}")
    if prod(factors) == extent:
        return tuple(factors)
    fitted, left = [], extent
    for wish in reversed(wanted[1:]):
        fitted.append(_nearest_divisor(left, wish))
        left //= fitted[-1]
    return (left, *reversed(fitted))


def _nearest_divisor(number: int, wish: float) -> int:
    """Return the divisor nearest to a wish by ratio, the smaller of two as near."""
    return min(divisors(number), key=lambda d: (round(abs(log(d / wish)), 12), d))
