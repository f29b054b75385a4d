# SPDX-License-Identifier: Apache-2.0
"""The studies on recorded measurements."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from itertools import pairwise
from math import inf

import numpy as np
import pytest

from benchmarks import accuracy, bank, families, replay, simulate, stack, training_time
from benchmarks.machine import describe, machine_of
from benchmarks.table import RANDOM_PROGRAMS, MeasuredTask, load_origin, load_table, save_table
from familyseer import auto_scheduler
from familyseer.cost_model import RandomCostModel, XGBCostModel
from familyseer.errors import InvalidInputError
from familyseer.features import FeatureSet
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.records import RecordLog
from familyseer.schedulers import RoundRobinScheduler
from familyseer.task import Task
from tests.meta_schedule.test_search_policy import matmul


def table(programs=40, tasks=("a_1", "a_2", "b_1"), weights=(1.0, 1.0, 1.0)):
    """Return tasks whose latency is, up to 1 %, ruled by one feature, another one for each letter."""
    rng, made = np.random.default_rng(0), []
    for name, weight in zip(tasks, weights, strict=True):
        rows = rng.normal(size=(programs, 6)).astype(np.float32)
        column = {"a": 0, "b": 3}[name[0]]
        seconds = 1e-3 * np.exp(rows[:, column] + 0.01 * rng.normal(size=programs))
        made.append(
            MeasuredTask(
                task=Task(key=name, name=name, operator=name[0], structure=name[0], weight=weight, flops=10.0),
                features=FeatureSet(rows=rows, counts=np.ones(programs, dtype=np.int64)),
                seconds=seconds,
                rounds=np.arange(programs) // 10,
            )
        )
    return made


ORIGIN = {
    "machine": {"cpu": "znver4", "cores": 2, "python": "3.11.7", "versions": {"apache-tvm": "0.27"}},
    "network": "bert_base",
    "size": "tiny",
    "target": "llvm",
}


def tune_briefly(task, log):
    """Measure six random candidates in rounds of four."""
    options = auto_scheduler.TuningOptions(
        6,
        num_measures_per_round=4,
        verbose=0,
        runner=auto_scheduler.LocalRunner(number=1, min_repeat_ms=0),
        measure_callbacks=[auto_scheduler.RecordToFile(log)],
        finalists=0,
    )
    auto_scheduler.TaskScheduler([task], callbacks=[]).tune(options, "sketch.random")


class TestTable:
    """Tables on disk."""

    def test_what_is_saved_is_loaded(self, tmp_path):
        """Features, latencies and descriptions."""
        before = table(weights=(1.0, 2.0, 3.0))
        save_table(tmp_path / "t.npz", before)
        after = load_table(tmp_path / "t.npz")
        assert [m.task for m in after] == [m.task for m in before]
        for old, new in zip(before, after, strict=True):
            np.testing.assert_array_equal(old.features.rows, new.features.rows)
            np.testing.assert_array_equal(old.seconds, new.seconds)
            np.testing.assert_array_equal(old.rounds, new.rounds)

    def test_the_shipped_table(self):
        """18 tasks of 128 programs; relatives follow from the names."""
        found = load_table()
        assert len(found) == 18
        assert {len(m.features) for m in found} == {128}
        assert sorted({m.task.operator for m in found}) == ["bmm", "c1", "c3", "d", "dw", "ln", "sm"]

    def test_a_table_knows_its_origin(self, tmp_path):
        """Older ones do not."""
        save_table(tmp_path / "t.npz", table(), ORIGIN)
        assert load_origin(tmp_path / "t.npz") == ORIGIN
        assert [m.task.name for m in load_table(tmp_path / "t.npz")] == ["a_1", "a_2", "b_1"]
        assert load_origin(RANDOM_PROGRAMS) is None

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text"])
    def test_other_files_are_refused(self, tmp_path, content):
        """And so is one that is not there."""
        (tmp_path / "t.npz").write_bytes(content)
        for name in ("t.npz", "none.npz"):
            with pytest.raises(InvalidInputError, match="must be a table of measurements"):
                load_table(tmp_path / name)


ROWS = ("shared", "family, operator", "shared + family, operator", "family, hash", "shared + family, hash")


class TestAccuracy:
    """The study of cross-accuracy."""

    def test_halves_do_not_overlap(self):
        """Nothing is judged that was learnt."""
        for train, test in zip(*accuracy.split(table(programs=41), 3), strict=True):
            assert sorted([*train, *test]) == list(range(41))
            assert len(train) == 20

    def test_the_study_of_a_new_task(self, tmp_path, monkeypatch, capsys):
        """A relative's model knows a task that was left out, a stranger's does not; the figures land on disk."""
        save_table(tmp_path / "t.npz", table(programs=120))
        out = tmp_path / "out.json"
        monkeypatch.setattr(sys, "argv", ["x", "--table", str(tmp_path / "t.npz"), "--seeds", "1", "--out", str(out)])
        assert accuracy.main() == 0
        (seed,) = json.loads(out.read_text())["seeds"]
        assert seed["families"]["cross_accuracy"][0] == seed["families"]["cross_accuracy"][1]
        assert seed["adjusted_rand_index"]["cross_accuracy"] == 1.0
        assert seed["metrics"]["measured"]["family, operator"]["pairwise_accuracy"] > 0.85
        assert set(seed["metrics"]) == {"measured", "new"}
        assert len(seed["metrics"]["new"]) == 9
        assert json.loads(out.read_text())["table"] is None
        assert {p.suffix for p in tmp_path.glob("out.*")} == {".json", ".md", ".svg", ".png"}
        assert "| shared + family, random |" in capsys.readouterr().out

    def test_collecting_goes_on_where_it_was_interrupted(self, tmp_path, capsys):
        """Real measurements of a toy network; what the table has is not measured again."""
        path = tmp_path / "bert.npz"
        accuracy.collect("bert_base", "llvm", 3, path, size="tiny")
        full = load_table(path)
        names = [m.task.name for m in full]
        assert all(len(m.features) >= 3 and (m.seconds < 1e10).any() for m in full)
        save_table(path, full[1:], load_origin(path))
        capsys.readouterr()
        accuracy.collect("bert_base", "llvm", 3, path, size="tiny")
        assert capsys.readouterr().out.count("programs") == 1
        again = load_table(path)
        assert [m.task.name for m in again] == names
        np.testing.assert_array_equal(again[1].seconds, full[1].seconds)
        assert load_origin(path)["network"] == "bert_base"
        assert load_origin(path)["machine"] == machine_of(describe())

    @pytest.mark.parametrize(
        ("origin", "message"),
        [
            (None, "machine is unknown there"),
            (ORIGIN | {"machine": {"cpu": "other"}}, "machine is {'cpu': 'other'} there"),
            (ORIGIN | {"network": "gpt2"}, "network is 'gpt2' there and 'bert_base' here. Give --table a new file"),
        ],
    )
    def test_a_partial_table_of_another_origin_is_refused(self, tmp_path, monkeypatch, origin, message):
        """Latencies of two machines, or tasks of two networks, do not belong into one table."""
        path = tmp_path / "t.npz"
        monkeypatch.setattr(accuracy, "machine_of", lambda described: ORIGIN["machine"])
        save_table(path, table(), origin)
        before = path.read_bytes()
        with pytest.raises(InvalidInputError, match=re.escape(message)):
            accuracy.collect("bert_base", "llvm", 3, path, size="tiny")
        assert path.read_bytes() == before

    def test_families_that_are_the_same_have_no_rows_twice(self):
        """Where structures are operators the report says so; where they are not it has rows for both."""
        seed = {
            "metrics": {"new": {name: {"peak_at_1": 0.5} for name in ROWS}},
            "families": {"operator": ["a", "a", "b"], "hash": ["x", "x", "y"]},
            "adjusted_rand_index": dict.fromkeys(accuracy.FAMILIES, 1.0),
        }
        result = {"seeds": [seed], "table": ORIGIN}
        text = accuracy.show(result)
        assert "Families by structure (hash) are those by operator in this table" in text
        assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")] == [
            "| new", "| shared", "| family, operator", "| shared + family, operator",
        ]  # fmt: skip
        seed["families"]["hash"] = ["x", "y", "y"]
        assert "| family, hash | 0.500 ± 0.000 |" in accuracy.show(result)

    def test_the_report_says_where_the_table_was_measured(self):
        """Not where it is studied."""
        result = {"seeds": [], "table": ORIGIN}
        assert accuracy._measured_where(result) == (
            "Programs of bert_base (size tiny, target `llvm`), measured on 2 cores (`znver4`) with apache-tvm 0.27."
        )
        assert "does not say where" in accuracy._measured_where({"table": None})

    @pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--programs", "0"], ["--table", "none.npz"]])
    def test_bad_input_is_refused(self, monkeypatch, capsys, tmp_path, arguments):
        """Exit status 2 and one sentence."""
        monkeypatch.setattr(sys, "argv", ["x", *arguments, "--out", str(tmp_path / "out.json")])
        assert accuracy.main() == 2
        assert "must be" in capsys.readouterr().err


NAMES = ("a_1", "a_2", "a_3", "b_1", "b_2", "b_3")


class TestFamilies:
    """Families from measurements alone."""

    def test_relatives_are_found(self):
        """Tasks ruled by one feature predict each other, and say nothing of the third; clustering sees it."""
        tasks = table(programs=64)
        gathered = families.gather(tasks, families.draw_programs(tasks, 64, 0), 0)
        found = gathered.known.accuracy
        assert min(found[0, 1], found[1, 0], *np.diag(found)) > 0.8
        assert max(found[0, 2], found[1, 2], found[2, 0], found[2, 1]) < 0.7
        assert [members for _, members in gathered.tracker.partition.families] == [("a_1", "a_2"), ("b_1",)]

    def test_real_operators_are_told_apart_by_measurements_alone(self):
        """18 operators, 64 measured programs each: convolutions by kernel, dense with batch products, softmax with layer norm."""
        tasks = load_table(RANDOM_PROGRAMS)
        shipped = families.gather(tasks, families.draw_programs(tasks, 64, 0), 0).tracker
        found = {frozenset(members) for _, members in shipped.partition.families}
        kinds = ["c3_", "c1_", "dw_", "d_ bmm", "sm ln"]
        expected = {
            frozenset(t.task.key for t in tasks if any(t.task.key.startswith(kind) for kind in group.split()))
            for group in kinds
        }
        assert found == expected

    def test_programs_are_drawn_once_each(self):
        """So many of every task, others for another seed."""
        tasks = table(programs=20)
        (first, *_), (other, *_) = (families.draw_programs(tasks, 12, seed) for seed in (0, 1))
        assert len(set(first.tolist())) == 12
        assert first.tolist() != other.tolist()

    def test_random_families_are_drawn_anew_for_every_choice_of_programs(self):
        """One draw, judged again and again, says nothing of chance."""
        tasks = [
            replace(measured, task=replace(measured.task, operator=operator))
            for measured, operator in zip(table(programs=8, tasks=NAMES, weights=(1.0,) * 6), "uvwxyz", strict=True)
        ]
        tasks[1] = replace(tasks[1], task=replace(tasks[1].task, operator="u"))
        found = families.study(tasks, 8, 6)["indices"]["random families"]["operators"]
        assert len(set(found)) > 1

    def test_the_command(self, tmp_path, monkeypatch, capsys):
        """Every variant; figures, raw and drawn, land on disk."""
        save_table(tmp_path / "t.npz", table(programs=64, tasks=("a_1", "a_2", "b_1")))
        out = tmp_path / "out.json"
        arguments = ["--table", str(tmp_path / "t.npz"), "--seeds", "2", "--programs", "48", "--out", str(out)]
        monkeypatch.setattr(sys, "argv", ["x", *arguments])
        assert families.main() == 0
        (found,) = json.loads(out.read_text())["studies"]
        assert found["indices"].keys() == {*families.VARIANTS, "random families"}
        assert found["indices"]["alignment and cross-accuracy (the default)"]["operators"] == [1.0, 1.0]
        assert {p.suffix for p in tmp_path.glob("out.*")} == {".json", ".md", ".svg", ".png"}
        assert "| random families |" in capsys.readouterr().out

    @pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--programs", "3"], ["--table", "none.npz"]])
    def test_bad_input_is_refused(self, monkeypatch, capsys, tmp_path, arguments):
        """Exit status 2 and one sentence."""
        monkeypatch.setattr(sys, "argv", ["x", *arguments, "--out", str(tmp_path / "out.json")])
        assert families.main() == 2
        assert "must be" in capsys.readouterr().err


class TestBank:
    """The bank on runs."""

    def test_rounds_come_in_their_order(self):
        """Ten programs a round, tasks in order within a round, each program once."""
        tasks = table(programs=20)
        found = list(bank.rounds_of(tasks))
        assert [(index, len(costs)) for index, (_, _, costs) in found] == [(i, 10) for _ in range(2) for i in range(3)]
        np.testing.assert_array_equal(found[3][1][2], tasks[0].seconds[10:])

    def test_random_families_have_the_same_sizes(self):
        """Other members, the same names and counts."""
        labels = {f"t{i}": "abbccc"[i] for i in range(6)}
        drawn = bank.shuffled(labels, 1)
        assert sorted(drawn.values()) == sorted(labels.values())
        assert list(drawn) == list(labels)

    def test_the_command(self, tmp_path, monkeypatch, capsys):
        """A relative's model knows a new task, and every model is judged on the same rounds and tasks."""
        save_table(tmp_path / "t.npz", table(programs=40, tasks=("a_1", "a_2", "b_1", "b_2"), weights=(1.0,) * 4))
        out = tmp_path / "out.json"
        monkeypatch.setattr(sys, "argv", ["x", "--tables", str(tmp_path / "t.npz"), "--out", str(out)])
        assert bank.main() == 0
        (found,) = json.loads(out.read_text())["runs"]
        assert (len(found["next round"]), len(found["new task"])) == (12, 4)
        models = [
            "TVM's",
            "shared",
            *(f"{w}, {f}" for f in ("cross-accuracy", "operators", "random") for w in ("served", "family")),
        ]
        assert all(list(entry) == models for question in bank.QUESTIONS for entry in found[question])
        gain = [
            e["family, operators"]["pairwise_accuracy"] - e["shared"]["pairwise_accuracy"] for e in found["new task"]
        ]
        assert sum(gain) > 0
        assert "| new task (4) |" in capsys.readouterr().out

        monkeypatch.setattr(bank, "study", None)  # what is done is not done again
        assert bank.main() == 0
        assert json.loads(out.read_text())["runs"] == [found]
        monkeypatch.setattr(sys, "argv", ["x", "--tables", str(tmp_path / "other.npz"), "--out", str(out)])
        assert bank.main() == 2
        assert "must have results of the first of these runs" in capsys.readouterr().err

    def test_a_log_becomes_a_table(self, tmp_path):
        """Programs, latencies and rounds are those of the run."""
        task = SearchTask(func=matmul(16, 16, 16), target={"kind": "llvm", "num-cores": 1}, desc="matmul")
        log = tmp_path / "run.log"
        tune_briefly(task, log)
        (found,) = bank.read_log(log)
        assert found.task.name == "matmul"
        assert found.seconds.tolist() == [record.cost for record in RecordLog(log).read().records]
        assert found.rounds.tolist() == [0, 0, 0, 0, 1, 1]
        assert len(found.features) == 6

    def test_nothing_to_study_is_refused(self, monkeypatch, capsys, tmp_path):
        """Exit status 2 and one sentence."""
        monkeypatch.setattr(sys, "argv", ["x", "--out", str(tmp_path / "out.json")])
        assert bank.main() == 2
        assert "must name at least one run" in capsys.readouterr().err


