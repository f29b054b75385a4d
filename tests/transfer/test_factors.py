# SPDX-License-Identifier: Apache-2.0
"""Factors of a loop for another extent: products are exact, what divides is kept."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.errors import InvalidInputError
from familyseer.transfer.factors import divisors, kept, moved, prime_factors, scaled

factors = st.lists(st.integers(1, 12), min_size=1, max_size=5).map(tuple)
extents = st.integers(1, 5000)
rules = pytest.mark.parametrize("rule", [kept, scaled])


@rules
@given(factors=factors, extent=extents)
def test_the_product_is_the_new_extent(rule, factors, extent):
    """As many levels as before, whose product is exact."""
    fitted = rule(factors, extent)

    assert prod(fitted) == extent
    assert len(fitted) == len(factors)
    assert min(fitted) >= 1


@rules
@given(factors=factors, extent=extents)
def test_the_innermost_is_kept_when_it_divides(rule, factors, extent):
    """Vectors and registers stay as they are."""
    if len(factors) > 1 and extent % factors[-1] == 0:
        assert rule(factors, extent)[-1] == factors[-1]


@rules
@given(factors=factors)
def test_an_equal_extent_changes_nothing(rule, factors):
    """The same loop is tiled in the same way."""
    assert rule(factors, prod(factors)) == factors


@given(factors=factors, times=st.integers(1, 50))
def test_a_multiple_is_taken_by_the_outermost(factors, times):
    """All that divides is kept."""
    assert kept(factors, prod(factors) * times) == (factors[0] * times, *factors[1:])


@pytest.mark.parametrize(
    ("old", "extent", "keeping", "scaling"),
    [
        ((4, 2, 1, 8), 64, (4, 2, 1, 8), (4, 2, 1, 8)),
        ((4, 2, 1, 8), 512, (32, 2, 1, 8), (8, 4, 2, 8)),
        ((4, 1, 128, 1), 128, (1, 1, 128, 1), (2, 1, 64, 1)),
        ((16, 32), 256, (8, 32), (8, 32)),
        ((8, 2, 1, 7), 14, (1, 2, 1, 7), (2, 1, 1, 7)),
        ((4, 4, 4), 97, (97, 1, 1), (97, 1, 1)),
        ((2, 3, 4), 1, (1, 1, 1), (1, 1, 1)),
        ((5,), 35, (35,), (35,)),
        ((1, 1, 1, 1), 64, (64, 1, 1, 1), (4, 4, 4, 1)),
    ],
)
def test_examples(old, extent, keeping, scaling):
    """Equal, larger, smaller and prime extents, an extent of 1, and a single level."""
    assert kept(old, extent) == keeping
    assert scaled(old, extent) == scaling


@given(factors=factors, data=st.data())
def test_a_moved_divisor_leaves_the_product(factors, data):
    """Whatever is moved, the loop has as many iterations."""
    source, destination = (data.draw(st.integers(0, len(factors) - 1)) for _ in range(2))
    divisor = data.draw(st.sampled_from(divisors(factors[source])))

    assert prod(moved(factors, source, destination, divisor)) == prod(factors)


@given(number=st.integers(1, 3000))
def test_divisors_are_all_and_primes_are_prime(number):
    """Compared with trial division."""
    assert divisors(number) == tuple(d for d in range(1, number + 1) if number % d == 0)
    assert prime_factors(number) == tuple(
        p for p in range(2, number + 1) if number % p == 0 and all(p % q for q in range(2, p))
    )


@pytest.mark.parametrize(("old", "extent"), [((), 4), ((0, 2), 4), ((2, 2), 0), ((-2, -2), 4)])
def test_refuses_what_is_no_tiling(old, extent):
    """Factors and extents are at least 1."""
    with pytest.raises(InvalidInputError, match="must be whole numbers ≥ 1"):
        kept(old, extent)


def test_refuses_to_move_what_does_not_divide():
    """Three does not divide four."""
    with pytest.raises(InvalidInputError, match="must divide the factor 4; got 3"):
        moved((4, 1), 0, 1, 3)
