# SPDX-License-Identifier: Apache-2.0
"""The task scheduler on real measurements: the script of old, budgets, resumption, failures and bad input."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import tvm

from familyseer import auto_scheduler
from familyseer.cli import main
from familyseer.errors import InvalidInputError, LogError, StoreError
from familyseer.families.keys import POLICY_NAMES
from familyseer.meta_schedule.families import map_families
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.workers import Call
from familyseer.records import FamiliesRecord, RecordLog, trace_digest
from familyseer.store import Store
from familyseer.tuner import StopReason
from tests import example

from .test_search_policy import QUICK, matmul

TARGET = {"kind": "llvm", "num-cores": 2}
ENGINE = f"MetaSchedule of TVM {tvm.__version__}"
SHAPES = [(32, 32, 32), (32, 64, 32)]


def tasks(target=TARGET, shapes=SHAPES) -> list[SearchTask]:
    """Return small matrix products."""
    return [SearchTask(func=matmul(*shape), target=target, desc=f"matmul{shape}") for shape in shapes]


def options(trials: int, log: Path | None = None, per_round: int = 8, **changes) -> auto_scheduler.TuningOptions:
    """Return options whose measurements take next to no time."""
    settings = {
        "runner": auto_scheduler.LocalRunner(number=1, min_repeat_ms=0),
        "builder": auto_scheduler.LocalBuilder(n_parallel=2),
        "measure_callbacks": [auto_scheduler.RecordToFile(log)] if log else None,
        "finalists": 0,
        **changes,
    }
    return auto_scheduler.TuningOptions(trials, num_measures_per_round=per_round, verbose=0, **settings)


def digests(log: Path) -> list[tuple[str, str]]:
    """Return task and trace of each recorded trial."""
    return [(record.task, trace_digest(record.trace)) for record in RecordLog(log).read().records]


def tune(trials: int, log: Path, policy: str = "sketch.xgb.family_op", **changes):
    """Tune the two products as a script would; return scheduler and summary."""
    scheduler = auto_scheduler.TaskScheduler(tasks(), [2, 1], load_log_file=log, callbacks=[], **changes)
    return scheduler, scheduler.tune(options(trials, log), policy, QUICK)


def test_the_script_of_the_rfc_runs(tmp_path, monkeypatch, capsys):
    """As it stands, but for the size of the budget: tasks, log, options, one call."""
    monkeypatch.chdir(tmp_path)
    log_file = "tuning.json"
    workloads = tasks()
    task_weights = [1, 1]

    tuner = auto_scheduler.TaskScheduler(workloads, task_weights, load_log_file=log_file)
    tune_option = auto_scheduler.TuningOptions(
        num_measure_trials=4 * (len(workloads) + 1),
        runner=auto_scheduler.LocalRunner(repeat=2, min_repeat_ms=0, enable_cpu_cache_flush=True),
        measure_callbacks=[auto_scheduler.RecordToFile(log_file)],
    )
    tuner.tune(tune_option, search_policy="sketch.xgb.family_op")

    records = [record for record in RecordLog(log_file).read().records if record.is_trial]
    assert len(records) == tuner.ct == 12
    assert {record.policy for record in records} == {"sketch.xgb.family_op"}
    assert {len(record.result.costs) for record in records if record.valid} in ({2}, {1, 2})
    assert list(tuner.best_costs) == [min(r.cost for r in records if r.task == task.workload_key) for task in workloads]
    assert "Estimated total latency" in capsys.readouterr().out
    assert (tmp_path / "total_latency.tsv").read_text().count("\n") == len(tuner.task_costs_history[0]) + len(
        tuner.task_costs_history[1]
    )


def test_defaults_are_those_of_tvm(tmp_path, monkeypatch, capsys):
    """No weights, no callbacks, no log: a table of the tasks, and the latency in a file beside the script."""
    monkeypatch.chdir(tmp_path)
    runner = auto_scheduler.LocalRunner(number=1, min_repeat_ms=0)
    summary = auto_scheduler.TaskScheduler(tasks()).tune(auto_scheduler.TuningOptions(4, runner=runner, finalists=0))
    assert summary.trials == 4
    assert "Latency" in capsys.readouterr().out
    assert (tmp_path / "total_latency.tsv").read_text().count("\n") == 2


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    """The file that the other engine's tests run, too."""
    monkeypatch.chdir(tmp_path)
    example.main(TARGET, "tuning.json", 26)

    assert len([record for record in RecordLog("tuning.json").read().records if record.is_trial]) == 26
    assert capsys.readouterr().out.count(" us\n") == 3


