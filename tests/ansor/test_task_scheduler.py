# SPDX-License-Identifier: Apache-2.0
"""The task scheduler on TVM's own search and measurements: family policies, TVM's policies, resuming, bad input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tvm

from familyseer import auto_scheduler
from familyseer.ansor.family_policy import FamilySketchPolicy
from familyseer.errors import InvalidInputError
from familyseer.families.keys import POLICY_NAMES
from familyseer.tuner import StopReason
from tests import example
from tests.ansor.workloads import QUICK, matmul, options, products, softmax, task

ROOT = Path(__file__).parents[2]


def lines(log) -> list[str]:
    """Return a log's records."""
    return Path(log).read_text().splitlines()


def tune(trials: int, log, policy="sketch.xgb.family_op", params=QUICK, tasks=None, **changes):
    """Tune the three products; return scheduler and summary."""
    scheduler = auto_scheduler.TaskScheduler(
        tasks or products(), [1, 2, 1], load_log_file=str(log), callbacks=[], **changes
    )
    return scheduler, scheduler.tune(options(trials, log), policy, dict(params))


@pytest.fixture(scope="module")
def tuned(host, tmp_path_factory):
    """Tune once for several tests; return log, scheduler and summary."""
    folder = tmp_path_factory.mktemp("tuned")
    return folder / "log.json", *tune(40, folder / "log.json", load_model_file=folder / "bank")


def test_a_family_policy_spends_its_budget(tuned):
    """Every trial is in TVM's own log, none twice, and TVM's attributes say how far the run is."""
    log, scheduler, summary = tuned

    assert isinstance(scheduler, tvm.auto_scheduler.TaskScheduler)
    assert (summary.reason, summary.trials, scheduler.ct) == (StopReason.BUDGET, 40, 40)
    records = list(tvm.auto_scheduler.RecordReader(str(log)))
    assert len(records) == len({str(line).split('"r"')[0] for line in lines(log)}) == 40
    best = [
        min(float(np.mean([c.value for c in r.costs])) for i, r in records if i.task.workload_key == t.workload_key)
        for t in scheduler.tasks
    ]
    assert scheduler.best_costs == pytest.approx(best, rel=0.2)
    assert sum(scheduler.task_cts) == sum(map(len, scheduler.task_costs_history)) >= 5
    assert scheduler.cur_score == pytest.approx(float(np.dot([1, 2, 1], scheduler.best_costs)))
    assert scheduler.partition.names == ("dense",)


def test_every_round_starts_from_tile_sizes_that_promise_most(tuned):
    """They are sketches beside the task's own; where transfer is off there are none."""
    _, scheduler, _ = tuned
    for policy, own in zip(scheduler.search_policies, scheduler.tasks, strict=True):
        plain = len(tvm.auto_scheduler.SketchPolicy(own, params=dict(QUICK), seed=1, verbose=0).generate_sketches())
        assert len(policy.generate_sketches()) >= plain + 8
        alone = FamilySketchPolicy(own, scheduler._policies.model, params=dict(QUICK), seed=1, verbose=0)
        assert len(alone.generate_sketches()) == plain


def test_overhead_is_small(tuned):
    """What is neither TVM's search, build and run nor training takes next to no time."""
    _, scheduler, summary = tuned
    snapshot = scheduler.ledger.snapshot()

    assert snapshot.phase_seconds("other") + snapshot.phase_seconds("families") < 0.03 * summary.seconds
    assert snapshot.phase_seconds("train") > 0


def test_a_resumed_run_repeats_nothing(tuned, tmp_path):
    """Budget, counters, best latencies, model and families are as they were, foreign lines or not."""
    log, first, _ = tuned
    copy = tmp_path / "copy.json"
    copy.write_text("no record\n" + log.read_text() + '{"i": [["torn')
    again, summary = tune(48, copy)

    assert (summary.restored_trials, summary.trials) == (40, 48)
    assert all(after <= before * 1.001 for after, before in zip(again.best_costs, first.best_costs, strict=True))
    schedules = [line.split('"r"')[0] for line in lines(copy) if line.endswith('"v0.6"}')]
    assert len(schedules) == len(set(schedules)) == 48
    learner = again._policies.learner
    assert learner.is_trained(again.tasks[0].workload_key)
    assert learner.confidence(again.tasks[0].workload_key).batches > 0


