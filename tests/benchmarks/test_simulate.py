# SPDX-License-Identifier: Apache-2.0
"""Simulated tuning: real policies, foretold latencies."""

from __future__ import annotations

import json
import sys
from itertools import pairwise

import numpy as np
import pytest

from benchmarks import simulate
from familyseer import auto_scheduler
from familyseer.features import FeatureSet
from tests.meta_schedule.test_search_policy import QUICK
from tests.meta_schedule.test_task_scheduler import options, tasks


def run(monkeypatch, *arguments) -> int:
    """Run the command and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["simulate", *map(str, arguments)])
    return simulate.main()


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Return a log of 112 random programs of two tasks."""
    path = tmp_path_factory.mktemp("simulate") / "log.json"
    scheduler = auto_scheduler.TaskScheduler(tasks(), [2, 1], load_log_file=path, callbacks=[])
    scheduler.tune(options(112, path, per_round=56), "sketch.random", QUICK)
    return path


def test_policies_tune_on_foretold_latencies(log, tmp_path, monkeypatch, capsys):
    """Each spends its trials, nothing is built, and the table says when the best known latency was near."""
    monkeypatch.setattr(auto_scheduler.LocalBuilder, "make_pool", None)
    out = tmp_path / "raw.json"
    policies = ["sketch.random", "sketch.xgb.family_op:no_transfer"]
    assert (
        run(monkeypatch, log, "--trials", 24, "--per-round", 8, "--seeds", 1, "--out", out, "--policies", *policies)
        == 0
    )

    raw = json.loads(out.read_text())
    assert raw["weights"] == [2, 1]
    for made, policy in zip(raw["runs"], policies, strict=True):
        assert (made["policy"], made["trials"][-1]) == (policy, 24)
        assert made["seconds"] == sorted(made["seconds"])
        assert made["seconds"][-1] > 24 * 0.11
        first = [best for best in made["best"] if None not in best]
        assert all(a >= b for before, after in pairwise(first) for a, b in zip(before, after, strict=True))
    table = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in table[2:4]] == [f"| {policy}" for policy in policies]


def test_the_same_seed_is_the_same_run(log):
    """Up to the seconds that the search takes."""
    oracle, found, weights = simulate.gather([log])
    job = simulate.Job(network="simulated", trials=16, per_round=8, finalists=0, seed=3)
    work = simulate.Work(job=job, tasks=found, weights=weights)
    runs = [simulate.simulate("sketch.xgb.family_op", 3, work, oracle) for _ in range(2)]
    assert runs[0].best == runs[1].best != []
    assert runs[0].trials == runs[1].trials


def test_an_oracle_foretells_what_it_was_shown():
    """Latencies that follow from the features, over four orders of magnitude, and compilation times."""
    rng = np.random.default_rng(0)
    features = FeatureSet(rows=rng.random((200, 8), dtype=np.float32), counts=np.ones(200, dtype=np.int64))
    seconds, builds = 10.0 ** -(1 + 4 * features.rows[:, 0].astype(float)), features.rows[:, 1].astype(float)
    latency, build = simulate.Oracle(features, seconds, builds).foretell(features)
    assert np.abs(np.log(latency / seconds)).max() < 0.1
    assert np.abs(build - builds).max() < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "stock"], "`--policies` must be of ours; got 'stock'"),
        (["--trials", 0], "`--trials` must be an integer ≥ 1; got 0"),
        (["--policies", "sketch.xgb.family"], "a contestant must be one of"),
    ],
)
def test_bad_input_is_refused(log, monkeypatch, capsys, arguments, message):
    """Exit status 2 and one sentence."""
    assert run(monkeypatch, log, *arguments) == 2
    assert message in capsys.readouterr().err


def test_logs_that_teach_too_little_are_refused(tmp_path, monkeypatch, capsys):
    """Nothing, or next to nothing."""
    assert run(monkeypatch, tmp_path / "nothing.json") == 2
    assert "must be a log of a tuning run; it holds no task" in capsys.readouterr().err
    log = tmp_path / "short.json"
    auto_scheduler.TaskScheduler(tasks(), callbacks=[]).tune(options(8, log), "sketch.random", QUICK)
    assert run(monkeypatch, log) == 2
    assert "must hold at least 100 valid programs; got" in capsys.readouterr().err