class TestStack:
    """What the place of the stack decides."""

    def test_the_command(self, tmp_path, monkeypatch, capsys):
        """Each process times the task's best both ways."""
        task = SearchTask(func=matmul(16, 16, 16), target={"kind": "llvm", "num-cores": 1}, desc="matmul")
        log, out = tmp_path / "run.log", tmp_path / "out.json"
        tune_briefly(task, log)
        monkeypatch.setattr(sys, "argv", ["x", str(log), "--processes", "2", "--out", str(out)])
        assert stack.main() == 0
        (spread,) = json.loads(out.read_text())["spreads"]
        assert spread["name"] == "matmul"
        assert all(0 < cost < 0.1 for kind in ("once", "places") for cost in spread[kind])
        assert [len(spread[kind]) for kind in ("once", "places")] == [2, 2]
        assert "| all, weighted |" in capsys.readouterr().out

    def test_nothing_to_study_is_refused(self, tmp_path, monkeypatch, capsys):
        """A log without tasks."""
        (tmp_path / "empty.log").touch()
        monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "empty.log"), "--out", str(tmp_path / "out.json")])
        assert stack.main() == 2
        assert "must be a log of one target" in capsys.readouterr().err


class TestTrainingTime:
    """The cost of a round."""

    def test_the_command(self, tmp_path, monkeypatch, capsys):
        """One figure per round of 64."""
        save_table(tmp_path / "t.npz", table(programs=40))
        out = tmp_path / "out.json"
        arguments = ["--table", str(tmp_path / "t.npz"), "--trials", "256", "--out", str(out)]
        monkeypatch.setattr(sys, "argv", ["x", *arguments])
        assert training_time.main() == 0
        assert len(json.loads(out.read_text())["seconds"]) == 4
        assert "| 0 to 1000 |" in capsys.readouterr().out

    def test_bad_input_is_refused(self, monkeypatch, capsys, tmp_path):
        """Less than a round."""
        monkeypatch.setattr(sys, "argv", ["x", "--trials", "63", "--out", str(tmp_path / "out.json")])
        assert training_time.main() == 2
        assert "must be an integer ≥ 64" in capsys.readouterr().err


