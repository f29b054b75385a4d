# SPDX-License-Identifier: Apache-2.0
"""Logs of TVM's own: what is of use is used, what is not is counted and never fatal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tvm import auto_scheduler
from tvm.auto_scheduler.measure import MeasureInput, MeasureResult

from familyseer.ansor.records import mend, read_log, tvms_line
from familyseer.errors import LogError
from tests.ansor.workloads import QUICK, matmul, products, task

RECORDS = Path(__file__).parents[3] / "shared" / "data" / "ansor-records"


@pytest.fixture
def log(host, tmp_path) -> Path:
    """Return a log with three records of the first product and one of the second."""
    path = tmp_path / "log.json"
    for owner, count in zip(products()[:2], (3, 1), strict=True):
        policy = auto_scheduler.SketchPolicy(owner, params=dict(QUICK), seed=1, verbose=0)
        states = list(policy.sample_initial_population())[:count]
        inputs = [MeasureInput(owner, state) for state in states]
        results = [MeasureResult([0.5 + i, 0.7 + i], 0, "", 1.5, 99) for i in range(count)]
        auto_scheduler.save_records(str(path), inputs, results)
    return path


def changed(line: str, **changes) -> str:
    """Return a record with other parts."""
    record = json.loads(line)
    for name, value in changes.items():
        if name == "target":
            record["i"][0][1] = value
        elif name == "steps":
            record["i"][1][1] = value
        else:
            record[name] = value
    return json.dumps(record)


def test_records_come_back(log):
    """In their order, with latencies, and states that have all bounds."""
    found = read_log(log, products())

    assert [state.task for state in found.states] == [0, 0, 0, 1]
    assert [state.result.costs for state in found.states] == [(0.5, 0.7), (1.5, 1.7), (2.5, 2.7), (0.5, 0.7)]
    assert {state.result.all_cost for state in found.states} == {1.5}
    assert found.set_aside == {}
    assert [(task, len(states)) for task, states in found.rounds(2)] == [(0, 2), (0, 1), (1, 1)]
    assert [(task, len(states)) for task, states in found.rounds(2, {0: {1, 3}})] == [(0, 1), (0, 2), (1, 1)]
    assert [(task, len(states)) for task, states in found.rounds(2, {0: {3}})] == [(0, 3), (1, 1)]
    assert [(task, len(states)) for task, states in found.rounds(2, {0: {1}})] == [(0, 1), (0, 2), (1, 1)]


def test_what_is_foreign_or_damaged_is_counted(log, caplog):
    """Another task, another target, targets that no TVM can parse, torn lines, schedules that do not apply."""
    lines = log.read_text().splitlines()
    log.write_text(
        "\n".join(
            [
                lines[0],
                changed(lines[0], target="cuda -keys=cuda,gpu -arch=sm_70"),
                changed(lines[0], target="llvm -keys=cpu -link-params=0 -mcpu=skylake-avx512"),
                changed(lines[0], target="no such target {"),
                lines[0][: len(lines[0]) // 2],
                "",
                "[1, 2]",
                '{"i": [[], []]}',
                changed(lines[0], v="v9"),
                changed(lines[0], steps=[["SP", -3, 0, 64, [4], 1]]),
                changed(lines[0], steps="SP"),
                changed(lines[0], steps=[["XX", 1]]),
                lines[3],
                '{"i": "\xff',
            ]
        ),
        encoding="latin-1",
    )
    found = read_log(log, products()[:1])

    assert len(found.states) == 1
    assert found.set_aside == {
        "for other targets": 3,
        "that are no records of auto_scheduler": 7,
        "with schedules that do not apply": 1,
        "of other tasks": 1,
    }
    assert (
        "lines left out: 3 for other targets, 1 of other tasks, 7 that are no records of auto_scheduler, 1 with"
        in caplog.text
    )


def test_failures_are_measurements(log):
    """An error, a latency that is none."""
    lines = log.read_text().splitlines()
    log.write_text(
        "\n".join(changed(lines[0], r=r) for r in ([[1e10], 4, 2.0, 9], [[0.0], 0, 2.0, 9], [[], 0, 1.0, 1]))
    )

    found = read_log(log, products()).states
    assert [int(state.result.error_no) for state in found] == [4, 8, 8]
    assert [json.loads(tvms_line(state))["r"][:2] for state in found] == [[[1e10], 4], [[1e10], 8], [[1e10], 8]]


def test_no_log_is_an_empty_one(tmp_path):
    """A folder is none at all."""
    assert list(read_log(tmp_path / "none.json", products()).states) == []
    mend(tmp_path / "none.json")
    with pytest.raises(LogError, match="cannot be read: Is a directory"):
        read_log(tmp_path, products())
    with pytest.raises(LogError, match="cannot be written: Is a directory"):
        mend(tmp_path)


def test_a_torn_line_does_not_swallow_the_next_record(log):
    """What a killed run left is ended before anything is appended."""
    lines = log.read_text().splitlines()
    log.write_text(lines[0] + "\n" + lines[1][:30])
    mend(log)
    mend(log)
    with log.open("a") as file:
        file.write(lines[2] + "\n")

    assert log.read_text() == lines[0] + "\n" + lines[1][:30] + "\n" + lines[2] + "\n"
    assert len(read_log(log, products()).states) == 2


@pytest.mark.parametrize(
    "target",
    [
        "llvm -keys=cpu -link-params=0 -mcpu=skylake-avx512",
        "cuda -keys=cuda,gpu -arch=sm_70 -max_num_threads=1024 -thread_warp_size=32",
    ],
)
def test_targets_of_2021_are_set_aside(log, target):
    """Those of a Xeon 4210 and a V100, one of which today's TVM cannot parse; with what only TVM's loop reads."""
    lines = log.read_text().splitlines()
    log.write_text("\n".join([changed(lines[0], target=target), lines[1], changed(lines[2], target=target)]))
    found = read_log(log, products())

    assert [state.result.costs for state in found.states] == [(1.5, 1.7)]
    assert found.set_aside == {"for other targets": 2}


@pytest.mark.skipif(not RECORDS.is_dir(), reason="others' logs are not here")
def test_logs_of_2021_are_never_fatal():
    """Of a Xeon 4210 and a V100: targets that today's TVM cannot parse, workloads that nobody registered."""
    for path in sorted(RECORDS.glob("*.json")):
        found = read_log(path, [*products(), task(matmul, 8, 8, 8)])
        assert list(found.states) == []
        assert found.set_aside == {"of other tasks": len(path.read_text().splitlines())}
