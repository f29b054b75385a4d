# SPDX-License-Identifier: Apache-2.0
"""The search benchmark, run small but for real."""

from __future__ import annotations

import json
import re
import sys
from unittest.mock import Mock

import pytest

from benchmarks import report
from benchmarks.search import __main__ as command
from benchmarks.search import block
from benchmarks.search.job import Job
from familyseer import auto_scheduler
from familyseer.meta_schedule.stack import places
from familyseer.records import RecordLog
from tests.meta_schedule.test_search_policy import QUICK
from tests.meta_schedule.test_task_scheduler import options, tasks

ONE_TASK = ["--network", "bert_base", "--size", "tiny", "--only", "matmul2", "--min-repeat-ms", "1"]


def run(monkeypatch, out, *arguments):
    """Run the command and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["search", *ONE_TASK, "--out", str(out), *map(str, arguments)])
    return command.main()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a store with what a run on another task learnt."""
    folder = tmp_path_factory.mktemp("store")
    scheduler = auto_scheduler.TaskScheduler(tasks("llvm", [(48, 48, 48)]), callbacks=[], store=folder)
    scheduler.tune(options(16), "sketch.xgb.family_op", QUICK)
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory, store):
    """Return the raw results of all contestants on one small task."""
    out = tmp_path_factory.mktemp("search") / "raw.json"
    with pytest.MonkeyPatch.context() as patch:
        names = [
            "stock",
            "familyseer_published",
            "bayesian_code_diffusion",
            "sketch.xgb.family_op",
            "sketch.xgb:pack_sum+more_trials",
            "sketch.xgb.family_op:warm_store",
        ]
        folders = ["--records", out.parent, "--store", store]
        code = run(patch, out, "--seeds", 1, "--trials", 6, "--per-round", 6, *folders, "--baselines", *names)
    assert code == 0
    return out


def test_every_contestant_measures_its_budget(results):
    """Six trials each, but for the one with more, all with the same task, no second spent twice."""
    (found,) = json.loads(results.read_text())["blocks"]
    assert list(found["runs"]) == [
        "stock", "familyseer_published", "bayesian_code_diffusion", "sketch.xgb.family_op", "sketch.xgb:pack_sum+more_trials",
        "sketch.xgb.family_op:warm_store",
    ]  # fmt: skip
    for name, rounds in found["runs"].items():
        assert sum(len(made["latencies"]) for made in rounds) == (24 if "more_trials" in name else 6), name
        totals = [sum(made["seconds"].values()) for made in rounds]
        assert totals == sorted(totals), name
        assert all(seconds >= -0.01 for made in rounds for seconds in made["seconds"].values()), name
        assert rounds[-1]["seconds"]["other"] < 0.5 * totals[-1] or name == "stock"


def test_our_policies_keep_their_logs(results):
    """What a policy measured can be studied afterwards."""
    (log,) = results.parent.glob("*.log")
    assert log.name == "bert_base-b1-sketch.xgb.family_op-0.log"
    assert sum(record.is_trial for record in RecordLog(log).read().records) == 6


def test_all_finalists_are_timed_together(results):
    """Five passes over the untuned program and every schedule that was the best of its contestant at some time."""
    (found,) = json.loads(results.read_text())["blocks"]
    numbers = {made["schedule"] for rounds in found["runs"].values() for made in rounds} - {None}
    assert numbers == set(range(1, len(found["schedules"])))
    assert all(len(schedule["seconds"]) == 5 for schedule in found["schedules"])
    assert all(0 < seconds < 0.1 for schedule in found["schedules"] for seconds in schedule["seconds"])


def test_a_warm_store_is_used_and_not_changed(results, store):
    """Contestants work on copies, and results say which store it was."""
    assert len(list(store.glob("*.npz"))) == 1
    assert json.loads(results.read_text())["settings"]["store"] == command._digest(store)


