# SPDX-License-Identifier: Apache-2.0
"""Features are TVM's, and the model that stands in for Ansor's scores and learns."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from tvm import auto_scheduler
from tvm.auto_scheduler.feature import get_per_store_features_from_states
from tvm.auto_scheduler.measure import MeasureErrorNo, MeasureInput, MeasureResult

from familyseer.ansor import features
from familyseer.ansor.cost_model import FamilyCostModel
from familyseer.ansor.describe import describe
from familyseer.ansor.features import extract_features
from familyseer.cost_model import XGBCostModel
from familyseer.families.learner import family_model
from tests.ansor.workloads import QUICK, conv2d, matmul, products, softmax, task


def sampled(owner, count: int = 24) -> list:
    """Return random states."""
    policy = auto_scheduler.SketchPolicy(owner, params=dict(QUICK), seed=1, verbose=0)
    return list(policy.sample_initial_population())[:count]


@pytest.mark.parametrize("workload", [(matmul, 16, 16, 16), (conv2d, 8, 4, 4), (softmax, 8, 8)])
def test_features_are_tvms(workload, monkeypatch):
    """All stores of all programs, number by number; only their order, and that of their buffers, is ours."""
    kept = []
    monkeypatch.setattr(
        features,
        "get_per_store_features_from_states",
        lambda *given: kept.append(get_per_store_features_from_states(*given)) or kept[0],
    )
    owner = task(*workload)
    found = extract_features(owner, sampled(owner))

    assert found.counts.tolist() == [len(rows) for rows in kept[0]]
    assert found.width == 164
    for ours, theirs in zip(np.split(found.rows, np.cumsum(found.counts)[:-1]), kept[0], strict=True):
        assert sorted(map(contents, ours)) == sorted(map(contents, theirs.astype(np.float32)))


def contents(row) -> tuple:
    """Return a store's features without the order of its five buffers, each of which has 18, from column 57 on."""
    buffers = sorted(tuple(buffer) for buffer in row[57:147].reshape(5, 18).tolist())
    return (*row[:57].tolist(), *buffers, *row[147:].tolist())


@pytest.mark.parametrize("workload", [(matmul, 64, 64, 32), (softmax, 64, 64)])
def test_equal_states_have_equal_features(workload):
    """TVM's differ from call to call, in two of three programs of softmax."""
    owner = task(*workload)
    states = sampled(owner)
    first, second = extract_features(owner, states), extract_features(owner, states)

    assert first.counts.tolist() == second.counts.tolist()
    np.testing.assert_array_equal(first.rows, second.rows)


def test_buffers_are_in_tvms_order_where_it_has_one():
    """Those of most lines come first, and of equal ones those of most bytes."""
    owner = task(softmax, 64, 64)
    buffers = extract_features(owner, sampled(owner)).rows[:, 57:147].reshape(-1, 5, 18)
    bytes_, lines = buffers[:, :, 3], buffers[:, :, 5]

    assert np.all(lines[:, :-1] >= lines[:, 1:])
    equal = lines[:, :-1] == lines[:, 1:]
    assert np.all((bytes_[:, :-1] >= bytes_[:, 1:])[equal])


def test_a_program_that_cannot_be_lowered_has_no_stores(monkeypatch):
    """TVM gives it one row of zeros."""
    rows = [np.zeros((1, 164)), np.ones((2, 164))]
    monkeypatch.setattr(features, "get_per_store_features_from_states", lambda states, owner: rows)

    assert extract_features(None, [None, None]).counts.tolist() == [0, 2]
    assert len(extract_features(None, [])) == 0


def test_the_model_learns_and_tells_relatives():
    """Random before it was trained; then a relative's states are ranked, and failures are failures."""
    first, second, _ = products()
    model = FamilyCostModel(family_model([describe(t) for t in (first, second)], "sketch.xgb.family_op", _few_trees))
    states = sampled(first)
    assert len(set(model.predict(first, states))) == len(states)
    sizes = extract_features(first, states).gathered().sum(axis=1)
    results = [MeasureResult([float(1e-3 + size * 1e-6)], 0, "", 1.0, 0) for size in sizes]
    results[0] = MeasureResult([1e10], MeasureErrorNo.RUN_TIMEOUT, "slow", 1.0, 0)
    model.update([MeasureInput(first, state) for state in states], results)
    model.update([], [])

    others = sampled(second)
    scores = model.predict(second, others)
    truth = extract_features(second, others).gathered().sum(axis=1)
    assert np.corrcoef(scores, -truth)[0, 1] > 0.4
    packed = model.predict_stages(second, others)
    assert np.corrcoef(packed[: len(others)], scores)[0, 1] > 0.9
    assert packed[len(others) :].tolist() == [0.0] * len(others)
    assert model.ledger.snapshot().phase_seconds("train") > 0


_few_trees = partial(XGBCostModel, rounds=20, members=2)
