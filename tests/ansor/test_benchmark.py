# SPDX-License-Identifier: Apache-2.0
"""The benchmark on this engine: from tuning to table."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import ansor
from benchmarks.command import exit_status
from familyseer.errors import InvalidInputError
from tests.ansor.workloads import QUICK

INCUMBENTS = {
    ansor.STOCK: [(1, 0, 4.0), (2, 1, 4.0), (4, 0, 2.0)],
    "sketch.xgb.family_op": [(1, 1, 2.0), (2, 0, 1.0)],
    "sketch.xgb.family_op:no_transfer": [(1, 1, 4.0), (3, 0, 8.0)],
}


def document() -> dict:
    """Return results of one seed with two tasks and four trials."""
    runs = {
        name: {
            "seconds": 10.0,
            "incumbents": [{"trial": trial, "task": task, "seconds": cost} for trial, task, cost in found],
        }
        for name, found in INCUMBENTS.items()
    }
    runs["sketch.xgb.family_op"]["phases"] = {"search": 9.0, "train": 0.5, "families": 0.1, "other": 0.1}
    return {"settings": {"trials": 4, "contestants": list(INCUMBENTS)}, "blocks": [{"seed": 0, "runs": runs}]}


def test_a_curve_is_the_sum_of_the_best(monkeypatch):
    """Infinite until every task has a schedule."""
    run = document()["blocks"][0]["runs"][ansor.STOCK]
    assert ansor.curve(run, 4, 2) == [float("inf"), 8.0, 8.0, 6.0]


def test_the_report_compares_with_tvm(monkeypatch):
    """Ratios above 1 mean better; what was never reached counts 0."""
    monkeypatch.setattr(ansor, "WORKLOADS", [None, None])
    text = ansor.report(document())

    assert "| `tvm` | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00), 1.00" in text
    assert "| `sketch.xgb.family_op` | 2.00 (2.00 to 2.00) | 2.00 (2.00 to 2.00), 2.00" in text
    assert "| 10 | 2.00 (2.00 to 2.00) % | 5.00 (5.00 to 5.00) % |" in text
    assert "| `sketch.xgb.family_op:no_transfer` | 0.50 (0.50 to 0.50) | 0.00 (0.00 to 0.00), 0.00" in text


def test_convolutions_are_built_side_by_side(host):
    """Tensor expressions keep the operator's tag in a global variable: one build at a time may make its task again."""
    task = ansor.tvms_own.SearchTask(
        func=ansor.conv2d_relu, args=(14, 16, 16), target=ansor.TARGET, hardware_params=ansor.hardware()
    )
    policy = ansor.tvms_own.SketchPolicy(task, params=dict(QUICK), seed=1, verbose=0)
    inputs = [ansor.MeasureInput(task, state) for state in list(policy.sample_initial_population())[:12]]

    results = ansor.tvms_own.LocalBuilder().build(inputs, verbose=0)

    assert [(int(result.error_no), str(result.error_msg)) for result in results] == [(0, "")] * 12


def test_a_schedule_that_fails_at_the_end_is_passed_over(monkeypatch):
    """Its contestant keeps what it had before, and the report says that there was one."""
    monkeypatch.setattr(ansor, "WORKLOADS", [None, None])
    content = document()
    content["blocks"][0]["runs"]["sketch.xgb.family_op"]["incumbents"].append({"trial": 4, "task": 0, "seconds": None})
    assert ansor.curve(content["blocks"][0]["runs"]["sketch.xgb.family_op"], 4, 2) == [float("inf"), 3.0, 3.0, 3.0]
    assert "1 of 8 schedules failed when all were timed together" in ansor.report(content)
    assert "failed" not in ansor.report(document())


def test_nothing_to_compare_with_is_refused(monkeypatch):
    """Where no schedule of TVM's own could be timed."""
    monkeypatch.setattr(ansor, "WORKLOADS", [None, None])
    content = document()
    content["blocks"][0]["runs"][ansor.STOCK]["incumbents"] = [{"trial": 1, "task": 0, "seconds": None}]
    with pytest.raises(InvalidInputError, match="tvm must have a schedule of every task that could be timed"):
        ansor.report(content)