@pytest.mark.parametrize("policy", POLICY_NAMES)
def test_every_policy_tunes(policy, tmp_path):
    """Each name measures exactly its budget, and its records say who proposed them."""
    scheduler, summary = tune(8, tmp_path / "log.json", policy)

    assert (summary.reason, summary.trials) == (StopReason.BUDGET, 8)
    assert [state.trials for state in scheduler.states] == [4, 4]
    assert {record.policy for record in RecordLog(tmp_path / "log.json").read().records} == {policy}
    assert scheduler.cur_score < 1


@pytest.mark.parametrize("strategy", ["gradient", "ansor", "round-robin"])
def test_every_strategy_tunes_families(strategy, tmp_path):
    """The released FamilySeer had no round-robin, and its gradient foresaw siblings whatever the strategy."""
    scheduler, summary = tune(12, tmp_path / "log.json", "sketch.xgb.family_op", strategy=strategy)

    assert (summary.reason, summary.trials) == (StopReason.BUDGET, 12)
    assert min(state.trials for state in scheduler.states) >= 4
    assert scheduler.cur_score < 1


def test_a_second_run_goes_on_where_the_first_stopped(tmp_path):
    """The budget is a total; what was measured is not measured again; a spent budget measures nothing."""
    log = tmp_path / "log.json"
    tune(16, log)
    scheduler, summary = tune(24, log)

    assert (summary.trials, summary.restored_trials) == (24, 16)
    assert len(digests(log)) == 24 == len(set(digests(log)))
    again, summary = tune(24, log)
    assert (summary.trials, summary.restored_trials, summary.seconds < 5) == (24, 24, True)
    assert again.task_costs_history == scheduler.task_costs_history
    assert len(digests(log)) == 24


def test_a_resumed_run_knows_its_families_and_models(tmp_path):
    """What the models had said is in the log, and with it come back families, scores and predictions, without a trial."""
    log = tmp_path / "log.json"
    first, _ = tune(64, log)
    again, _ = tune(64, log)
    records = [record for record in RecordLog(log).read().records if record.predicted]

    assert len(records) >= 40
    assert {"shared"} <= {name for record in records for name in record.predicted} <= {"shared", "family"}
    assert again.partition == first.partition
    for task in first.described:
        assert again.model.confidence(task.key) == first.model.confidence(task.key)
        assert again.model.serving(task.key) == first.model.serving(task.key)

    trials = {state.key: state.trials for state in first.states}
    found = map_families(log, first.described[0].target)
    assert [(row.name, [task.key for task in row.tasks], row.trials) for row in found.families] == [
        (name, list(members), tuple(trials[key] for key in members)) for name, members in first.partition.families
    ]
    assert [row.serving for row in found.families] == [
        first.model.serving(members[0]) for _, members in first.partition.families
    ]
    assert 1 <= len(found.tasks) <= 2
    valid = [record for record in RecordLog(log).read().records if record.valid]
    for row in found.families:
        for task in row.tasks:
            mine = [record for record in valid if record.task == task.key]
            chosen = [record.cost for record in mine if record.round == 0 and record.predicted]
            speed = min(record.cost for record in mine) / min(chosen) if chosen else None
            assert row.foreseen.get(task.key) == speed
    assert sum(len(row.foreseen) for row in found.families) < len(trials), "nobody taught the first task"


def test_families_of_a_log_are_shown_and_drawn(tmp_path, capsys):
    """Half of 64 trials for each task: both have enough measurements for a heat map and its dendrogram."""
    log, figure = tmp_path / "log.json", tmp_path / "families.svg"
    scheduler = auto_scheduler.TaskScheduler(tasks(), strategy="round-robin", callbacks=[])
    scheduler.tune(options(64, log), "sketch.xgb.family_op")
    assert main(["families", str(log), "--figure", str(figure)]) == 0
    out = capsys.readouterr().out
    assert "2 tasks have enough measurements" in out
    assert all(task.desc in out for task in scheduler.tasks)
    assert figure.read_bytes().startswith(b"<?xml")
    assert figure.stat().st_size > 5000


