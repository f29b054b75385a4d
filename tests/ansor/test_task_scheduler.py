# SPDX-License-Identifier: Apache-2.0
"""The task scheduler on TVM's own search and measurements: family policies, TVM's policies, resuming, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import tvm

from familyseer import auto_scheduler
from familyseer.ansor.cost_model import FamilyCostModel
from familyseer.ansor.describe import describe
from familyseer.ansor.family_policy import FamilySketchPolicy
from familyseer.ansor.policies import make_policies
from familyseer.ansor.transfer import TransferSeeds
from familyseer.errors import InvalidInputError
from familyseer.families.keys import POLICY_NAMES, PolicyName
from familyseer.transfer import Hope
from familyseer.tuner import StopReason
from tests import example
from tests.ansor.workloads import QUICK, matmul, options, products, softmax, task

ROOT = Path(__file__).parents[2]


def lines(log) -> list[str]:
    """Return a log's records."""
    return Path(log).read_text().splitlines()


def tune(
    trials: int, log, policy="sketch.xgb.family_op", params=QUICK, tasks=None, weights=(1, 2, 1), per_round=8, **changes
):
    """Tune the three products; return scheduler and summary."""
    scheduler = auto_scheduler.TaskScheduler(
        tasks or products(), list(weights), load_log_file=str(log), callbacks=[], **changes
    )
    return scheduler, scheduler.tune(options(trials, log, per_round), policy, dict(params))


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
    assert [state.spent[-1] for state in scheduler._tuner.states] == [state.trials for state in scheduler._tuner.states]


def test_every_round_starts_from_tile_sizes_that_promise_most(tuned):
    """They are sketches beside the task's own; where transfer is off there are none."""
    _, scheduler, _ = tuned
    for policy, own in zip(scheduler.search_policies, scheduler.tasks, strict=True):
        plain = len(tvm.auto_scheduler.SketchPolicy(own, params=dict(QUICK), seed=1, verbose=0).generate_sketches())
        assert len(policy.generate_sketches()) >= plain + 8
        alone = FamilySketchPolicy(own, scheduler._policies.model, params=dict(QUICK), seed=1, verbose=0)
        assert len(alone.generate_sketches()) == plain


def test_a_policy_that_is_replaced_is_freed(host):
    """TVM's object of every round would stay in memory with all states of the task: about half a MiB here, each."""
    own = products()[0]
    policies = make_policies(PolicyName.parse("sketch.xgb.family_op"), [own], [describe(own)], verbose=0)
    [policy] = policies.search

    def renewed(times: int) -> int:
        for _ in range(times):
            policy.sample_initial_population()
            policy._renew()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    assert renewed(0) > 0
    before = renewed(15)
    assert renewed(30) - before < 4 << 20


def test_overhead_is_small(tuned):
    """What is neither TVM's search, build and run nor training takes little time, and no second is left out.

    `benchmarks.ansor` measures how little; here a neighbour's load must not decide.
    """
    _, scheduler, summary = tuned
    snapshot = scheduler.ledger.snapshot()

    assert 0 < snapshot.phase_seconds("other") + snapshot.phase_seconds("families") < 0.1 * summary.seconds
    assert snapshot.phase_seconds("train") > 0
    assert snapshot.total_seconds == pytest.approx(summary.seconds, rel=0.02)
    for own in scheduler.tasks:  # relatives' tile sizes, and the ranking that spreads them
        assert snapshot.seconds["other"][own.workload_key] > 0.01


def test_a_resumed_run_repeats_nothing(tuned, tmp_path):
    """Budget, counters, best latencies, model and families are as they were, foreign lines or not."""
    log, first, _ = tuned
    copy = tmp_path / "copy.json"
    copy.write_text("no record\n" + log.read_text() + '{"i": [["torn')
    again, summary = tune(48, copy)

    assert (summary.restored_trials, summary.trials) == (40, 48)
    assert all(after <= before for after, before in zip(again.best_costs, first.best_costs, strict=True))
    schedules = [line.split('"r"')[0] for line in lines(copy) if line.endswith('"v0.6"}')]
    assert len(schedules) == len(set(schedules)) == 48
    learner = again._policies.learner
    assert learner.is_trained(again.tasks[0].workload_key)
    assert learner.confidence(again.tasks[0].workload_key).batches > 0


@pytest.fixture(scope="module")
def divided(host, tmp_path_factory):
    """Tune two tasks that are no relatives; families form when the first of them has 24 trials. Return log and scheduler."""
    log = tmp_path_factory.mktemp("divided") / "log.json"
    scheduler = auto_scheduler.TaskScheduler(strangers(), callbacks=[])
    recorded = {"measure_callbacks": [auto_scheduler.RecordToFile(str(log))]}
    scheduler.tune(auto_options(48, **recorded), "sketch.xgb.family_accuracy", dict(QUICK))
    return log, scheduler


def strangers() -> list:
    """Return two tasks that are no relatives."""
    return [task(matmul, 64, 64, 32), task(softmax, 64, 64)]


