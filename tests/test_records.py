# SPDX-License-Identifier: Apache-2.0
"""Behaviour of the tuning log: exact, append-only, and readable after every kind of accident."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.errors import InvalidInputError, LogError
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.records import (
    FamiliesRecord,
    MeasureRecord,
    NetworkRecord,
    RecordLog,
    WorkloadRecord,
    best_per_task,
    canonical_json,
    canonical_target,
    decode_line,
    encode_line,
    for_target,
    same_target,
    trace_digest,
)
from familyseer.task import Task

CPU = '{"kind":"llvm","num-cores":4}'
GPU = '{"arch":"sm_90","kind":"cuda"}'
TASK = Task(key="c0ffee", name="conv", weight=2.0, flops=1e6, target=CPU, operator="conv2d", structure="abc")
WORKLOAD = WorkloadRecord(task=TASK, workload='{"root_index":1}')


def measured(cost: float | None, *, trace: object = 0, task: str = TASK.key, target: str = CPU) -> MeasureRecord:
    """Return a record of one repeat; failed when `cost` is None."""
    failed = MeasureResult(error_no=MeasureErrorNo.RUN_TIMEOUT, error_msg="timed out")
    result = failed if cost is None else MeasureResult(costs=(cost,), timestamp=1.5)
    return MeasureRecord(task=task, target=target, trace=canonical_json(trace), result=result)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the log is to be."""
    return tmp_path / "log.json"


@pytest.fixture
def three(path: Path) -> Path:
    """Return a log of a workload and three measurements."""
    with RecordLog(path) as log:
        log.add_workload(WORKLOAD)
        for number in range(3):
            log.append(measured(1.0 + number, trace=number))
    return path


def run_python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh process."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )


# Lines

texts = st.text(max_size=40)
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
targets = st.dictionaries(texts, json_values, max_size=4).map(canonical_json)
good = st.lists(positive, min_size=1, max_size=4).map(lambda costs: {"costs": tuple(costs)})
bad = st.sampled_from(list(MeasureErrorNo)[1:]).map(lambda error_no: {"error_no": error_no})
results = st.builds(
    lambda outcome, message, numbers: MeasureResult(
        **outcome, error_msg=message, build_seconds=numbers[0], run_seconds=numbers[1], timestamp=numbers[2]
    ),
    good | bad,
    st.text(),
    st.tuples(finite, finite, finite),
)
records = st.builds(
    MeasureRecord,
    task=st.text(min_size=1),
    target=targets,
    trace=json_values.map(canonical_json),
    result=results,
    policy=texts,
    seed=st.integers(),
    round=st.integers(),
    tvm_version=texts,
    predicted=st.dictionaries(texts, finite, max_size=2),
)
workloads = st.builds(
    WorkloadRecord,
    task=st.builds(
        Task,
        key=st.text(min_size=1),
        name=texts,
        weight=st.floats(min_value=0, allow_infinity=False),
        flops=finite,
        target=targets,
        operator=texts,
        structure=texts,
        shape=st.lists(st.integers(1, 2**40), max_size=3).map(tuple),
    ),
    workload=st.text(min_size=1),
)


networks = st.builds(
    NetworkRecord,
    network=st.text(min_size=1),
    target=targets,
    size=texts,
    batch=st.integers(),
    options=st.dictionaries(texts, json_values, max_size=4).map(canonical_json),
)


families = st.builds(
    FamiliesRecord,
    task=st.text(),
    round=st.integers(),
    target=targets,
    policy=texts,
    families=st.dictionaries(
        st.text(min_size=1), st.lists(texts, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3
    ).map(lambda groups: tuple(groups.items())),
    reason=texts,
)


@given(records | workloads | networks | families)
def test_a_record_comes_back_exactly(record):
    """Writing and reading a line gives the same record, whatever characters and numbers it holds."""
    line = encode_line(record)

    assert decode_line(line) == record
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line)["v"] == 1


