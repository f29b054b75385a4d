# SPDX-License-Identifier: Apache-2.0
"""Per-store features keep programs apart, and gather into one row each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.errors import InvalidInputError
from familyseer.features import FeatureSet


def make_set(*counts: int, width: int = 3) -> FeatureSet:
    """Make programs with these numbers of stores and recognisable rows."""
    rows = np.arange(sum(counts) * width, dtype=np.float32).reshape(-1, width)
    return FeatureSet(rows=rows, counts=np.array(counts))


def test_gathers_sum_maximum_heaviest_and_count():
    """The heaviest store is the one with the largest sum, here the second."""
    features = FeatureSet.from_arrays([[[5.0, 0.0], [1.0, 9.0], [2.0, 2.0]]])

    assert features.gathered().tolist() == [[8.0, 11.0, 5.0, 9.0, 1.0, 9.0, 3.0]]


def test_first_of_equally_heavy_stores_is_taken():
    """Ties do not depend on the sorting algorithm."""
    features = FeatureSet.from_arrays([[[1.0, 2.0], [2.0, 1.0]]])

    assert features.gathered()[0, 4:6].tolist() == [1.0, 2.0]


def test_program_without_stores_gathers_to_zeros():
    """An empty program between two others shifts nothing."""
    features = FeatureSet.from_arrays([[[1.0]], np.zeros((0, 1)), [[2.0], [3.0]]])

    assert features.gathered().tolist() == [[1.0, 1.0, 1.0, 1.0], [0.0] * 4, [5.0, 3.0, 3.0, 2.0]]


def test_infinite_values_become_missing():
    """XGBoost refuses infinity and understands NaN."""
    features = FeatureSet.from_arrays([[[np.inf, 1.0], [2.0, 3.0]]])

    assert np.isnan(features.rows[0, 0])
    assert features.gathered()[0, 2] == 2.0


def test_nothing_at_all_is_a_set():
    """No programs, no rows, no width."""
    features = FeatureSet.from_arrays([])

    assert (len(features), features.width, features.gathered().shape) == (0, 0, (0, 1))


@pytest.mark.parametrize(
    ("index", "counts", "firsts"),
    [
        ([2, 0], [3, 1], [9.0, 0.0]),
        (slice(1, None), [2, 3], [3.0, 9.0]),
        (np.array([True, False, True]), [1, 3], [0.0, 9.0]),
        ([1, 1], [2, 2], [3.0, 3.0]),
        ([-1], [3], [9.0]),
        ([], [], []),
    ],
)
def test_indexing_returns_programs_in_the_order_asked_for(index, counts, firsts):
    """Lists, slices, masks, repeated and negative indices, nothing."""
    chosen = make_set(1, 2, 3)[index]

    assert chosen.counts.tolist() == counts
    assert chosen.gathered()[:, 3].shape == (len(counts),)
    assert [float(chosen.rows[start, 0]) for start in np.cumsum(counts) - counts] == firsts


@pytest.mark.parametrize(
    ("rows", "counts", "message"),
    [
        (np.zeros(3), [3], r"`rows` must be a matrix .* got shape \(3,\)"),
        (np.zeros((3, 2)), [1, 1], r"`counts` must sum to the 3 rows; got a sum of 2"),
        (np.zeros((1, 2)), [2, -1], r"`counts` must be a vector of whole numbers ≥ 0"),
        (np.zeros((1, 2)), [1.0], r"`counts` must be a vector of whole numbers ≥ 0"),
    ],
)
def test_refuses_rows_and_counts_that_do_not_fit(rows, counts, message):
    """The message names the argument and what it was."""
    with pytest.raises(InvalidInputError, match=message):
        FeatureSet(rows=rows, counts=np.array(counts))


def test_refuses_programs_of_different_widths():
    """Features of two extractors cannot be mixed."""
    with pytest.raises(InvalidInputError, match=r"features of one length; got lengths \[2, 3\]"):
        FeatureSet.concat([make_set(1, width=2), make_set(1, width=3)])


@given(st.lists(st.integers(0, 4), max_size=8), st.integers(0, 8))
def test_splitting_and_joining_is_the_identity(counts, cut):
    """Concatenating two parts gives the whole back."""
    whole = make_set(*counts)
    joined = FeatureSet.concat([whole[:cut], whole[cut:]])

    assert joined.counts.tolist() == whole.counts.tolist()
    assert joined.rows.tolist() == whole.rows.tolist()