class TestReplay:
    """Tuning by looking up."""

    def make(self, model, trials=120, per_round=8, **options):
        """Return a replay of the small table."""
        return replay.Replay(table(**options), model, RoundRobinScheduler(), trials=trials, per_round=per_round, seed=1)

    def test_everything_is_measured_once(self):
        """With the budget of the whole table the optimum is found, whatever the model."""
        run = self.make(RandomCostModel(seed=0))
        summary = run.tuner.run()
        assert summary.trials == 120
        assert run.tuner.score == pytest.approx(run.optimum)
        assert [trials for trials, _ in run.scores] == list(range(8, 121, 8))

    def test_a_model_finds_the_best_sooner_than_chance(self):
        """What one feature rules is learnt from the first rounds."""
        learnt, chance = self.make(XGBCostModel(), trials=60), self.make(RandomCostModel(seed=0), trials=60)
        for run in (learnt, chance):
            run.tuner.run()
        assert learnt.tuner.score < 1.05 * learnt.optimum
        assert chance.tuner.score > 1.1 * chance.optimum

    def test_equal_seeds_decide_alike(self):
        """Twice the same."""
        first, second = self.make(XGBCostModel(), trials=48), self.make(XGBCostModel(), trials=48)
        for run in (first, second):
            run.tuner.run()
        assert first.scores == second.scores

    @pytest.mark.parametrize(("name", "waits"), [("family gradient", range(40, 52)), ("gradient", range(150, 400))])
    def test_a_fast_task_is_not_starved(self, name, waits):
        """Two convolutions of milliseconds and a softmax that is called once in a million: Ansor's gradient forgets it.

        The longest that it waits for a round, of 384 with one recorded measurement each.
        """
        found = {measured.task.name: measured for measured in load_table(RANDOM_PROGRAMS)}
        chosen = [
            found["c3_56"],
            found["c3_28"],
            replace(found["sm"], task=replace(found["sm"].task, weight=1e-6)),
        ]
        scheduler = replay.SCHEDULERS[name]([measured.task for measured in chosen], 0)
        run = replay.Replay(chosen, RandomCostModel(seed=0), scheduler, trials=300, per_round=1, seed=0)
        turns = []
        while run.tuner.step():
            turns.append(run.tuner.states[2].rounds)
        when = [turn for turn, (before, after) in enumerate(pairwise([0, *turns])) if after > before]
        assert max(after - before for before, after in pairwise([*when, len(turns)])) in waits

    def test_weights_count(self):
        """The optimum is the weighted sum of the fastest programs."""
        run = self.make(RandomCostModel(seed=0), weights=(1.0, 0.0, 2.0))
        best = [measured.seconds.min() for measured in table()]
        assert run.optimum == pytest.approx(best[0] + 2 * best[2])

    def test_trials_within(self):
        """Never is infinite."""
        scores = [(8, 3.0), (16, 2.0), (24, 1.5)]
        assert [replay.trials_within(scores, goal) for goal in (3.0, 1.9, 1.0)] == [8.0, 24.0, inf]

    def test_the_command(self, tmp_path, monkeypatch, capsys):
        """Every scheduler with every model; the figures land on disk."""
        save_table(tmp_path / "t.npz", table(programs=16))
        out = tmp_path / "out.json"
        arguments = ["--table", str(tmp_path / "t.npz"), "--trials", "24", "--seeds", "1", "--out", str(out)]
        monkeypatch.setattr(sys, "argv", ["x", *arguments])
        assert replay.main() == 0
        rows = [
            line
            for line in capsys.readouterr().out.splitlines()
            if line.startswith(("| gradient", "| family gradient", "| round"))
        ]
        assert len(rows) == len(replay.MODELS) * len(replay.SCHEDULERS) == 18
        assert len(json.loads(out.read_text())["replays"]) == 18

    @pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--trials", "2"], ["--table", "none.npz"]])
    def test_bad_input_is_refused(self, monkeypatch, capsys, arguments):
        """Exit status 2 and one sentence."""
        monkeypatch.setattr(sys, "argv", ["x", *arguments])
        assert replay.main() == 2
        assert "must be" in capsys.readouterr().err


@pytest.mark.parametrize("study", [accuracy, bank, families, replay, simulate, stack, training_time])
def test_an_out_that_cannot_be_written_is_refused_before_the_work(study, monkeypatch, capsys, tmp_path):
    """Exit status 2 and one sentence."""
    path = str(tmp_path)
    given = {bank: ["--tables", path], simulate: [path], stack: [path]}.get(study, [])
    monkeypatch.setattr(sys, "argv", ["x", *given, "--out", path])
    assert study.main() == 2
    assert capsys.readouterr().err == f"error: `--out` must name a file; {path} is a folder\n"
