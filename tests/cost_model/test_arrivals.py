# SPDX-License-Identifier: Apache-2.0
"""Which programs are worth a new training follows from the batches in their order, and from nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.cost_model.arrivals import Arrivals

BATCHES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=30)


def arrivals_of(batches):
    """Return what has taken note of these batches."""
    arrivals = Arrivals()
    for key, programs in batches:
        arrivals.add(key, programs)
    return arrivals


@pytest.mark.parametrize(
    ("batches", "keys", "expected"),
    [
        ([], "a", {}),
        ([("a", 0)], "a", {}),
        ([("a", 8)], "a", {"a": 8}),
        ([("a", 80), ("a", 8)], "a", {"a": 88}),
        ([("a", 80), ("a", 7)], "a", {"a": 80}),
        ([("a", 80), ("b", 4), ("a", 4), ("b", 4)], "ab", {"a": 84, "b": 4}),
        ([("a", 80), ("c", 50), ("b", 4), ("c", 50)], "ab", {"a": 80}),
    ],
)
def test_a_tenth_more_counts(batches, keys, expected):
    """Literal cases: nothing yet, the first batch, a tenth more and less, several tasks, strangers between."""
    assert arrivals_of(batches).settled(keys, growth=0.1) == expected


@given(BATCHES)
def test_without_a_threshold_all_count(batches):
    """Every batch is worth a training then."""
    settled = arrivals_of(batches).settled("ab", growth=0)

    assert settled == {k: n for k in "ab" if (n := sum(programs for key, programs in batches if key == k))}


@given(BATCHES, st.floats(0, 1))
def test_what_is_left_out_is_less_than_the_threshold(batches, growth):
    """And of each task it is the last ones that are left out."""
    known = arrivals_of(batches).settled("abc", growth=growth)
    total = sum(programs for _, programs in batches)

    left_out = total - sum(known.values())
    assert left_out == 0 or left_out < growth * sum(known.values())
    assert all(known.get(k, 0) <= sum(programs for key, programs in batches if key == k) for k in "abc")


@given(BATCHES)
def test_forgotten_tasks_might_never_have_come(batches):
    """The same as without their batches."""
    arrivals = arrivals_of(batches)
    arrivals.forget({"b"})

    others = arrivals_of([batch for batch in batches if batch[0] != "b"])
    assert arrivals.settled("abc", growth=0.1) == others.settled("abc", growth=0.1)