def test_a_measure_line_is_what_the_format_says():
    """The format of a line is fixed: other tools may read it."""
    result = MeasureResult(costs=(0.25, 0.5), build_seconds=2.0, run_seconds=3.0, timestamp=1.5)
    record = MeasureRecord(
        task="c0ffee",
        target=CPU,
        trace='[[["Split",["l1"],[],["l2"]]],[[0,[4,8]]]]',
        result=result,
        policy="sketch.xgb",
        seed=7,
        round=3,
        tvm_version="0.27.0",
    )

    assert encode_line(record) == (
        rb'{"v":1,"kind":"measure","task":"c0ffee","target":"{\"kind\":\"llvm\",\"num-cores\":4}","costs":[0.25,0.5],'
        rb'"error":"NO_ERROR","message":"","time":1.5,"build":2.0,"run":3.0,"policy":"sketch.xgb","seed":7,"round":3,'
        rb'"tvm":"0.27.0","trace":[[["Split",["l1"],[],["l2"]]],[[0,[4,8]]]]}' + b"\n"
    )


def test_predictions_are_written_where_there_are_any():
    """Between the version and the trace, which stays last for those who look at a line."""
    line = encode_line(replace(measured(1.0), predicted={"shared": 0.5, "family": 0.25}))

    assert line.endswith(b'"tvm":"","predicted":{"shared":0.5,"family":0.25},"trace":0}\n')


def test_families_are_kept_in_their_order(three):
    """A log tells of each change of the partition, between the measurements or after them."""
    changes = [
        FamiliesRecord(
            task=TASK.key, round=n, target=CPU, policy="p", families=(("all", (TASK.key, "b")),), reason="why"
        )
        for n in range(2)
    ]
    with RecordLog(three) as log:
        for change in changes:
            log.add_families(change)
        log.append(measured(9.0, trace=9))
    contents = RecordLog(three).read()

    assert contents.families == tuple(changes)
    assert len(contents.records) == 4
    assert encode_line(changes[1]) == (
        rb'{"v":1,"kind":"families","task":"c0ffee","round":1,"target":"{\"kind\":\"llvm\",\"num-cores\":4}","policy":"p",'
        rb'"families":{"all":["c0ffee","b"]},"reason":"why"}' + b"\n"
    )


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        ("families", {"families": {"all": "c0ffee"}}, "`families` must be lists of task keys"),
        ("families", {"families": {"all": [1]}}, "`families` must be lists of task keys"),
        ("families", {"families": {}}, "`families` must have names and members"),
        ("families", {"families": {"all": []}}, "`families` must have names and members"),
        ("measure", {"predicted": [0.5]}, "`predicted` must be dict"),
        ("measure", {"predicted": {"shared": "high"}}, "`predicted.shared` must be a finite number; got 'high'"),
    ],
)
def test_bad_families_and_predictions_are_refused(kind, change, reason):
    """A damaged line is set aside with a reason."""
    change_of_families = FamiliesRecord(task="t", round=0, target=CPU, policy="", families=(("all", ("t",)),))
    line = json.loads(encode_line(change_of_families if kind == "families" else measured(1.0)))

    with pytest.raises(InvalidInputError, match=reason):
        decode_line(json.dumps(line | change).encode())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"costs": []}, "either costs or an error"),
        ({"costs": ["1"]}, "`costs` must be a finite number; got '1'"),
        ({"costs": [-1.0]}, "`costs` must be finite numbers > 0"),
        ({"costs": [True]}, "`costs` must be a finite number"),
        ({"costs": [10**400]}, "`costs` must be a finite number"),
        ({"costs": 3}, "`costs` must be list; got 3"),
        ({"error": "NO_SUCH"}, "`error` must be one of NO_ERROR, INSTANTIATION_ERROR"),
        ({"round": 1.5}, "`round` must be int; got 1.5"),
        ({"time": None}, "`time` must be a finite number; got None"),
        ({"task": ""}, "`task` must be the key"),
        ({"target": "llvm"}, "`target` must be a JSON object"),
        ({"target": "[1]"}, "`target` must be a JSON object"),
        ({"kind": "other"}, "unknown line: v=1, kind='other'"),
        ({"kind": ["measure"]}, "unknown line"),
        ({"v": 0}, "unknown line: v=0"),
        ({"v": True}, "not a line of a familyseer log"),
    ],
)
def test_a_damaged_field_is_named(change, reason):
    """What is wrong with a line says which field and what was found."""
    line = json.dumps({**json.loads(encode_line(measured(1.0))), **change})

    with pytest.raises(InvalidInputError, match=reason):
        decode_line(line.encode())


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"\xff\xfe\n", b"[" * 100_000, b"NaN", b'{"v":1', b"1" * 5000, b"\0" * 64]
)
def test_no_garbage_escapes_as_another_error(line):
    """Whatever bytes a line holds, it is our error that says so."""
    with pytest.raises(InvalidInputError):
        decode_line(line)