def test_a_model_is_kept_between_runs(tuned):
    """A folder with a file per family, from which another run starts."""
    log, _, _ = tuned
    bank = log.parent / "bank"
    assert (bank / "bank.json").exists() or any(bank.glob("*.json"))
    other = auto_scheduler.TaskScheduler(products(), callbacks=[], load_model_file=bank)
    other.tune(options(3), "sketch.xgb.family_op", dict(QUICK))
    assert other._policies.learner.is_trained(other.tasks[0].workload_key)


@pytest.mark.parametrize("policy", POLICY_NAMES)
def test_every_policy_tunes(policy, host, tmp_path):
    """Two operators, a few trials; TVM's own policies go TVM's way."""
    log = tmp_path / "log.json"
    workloads = [task(matmul, 16, 16, 16), task(softmax, 16, 16)]
    scheduler = auto_scheduler.TaskScheduler(workloads, callbacks=[], load_model_file=str(tmp_path / "model"))
    summary = scheduler.tune(options(8, log, per_round=4), policy, dict(QUICK))

    assert len(lines(log)) == 8
    assert (summary is None) == ("family" not in policy)
    assert all(cost < 1 for cost in scheduler.best_costs)


def test_transfer_and_strategies_can_be_switched_off(host, tmp_path):
    """Round robin in turn, no seeds; Ansor's gradient for families."""
    scheduler, _ = tune(24, tmp_path / "a", strategy="round-robin", transfer=False)
    assert scheduler.task_cts == [1, 1, 1]
    assert scheduler._policies.seeds is None
    assert tune(24, tmp_path / "b", strategy="ansor")[1].trials == 24


def test_the_example_runs(host, tmp_path, monkeypatch, capsys):
    """The file that the other engine's tests run, too."""
    monkeypatch.chdir(tmp_path)
    example.main("c", "tuning.json", 26)

    assert len(lines("tuning.json")) == 26
    assert capsys.readouterr().out.count(" us\n") == 3
    assert Path("total_latency.tsv").exists()


def test_a_killed_run_loses_nothing(host, tmp_path):
    """SIGKILL in the midst of it: what the log has is not measured again."""
    log = tmp_path / "log.json"
    code = (
        f"from benchmarks import host_c\nfrom tests.ansor import test_task_scheduler as t\nt.tune(4000, {str(log)!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not (log.exists() and log.read_text().count("\n") >= 8):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = log.read_text().count("\n")
    _, summary = tune(kept + 6, log)

    assert summary.restored_trials >= kept - 1
    schedules = [line.split('"r"')[0] for line in lines(log)]
    assert len(schedules) == len(set(schedules))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": []}, "`tasks` must hold at least one task; got 0"),
        ({"task_weights": [1]}, r"`task_weights` must hold one weight per task \(3\); got 1"),
        ({"strategy": "fastest"}, "`strategy` must be one of gradient, ansor, round-robin; got 'fastest'"),
        ({"objective_func": lambda costs: -sum(costs)}, "`objective_func` must not grow when a latency falls"),
        ({"alpha": 7}, "`alpha` must be"),
    ],
)
def test_bad_arguments_of_the_scheduler(arguments, message):
    """One sentence, before anything is measured."""
    with pytest.raises(InvalidInputError, match=message):
        auto_scheduler.TaskScheduler(**{"tasks": products(), "callbacks": [], **arguments})


@pytest.mark.parametrize(
    ("trials", "policy", "message"),
    [
        (2, "sketch.xgb.family_op", r"`num_measure_trials` must be at least the number of tasks \(3\)"),
        (8, "sketch.xgb.family", "`search_policy` must be one of sketch.random, .*; got 'sketch.xgb.family'"),
    ],
)
def test_bad_arguments_of_tune(trials, policy, message):
    """Before anything is measured."""
    with pytest.raises(InvalidInputError, match=message):
        auto_scheduler.TaskScheduler(products(), callbacks=[]).tune(options(trials), policy)
