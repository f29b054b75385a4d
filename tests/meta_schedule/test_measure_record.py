# SPDX-License-Identifier: Apache-2.0
"""Logs written and read as with ``tvm.auto_scheduler``, with real schedules."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import tvm_ffi

from familyseer.errors import EnvironmentFailure, InvalidInputError, LogError, UnsupportedError
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.meta_schedule.measure_record import (
    MeasureInput,
    RecordReader,
    RecordToFile,
    State,
    load_best_record,
    load_records,
    save_records,
)

POLICY = SimpleNamespace(name="sketch.random", seed=3, round=1)
COSTS = [4e-3, 1e-3, 3e-3, 2e-3, 6e-3, 5e-3]


@pytest.fixture
def inputs(matmul_task, matmul_schedules):
    """Return six candidates of the matmul."""
    return [MeasureInput(matmul_task, State.of(matmul_task, schedule)) for schedule in matmul_schedules]


@pytest.fixture
def results():
    """Return six latencies, the second the best."""
    return [MeasureResult(costs=(cost,), build_seconds=0.5, run_seconds=0.25, timestamp=7.0) for cost in COSTS]


@pytest.fixture
def log(tmp_path, inputs, results):
    """Return a log with the six measurements."""
    path = tmp_path / "log.json"
    writer = RecordToFile(path)
    writer.start()
    writer(POLICY, inputs, results)
    writer.finish()
    return path


def same_program(one: State, other: State) -> bool:
    """Whether two states are the same program."""
    return bool(tvm_ffi.structural_equal(one.mod, other.mod))


def test_round_trip(log, inputs, results, matmul_task):
    """What is read is what was written: tasks, programs and results."""
    found_inputs, found_results = RecordReader(log).read_lines()

    assert found_results == results
    assert [found.state.trace for found in found_inputs] == [given.state.trace for given in inputs]
    assert {found.task.task for found in found_inputs} == {matmul_task.task}
    assert all(same_program(found.state, given.state) for found, given in zip(found_inputs, inputs, strict=True))


def test_lines_name_policy_seed_and_round(log):
    """A record says where it comes from; the workload is written once."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    measured = [line for line in lines if line.get("policy")]

    assert len(lines) == 1 + len(COSTS)
    assert [(line["policy"], line["seed"], line["round"]) for line in measured] == [("sketch.random", 3, 1)] * 6


def test_a_second_run_appends(log, inputs, results):
    """A log grows and keeps one workload line per task."""
    writer = RecordToFile(log)
    writer(POLICY, inputs[:1], results[:1])
    writer.finish()

    assert len(load_records(log)) == 7
    assert len(log.read_text().splitlines()) == 8


@pytest.mark.parametrize(
    ("arguments", "costs"),
    [((), COSTS), ((2,), COSTS[:2]), ((None, 4), COSTS[4:]), ((2, 1), COSTS[1:3]), ((0,), []), ((9, 9), [])],
)
def test_read_lines(log, arguments, costs):
    """The first are skipped, then at most so many are read."""
    assert [result.cost for result in RecordReader(log).read_lines(*arguments)[1]] == costs


def test_tasks_are_shared(log):
    """All measurements of one workload have one task object, so that a model learns them together."""
    assert len({id(given.task) for given, _ in RecordReader(log)}) == 1


def test_a_missing_log_is_empty(tmp_path):
    """Nothing was measured yet."""
    assert load_records(tmp_path / "none.json") == []
    assert load_best_record(tmp_path / "none.json") == (None, None)


def test_failures_are_recorded(tmp_path, inputs):
    """A candidate that failed keeps its reason."""
    failed = MeasureResult(error_no=MeasureErrorNo.BUILD_TIMEOUT, error_msg="15 s were not enough")
    save_records(tmp_path / "log.json", inputs[:1], [failed])

    ((_, result),) = load_records(tmp_path / "log.json")
    assert result == failed
    assert load_best_record(tmp_path / "log.json") == (None, None)


