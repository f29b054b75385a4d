# SPDX-License-Identifier: Apache-2.0
"""TVM's own scheduler with familyseer's policies, and the names of the facade."""

from __future__ import annotations

import json
from pathlib import Path

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


class _Interrupt(task_scheduler.TaskSchedulerCallback):
    """Interrupt a run after some trials."""

    def __init__(self, trials: int) -> None:
        self.trials = trials

    def post_tune(self, task_scheduler, task_id):
        """Raise."""
        if task_scheduler.ct >= self.trials:
            raise KeyboardInterrupt


def damage(log, line: str) -> None:
    """Add what is no record of the tasks to a log, a torn line last."""
    foreign = json.loads(line)
    foreign["i"][0][1] = "llvm -keys=cpu -link-params=0 -mcpu=skylake-avx512"
    with log.open("a") as file:
        file.write("no record\n" + json.dumps(foreign) + "\n" + line[: len(line) // 2])


def test_the_stock_scheduler_goes_on_with_family_policies(registered, tmp_path, caplog):
    """TVM's loop, familyseer's policies: a run that is taken up again measures what is left of the budget, whatever its log has."""
    log, scheduler = tmp_path / "log.json", tvm.auto_scheduler.TaskScheduler
    with pytest.raises(KeyboardInterrupt):
        scheduler(products(), [1, 2, 1], callbacks=[_Interrupt(9)]).tune(
            options(13, log, per_round=3), "sketch.xgb.family_op", dict(QUICK)
        )
    first = log.read_text().splitlines()
    damage(log, first[0])
    again = scheduler(products(), [1, 2, 1], load_log_file=str(log), callbacks=[])
    again.tune(options(13, log, per_round=3), "sketch.xgb.family_op", dict(QUICK))

    records = log.read_text().splitlines()[len(first) + 3 :]
    assert (len(first), len(records), again.ct) == (9, 4, 13)
    assert len({line.split('"r"')[0] for line in first + records}) == 13
    assert "lines left out: 1 for other targets, 2 that are no records of auto_scheduler" in caplog.text
    assert again.load_log_file == str(log)
    ended = [json.loads(line) for line in Path(f"{log}.families").read_text().splitlines()]
    assert sum({entry["task"]: entry["trials"] for entry in ended if entry["kind"] == "round"}.values()) == 13
    assert all(isinstance(policy, FamilySketchPolicy) for policy in again.search_policies)
    assert again.search_policies[0]._seeds.pool.best()


def test_a_spent_budget_measures_nothing(registered, tmp_path):
    """Not even for a task that has no round yet."""
    log = tmp_path / "log.json"
    tvm.auto_scheduler.TaskScheduler(products()[:2], callbacks=[]).tune(
        options(8, log, per_round=4), "sketch.xgb.family_op", dict(QUICK)
    )
    again = tvm.auto_scheduler.TaskScheduler(products(), load_log_file=str(log), callbacks=[])
    again.tune(options(8, log, per_round=4), "sketch.xgb.family_op", dict(QUICK))

    assert (again.ct, len(log.read_text().splitlines())) == (8, 8)


def test_registering_twice_is_registering_once(registered):
    """And nothing else of TVM changes."""
    modules = (task_scheduler, task_scheduler.TaskScheduler)
    before = [{name: id(value) for name, value in vars(module).items() if name != "tune"} for module in modules]
    familyseer.register()
    assert task_scheduler.TaskScheduler.tune is not _TVMS_OWN
    familyseer.unregister()
    assert task_scheduler.TaskScheduler.tune is _TVMS_OWN
    assert [{n: id(v) for n, v in vars(module).items() if n != "tune"} for module in modules] == before


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
