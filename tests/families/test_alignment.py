# SPDX-License-Identifier: Apache-2.0
"""Alignment: equal, opposite and unrelated tasks in a space of leaves."""

from __future__ import annotations

import numpy as np
import pytest

from familyseer.families.alignment import alignment

N = 32
REACHES_EQUALITY = pytest.approx(1.0)


def leaves(seed, *, offset=0):
    """Return the leaves of N programs in 20 trees of eight leaves each."""
    return np.random.default_rng(seed).integers(0, 8, (N, 20)) + offset


def by_tree(found, trees):
    """Return latencies that follow from the leaves in some trees."""
    return 1e-3 * np.exp(found[:, trees].sum(axis=1) / 4)


def test_equal_tasks_are_aligned():
    """The same programs with latencies in proportion."""
    here = leaves(0)
    found = alignment([here, here], [by_tree(here, [0, 1]), 7 * by_tree(here, [0, 1])])

    assert found[0, 1] == REACHES_EQUALITY
    assert np.diag(found).tolist() == [1, 1]


def test_opposite_tasks_are_aligned_the_other_way():
    """What is fast for one is slow for the other."""
    here = leaves(0)

    assert alignment([here, here], [by_tree(here, [0]), 1 / by_tree(here, [0])])[0, 1] == pytest.approx(-1)


def test_tasks_without_common_leaves_have_none():
    """Neither tells anything of the other."""
    one, other = leaves(0), leaves(1, offset=8)

    assert alignment([one, other], [by_tree(one, [0]), by_tree(other, [0])])[0, 1] == 0


def test_relatives_are_more_aligned_than_strangers():
    """Other programs that are slow for the same reason, and for another."""
    parts = [leaves(seed) for seed in range(3)]
    found = alignment(parts, [by_tree(parts[0], [0, 1, 2]), by_tree(parts[1], [0, 1, 2]), by_tree(parts[2], [7, 8, 9])])

    assert found[0, 1] > 0.25 > 0.1 > abs(found[0, 2])
    assert found.tolist() == found.T.tolist()


def test_scale_and_failures():
    """Latencies count by rank: another unit changes nothing, and a failed program is the slowest."""
    here, there = leaves(0), leaves(1)
    costs = [by_tree(here, [0, 1]), by_tree(there, [0, 1])]
    plain = alignment([here, there], costs)
    assert alignment([here, there], [costs[0] * 1e6, costs[1]]).tolist() == plain.tolist()

    slowest = int(costs[0].argmax())
    failed = np.where(np.arange(N) == slowest, np.inf, costs[0])
    assert alignment([here, there], [failed, costs[1]])[0, 1] == pytest.approx(plain[0, 1], abs=0.05)


@pytest.mark.parametrize("costs", [np.ones(N), np.full(N, np.inf)])
def test_task_that_teaches_nothing_is_aligned_with_nobody(costs):
    """Equal latencies, or failures only."""
    here, there = leaves(0), leaves(1)

    assert alignment([here, there], [costs, by_tree(there, [0])])[0, 1] == 0


def test_one_task_and_one_program():
    """Nothing to divide by."""
    assert alignment([leaves(0)[:1]], [np.ones(1)]).tolist() == [[1]]