def test_machine_and_command_are_told(results):
    """Whoever reads the figures can make them again."""
    document = json.loads(results.read_text())
    assert {"cpu", "cores", "python", "versions", "commit", "command"} <= document["machine"].keys()
    assert document["settings"]["trials"] == 6
    assert document["settings"]["final_timing"] == {"passes": 5, "pass_ms": 50, "stack_places": len(places())}
    assert document["commands"] == [document["machine"]["command"]]
    (found,) = document["blocks"]
    for what in ("tuned", "timed"):
        assert found[what]["commit"] == document["machine"]["commit"]
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", found[what]["date"])


def test_a_second_call_goes_on(results, store, monkeypatch, capsys):
    """Finished blocks are not run again."""
    before = json.loads(results.read_text())
    names = list(before["blocks"][0]["runs"])
    assert (
        run(
            monkeypatch, results, "--seeds", 1, "--trials", 6, "--per-round", 6, "--store", store, "--baselines", *names
        )
        == 0
    )
    assert json.loads(results.read_text()) == before
    assert "1 blocks in" in capsys.readouterr().out
    assert (
        run(
            monkeypatch, results, "--seeds", 1, "--trials", 8, "--per-round", 6, "--store", store, "--baselines", *names
        )
        == 2
    )
    assert "trials is 6 there and 8 here" in capsys.readouterr().err


def test_an_interruption_before_the_timing_loses_nothing(monkeypatch, tmp_path, capsys):
    """What was found is on disk by then; the next call only times it, and until then there is nothing to report."""
    out, arguments = (
        tmp_path / "raw.json",
        ["--seeds", 1, "--trials", 4, "--per-round", 4, "--finalists", 0, "--baselines", "sketch.random"],
    )
    with monkeypatch.context() as patch:
        patch.setattr(command, "time_block", Mock(side_effect=KeyboardInterrupt))
        assert run(patch, out, *arguments) == 130
    (found,) = json.loads(out.read_text())["blocks"]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["report", str(out), "--against", "sketch.random"])
        assert report.main() == 2
        assert "no finished block" in capsys.readouterr().err
        patch.setattr(command, "run_block", Mock(side_effect=AssertionError))
        assert run(patch, out, *arguments) == 0
    (timed,) = json.loads(out.read_text())["blocks"]
    assert [len(schedule["seconds"]) for schedule in timed["schedules"]] == [5, 5]
    assert timed["runs"]["sketch.random"] == [found["runs"]["sketch.random"][0] | {"schedule": 1}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baselines", "ansor", "--trials", "8"], "a contestant must be one of"),
        (["--baselines", "stock", "stock", "--trials", "8"], "must name each contestant once"),
        (["--network", "bert_base", "bert_base", "--trials", "16"], "`--network` must name each network once"),
        (["--batch", "1", "1", "--trials", "16"], "`--batch` must name each batch size once; got 1 1"),
        (["--batch", "0", "--trials", "16"], "`--batch` must be at least 1; got 0"),
        (["--records", __file__, "--trials", "16"], "`--records` must lead to a folder that can be written"),
        (["--logs", __file__, "--trials", "16"], "`--logs` must lead to a folder that can be written"),
        (["--baselines", "sketch.random", "--trials", "3"], "must be at least 16, one round"),
        (["--baselines", "sketch.xgb.family_op:warm_store", "--trials", "16"], "`--store` must be a folder that"),
        (["--baselines", "sketch.random", "--trials", "0"], "`--trials` must be at least 1"),
        (["--finalists", "-1", "--trials", "16"], "`--finalists` must be at least 0; got -1"),
        (["--baselines", "sketch.random", "--trials", "16", "--only", "nothing"], "must be part of a task's name"),
    ],
)
def test_bad_input_is_refused(monkeypatch, capsys, tmp_path, arguments, message):
    """Exit status 2, one clear sentence, no file."""
    assert run(monkeypatch, tmp_path / "raw.json", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "raw.json").exists()


