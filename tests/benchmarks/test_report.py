# SPDX-License-Identifier: Apache-2.0
"""The report: true to the raw results, and only of results that belong together."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest

from benchmarks import report
from benchmarks.raw import write
from benchmarks.search.document import FORMAT, load, resume
from familyseer.errors import InvalidInputError

MACHINE = {
    "cpu": "znver4",
    "cores": 2,
    "python": "3.11.7",
    "versions": {"apache-tvm": "0.27"},
    "commit": "abc",
    "command": "python -m x",
}
SETTINGS = {"trials": 3, "baselines": ["stock", "sketch.xgb"]}


def rounds(*steps):
    """Return rounds of one trial each of task 0: (seconds so far, number of the schedule)."""
    return [
        {
            "task": 0,
            "seconds": {"search": s, "build": 0, "run": 0, "train": 0, "other": 0},
            "latencies": [1.0],
            "schedule": n,
        }
        for s, n in steps
    ]


def block(seed, **changes):
    """Return a block in which stock needs 30 s for 2 ms and ours 10 s; ours never gets to 1.9 ms on seed 1."""
    best = 0.0019 if seed == 0 else 0.00201
    return {
        "network": "net",
        "batch": 1,
        "seed": seed,
        "trials": 3,
        "tasks": [{"name": "t", "weight": 1.0, "operator": "dense"}],
        "runs": {
            "stock": rounds((10.0, 1), (20.0, None), (30.0, 2)),
            "sketch.xgb": rounds((5.0, 1), (10.0, 3), (15.0, None)),
        },
        "schedules": [
            {"task": 0, "seconds": [0.010]},
            {"task": 0, "seconds": [0.004]},
            {"task": 0, "seconds": [0.002]},
            {"task": 0, "seconds": [best]},
        ],
    } | changes


def document(*blocks, settings=None, **machine):
    """Return raw results."""
    return {
        "format": FORMAT,
        "version": 1,
        "machine": MACHINE | machine,
        "commands": [MACHINE["command"]],
        "settings": SETTINGS | (settings or {}),
        "blocks": list(blocks),
    }


def saved(tmp_path, name, content):
    """Write results and return where."""
    path = tmp_path / name
    write(path, content)
    return path


def test_ratios_are_medians_over_seeds_and_never_is_a_loss(tmp_path):
    """Within 5 % ours needs a third of the time on both seeds; the last 0 % it never reaches on one of them."""
    text = report.write_report([document(block(0), block(1))], tmp_path)
    lines = text.splitlines()
    time_row, trial_row = [line for line in lines if line.startswith("| sketch.xgb |")][1:3]
    assert time_row == (
        "| sketch.xgb | 3.00 (3.00 to 3.00) | 3.00 (3.00 to 3.00) | 3.00 (3.00 to 3.00) | never (never to 3.00) |"
    )
    assert trial_row == (
        "| sketch.xgb | 1.50 (1.50 to 1.50) | 1.50 (1.50 to 1.50) | 1.50 (1.50 to 1.50) | never (never to 1.50) |"
    )


def test_final_latencies_and_phases(tmp_path):
    """Stock's 2.00 ms over 1.90 and 2.01 ms, which were there when stock ended; stock still has 4 ms when ours ends, at 15 s."""
    text = report.write_report([document(block(0), block(1))], tmp_path, ["stock", "sketch.xgb"])
    finals = [line for line in text.splitlines() if line.endswith("| 0 | 0 | 0 | 0 | 0 | 0.0 | 0.0 |")]
    assert finals[1] == (
        "| sketch.xgb | 1.955 | 1.02 (1.00 to 1.05) | 1.02 (1.00 to 1.05) | 15 | 15 | 0 | 0 | 0 | 0 | 0 | 0.0 | 0.0 |"
    )
    assert finals[2] == (
        "| stock | 2.000 | 0.98 (0.95 to 1.01) | 0.49 (0.47 to 0.50) | 30 | 30 | 0 | 0 | 0 | 0 | 0 | 0.0 | 0.0 |"
    )


def test_final_latencies_of_networks_are_summed_up_with_their_range(tmp_path):
    """2.00 ms over 1.90 is 1.05, over 1.25 is 1.6: 1.30 together; stock ends at 30 s, ours has had its best since 10 s."""
    other = block(0, network="other")
    other["schedules"][3]["seconds"] = [0.00125]
    text = report.write_report([document(block(0), other)], tmp_path)
    summary = text.split("## All networks")[1].split("## net")[0]
    assert summary.rstrip().splitlines()[-1] == "| sketch.xgb | 1.30 (1.05 to 1.60) | 1.30 (1.05 to 1.60) |"


