# SPDX-License-Identifier: Apache-2.0
"""Which of the measured programs a model trains on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.cost_model.samples import SampleStore, fair_quotas, thin
from tests.cost_model.programs import make_programs


@pytest.mark.parametrize(
    ("sizes", "limit", "quotas"),
    [
        ([10, 100, 70], 90, [10, 40, 40]),
        ([5, 5], 100, [5, 5]),
        ([9, 9, 9], 10, [3, 3, 4]),
        ([], 5, []),
        ([4, 4], 0, [0, 0]),
    ],
)
def test_small_tasks_keep_all_and_the_others_share(sizes, limit, quotas):
    """Literal cases, remainders included."""
    assert fair_quotas(sizes, limit) == quotas


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 200))
def test_quotas_use_the_limit_and_no_more(sizes, limit):
    """Nothing is left over while a task could use it."""
    quotas = fair_quotas(sizes, limit)

    assert sum(quotas) == min(limit, sum(sizes))
    assert all(0 <= quota <= size for quota, size in zip(quotas, sizes, strict=True))


def test_thinning_keeps_the_fastest():
    """Of ten programs, six: the three fastest and three others."""
    costs = np.array([9.0, 1.0, 8.0, 2.0, 7.0, 3.0, np.inf, 4.0, 6.0, 5.0])
    kept = thin(costs, 6, np.random.default_rng(0))

    assert {1, 3, 5} <= set(kept.tolist())
    assert len(set(kept.tolist())) == 6
    assert kept.tolist() == sorted(kept)


def test_selection_joins_batches_and_keeps_the_best_of_all():
    """The best latency of the task is known even where its program was thinned away."""
    store = SampleStore()
    features, costs = make_programs(30)
    store.add("b", features[:10], costs[:10])
    store.add("a", features[:2], costs[:2])
    store.add("b", features[10:], costs[10:])
    (small, small_costs, _), (large, large_costs, best) = store.selection(12, np.random.default_rng(0))

    assert len(store) == 32
    assert (len(small), len(large), best) == (2, 10, costs.min())
    assert small_costs.tolist() == costs[:2].tolist()
    assert (
        large.gathered()[:, 0].tolist()
        == features[[costs.tolist().index(c) for c in large_costs]].gathered()[:, 0].tolist()
    )
