# SPDX-License-Identifier: Apache-2.0
"""What users read while tuning, and how they say how much to tune."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from familyseer.errors import InvalidInputError
from familyseer.meta_schedule import callbacks
from familyseer.meta_schedule.builder import LocalBuilder
from familyseer.meta_schedule.callbacks import LogEstimatedLatency, PrintTableInfo, TaskSchedulerCallback
from familyseer.meta_schedule.measure_record import RecordToFile
from familyseer.meta_schedule.runner import LocalRunner
from familyseer.meta_schedule.tuning_options import TuningOptions

GOLDEN = """\
                    Task Scheduler
┏━━━━┳━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━┳━━━━━━━━┓
┃ ID ┃ Task   ┃ Latency (ms) ┃ Speed (GFLOPS) ┃ Trials ┃
┡━━━━╇━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━╇━━━━━━━━┩
│ 0  │ conv2d │ 2.000        │ 0.50           │ 64     │
│ 1  │ dense  │ -            │ -              │ 0      │
└────┴────────┴──────────────┴────────────────┴────────┘
Estimated total latency: - ms  Trials: 64  Used time: 12 s  Next ID: 1
"""


def run(score: float = 1e10, verbose: int = 1):
    """Return what a callback reads of a task scheduler: one task has a schedule, one has none."""
    return SimpleNamespace(
        tasks=[SimpleNamespace(desc="conv2d"), SimpleNamespace(desc="dense")],
        states=[
            SimpleNamespace(best_cost=2e-3, speed=5e8, has_schedule=True, trials=64),
            SimpleNamespace(best_cost=1e10, speed=0.0, has_schedule=False, trials=0),
        ],
        tune_option=SimpleNamespace(verbose=verbose),
        cur_score=score,
        ct=64,
        tic=1000.0,
    )


@pytest.fixture(autouse=True)
def _clock(monkeypatch):
    """Let it be 12.3 seconds after the start."""
    monkeypatch.setattr(callbacks.time, "time", lambda: 1012.3)


@pytest.fixture
def console():
    """Return a console whose text can be read."""
    return Console(file=io.StringIO(), width=100)


def lines(text: str) -> list[str]:
    """Return lines without spaces at their ends."""
    return [line.rstrip() for line in text.splitlines()]


def test_table(console):
    """One line per task, then the total."""
    PrintTableInfo(console).pre_tune(run(), 1)

    assert lines(console.file.getvalue())[1:] == lines(GOLDEN)[1:]


def test_table_with_a_total(console):
    """The objective is shown in milliseconds."""
    PrintTableInfo(console).pre_tune(run(score=3.5e-3), 0)

    last = console.file.getvalue().splitlines()[-1]
    assert last == "Estimated total latency: 3.500 ms  Trials: 64  Used time: 12 s  Next ID: 0"


def test_names_with_brackets_are_shown(console):
    """A name is text, never markup."""
    scheduler = run()
    scheduler.tasks[0].desc = "conv2d[/x] [red]3x3"
    PrintTableInfo(console).pre_tune(scheduler, 0)

    assert "conv2d[/x] [red]3x3" in console.file.getvalue()


def test_silence(console):
    """Nothing is printed with ``verbose=0``."""
    PrintTableInfo(console).pre_tune(run(verbose=0), 0)

    assert console.file.getvalue() == ""


@pytest.mark.parametrize(("score", "shown"), [(3.5e-3, "3.500"), (1e10, "N/A")])
def test_latency_log(tmp_path, score, shown):
    """One tab-separated line per round; N/A while a task has no schedule."""
    LogEstimatedLatency(tmp_path / "latency.tsv").post_tune(run(score), 0)

    assert (tmp_path / "latency.tsv").read_text() == f"ElapsedTime(s)\t12\tEstimatedLatency(ms)\t{shown}\tTrials\t64\n"


def test_latency_log_is_kept(tmp_path):
    """A resumed run appends to what there is."""
    path = tmp_path / "latency.tsv"
    path.write_text("before\n")
    LogEstimatedLatency(path).post_tune(run(), 0)
    LogEstimatedLatency(str(path)).post_tune(run(), 0)

    assert len(path.read_text().splitlines()) == 3
    assert path.read_text().startswith("before\n")


def test_callbacks_do_nothing_by_themselves():
    """A subclass overrides what it needs."""
    assert TaskSchedulerCallback().pre_tune(run(), 0) is None
    assert TaskSchedulerCallback().post_tune(run(), 0) is None


def test_options_have_defaults():
    """A budget is all that is needed."""
    options = TuningOptions(num_measure_trials=900)

    assert (options.num_measure_trials, options.num_measures_per_round, options.verbose) == (900, 64, 1)
    assert options.early_stopping == -1
    assert isinstance(options.builder, LocalBuilder)
    assert isinstance(options.runner, LocalRunner)
    assert options.measure_callbacks == ()


def test_options_keep_what_is_given(tmp_path):
    """Objects are used as they are."""
    builder, runner, record = LocalBuilder(), LocalRunner(repeat=2), RecordToFile(tmp_path / "log.json")
    options = TuningOptions(9, 5, 3, 0, builder, runner, [record])

    assert (options.num_measure_trials, options.early_stopping, options.num_measures_per_round) == (9, 5, 3)
    assert options.verbose == 0
    assert options.builder is builder
    assert options.runner is runner
    assert options.measure_callbacks == (record,)


def test_no_budget_is_refused():
    """TVM's default of 0 trials searched without measuring."""
    with pytest.raises(InvalidInputError, match=r"`num_measure_trials` must be an integer ≥ 1; got 0. Set how many"):
        TuningOptions()


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ({"num_measure_trials": -5}, "`num_measure_trials` must be an integer ≥ 1; got -5"),
        ({"num_measure_trials": 900.0}, "`num_measure_trials` must be an integer ≥ 1; got 900.0"),
        ({"num_measures_per_round": 0}, "`num_measures_per_round` must be an integer ≥ 1; got 0"),
        ({"early_stopping": "never"}, "`early_stopping` must be an integer ≥ -1; got 'never'"),
        ({"verbose": -1}, "`verbose` must be an integer ≥ 0; got -1"),
        ({"builder": "remote"}, "`builder` must be 'local' or a LocalBuilder; got 'remote'"),
        ({"builder": None}, "`builder` must be 'local' or a LocalBuilder; got None"),
        ({"runner": "rpc"}, "`runner` must be 'local', a LocalRunner or an RPCRunner; got 'rpc'"),
        ({"runner": LocalRunner}, "`runner` must be 'local', a LocalRunner or an RPCRunner; got <class"),
        ({"measure_callbacks": [5]}, r"`measure_callbacks` must be a list such as .*; got \[5\]"),
        ({"measure_callbacks": 5}, "`measure_callbacks` must be a list such as .*; got 5"),
        ({"measure_callbacks": "log.json"}, "`measure_callbacks` must be a list such as .*; got 'log.json'"),
        ({"measure_callbacks": [RecordToFile]}, "`measure_callbacks` must be a list such as .*; got .<class"),
        ({"measure_callbacks": RecordToFile("log.json")}, "`measure_callbacks` must be a list such as .*; got <"),
    ],
    ids=str,
)
def test_options_are_checked(option, problem):
    """What cannot work is refused before anything runs."""
    with pytest.raises(InvalidInputError, match=problem):
        TuningOptions(**{"num_measure_trials": 9, **option})