def test_latencies_by_seed(tmp_path):
    """One trial a round: a quarter of eight trials is 4 ms for both, half of them 4 ms for stock."""
    found = {"stock": {1: 1, 5: 2}, "sketch.xgb": {1: 1, 3: 3}}
    runs = {name: rounds(*((float(n), at.get(n)) for n in range(1, 9))) for name, at in found.items()}
    text = report.write_report([document(*(block(seed, trials=8, runs=runs) for seed in (0, 1)))], tmp_path)
    lines = text.splitlines()
    start = lines.index("Latency by seed, ms") + 2
    assert lines[start : start + 4] == [
        "| contestant | 2 trials | 4 trials | 8 trials |",
        "| --- | --- | --- | --- |",
        "| stock | 4.00, 4.00 | 4.00, 4.00 | 2.00, 2.00 |",
        "| sketch.xgb | 4.00, 4.00 | 1.90, 2.01 | 1.90, 2.01 |",
    ]


def test_shares_of_families_and_training_are_medians_of_the_wall_time(tmp_path):
    """0.3 of 15 s, 0.6 of 20 s and 1 of 40 s are 2, 3 and 2.5 %; 0.75 of 15 s, 2 of 20 s and 1.6 of 40 s 5, 10 and 4 %."""
    blocks = []
    for seed, (total, families, train) in enumerate([(15.0, 0.3, 0.75), (20.0, 0.6, 2.0), (40.0, 1.0, 1.6)]):
        made = block(seed)
        made["runs"]["sketch.xgb"][-1]["seconds"] = {
            "search": total - families - train, "build": 0, "run": 0, "train": train, "families": families, "other": 0
        }  # fmt: skip
        blocks.append(made)
    text = report.write_report([document(*blocks)], tmp_path)
    header = next(line for line in text.splitlines() if line.startswith("| contestant | final ms"))
    row = [line for line in text.splitlines() if line.startswith("| sketch.xgb |")][-1]
    assert header.endswith("| families, % | train, % |")
    assert row.endswith("| 2.5 | 5.0 |")


def test_any_contestant_can_be_the_baseline(tmp_path):
    """Stock has 2.00 ms after 30 s, which is within 10 % of the 1.90 ms of ours, and never within 5 %."""
    text = report.write_report([document(block(0))], tmp_path, ["stock", "sketch.xgb"])
    rows = [line for line in text.splitlines() if line.startswith("| stock |")]
    assert len(rows) == 7
    assert rows[4] == "| stock | 0.33 | never | never | never |"
    assert "Time ratio to the final latency of `sketch.xgb`" in text
    assert "All networks" not in text


def test_networks_are_summed_up_by_geometric_means(tmp_path):
    """Three times less on one network and twelve times less on the other are six; once never is never."""
    fast = {
        "stock": rounds((10.0, 1), (20.0, None), (120.0, 2)),
        "sketch.xgb": rounds((5.0, 1), (10.0, 3), (15.0, None)),
    }
    text = report.write_report([document(block(1), block(1, network="other", runs=fast))], tmp_path)
    summary = text.split("## All networks")[1].split("## net")[0]
    rows = [line for line in summary.splitlines() if line.startswith("| sketch.xgb |")]
    assert rows == [
        "| sketch.xgb | 6.00 | 6.00 | 6.00 | never |",
        "| sketch.xgb | 1.50 | 1.50 | 1.50 | never |",
        "| sketch.xgb | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) |",
    ]


