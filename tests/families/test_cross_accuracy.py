# SPDX-License-Identifier: Apache-2.0
"""Cross-accuracy: what its entries are, when they are computed, and what it leaves open."""

from __future__ import annotations

import numpy as np
import pytest

from familyseer.errors import InvalidInputError
from familyseer.families.cross_accuracy import CrossAccuracy
from familyseer.features import FeatureSet


def programs(values):
    """Return programs of one store with one feature."""
    rows = np.array(values, dtype=float).reshape(-1, 1)
    return FeatureSet(rows=rows, counts=np.ones(len(rows), dtype=np.int64))


class Slope:
    """Learns whether latency rises or falls with the feature, and counts what it was shown."""

    def __init__(self):
        self.sizes = []

    def __call__(self, features, costs):
        """Return what ranks by the feature."""
        self.sizes.append(len(costs))
        finite = np.where(np.isfinite(costs), costs, 1e3)
        sign = np.sign(np.corrcoef(features.rows[:, 0], finite)[0, 1]) if np.ptp(finite) else 0.0
        return lambda others: -sign * others.rows[:, 0].astype(float)


def make(keys=("a", "b"), **options):
    """Return cross-accuracy by `Slope` and the slope itself."""
    train = Slope()
    return CrossAccuracy(keys, train, **{"least": 4, "most": 8, **options}), train


RISING, FALLING = np.arange(1.0, 9.0), np.arange(8.0, 0.0, -1.0)


def test_entries_say_who_ranks_whom():
    """Equal orders give 1, opposite ones 0; each is right about itself."""
    accuracy, _ = make("abc")
    for key, costs in [("a", RISING), ("b", RISING * 100), ("c", FALLING)]:
        assert accuracy.add(key, programs(range(8)), costs)

    assert accuracy.matrix().tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_own_accuracy_is_held_out():
    """A model that knows its own half by heart and nothing else guesses on the other half."""

    def memorise(features, costs):
        known = dict(zip(features.rows[:, 0].tolist(), (-costs).tolist(), strict=True))
        return lambda others: np.array([known.get(value, 0.0) for value in others.rows[:, 0].tolist()])

    accuracy = CrossAccuracy(["a"], memorise, least=4, most=8)
    accuracy.add("a", programs(range(8)), RISING)

    assert accuracy.matrix().tolist() == [[0.5]]


def test_tasks_with_too_few_programs_are_open():
    """Rows and columns are NaN until there are enough."""
    accuracy, train = make()
    accuracy.add("a", programs(range(8)), RISING)
    assert not accuracy.add("b", programs(range(3)), RISING[:3])

    matrix = accuracy.matrix()
    assert matrix[0, 0] == 1
    assert np.isnan(matrix[[0, 1, 1], [1, 0, 1]]).all()
    assert train.sizes == [8, 4, 4]


def test_only_what_grew_twofold_is_learnt_anew():
    """Four, then three more: nothing; one more: that task alone, as a whole and in two halves."""
    accuracy, train = make()
    accuracy.add("a", programs(range(4)), RISING[:4])
    accuracy.add("b", programs(range(4)), RISING[:4])
    accuracy.matrix()
    assert train.sizes == [4, 2, 2, 4, 2, 2]

    assert not accuracy.add("a", programs(range(3)), RISING[:3])
    accuracy.matrix()
    assert len(train.sizes) == 6
    assert accuracy.add("a", programs([9]), [9.0] * np.ones(1))
    accuracy.matrix()
    assert train.sizes[6:] == [8, 4, 4]


def test_cost_is_bounded():
    """However much is measured, a task is looked at until it has four times what is used of it."""
    accuracy, train = make(["a"])
    for number in range(200):
        accuracy.add("a", programs([number, number + 0.5]), np.array([1.0 + number, 2.0 + number]))
        accuracy.matrix()

    assert train.sizes == [4, 2, 2, *[8, 4, 4] * 3]  # at 4, 8, 16 and 32 programs


def test_matrix_follows_from_the_measurements_alone():
    """Asked once at the end or after every batch, in whatever order the tasks came."""
    one, _ = make()
    other, _ = make()
    rng = np.random.default_rng(0)
    batches = [(key, programs(rng.random(4)), rng.random(4)) for key in "abababbbaa"]
    for batch in batches:
        one.add(*batch)
        one.matrix()
    for key in "ba":
        for batch in (batch for batch in batches if batch[0] == key):
            other.add(*batch)

    assert one.matrix().tolist() == other.matrix().tolist()


@pytest.mark.parametrize("costs", [np.full(8, np.inf), np.ones(8), np.linspace(1, 1.001, 8)])
def test_task_without_differences_is_open(costs):
    """All failed, all equal, all equal but for noise: nobody can be judged by it."""
    accuracy, _ = make()
    accuracy.add("a", programs(range(8)), RISING)
    accuracy.add("b", programs(range(8)), costs)

    matrix = accuracy.matrix()
    assert np.isnan(matrix[:, 1]).all()
    assert matrix[0, 0] == 1


def test_programs_without_stores_do_not_count():
    """There is nothing to learn from them."""
    accuracy, train = make(["a"])
    empty = FeatureSet.from_arrays([np.zeros((0, 1))] * 8)

    assert not accuracy.add("a", empty, RISING)
    assert train.sizes == []


def test_bad_arguments_are_refused():
    """One sentence each."""
    with pytest.raises(InvalidInputError, match=r"`key` must be one of the 2 tasks; got 'x'"):
        make()[0].add("x", programs(range(8)), RISING)
    with pytest.raises(InvalidInputError, match=r"`least` must be a whole number ≥ 2; got 1"):
        make(least=1)
    with pytest.raises(InvalidInputError, match=r"`most` must be a whole number ≥ 9; got 8"):
        make(least=9)