def test_families_of_a_log_that_do_not_fit_are_left_out(tmp_path, caplog):
    """Of other tasks, or damaged: a warning, and the run starts from what the operators say."""
    log = tmp_path / "log.json"
    scheduler, _ = tune(8, log)
    key = scheduler.described[0].key
    families = FamiliesRecord(
        task=key,
        round=0,
        target=scheduler.described[0].target,
        policy="sketch.xgb.family_op",
        families=(("x", (key,)),),
    )
    with RecordLog(log) as writer:
        writer.add_families(families)
    again, summary = tune(16, log)

    assert "are left out: a partition must hold each task once; missing" in caplog.text
    assert again.partition.names == ("dense",)
    assert summary.restored_trials == 8


SCRIPT = """
from pathlib import Path
from tests.meta_schedule.test_task_scheduler import tune
tune(40, Path({log!r}))
"""


def test_a_killed_run_loses_nothing(tmp_path):
    """`kill -9` in mid-run: what was measured is there, no worker is left, and a resume measures just the rest."""
    log = tmp_path / "log.json"
    root = Path(__file__).parents[2]
    run = subprocess.Popen([sys.executable, "-c", SCRIPT.format(log=str(log))], cwd=root, start_new_session=True)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and (not log.exists() or log.read_bytes().count(b'"measure"') < 11):
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    measured = digests(log)
    scheduler, summary = tune(40, log)

    assert 11 <= len(measured) < 40
    assert summary.restored_trials == len(measured)
    assert digests(log)[: len(measured)] == measured
    assert len(digests(log)) == 40 == len(set(digests(log)))
    assert Counter(task for task, _ in digests(log)) == {
        task.workload_key: state.trials for task, state in zip(scheduler.tasks, scheduler.states, strict=True)
    }


def test_models_are_kept_between_runs(tmp_path):
    """`load_model_file` is written at the end and read at the start: a folder of families, or one file."""
    tune(16, tmp_path / "a.json", load_model_file=tmp_path / "bank")
    tune(16, tmp_path / "b.json", "sketch.xgb", load_model_file=tmp_path / "model")
    scheduler, _ = tune(2, tmp_path / "c.json", load_model_file=tmp_path / "bank")

    assert (tmp_path / "bank" / "manifest.json").exists()
    assert (tmp_path / "model").is_file()
    assert scheduler.model.is_trained(scheduler.tasks[0].workload_key)


def test_a_log_is_not_learnt_a_second_time_through_the_model_file(tmp_path):
    """Both name the same run: models and scores are as if there were the log alone."""
    log, bank = tmp_path / "log.json", tmp_path / "bank"
    tune(32, log, load_model_file=bank)
    alone, _ = tune(32, log)
    both, _ = tune(32, log, load_model_file=bank)
    policy = alone.search_policies[0]
    probe = policy._features(policy._space(8).sample(12))

    for task in alone.described:
        assert both.model.confidence(task.key) == alone.model.confidence(task.key)
        said, expected = (run.model.predictions(task.key, probe) for run in (both, alone))
        assert {name: scores.tolist() for name, scores in said.items()} == {
            name: scores.tolist() for name, scores in expected.items()
        }


def test_a_model_that_cannot_be_saved_ends_no_run(tmp_path, caplog):
    """The log has all of it, and the summary is given."""
    (tmp_path / "file").write_text("in the way")
    _, summary = tune(8, tmp_path / "log.json", load_model_file=tmp_path / "file" / "bank")
    assert summary.trials == 8
    assert "Not all that was learnt is kept for later runs" in caplog.text


def test_another_policy_s_log_teaches_and_vouches_for_nobody(tmp_path):
    """Its families were others: the shared model keeps its scores, and families are decided of all that was measured."""
    log = tmp_path / "log.json"
    tune(64, log, "sketch.xgb.family_ind")
    with_families = {name for record in RecordLog(log).read().records for name in record.predicted}
    assert with_families == {"shared", "family"}
    scheduler, _ = tune(64, log)
    rounds = {}
    for record in RecordLog(log).read().records[:64]:
        rounds.setdefault(record.task, {}).setdefault(record.round, []).append(record)
    for label in scheduler.partition.names:
        later = [batch for key in scheduler.model.members(label) for batch in [*rounds[key].values()][1:]]
        confidence = scheduler.model.family_confidence(label)
        assert confidence["family"].batches == 0
        assert confidence["shared"].batches == sum(judges("shared", batch) for batch in later)


def judges(model, batch):
    """Whether a model had predicted a batch, and two of its latencies differ by more than noise explains."""
    costs = [record.cost for record in batch]
    return model in batch[0].predicted and max(costs) > 1.02 * min(costs)