def test_the_figures_are_made_again_alike(tmp_path):
    """Everything follows from the raw results, to the byte."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        report.write_report([document(block(0), block(1))], tmp_path / name)
    for file in ("search-net-b1.svg", "search-net-b1.png"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
        assert (tmp_path / "first" / file).stat().st_size > 5000


def test_the_command_writes_the_report(tmp_path, capsys, monkeypatch):
    """Table and figures land in the folder that was named."""
    path = saved(tmp_path, "a.json", document(block(0)))
    monkeypatch.setattr("sys.argv", ["report", str(path), "--out", str(tmp_path / "out")])
    assert report.main() == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "search-net-b1.png",
        "search-net-b1.svg",
        "search.md",
    ]
    assert "`python -m x` at abc" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (document(block(1), cpu="skylake"), "must all be of one machine"),
        (document(block(1), versions={"apache-tvm": "0.26"}), "must all be of one machine"),
        (document(block(1, runs={"sketch.xgb": rounds((1.0, 1))})), "must have a run of 'stock'"),
        (document(block(0)), "seed 0 must be in one file only"),
        (document(block(1), settings={"target": "cuda"}), "same settings; target is 'cuda' in"),
        (document(block(1), settings={"size": "full"}), "same settings; size is 'full' in"),
        (document(block(1), settings={"per_round": 64}), "same settings; per_round is 64 in"),
        (document(block(1), settings={"min_repeat_ms": 10}), "same settings; min_repeat_ms is 10 in"),
        (
            document(block(1), settings={"final_timing": {"passes": 1}}),
            "same settings; final_timing is {'passes': 1} in",
        ),
        (document(block(1, trials=9)), "same trials and contestants"),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path, capsys, monkeypatch, second, message):
    """Exit status 2, one clear sentence, no report."""
    paths = [saved(tmp_path, "a.json", document(block(0))), saved(tmp_path, "b.json", second)]
    monkeypatch.setattr("sys.argv", ["report", *map(str, paths), "--out", str(tmp_path / "out")])
    assert report.main() == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "search.md").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "other"}', "\x00\x01"])
def test_other_files_are_refused(tmp_path, content):
    """Whatever the file holds."""
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InvalidInputError, match="must be results of"):
        load(path)


@pytest.mark.parametrize("missing", ["machine", "commands", "settings", "blocks"])
def test_damaged_results_are_refused(tmp_path, capsys, monkeypatch, missing):
    """A right header is not enough: exit status 2 and one sentence."""
    content = document(block(0))
    del content[missing]
    path = saved(tmp_path, "a.json", content)
    monkeypatch.setattr("sys.argv", ["report", str(path), "--out", str(tmp_path / "out")])
    assert report.main() == 2
    assert "a.json must be whole results of" in capsys.readouterr().err


def test_a_block_without_its_runs_is_refused(tmp_path):
    """Nothing of it could be shown."""
    content = document(block(0))
    del content["blocks"][0]["runs"]
    with pytest.raises(InvalidInputError, match="it is damaged"):
        load(saved(tmp_path, "a.json", content))


def test_an_out_that_is_a_file_is_refused(tmp_path, capsys, monkeypatch):
    """Figures need a folder."""
    path = saved(tmp_path, "a.json", document(block(0)))
    monkeypatch.setattr("sys.argv", ["report", str(path), "--out", str(path)])
    assert report.main() == 2
    assert "`--out` must lead to a folder that can be written" in capsys.readouterr().err


def test_settings_date_and_machine_stand_under_each_title(tmp_path):
    """Whoever reads a table knows how, when and on what it was measured."""
    settings = {
        "target": "llvm", "size": "small", "per_round": 16, "min_repeat_ms": 100,
        "final_timing": {"passes": 5, "pass_ms": 50, "stack_places": 8},
    }  # fmt: skip
    made = [
        block(
            seed, tuned={"date": f"2026-01-0{seed + 1}", "commit": "abc"}, timed={"date": "2026-01-03", "commit": "def"}
        )
        for seed in (0, 1)
    ]
    lines = report.write_report([document(*made, settings=settings)], tmp_path).splitlines()
    assert lines[lines.index("## net, batch 1, 1 tasks, 3 trials, seeds 0, 1") + 2] == (
        "Target `llvm`, size small, rounds of 16, candidates timed for at least 100 ms; final timing: 5 passes of at least "
        "50 ms at 8 places of the stack. Measured 2026-01-01 to 2026-01-03 at abc, def on 2 cores (`znver4`)."
    )


def test_older_results_say_that_they_do_not_know(tmp_path):
    """Those that recorded neither date nor final timing."""
    text = report.write_report([document(block(0))], tmp_path)
    assert "final timing: not recorded. Measured on a date that was not recorded on 2 cores (`znver4`)." in text


def test_no_block_is_no_report():
    """An interrupted first block leaves nothing to say."""
    with pytest.raises(InvalidInputError, match="no finished block"):
        report.check([document()], ["a.json"], ["stock"])


def test_a_resume_keeps_what_is_there(tmp_path):
    """Same machine, same settings: the blocks stay; a new commit is no other machine, but it is told."""
    path = saved(tmp_path, "a.json", document(block(0)))
    found = resume(path, MACHINE | {"commit": "def", "command": "python -m y"}, SETTINGS)
    assert found["blocks"] == [json.loads(json.dumps(block(0)))]
    assert found["machine"]["commit"] == "abc, def"
    assert found["machine"]["command"] == "python -m x"
    assert found["commands"] == ["python -m x", "python -m y"]
    write(path, found)
    assert resume(path, MACHINE, SETTINGS)["commands"] == ["python -m x", "python -m y"]
    write(path, document(block(0)))
    assert resume(path, MACHINE, SETTINGS)["machine"]["commit"] == "abc"
    assert resume(tmp_path / "none.json", MACHINE, SETTINGS)["blocks"] == []


@pytest.mark.parametrize(
    ("machine", "settings", "message"),
    [
        (MACHINE | {"cpu": "skylake"}, SETTINGS, "another machine: cpu is 'znver4' there and 'skylake' here"),
        (MACHINE, SETTINGS | {"trials": 4}, "another setting: trials is 3 there and 4 here"),
        (MACHINE, {"trials": 3}, r"another setting: baselines is \['stock', 'sketch.xgb'\] there and None here"),
        (MACHINE, SETTINGS | {"final_timing": {"passes": 5}}, "final_timing is None there and {'passes': 5} here"),
    ],
)
def test_a_resume_elsewhere_is_refused(tmp_path, machine, settings, message):
    """And the file stays as it is."""
    path = saved(tmp_path, "a.json", document(block(0)))
    before = path.read_bytes()
    with pytest.raises(InvalidInputError, match=message):
        resume(path, machine, settings)
    assert path.read_bytes() == before


def test_blocks_are_not_changed_by_reporting(tmp_path):
    """A report reads."""
    content = document(block(0))
    copy = deepcopy(content)
    report.write_report([content], tmp_path)
    assert content == copy