def test_an_out_that_cannot_be_written_is_refused_at_once(monkeypatch, capsys, tmp_path):
    """Not after hours of measuring."""
    monkeypatch.setattr(command, "run_block", Mock(side_effect=AssertionError))
    (tmp_path / "file").touch()
    for out, message in [
        (tmp_path / "file" / "raw.json", "`--out` must lead to a folder that can be written"),
        (tmp_path, "`--out` must name a file"),
    ]:
        assert run(monkeypatch, out, "--trials", 16, "--baselines", "sketch.random") == 2
        assert message in capsys.readouterr().err


def test_every_budget_is_checked_before_the_first_block(monkeypatch, capsys, tmp_path):
    """ResNet-18 has more tasks than BERT: what is enough for one is refused for the other before anything is measured."""
    monkeypatch.setattr(command, "run_block", Mock(side_effect=AssertionError))
    arguments = ["--network", "bert_base", "resnet18", "--only", "", "--trials", 144, "--baselines", "sketch.random"]
    assert run(monkeypatch, tmp_path / "raw.json", *arguments) == 2
    assert re.search(r"`--trials` must be at least \d+, .* tasks of resnet18; got 144", capsys.readouterr().err)


def test_a_block_that_fails_does_not_end_the_others(monkeypatch, capsys, tmp_path):
    """The command goes on, names the block at the end and exits with 1; the same command then makes up for it."""
    out, made = tmp_path / "raw.json", []

    def break_seed_1(job, *_):
        made.append(job.seed)
        if job.seed == 1 and made.count(1) == 1:
            raise block.BlockFailure("sketch.random failed; see its log")
        rounds = [{"task": 0, "seconds": {"run": 1.0}, "latencies": [1e-3] * 16, "schedule": None}]
        return {"sketch.random": rounds}

    monkeypatch.setattr(command, "run_contestants", break_seed_1)
    arguments = ["--seeds", 3, "--trials", 16, "--baselines", "sketch.random"]
    assert run(monkeypatch, out, *arguments) == 1
    errors = capsys.readouterr().err
    assert "bert_base batch 1 seed 1: sketch.random failed; see its log\n--logs DIR keeps" in errors
    assert errors.endswith("error: 1 failed: bert_base batch 1 seed 1; the same command tries them again\n")
    assert [found["seed"] for found in json.loads(out.read_text())["blocks"]] == [0, 2]
    assert run(monkeypatch, out, *arguments) == 0
    assert made == [0, 1, 2, 1]
    assert len(json.loads(out.read_text())["blocks"]) == 3


def test_what_a_block_did_not_measure_is_no_longer_awaited():
    """The first of two blocks of 64 trials ends after 16: 64 are left."""
    progress = command.Progress(total=128, per_block=64)
    progress.start_block("first")
    progress.tell("first", "stock", 16, 1.0)
    progress.end_block()
    assert progress.total - progress.before == 64


class TestFailingContestant:
    """A contestant that breaks ends its block with what it said."""

    JOB = Job(network="bert_base", size="tiny", only="matmul2", trials=4, per_round=4)

    def test_an_error_is_told(self, tmp_path):
        """With the traceback; the other processes end too."""
        with pytest.raises(block.BlockFailure, match=r"(?s)sketch.nothing failed.*a contestant must be one of|must be"):
            block.run_contestants(self.JOB, ["sketch.nothing"], tmp_path, {})

    def test_a_death_is_told(self, tmp_path, monkeypatch):
        """As when the system kills it for its memory."""
        start = block._start

        def start_and_kill(*arguments):
            player = start(*arguments)
            player.process.kill()
            return player

        monkeypatch.setattr(block, "_start", start_and_kill)
        with pytest.raises(block.BlockFailure, match=r"the process of sketch\.random died"):
            block.run_contestants(self.JOB, ["sketch.random"], tmp_path, {})