def test_the_next_network_starts_from_the_store(tmp_path):
    """Its first round is ranked by what relatives of another run taught, and its relatives' schedules are tried."""
    store = tmp_path / "store"
    tune(24, tmp_path / "first.json", store=store)
    described = {}
    for name, folder in [("cold", None), ("warm", store)]:
        scheduler = auto_scheduler.TaskScheduler(
            tasks(shapes=[(64, 64, 32)]), load_log_file=tmp_path / name, callbacks=[], store=folder
        )
        scheduler.tune(options(8, tmp_path / name), "sketch.xgb.family_op", QUICK)
        described[name] = RecordLog(tmp_path / name).read().records

    seeds = scheduler._knowledge.seeds
    guests = {key for key in seeds.pool.best() if key.startswith("guest:")}
    assert guests
    assert sum(len(seeds.experience.of(key)) for key in guests) == 24, "what was tried then is known from the start"
    scheduler._knowledge.forget_guests()
    assert {*seeds.pool.best()} == {scheduler.described[0].key}
    assert not any(seeds.experience.of(key) for key in guests)
    assert all(record.predicted == {} for record in described["cold"])
    assert all(record.predicted.keys() == {"shared"} or record.predicted["family"] for record in described["warm"])
    assert all(record.predicted for record in described["warm"])
    known = {entry.task.name for entry in Store(store, target=described["warm"][0].target, engine=ENGINE).read()}
    assert known == {"matmul(32, 32, 32)", "matmul(32, 64, 32)", "matmul(64, 64, 32)"}


def test_a_run_with_a_store_is_resumed(tmp_path):
    """Nothing is measured twice, and what an interrupted run stored does no harm to the same one."""
    store, log = tmp_path / "store", tmp_path / "log.json"
    tune(16, log, store=store)
    scheduler, summary = tune(32, log, store=store)

    assert (summary.trials, summary.restored_trials) == (32, 16)
    assert len(digests(log)) == len(set(digests(log))) == 32
    assert scheduler.partition.names == ("dense",)


def test_a_store_that_cannot_serve_is_refused_before_measuring(tmp_path):
    """Of another target, of no folder, or for a policy without families."""
    log, store = tmp_path / "log.json", tmp_path / "store"
    auto_scheduler.TaskScheduler(tasks(), callbacks=[], store=store)
    with pytest.raises(StoreError, match=r"is for target .*\. Name another folder"):
        auto_scheduler.TaskScheduler(tasks({"kind": "llvm", "num-cores": 1}), callbacks=[], store=store)
    with pytest.raises(InvalidInputError, match=r"`store` serves family policies such as .*; got 'sketch.xgb'"):
        tune(8, log, "sketch.xgb", store=store)
    assert not log.exists()


def test_a_store_that_is_lost_while_tuning_loses_no_measurement(tmp_path, caplog):
    """The log has all of them, and the end of the run says so."""
    log, store = tmp_path / "log.json", tmp_path / "store"
    scheduler = auto_scheduler.TaskScheduler(tasks(), load_log_file=log, callbacks=[], store=store)
    shutil.rmtree(store)
    store.write_text("a file in its place")
    assert scheduler.tune(options(8, log), "sketch.xgb.family_op", QUICK).trials == 8
    assert "Not all that was learnt is kept for later runs, but the log has all of it" in caplog.text
    assert len(digests(log)) == 8


def refuse_to_link(output, objects, **options):
    """Fail every build."""
    raise RuntimeError("the linker is out of order")


def test_a_task_whose_every_candidate_fails_is_retired(tmp_path, caplog, monkeypatch):
    """After two rounds without a valid schedule it is given up, and the run ends with the reason and a diagnosis."""
    log = tmp_path / "log.json"
    scheduler = auto_scheduler.TaskScheduler(tasks(), callbacks=[])
    builder = auto_scheduler.LocalBuilder(n_parallel=1, build_func=refuse_to_link)
    monkeypatch.setattr(builder, "probe", lambda target, path: Call(os.path.basename, (path,)))  # an addition is built
    summary = scheduler.tune(options(64, log, per_round=2, builder=builder), "sketch.xgb.family_op", QUICK)

    assert summary.reason is StopReason.ALL_RETIRED
    assert summary.message == "all tasks are retired: no valid schedule in 4 trials (2)"
    assert scheduler.dead_tasks == {0, 1}
    assert (scheduler.cur_score, scheduler.ct) == (1e10, 8)
    assert caplog.text.count("every candidate of 4 failed.") == 2
    assert "COMPILE_HOST: RuntimeError: the linker is out of order" in caplog.text
    failures = [record.result for record in RecordLog(log).read().records]
    assert {failure.error_no.name for failure in failures} == {"COMPILE_HOST"}
    assert all("the linker is out of order" in failure.error_msg for failure in failures)