def test_an_infinite_time_cannot_be_written():
    """JSON has no infinity, so the record is refused rather than the log spoilt."""
    record = replace(measured(1.0), result=MeasureResult(costs=(1.0,), timestamp=float("inf")))

    with pytest.raises(InvalidInputError, match="finite numbers only"):
        encode_line(record)


def test_a_trace_must_be_text():
    """A trace given as values is refused with the function to use."""
    with pytest.raises(InvalidInputError, match=r"`trace` must be JSON text; got list\. Use"):
        MeasureRecord(task="t", target=CPU, trace=[], result=MeasureResult(costs=(1.0,)))  # type: ignore[arg-type]


# Targets and choices


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ('{"num-cores": 4, "kind": "llvm"}', True),
        ('{"kind":"llvm","num-cores":4,"tag":"raspberry"}', True),
        ('{"kind":"llvm","num-cores":8}', False),
        ('{"kind":"llvm"}', False),
        (GPU, False),
    ],
)
def test_targets_are_compared_as_values(other, same):
    """Tags and the order of keys do not make another target; any attribute does."""
    assert same_target(CPU, other) is same


def test_the_tag_of_a_host_does_not_matter_either():
    """A target's host is compared in the same way."""
    assert canonical_target('{"kind":"cuda","host":{"kind":"llvm","tag":"x"},"tag":"y"}') == (
        '{"host":{"kind":"llvm"},"kind":"cuda"}'
    )


def test_digests_tell_traces_apart():
    """Equal traces have equal digests, as text and as values; others have others."""
    assert trace_digest([[4, 8]]) == trace_digest("[[4,8]]")
    assert trace_digest([[4, 8]]) != trace_digest([[8, 4]])


def test_the_best_is_the_fastest_valid_of_that_target():
    """Failures and other targets never win; of equals the first does."""
    log = [
        measured(None, trace="failed"),
        measured(3.0, trace="slow"),
        measured(2.0, trace="first"),
        measured(2.0, trace="second"),
        measured(1.0, trace="elsewhere", target=GPU),
        measured(None, task="never ran"),
    ]

    assert best_per_task(log, CPU) == {TASK.key: log[2]}
    assert list(for_target(log, GPU)) == [log[4]]


# Reading


@pytest.mark.parametrize("content", [None, b""])
def test_a_missing_or_empty_log_holds_nothing(path, content):
    """A first run starts from a log that is not there yet."""
    if content is not None:
        path.write_bytes(content)
    contents = RecordLog(path).read()

    assert (contents.workloads, contents.records, contents.quarantined, contents.torn) == ((), (), (), False)


def test_reads_back_what_was_written(three):
    """Workloads and records come back in file order."""
    contents = RecordLog(three).read()

    assert contents.workloads == (WORKLOAD,)
    assert [record.cost for record in contents.records] == [1.0, 2.0, 3.0]
    assert not contents.torn