@pytest.mark.parametrize(
    "names",
    [
        ["sketch.xgb.family_op"],
        ["tvm", "sketch.xgb.family_op:no_tranfser"],
        ["tvm", "sketch.xgb.family_op:"],
        ["tvm", "sketch.xgb.family_pq"],
        ["tvm", "tvm:no_transfer"],
        ["tvm", "sketch.xgb", "sketch.xgb"],
    ],
)
def test_strange_contestants_are_refused(tmp_path, monkeypatch, names):
    """Without TVM there is nothing to compare with; policies and ablations are those there are, and TVM has none."""
    monkeypatch.setattr(sys, "argv", ["ansor", "--out", str(tmp_path / "a.json"), "--contestants", *names])
    with pytest.raises(InvalidInputError, match=r"`--contestants` must have tvm, and policies among sketch\.random"):
        ansor.run()


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        (["--seeds", "0"], None, "`--seeds` must be an integer ≥ 1"),
        (["--trials", "95"], None, "`--trials` must be an integer ≥ 96"),
        (["--per-round", "0"], None, "`--per-round` must be an integer ≥ 1"),
        ([], "", "must be results of `python -m benchmarks.ansor`"),
        ([], "[]", "it is damaged"),
        ([], '{"machine": {}, "commands": [], "settings": {}}', "it is damaged"),
        ([], '{"machine": {}, "commands": [], "settings": {}, "blocks": [{}]}', "it is damaged"),
    ],
)
def test_bad_input_is_refused(tmp_path, monkeypatch, capsys, arguments, content, message):
    """Exit status 2 and one sentence."""
    out = tmp_path / "a.json"
    if content is not None:
        out.write_text(content)
    monkeypatch.setattr(sys, "argv", ["ansor", "--out", str(out), *arguments])
    assert exit_status(ansor.run) == 2
    assert message in capsys.readouterr().err


MACHINE = {"cpu": "znver3", "python": "3.10.13", "tvm": "0.16.dev0", "commit": "abc", "command": "python -m x"}


def saved(folder, **machine):
    """Write results without blocks and return where."""
    path = folder / "a.json"
    machine = MACHINE | machine
    document = {"machine": machine, "commands": [MACHINE["command"]], "settings": {"trials": 4}, "blocks": []}
    path.write_text(json.dumps(document))
    return path


def test_a_resume_names_every_commit_and_command(tmp_path):
    """Of those that contributed."""
    path = saved(tmp_path)
    found = ansor.resume(path, MACHINE | {"commit": "def", "command": "python -m y"}, {"trials": 4})
    assert (found["machine"]["commit"], found["commands"]) == ("abc, def", ["python -m x", "python -m y"])
    path.write_text(json.dumps(found))
    again = ansor.resume(path, MACHINE, {"trials": 4})
    assert (again["machine"]["commit"], again["commands"]) == ("abc, def", ["python -m x", "python -m y"])


@pytest.mark.parametrize("name", ["cpu", "python", "tvm"])
def test_a_resume_elsewhere_is_refused(tmp_path, name):
    """Another processor, Python or TVM."""
    path = saved(tmp_path, **{name: "other"})
    with pytest.raises(InvalidInputError, match=f"another machine: {name} is 'other' there and '{MACHINE[name]}' here"):
        ansor.resume(path, MACHINE, {"trials": 4})


def test_the_command_tunes_times_and_goes_on(host, tmp_path, monkeypatch, capsys):
    """Two small tasks; the same command once more adds nothing to what is there; other settings are refused."""
    monkeypatch.setattr(ansor, "WORKLOADS", [(ansor.matmul_bias, (8, 8, 8)), (ansor.matmul_bias, (16, 8, 8))])
    monkeypatch.setattr(ansor, "_PASSES", 1)
    stock = ansor.tvms_own.SketchPolicy
    monkeypatch.setattr(stock, "DEFAULT_PARAMS", {**stock.DEFAULT_PARAMS, **QUICK})
    out, names = tmp_path / "a.json", [ansor.STOCK, "sketch.xgb.family_op:no_transfer"]

    def run(seeds: int, trials: int = 4) -> dict:
        arguments = ["ansor", "--seeds", str(seeds), "--trials", str(trials), "--per-round", "2", "--out", str(out)]
        arguments += ["--contestants", *names]
        monkeypatch.setattr(sys, "argv", arguments)
        ansor.run()
        return json.loads(out.read_text())

    first = run(1)
    [block] = first["blocks"]
    assert block["runs"].keys() == set(names)
    for found in block["runs"].values():
        assert {entry["task"] for entry in found["incumbents"]} == {0, 1}
        assert all(0 < entry["seconds"] < 1 for entry in found["incumbents"])
    assert block["tuned"]["commit"] == first["machine"]["commit"]
    assert len(first["commands"]) == 1
    assert run(1) == first
    with pytest.raises(InvalidInputError, match="was made with another setting: trials is 4 there and 6 here"):
        run(1, trials=6)
    assert "final latency" in capsys.readouterr().out
    assert "1 seeds, 4 trials" in out.with_suffix(".md").read_text()