def test_one_policy_per_task_can_be_given():
    """A list of policies is used as it is; a list of another length is refused."""
    workloads = tasks()
    scheduler = auto_scheduler.TaskScheduler(workloads, callbacks=[])
    policies = [auto_scheduler.SketchPolicy(task, auto_scheduler.XGBModel(), params=QUICK) for task in workloads]
    scheduler.tune(options(4), policies)

    assert [policy.round for policy in policies] == [1, 1]
    with pytest.raises(InvalidInputError, match=r"one SearchPolicy per task \(2\)"):
        scheduler.tune(options(4), policies[:1])


def test_a_single_task_tunes_itself(tmp_path):
    """`SearchTask.tune` and `apply_best`, as in the tutorials of old."""
    log = tmp_path / "log.json"
    task = tasks()[0]
    task.tune(options(4, log))
    best, result = auto_scheduler.load_best_record(log, task.workload_key)

    assert str(task.apply_best(str(log)).trace) == str(best.state.schedule.trace)
    assert result.cost == min(record.cost for record in RecordLog(log).read().records)
    with pytest.raises(InvalidInputError, match="holds none"):
        tasks()[1].apply_best(str(log))


def test_a_log_of_another_target_is_refused(tmp_path):
    """Nothing of it is applied and nothing is added to it."""
    log = tmp_path / "log.json"
    tune(4, log)
    before = log.read_bytes()
    other = tasks({"kind": "llvm", "num-cores": 1})
    scheduler = auto_scheduler.TaskScheduler(other, load_log_file=log, callbacks=[])

    with pytest.raises(LogError, match=r"must be of target .* its 4 records are for"):
        scheduler.tune(options(4, log), "sketch.xgb", QUICK)
    assert log.read_bytes() == before


def test_a_log_that_cannot_be_written_stops_before_measuring(tmp_path):
    """A folder in place of the log is an error at once."""
    scheduler = auto_scheduler.TaskScheduler(tasks(), callbacks=[])

    with pytest.raises(LogError):
        scheduler.tune(options(4, tmp_path), "sketch.xgb", QUICK)
    assert scheduler.ct == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"tasks": []}, "`tasks` must hold at least one task; got 0"),
        ({"tasks": ["conv2d"]}, "`tasks` must be SearchTasks; got 'conv2d'"),
        ({"task_weights": [1]}, r"`task_weights` must hold one weight per task \(2\); got 1"),
        ({"task_weights": [1, -1]}, r"must be a number ≥ 0; got -1.0"),
        ({"strategy": "random"}, "`strategy` must be one of gradient, ansor, round-robin; got 'random'"),
        ({"alpha": 2}, "alpha"),
        ({"objective_func": lambda costs: -sum(costs)}, "must not grow when a latency falls"),
    ],
)
def test_bad_arguments_of_the_scheduler(arguments, text):
    """One sentence each, before anything is measured."""
    with pytest.raises(InvalidInputError, match=text):
        auto_scheduler.TaskScheduler(**{"tasks": tasks(), "callbacks": [], **arguments})


@pytest.mark.parametrize(
    ("trials", "policy", "text"),
    [
        (1, "sketch.xgb", r"at least the number of tasks \(2\)"),
        (4, "sketch.xgb.family_zodiac", "must be one of sketch.random, sketch.xgb, sketch.xgb.family_op"),
    ],
)
def test_bad_arguments_of_tune(trials, policy, text):
    """Budgets too small and policies unknown are named."""
    with pytest.raises(InvalidInputError, match=text):
        auto_scheduler.TaskScheduler(tasks(), callbacks=[]).tune(options(trials), policy)


@pytest.mark.parametrize("trials", [0, -1, 2.5, True, "64"])
def test_trials_must_be_a_whole_number(trials):
    """Zero, negative and other trials are refused in the user's words."""
    with pytest.raises(InvalidInputError, match="`num_measure_trials` must be"):
        auto_scheduler.TuningOptions(trials)


def test_tasks_of_two_targets_are_refused():
    """One run has one target."""
    mixed = [tasks()[0], tasks({"kind": "llvm", "num-cores": 1})[1]]

    with pytest.raises(InvalidInputError, match="must all be for one target"):
        auto_scheduler.TaskScheduler(mixed, callbacks=[])