def test_best_record(log, inputs, matmul_task):
    """The fastest, for a workload and a target."""
    found, result = load_best_record(log, matmul_task.workload_key, matmul_task.target)

    assert result.cost == 1e-3
    assert same_program(found.state, inputs[1].state)
    assert load_best_record(log)[1].cost == 1e-3


@pytest.mark.parametrize(
    ("key", "target"),
    [("0123456789abcdef", None), (None, {"kind": "llvm", "num-cores": 63}), (None, "nvidia/nvidia-a100")],
)
def test_no_best_record_of_others(log, key, target):
    """A record of another workload or target is never used."""
    assert load_best_record(log, key, target) == (None, None)


def test_best_record_refuses_compatible_targets(log):
    """Records of another target are not applied, even when asked for."""
    with pytest.raises(UnsupportedError, match=r"`include_compatible` .* records of another target are never used"):
        load_best_record(log, include_compatible=True)


def test_best_record_of_a_damaged_workload(log):
    """Without what rebuilds the task, the error says which line is at fault."""
    workload, *measured = log.read_text().splitlines()
    log.write_text("\n".join([workload[: len(workload) // 2], *measured]) + "\n")

    with pytest.raises(InvalidInputError, match=r"must hold the workload of task .*; its line is missing or damaged"):
        load_best_record(log)
    assert load_records(log) == []


def test_a_workload_that_tvm_cannot_rebuild(log, caplog):
    """A line that is well-formed but no module is reported and left out."""
    first, *measured = log.read_text().splitlines()
    workload = json.loads(first)
    workload["workload"] = "{}"
    log.write_text("\n".join([json.dumps(workload), *measured]) + "\n")

    assert load_records(log) == []
    assert "cannot be rebuilt" in caplog.text


def test_apply_and_print_best(log, inputs, matmul_task):
    """A task finds its schedule again and shows it as Python."""
    schedule = matmul_task.apply_best(str(log))

    assert tvm_ffi.structural_equal(schedule.mod, inputs[1].state.mod)
    assert "sch.sample_perfect_tile" in matmul_task.print_best(str(log))


def test_two_writers_are_refused(tmp_path):
    """Two runs must not mix their lines; the first goes on."""
    first, second = RecordToFile(tmp_path / "log.json"), RecordToFile(tmp_path / "log.json")
    first.start()

    with pytest.raises(LogError, match="another run is writing the log"):
        second.start()

    first.finish()
    second.start()
    second.finish()


def test_starting_twice_is_harmless(tmp_path, inputs, results):
    """So is finishing twice, and writing after that."""
    writer = RecordToFile(tmp_path / "log.json")
    writer.start()
    writer.start()
    writer.finish()
    writer.finish()
    writer(POLICY, inputs[:1], results[:1])
    writer.finish()

    assert len(load_records(tmp_path / "log.json")) == 1


def test_start_fails_where_nothing_can_be_written():
    """Before hours are spent on measuring: ``/proc`` takes no files, not even root's."""
    with pytest.raises((LogError, EnvironmentFailure), match="cannot be written"):
        RecordToFile("/proc/self/log.json").start()


def test_start_fails_on_a_folder(tmp_path):
    """A folder is no log."""
    with pytest.raises(LogError):
        RecordToFile(tmp_path).start()


def test_states_replay(matmul_task, inputs):
    """A trace alone gives the same program."""
    replayed = State(matmul_task, inputs[0].state.trace)

    assert same_program(replayed, inputs[0].state)


def test_the_untuned_state(matmul_task):
    """An empty trace is the program as it is."""
    assert tvm_ffi.structural_equal(State.untuned(matmul_task).mod, matmul_task.mod)


@pytest.mark.parametrize("trace", ["[]", "null", '[[["GetSBlock",[],["nowhere","main"],["b0"]]],[]]'])
def test_traces_that_do_not_apply_are_refused(matmul_task, trace):
    """Damage is an error, never a crash."""
    with pytest.raises(InvalidInputError, match="`trace` must"):
        _ = State(matmul_task, trace).schedule