def auto_options(trials: int, **changes):
    """Return the options of a script that imports familyseer's names."""
    given = options(trials)
    return auto_scheduler.TuningOptions(
        trials, num_measures_per_round=8, verbose=0, runner=given.runner, builder=given.builder, **changes
    )


def taken_up(log, to, policy="sketch.xgb.family_accuracy", journal=None):
    """Let a run end where a copy of a log ends; return its scheduler."""
    copy = to / "copy.json"
    copy.write_text(log.read_text())
    (to / "copy.json.families").write_text(journal or Path(f"{log}.families").read_text())
    scheduler = auto_scheduler.TaskScheduler(strangers(), load_log_file=str(copy), callbacks=[])
    scheduler.tune(options(48), policy, dict(QUICK))
    return scheduler


def test_changes_of_families_are_recorded(divided):
    """Beside the log, with the round and the reason."""
    log, scheduler = divided
    first, second = (own.workload_key for own in strangers())
    entries = [json.loads(line) for line in Path(f"{log}.families").read_text().splitlines()]
    rounds = [entry for entry in entries if entry["kind"] == "round"]
    changes = [entry for entry in entries if entry["kind"] == "families"]

    assert sum(scheduler.task_cts) == len(rounds)
    assert {entry["task"]: entry["trials"] for entry in rounds} == {
        own.workload_key: sum(own.workload_key in json.loads(line)["i"][0] for line in lines(log))
        for own in scheduler.tasks
    }
    assert dict(scheduler.partition.families) == {name: tuple(keys) for name, keys in changes[-1]["families"].items()}
    assert changes[0]["families"] == {"dense": [first], "softmax": [second]}
    assert changes[0]["policy"] == "sketch.xgb.family_accuracy"
    assert changes[0]["reason"].startswith("by cross-accuracy matmul(64, 64, 32) is now without softmax(64, 64);")
    assert scheduler.ledger.snapshot().phase_seconds("families") > 0


def test_a_resumed_run_has_the_same_families(divided, tmp_path):
    """And the same rounds, the same measurements to the last digit, and the same trust in its models."""
    log, first = divided
    again = taken_up(log, tmp_path)

    before, after = (s._policies.learner.tracker.evidence() for s in (first, again))
    assert after.keys == before.keys
    np.testing.assert_array_equal(after.accuracy, before.accuracy)
    np.testing.assert_array_equal(after.alignment, before.alignment)
    assert again.best_costs.tolist() == first.best_costs.tolist()

    assert again.partition == first.partition
    assert again.task_cts == first.task_cts
    assert again.ledger.snapshot().phase_seconds("families") == 0
    trusted_before, trusted = (
        [s._policies.learner.confidence(own.workload_key).batches for own in s.tasks] for s in (first, again)
    )
    assert trusted == trusted_before


def test_a_round_cut_short_is_a_round(divided, tmp_path):
    """A run killed before its last round ended: what was not decided is decided now, and the journal has its end."""
    log, first = divided
    journal = Path(f"{log}.families").read_text().splitlines()
    assert json.loads(journal[-1])["kind"] == "round"
    again = taken_up(log, tmp_path, journal="\n".join(journal[:-1]))

    assert again.task_cts == first.task_cts
    assert again.partition == first.partition
    assert (tmp_path / "copy.json.families").read_text().splitlines() == journal


def test_recorded_families_are_taken_over_as_they_are(divided, tmp_path):
    """What a journal says counts, not what this run would have decided; a journal torn at its end does."""
    log, _ = divided
    keys = [own.workload_key for own in strangers()]
    journal = []
    for line in Path(f"{log}.families").read_text().splitlines():
        entry = json.loads(line)
        changed = {**entry, "families": {"together": keys}} if entry["kind"] == "families" else entry
        journal.append(json.dumps(changed))

    again = taken_up(log, tmp_path, journal="\n".join(["no journal", *journal, '{"v":1,"ki']))
    assert again.partition.families == (("together", tuple(keys)),)


def test_families_of_other_tasks_are_decided_anew(divided, tmp_path, caplog):
    """With a warning, and as for a log without a journal: what all of its measurements say, not what they said before."""
    log, _ = divided
    strange = (
        Path(f"{log}.families").read_text().replace('"softmax":["[\\"softmax\\", 64', '"softmax":["[\\"softmax\\", 65')
    )
    anew = taken_up(log, tmp_path, journal="\n").partition

    assert taken_up(log, tmp_path, journal=strange).partition == anew
    assert "the families in the log's journal are left out: a partition must hold each task once" in caplog.text
    assert sorted(key for _, members in anew.families for key in members) == sorted(
        own.workload_key for own in strangers()
    )


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
    scheduler, _ = tune(9, tmp_path / "a", per_round=3, strategy="round-robin", transfer=False)
    assert scheduler.task_cts == [1, 1, 1]
    assert scheduler._policies.seeds is None
    assert tune(9, tmp_path / "b", per_round=3, strategy="ansor")[1].trials == 9