def test_a_bad_line_is_quarantined_and_the_rest_loads(three):
    """A damaged line in the middle costs itself, and is named by its number."""
    lines = three.read_bytes().splitlines(keepends=True)
    three.write_bytes(lines[0] + lines[1] + b'{"v":1,"kind":"meas\n' + b"\0\0\n" + b"".join(lines[2:]))
    contents = RecordLog(three).read()

    assert [record.cost for record in contents.records] == [1.0, 2.0, 3.0]
    assert [line.number for line in contents.quarantined] == [3, 4]
    assert contents.quarantined[0].reason.startswith("not JSON: ")
    assert not contents.torn


def test_a_bad_first_line_is_quarantined_too(three):
    """The log is recognised by any of its lines."""
    lines = three.read_bytes().splitlines(keepends=True)
    three.write_bytes(lines[0] + b"".join(lines[1:])[:-5] + b"\n" + lines[1])
    broken = three.read_bytes().replace(b'"workload"', b'"work\xffoad"', 1)
    three.write_bytes(broken)

    contents = RecordLog(three).read()

    assert [line.number for line in contents.quarantined] == [1, 4]
    assert len(contents.records) == 3


def test_a_log_cut_anywhere_loads_and_can_be_continued(three):
    """Whatever byte the end was lost at, all whole lines load, and the next run appends behind them."""
    whole = three.read_bytes()
    for cut in range(len(whole)):
        three.write_bytes(whole[:cut])
        before = RecordLog(three).read()
        kept = whole[:cut].count(b"\n") + (cut > 0 and whole[cut : cut + 1] == b"\n")
        assert len(before.workloads) + len(before.records) == kept
        assert before.torn is (cut > 0 and whole[cut - 1 : cut] != b"\n" and whole[cut : cut + 1] != b"\n")
        with RecordLog(three) as log:
            log.add_workload(WORKLOAD)
            log.append(measured(9.0))
        after = RecordLog(three).read()
        assert after.records == (*before.records, measured(9.0))
        assert after.workloads == (WORKLOAD,)
        assert not after.quarantined


def test_a_newer_version_is_refused_with_both_versions(three):
    """A log of a newer familyseer is not read in part."""
    three.write_bytes(three.read_bytes() + b'{"v":2,"kind":"measure"}\n')

    with pytest.raises(LogError, match=r"line 5: the log is of format version 2; this familyseer understands up to 1"):
        RecordLog(three).read()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF\x00\x01\n\xff" * 50, "is not a familyseer log: line 1: not JSON"),
        (b"hello", "is not a familyseer log"),
        (b"\n", "is not a familyseer log"),
        (b'{"name": "x"}\n', "not a line of a familyseer log"),
        (b'{"i":[["[]","llvm"],[[],[]]],"r":[[0.1],0,1,2],"v":"v0.6"}\n', r"Ansor.*only TVM ≤ 0.19"),
        (b'[0,[[[],[]],[0.1],{"kind":"llvm"},[]]]\n', "MetaSchedule JSON database"),
        (b'["123","AAAA"]\n', "MetaSchedule JSON database"),
    ],
)
def test_another_file_is_refused_and_left_alone(path, content, reason):
    """A file that is no log of ours is neither read nor ever written to, and what it is is said where known."""
    path.write_bytes(content)

    with pytest.raises(LogError, match=reason):
        RecordLog(path).read()
    with pytest.raises(LogError, match=reason):
        RecordLog(path).open_for_append()
    assert path.read_bytes() == content


def test_a_folder_is_refused(tmp_path):
    """A folder given for a log is named as such."""
    with pytest.raises(LogError, match="must be a file; it is a folder"):
        RecordLog(tmp_path).read()
    with pytest.raises(LogError, match="must be a file; it is a folder"):
        RecordLog(tmp_path).open_for_append()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_device_is_refused(path):
    """A device that would be read for ever is refused at once."""
    path.symlink_to("/dev/full")

    with pytest.raises(LogError, match="it is not a regular file"):
        RecordLog(path).read()


