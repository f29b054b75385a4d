# SPDX-License-Identifier: Apache-2.0
"""TVM's own scheduler with familyseer's policies, and the names of the facade."""

from __future__ import annotations

import pytest
import tvm.auto_scheduler
from tvm.auto_scheduler import task_scheduler

import familyseer
from familyseer import auto_scheduler
from familyseer.ansor.family_policy import FamilySketchPolicy
from familyseer.ansor.registration import _TVMS_OWN
from tests.ansor.workloads import QUICK, options, products


@pytest.fixture
def registered(host):
    """Register for one test."""
    familyseer.register()
    yield
    familyseer.unregister()


def test_the_stock_scheduler_understands_family_policies(registered, tmp_path):
    """TVM's loop, familyseer's policies; a second run goes on from the log."""
    log = tmp_path / "log.json"
    for trials in (15, 24):
        scheduler = tvm.auto_scheduler.TaskScheduler(
            products(), [1, 2, 1], load_log_file=str(log) if trials > 15 else None
        )
        scheduler.tune(options(trials, log, per_round=5), "sketch.xgb.family_op", dict(QUICK))
        assert all(isinstance(policy, FamilySketchPolicy) for policy in scheduler.search_policies)
    records = log.read_text().splitlines()
    assert len(records) == len({line.split('"r"')[0] for line in records}) >= 24
    assert scheduler.search_policies[0]._seeds.pool.best()


def test_registering_twice_is_registering_once(registered):
    """And nothing else of TVM changes."""
    before = {name: id(value) for name, value in vars(task_scheduler).items() if name != "make_search_policies"}
    familyseer.register()
    assert task_scheduler.make_search_policies is not _TVMS_OWN
    familyseer.unregister()
    assert task_scheduler.make_search_policies is _TVMS_OWN
    assert {name: id(value) for name, value in vars(task_scheduler).items() if name != "make_search_policies"} == before


def test_other_names_stay_tvms_business(registered):
    """Its policies, its errors."""
    with pytest.raises(ValueError, match="Invalid search policy"):
        tvm.auto_scheduler.TaskScheduler(products(), callbacks=[]).tune(options(6), "sketch.nothing")


def test_without_registration_tvm_is_as_it_was():
    """It knows no names of three parts."""
    with pytest.raises(ValueError, match="too many values to unpack"):
        tvm.auto_scheduler.TaskScheduler(products(), callbacks=[]).tune(options(6), "sketch.xgb.family_op")


def test_the_facade_has_tvms_names_with_ours_in_their_place():
    """All of them, and modules on demand."""
    assert auto_scheduler.SearchTask is tvm.auto_scheduler.SearchTask
    assert auto_scheduler.ApplyHistoryBest is tvm.auto_scheduler.ApplyHistoryBest
    assert issubclass(auto_scheduler.TaskScheduler, tvm.auto_scheduler.TaskScheduler)
    assert issubclass(auto_scheduler.FamilySketchPolicy, tvm.auto_scheduler.SketchPolicy)
    assert auto_scheduler.feature is tvm.auto_scheduler.feature
    with pytest.raises(AttributeError, match="nothing"):
        _ = auto_scheduler.nothing