def test_tvms_own_policy_goes_on(host, tmp_path):
    """What a log holds counts towards the budget of TVM's policies, too, and what is no record in it is never fatal."""
    log = tmp_path / "log.json"
    tune(12, log, "sketch.xgb")
    first = lines(log)
    log.write_text(
        log.read_text() + "no record\n" + first[0].replace('"c -keys', '"no such target {') + "\n" + first[0][:90]
    )
    scheduler, summary = tune(18, log, "sketch.xgb")

    assert summary is None
    assert (len(first), len(lines(log)), scheduler.ct) == (12, 12 + 3 + 6, 18)
    assert scheduler.load_log_file == str(log)


def test_default_callbacks_need_no_weights(host, tmp_path, monkeypatch, capfd):
    """A table and a file of TVM's; nothing is printed where nothing is asked for."""
    monkeypatch.chdir(tmp_path)
    auto_scheduler.TaskScheduler(products()).tune(options(3), "sketch.xgb.family_op", dict(QUICK))

    assert len(lines("total_latency.tsv")) == 3
    assert capfd.readouterr() == ("", "")


def test_a_seed_fixes_the_first_round(host, tmp_path):
    """Whatever numpy's own state is; another seed finds others."""

    def proposed(name: str, state: int, seed: int) -> list[str]:
        np.random.seed(state)
        tune(4, tmp_path / name, tasks=[task(matmul, 64, 64, 32)], weights=[1], seed=seed)
        return [line.split('"r"')[0] for line in lines(tmp_path / name)]

    first = proposed("a", 1, 0)
    assert len(first) == 4
    assert proposed("b", 2, 0) == first
    assert proposed("c", 1, 1) != first


def test_no_two_tasks_have_the_same_stream(host):
    """Twins of one run search differently, and so does each in a run with the next seed."""
    twins = [task(matmul, 64, 64, 32), task(twin, 64, 64, 32)]
    found = []
    for seed in (0, 1, 0):
        policies = make_policies(
            PolicyName.parse("sketch.xgb.family_op"), twins, [describe(t) for t in twins], verbose=0, seed=seed
        )
        found += [[str(state) for state in policy.sample_initial_population()] for policy in policies.search]

    assert found[0] == found[4]
    assert found[1] == found[5]
    assert all(a != b for i, a in enumerate(found[:4]) for b in found[:i])


@auto_scheduler.register_workload
def twin(n, m, k):
    """Return a matrix product under another name."""
    return matmul(n, m, k)


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


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [(8, 8), (2, 2), (2, 8)]),
        ({"vector_share": 0}, [(0, 8), (0, 2), (0, 8)]),
        ({"vector_share": 0.5}, [(16, 8), (4, 2), (8, 8)]),
        ({"copy_share": 0}, [(8, 0), (2, 0), (2, 0)]),
    ],
)
def test_shares_of_a_round_are_for_new_vectors_and_for_copies(params, expected, host, monkeypatch):
    """An eighth, four times that in the first round, and a half, rounded down, unless it is said otherwise."""
    began = []
    monkeypatch.setattr(TransferSeeds, "begin", lambda self, task, vectors, copied: began.append((vectors, copied)))
    monkeypatch.setattr(
        tvm.auto_scheduler.SketchPolicy, "continue_search_one_round", lambda self, count, measurer: ([], [])
    )
    policy = FamilySketchPolicy(
        products()[0], FamilyCostModel(Mock()), {**QUICK, **params}, seed=0, seeds=TransferSeeds(lambda key: ())
    )
    for count in (16, 4):
        policy.continue_search_one_round(count, None)
    policy._measured.append("a line of the log")
    policy.continue_search_one_round(16, None)
    assert began == expected
    with pytest.raises(InvalidInputError, match="`vector_share` must be a number from 0 to 1; got 2"):
        FamilySketchPolicy(products()[0], FamilyCostModel(Mock()), {"vector_share": 2})


@pytest.mark.parametrize(("params", "weight"), [({}, 1.0), ({"relative_weight": 0.5}, 0.5)])
def test_tasks_follow_relatives_from_the_first_trial_on(params, weight, host, monkeypatch):
    """Not after 24, as on the other engine."""
    hopes = []
    monkeypatch.setattr(TransferSeeds, "states_for", lambda self, task, count, rng, hope: hopes.append(hope) or [])
    policy = FamilySketchPolicy(
        products()[0], FamilyCostModel(Mock()), {**QUICK, **params}, seed=0, seeds=TransferSeeds(lambda key: ())
    )
    policy.generate_sketches()
    assert hopes == [Hope(weight, after=0)]


@pytest.mark.parametrize("params", [{"choice_search": False}, {**QUICK, "choice_search": True}])
def test_parameters_that_tvm_does_not_have_are_refused(params, tmp_path):
    """TVM would ignore them; nothing is measured."""
    with pytest.raises(
        InvalidInputError,
        match=r"search policy parameters must be among \['copy_share', 'cpu_multi.*; got choice_search",
    ):
        tune(8, tmp_path / "log.json", params=params)
    assert not (tmp_path / "log.json").exists()