def test_a_log_of_many_lines_is_scanned_in_constant_memory(path):
    """Going through a log needs memory for one line, not for the file."""
    line = encode_line(measured(1.0, trace=["x" * 10_000]))
    path.write_bytes(line * 3000)
    code = """if True:
        import resource, sys
        from familyseer.records import RecordLog
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        count = sum(1 for _ in RecordLog(sys.argv[1]).scan())
        print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    count, grown_mib = run_python(code, path).stdout.split()

    assert count == "3000"
    assert int(grown_mib) < 10


# Writing


def test_a_workload_is_written_once_per_target(path):
    """A task is described once per log and target, also over several runs."""
    on_gpu = WorkloadRecord(task=replace(TASK, target=GPU), workload="w")
    with RecordLog(path) as log:
        assert log.add_workload(WORKLOAD)
        assert not log.add_workload(WORKLOAD)
    with RecordLog(path) as log:
        assert not log.add_workload(WORKLOAD)
        assert log.add_workload(on_gpu)

    assert RecordLog(path).read().workloads == (WORKLOAD, on_gpu)


def test_a_measurement_needs_its_workload(path):
    """A record that nothing could rebuild is refused."""
    with RecordLog(path) as log, pytest.raises(InvalidInputError, match="`add_workload` must be called before"):
        log.append(measured(1.0))


def test_writing_needs_opening(path):
    """A log that was not opened, or was closed, says what to call."""
    log = RecordLog(path)
    with pytest.raises(InvalidInputError, match="Call `open_for_append`"):
        log.add_workload(WORKLOAD)
    log.open_for_append()
    with pytest.raises(InvalidInputError, match="must be closed before it is opened again"):
        log.open_for_append()
    log.close()
    log.close()
    with pytest.raises(InvalidInputError, match="Call `open_for_append`"):
        log.sync()


def test_opening_returns_what_is_there_and_makes_folders(tmp_path):
    """A run resumes from what it locked; the first run needs no prepared folder."""
    path = tmp_path / "new" / "folder" / "log.json"
    with RecordLog(path) as log:
        log.add_workload(WORKLOAD)
    log = RecordLog(path)

    assert log.open_for_append().workloads == (WORKLOAD,)
    log.close()


def test_lines_are_on_file_at_once_and_forced_to_disk_each_second(path, monkeypatch):
    """A reader sees each line as soon as it was measured; the costly flush to the disk comes once a second."""
    now = [0.0]
    forced: list[float] = []
    monkeypatch.setattr(os, "fsync", lambda fd: forced.append(now[0]))
    log = RecordLog(path, clock=lambda: now[0])
    log.open_for_append()
    log.add_workload(WORKLOAD)
    for tick in (0.4, 0.9, 1.3, 1.6, 2.2, 2.5):
        now[0] = tick
        log.append(measured(1.0))

    assert len(RecordLog(path).read().records) == 6
    assert forced == [1.3, 2.5]
    log.close()
    assert forced == [1.3, 2.5]  # nothing new since


def test_a_second_writer_is_refused_until_the_first_ends(path):
    """Two runs never mix in one log; readers are not disturbed."""
    with RecordLog(path) as log:
        log.add_workload(WORKLOAD)
        with pytest.raises(LogError, match="another run is writing the log"):
            RecordLog(path).open_for_append()
        assert RecordLog(path).read().workloads == (WORKLOAD,)
    with RecordLog(path):
        pass


def test_a_failed_opening_keeps_no_lock(three):
    """After a refusal the log can be opened once its cause is gone."""
    whole = three.read_bytes()
    three.write_bytes(whole + b'{"v":9}\n')
    log = RecordLog(three)
    with pytest.raises(LogError, match="format version 9"):
        log.open_for_append()
    three.write_bytes(whole)

    assert len(log.open_for_append().records) == 3
    log.close()


def test_a_killed_run_leaves_no_lock_even_if_its_workers_live_on(path):
    """A kill -9 of a run frees its log, also when a forked worker survives it."""
    code = """if True:
        import os, signal, sys, time
        from familyseer.records import RecordLog
        log = RecordLog(sys.argv[1])
        log.open_for_append()
        worker = os.fork()
        if worker == 0:
            os.close(1), os.close(2)
            time.sleep(30)
            os._exit(0)
        print(worker, flush=True)
        time.sleep(0.2)  # until the worker has run its fork handlers
        os.kill(os.getpid(), signal.SIGKILL)
    """
    worker = int(run_python(code, path).stdout)
    try:
        os.kill(worker, 0)  # it lives
        RecordLog(path).open_for_append()
    finally:
        os.kill(worker, signal.SIGKILL)


WRITER = """if True:
    import sys
    from familyseer.measure import MeasureResult
    from familyseer.records import MeasureRecord, RecordLog, WorkloadRecord
    from familyseer.task import Task
    target = '{"kind":"llvm"}'
    with RecordLog(sys.argv[1]) as log:
        start = log.read().records
        log.add_workload(WorkloadRecord(task=Task(key="k", name="n", target=target), workload="w" * 300_000))
        for number in range(len(start), 10**9):
            trace = '["' + "x" * (number % 7919) + '"]'
            result = MeasureResult(costs=(number + 1.0,))
            log.append(MeasureRecord(task="k", target=target, trace=trace, result=result))
            print(number, flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.05, 0.11, 0.2])
