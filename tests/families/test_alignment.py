# SPDX-License-Identifier: Apache-2.0
"""Alignment: equal, opposite and unrelated tasks."""

from __future__ import annotations

import numpy as np
import pytest

from familyseer.families.alignment import alignment
from familyseer.features import FeatureSet
from tests.families.planted import make_task


def programs(family, seed, **options):
    """Return programs of a planted family and their latencies."""
    _, features, costs = make_task(family, seed, **options)
    return features, costs


def test_equal_tasks_are_aligned():
    """The same programs with latencies in proportion."""
    features, costs = programs(0, 0)
    found = alignment([(features, costs), (features, 7 * costs)])

    assert found[0, 1] == pytest.approx(1)
    assert np.diag(found).tolist() == [1, 1]


def test_opposite_tasks_are_aligned_the_other_way():
    """What is fast for one is slow for the other."""
    features, costs = programs(0, 0)

    assert alignment([(features, costs), (features, 1e-9 / costs), programs(1, 0)])[0, 1] < -0.5


def test_tasks_without_common_leaves_have_none():
    """Programs of other kinds: neither task tells anything of the other."""
    features, costs = programs(0, 0)
    elsewhere = FeatureSet(rows=features.rows + 100, counts=features.counts)

    assert abs(alignment([(features, costs), (elsewhere, costs)])[0, 1]) < 0.05


def test_relatives_are_more_aligned_than_strangers():
    """Other programs that are slow for the same reason, and for another."""
    found = alignment([programs(0, 0), programs(0, 1), programs(1, 0)])

    assert found[0, 1] > 0.8 > 0.3 > abs(found[0, 2])
    assert found.tolist() == found.T.tolist()


def test_scale_and_failures():
    """Latencies count relative to the task's best, and a failed program is the slowest."""
    (here, costs), there = programs(0, 0), programs(0, 1)
    plain = alignment([(here, costs), there])
    assert alignment([(here, costs * 2.0**20), there]).tolist() == plain.tolist()

    failed = np.where(costs == costs.max(), np.inf, costs)
    assert alignment([(here, failed), there])[0, 1] == pytest.approx(plain[0, 1], abs=0.1)


@pytest.mark.parametrize("costs", [np.ones(64), np.full(64, np.inf)])
def test_task_that_teaches_nothing_is_aligned_with_nobody(costs):
    """Equal latencies, or failures only."""
    features, _ = programs(0, 0)

    assert alignment([(features, costs), programs(0, 1)])[0, 1] == 0


def test_missing_features_are_borne():
    """TVM's extractor gives infinities now and then."""
    features, costs = programs(0, 0)
    features.rows[::5, 2] = np.nan

    assert np.isfinite(alignment([(features, costs), programs(0, 1)])).all()


def test_same_seed_gives_the_same_alignment():
    """However many cores grow the forest."""
    given = [programs(0, 0), programs(1, 1)]

    assert alignment(given, seed=3).tolist() == alignment(given, seed=3).tolist()
    assert alignment(given, seed=3).tolist() != alignment(given, seed=4).tolist()


def test_few_tasks_and_few_programs():
    """Nothing to divide by."""
    features, costs = programs(0, 0)

    assert alignment([]).shape == (0, 0)
    assert alignment([(features, costs)]).tolist() == [[1]]
    assert alignment([(features[[0]], costs[:1])]).tolist() == [[1]]
