# SPDX-License-Identifier: Apache-2.0
"""The benchmark on this engine: from tuning to table."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import ansor
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


@pytest.mark.parametrize("names", [["sketch.xgb.family_op"], ["tvm", "sketch.xgb.family_op:no_tranfser"]])
def test_strange_contestants_are_refused(tmp_path, monkeypatch, names):
    """Without TVM there is nothing to compare with; an ablation is one of those there are."""
    monkeypatch.setattr(sys, "argv", ["ansor", "--out", str(tmp_path / "a.json"), "--contestants", *names])
    with pytest.raises(InvalidInputError, match="`--contestants` must have tvm, and ablations among no_transfer"):
        ansor.run()


def test_the_command_tunes_times_and_goes_on(host, tmp_path, monkeypatch, capsys):
    """Two small tasks; a second seed is added to what is there; other settings are refused."""
    monkeypatch.setattr(ansor, "WORKLOADS", [(ansor.matmul_bias, (8, 8, 8)), (ansor.matmul_bias, (16, 8, 8))])
    monkeypatch.setattr(ansor, "_PASSES", 1)
    out = tmp_path / "a.json"

    def run(seeds: int, trials: int = 4) -> dict:
        arguments = ["ansor", "--seeds", str(seeds), "--trials", str(trials), "--per-round", "2", "--out", str(out)]
        monkeypatch.setattr(sys, "argv", arguments)
        ansor.run()
        return json.loads(out.read_text())

    first = run(1)
    [block] = first["blocks"]
    assert block["runs"].keys() == set(ansor.NAMES)
    for found in block["runs"].values():
        assert {entry["task"] for entry in found["incumbents"]} == {0, 1}
        assert all(0 < entry["seconds"] < 1 for entry in found["incumbents"])
    assert run(1) == first
    with pytest.raises(InvalidInputError, match="was made with other settings or on another machine"):
        run(1, trials=6)
    assert "final latency" in capsys.readouterr().out
    assert "1 seeds, 4 trials" in out.with_suffix(".md").read_text()