def test_kill_9_while_writing_loses_nothing_that_was_measured(path, delay):
    """Killed at any moment, twice, the log holds every measurement that `append` returned from, in order, once."""
    acknowledged = -1
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
            acknowledged = max([acknowledged, *(int(line) for line in process.stdout if line.endswith("\n"))])
        contents = RecordLog(path).read()
        assert [record.cost for record in contents.records] == [n + 1.0 for n in range(len(contents.records))]
        assert len(contents.records) > acknowledged
        assert not contents.quarantined
        assert len(contents.workloads) == 1


FILLER = """if True:
    import resource, signal, sys
    from familyseer.errors import EnvironmentFailure
    from familyseer.measure import MeasureResult
    from familyseer.records import MeasureRecord, RecordLog, WorkloadRecord
    from familyseer.task import Task
    if len(sys.argv) > 2:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    target = '{"kind":"llvm"}'
    log = RecordLog(sys.argv[1])
    log.open_for_append()
    log.add_workload(WorkloadRecord(task=Task(key="k", name="n", target=target), workload="w"))
    record = MeasureRecord(task="k", target=target, trace='"' + "x" * 3000 + '"', result=MeasureResult(costs=(1.0,)))
    for number in range(100_000):
        try:
            log.append(record)
        except EnvironmentFailure as err:
            print(number, err)
            break
"""


@pytest.mark.parametrize("limit", [2000, 50_000, 51_237])
def test_a_full_disk_keeps_what_was_measured(path, limit):
    """When a line does not fit, the part of it is cut off, the error says what is safe, and a later run goes on."""
    done = run_python(FILLER, path, str(limit))
    count, text = done.stdout.split(" ", 1)
    contents = RecordLog(path).read()

    assert len(contents.records) == int(count)
    assert not contents.torn
    assert "the disk is full" in text
    assert "Everything measured before is safe" in text
    with RecordLog(path) as log:
        log.append(measured(1.0, task="k", target='{"kind":"llvm"}'))
    assert len(RecordLog(path).read().records) == int(count) + 1


def test_a_really_full_file_system(tmp_path):
    """The same on a file system of 1.5 MB that fills up; and a run does not start on one with less than 1 MiB left."""
    script = 'mount -t tmpfs -o size=1536k none "$1" && "$2" -c "$3" "$1/log.json" && "$2" -c "$3" "$1/log.json"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", str(tmp_path), sys.executable, FILLER],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("no file system can be mounted here")

    assert "the disk is full (No space left on device)" in done.stdout
    assert "the disk is full (less than 1 MiB is free)" in done.stderr


def test_a_log_that_cannot_be_written_is_refused_before_measuring(three):
    """A read-only file or folder is an error at the start, not after the first measurement; reading still works."""
    code = """if True:
        import os, sys
        from familyseer.errors import LogError
        from familyseer.records import RecordLog
        if os.getuid() == 0:
            os.setuid(65534)
        for name in sys.argv[1:]:
            try:
                RecordLog(name).open_for_append()
            except LogError as err:
                print(err)
    """
    for folder in (three.parent, three.parent.parent, three.parent.parent.parent):
        folder.chmod(0o755)
    three.chmod(0o444)
    three.parent.chmod(0o555)
    done = run_python(code, three, three.parent / "new.json", three.parent / "new" / "log.json")
    three.parent.chmod(0o755)

    denied = "cannot be written: Permission denied. Choose another file or its permissions."
    assert [line.endswith(denied) for line in done.stdout.splitlines()] == [True, True, True]
    assert len(RecordLog(three).read().records) == 3


def test_a_log_deleted_under_a_run_is_noticed(path):
    """Measuring on into a file that no longer has a name would lose everything."""
    log = RecordLog(path)
    log.open_for_append()
    log.add_workload(WORKLOAD)
    path.unlink()

    with pytest.raises(LogError, match="was deleted while it was being written"):
        log.close()


def test_importing_records_loads_no_tvm():
    """The log can be read where TVM is not installed."""
    done = run_python("import sys, familyseer.records; print('tvm' in sys.modules, 'numpy' in sys.modules)")

    assert done.stdout == "False False\n"


# What was tuned

NETWORK = NetworkRecord(network="bert_base", target=CPU, size="tiny", batch=2, options='{"depth":1}')


def test_the_line_of_a_network():
    """The exact text, which older logs lack and older readers set aside as unknown."""
    assert encode_line(NETWORK) == (
        b'{"v":1,"kind":"network","network":"bert_base","target":"{\\"kind\\":\\"llvm\\",\\"num-cores\\":4}",'
        b'"size":"tiny","batch":2,"options":{"depth":1}}\n'
    )


def test_a_network_is_written_once(path):
    """Runs that resume a log, in one process or another, add no line; another network does."""
    other = replace(NETWORK, batch=1)
    with RecordLog(path) as log:
        assert [log.add_network(NETWORK), log.add_network(NETWORK)] == [True, False]
    with RecordLog(path) as log:
        assert [log.add_network(NETWORK), log.add_network(other)] == [False, True]

    assert RecordLog(path).read().networks == (NETWORK, other)


def test_a_network_line_belongs_to_no_task(three):
    """Workloads and measurements are read as if it were not there."""
    before = RecordLog(three).read()
    with RecordLog(three) as log:
        log.add_network(NETWORK)

    assert replace(RecordLog(three).read(), networks=()) == before


def test_an_unknown_kind_of_line_is_set_aside(three):
    """A later release may add kinds; this one reads the rest and says which lines it left out."""
    with three.open("ab") as file:
        file.write(b'{"v":1,"kind":"family"}\n{"v":1,"kind":["network"]}\n')
    contents = RecordLog(three).read()

    assert len(contents.records) == 3
    assert [line.reason for line in contents.quarantined] == [
        "unknown line: v=1, kind='family'",
        "unknown line: v=1, kind=['network']",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"network": ""}, "`network` must be"), ({"options": "[1]"}, "`options` must be"), ({"target": "x"}, "`target`")],
)
def test_a_network_must_be_one(change, message):
    """No name, no options or no target are refused."""
    with pytest.raises(InvalidInputError, match=message):
        replace(NETWORK, **change)
