# SPDX-License-Identifier: Apache-2.0
"""What the reports say of a small log whose numbers are known."""

from __future__ import annotations

import pytest

from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.records import UNTUNED, LogContents, MeasureRecord, NetworkRecord, QuarantinedLine, WorkloadRecord
from familyseer.report import (
    GainRow,
    failure_diagnosis,
    gain_rows,
    render_gains,
    render_left_out,
    render_summary,
    render_tasks,
    task_rows,
    totals,
    uncovered,
    untuned_latencies,
)
from familyseer.task import Task

CPU = '{"kind":"llvm","num-cores":4}'
GPU = '{"kind":"cuda"}'
CONV = Task(key="c", name="conv", weight=3.0, flops=2e6, target=CPU)
DENSE = Task(key="d", name="dense", weight=1.0, flops=0.0, target=CPU)
POOL = Task(key="p", name="pool", weight=1.0, flops=1e3, target=CPU)
TASKS = (CONV, DENSE, POOL)


def ran(task: Task, *costs: float, target: str = CPU, policy: str = "sketch.xgb") -> MeasureRecord:
    """Return a valid record."""
    return MeasureRecord(task=task.key, target=target, trace="0", result=MeasureResult(costs=costs), policy=policy)


def results_of(records):
    """Return what measuring gave, without what was measured."""
    return [record.result for record in records]


def failed(task: Task, error_no: MeasureErrorNo, message: str = "") -> MeasureRecord:
    """Return a failed record."""
    return MeasureRecord(
        task=task.key, target=CPU, trace="0", result=MeasureResult(error_no=error_no, error_msg=message)
    )


LOG = (
    ran(CONV, 0.004, policy=UNTUNED),
    ran(DENSE, 0.008, policy=UNTUNED),
    ran(POOL, 0.001, policy=UNTUNED),
    ran(CONV, 0.003),
    failed(CONV, MeasureErrorNo.RUN_TIMEOUT),
    ran(CONV, 0.001, 0.002, 0.009),
    failed(CONV, MeasureErrorNo.COMPILE_HOST),
    failed(CONV, MeasureErrorNo.RUN_TIMEOUT),
    ran(DENSE, 0.002),
    ran(DENSE, 0.0001, target=GPU),
    failed(POOL, MeasureErrorNo.BUILD_TIMEOUT),
)


def test_a_row_counts_one_task_on_one_target():
    """Trials, failures and the best median are those of the task and target, without the untuned yardstick."""
    conv, dense, pool = task_rows(TASKS, LOG, CPU)

    assert (conv.trials, conv.valid, conv.best, conv.weighted, conv.gflops) == (5, 2, 0.002, 0.006, 1.0)
    assert conv.failures == ((MeasureErrorNo.RUN_TIMEOUT, 2), (MeasureErrorNo.COMPILE_HOST, 1))
    assert conv.share == pytest.approx(0.75)
    assert (dense.trials, dense.best, dense.gflops) == (1, 0.002, None)
    assert dense.share == pytest.approx(0.25)
    assert (pool.trials, pool.valid, pool.best, pool.share, pool.weighted, pool.gflops) == (
        1,
        0,
        None,
        None,
        None,
        None,
    )


def test_rows_are_made_from_one_pass_over_the_records():
    """An iterator over a log of any size serves, and records of tasks not asked for are left out."""
    (dense,) = task_rows((DENSE,), iter(LOG), CPU)

    assert (dense.trials, dense.share) == (1, 1.0)


def test_a_task_never_called_has_no_share_to_divide_by():
    """With weights of zero the total is zero, and nothing is divided by it."""
    idle = Task(key="c", name="idle", weight=0.0, target=CPU)

    assert task_rows((idle,), LOG, CPU)[0].share is None


def test_totals_add_up():
    """The totals are the sums over the rows."""
    sums = totals(task_rows(TASKS, LOG, CPU))

    assert (sums.tasks, sums.covered, sums.trials, sums.valid) == (3, 2, 7, 3)
    assert sums.latency == pytest.approx(0.008)
    assert sums.failures == (
        (MeasureErrorNo.RUN_TIMEOUT, 2),
        (MeasureErrorNo.COMPILE_HOST, 1),
        (MeasureErrorNo.BUILD_TIMEOUT, 1),
    )


def test_tasks_without_a_valid_record_are_named():
    """What would be compiled untuned is listed."""
    assert uncovered(task_rows(TASKS, LOG, CPU)) == (POOL,)
    assert uncovered(task_rows(TASKS, (), CPU)) == TASKS


def test_gains_compare_with_the_untuned_program():
    """A task without a valid record keeps its untuned latency; one never measured untuned has no speedup."""
    before = untuned_latencies(LOG, CPU)
    assert before == {"c": 0.004, "d": 0.008, "p": 0.001}
    del before["d"]
    conv, dense, pool = gain_rows(task_rows(TASKS, LOG, CPU), before)

    assert conv == GainRow(name="conv", weight=3.0, before=0.004, after=0.002, tuned=True)
    assert conv.speedup == 2.0
    assert (dense.before, dense.after, dense.speedup, dense.tuned) == (None, 0.002, None, True)
    assert (pool.before, pool.after, pool.speedup, pool.tuned) == (0.001, 0.001, 1.0, False)


def test_the_table_of_tasks():
    """The whole text, as a person sees it."""
    text = render_tasks(task_rows(TASKS, LOG, CPU))

    assert text.splitlines() == [
        "task   weight  trials  valid  best ms  share  GFLOP/s  failures",
        "------------------------------------------------------------------------------------------------",
        "conv        3       5      2   2.0000  75.0%      1.0  2 run timeout, 1 compile",
        "dense       1       1      1   2.0000  25.0%        -  -",
        "pool        1       1      0        -      -        -  1 build timeout",
        "------------------------------------------------------------------------------------------------",
        "total               7      3   8.0000                  2 run timeout, 1 compile, 1 build timeout",
        "1 of 3 tasks without a valid record, left out of the total: pool",
    ]


def test_the_table_of_nothing():
    """A log without tasks gives an empty table, not an error."""
    assert render_tasks(()).splitlines()[-1] == "total               0      0   0.0000                  -"
    assert render_gains(()).splitlines()[-1] == "total             0.0000    0.0000        -"


def test_the_table_of_gains():
    """The whole text; the totals are weighted and over the tasks that are known on both sides."""
    text = render_gains(gain_rows(task_rows(TASKS, LOG, CPU), {"c": 0.004, "p": 0.001}))

    assert text.splitlines() == [
        "task            weight  before ms  after ms  speedup",
        "----------------------------------------------------",
        "conv                 3     4.0000    2.0000    2.00x",
        "dense                1          -    2.0000        -",
        "pool (untuned)       1     1.0000    1.0000    1.00x",
        "----------------------------------------------------",
        "total                     13.0000    7.0000    1.86x",
    ]


def test_the_diagnosis_of_a_task_that_failed_in_every_candidate():
    """Counts, the messages that differ in more than numbers, and what to try for each cause."""
    log = [
        failed(POOL, MeasureErrorNo.COMPILE_HOST, "g++: command not found\n\n  while linking 0x7f01\nline 3\nline 4"),
        failed(POOL, MeasureErrorNo.RUN_TIMEOUT, "timed out after 10 s"),
        failed(POOL, MeasureErrorNo.RUN_TIMEOUT, "timed out after 11 s"),
        failed(POOL, MeasureErrorNo.UNKNOWN_ERROR, "x" * 300),
        failed(POOL, MeasureErrorNo.UNKNOWN_ERROR, ""),
    ]

    assert failure_diagnosis("pool", results_of(log)).splitlines() == [
        "Task 'pool': every candidate of 5 failed.",
        "",
        "     2  run timeout (RUN_TIMEOUT)",
        "     2  unknown (UNKNOWN_ERROR)",
        "     1  compile (COMPILE_HOST)",
        "",
        "First messages:",
        "  COMPILE_HOST: g++: command not found",
        "    while linking 0x7f01",
        "    line 3",
        "  RUN_TIMEOUT: timed out after 10 s",
        "  UNKNOWN_ERROR: " + "x" * 97 + "...",
        "  ... and 1 other messages",
        "",
        "What to try:",
        "- Raise the runner's timeout (LocalRunner(timeout=...)), or lower its `repeat` and `min_repeat_ms`.",
        "- Install the compiler (g++ for CPUs, the CUDA toolkit's nvcc for GPUs) and see that it is on PATH.",
    ]


@pytest.mark.parametrize(
    ("error_no", "message", "hint"),
    [
        ("COMPILE_HOST", 'Target does not have "num-cores" attribute', "number of cores"),
        ("BUILD_TIMEOUT", "", "LocalBuilder(timeout=...)"),
        ("COMPILE_DEVICE", "FileNotFoundError: [Errno 2] No such file: nvcc not found", "Install the compiler"),
        ("COMPILE_DEVICE", "nvcc fatal: Unsupported gpu architecture 'compute_10'", "`arch`"),
        ("RUNTIME_DEVICE", "CUDAError: CUDA_ERROR_NO_BINARY_FOR_GPU", "`arch`"),
        ("RUNTIME_DEVICE", "DeviceAPI cuda is not enabled.", "not visible"),
        ("RUNTIME_DEVICE", "the worker died: SIGILL", "`mcpu`"),
        ("RUNTIME_DEVICE", "CUDA_ERROR_OUT_OF_MEMORY", "Memory ran out"),
        ("COMPILE_HOST", "std::bad_alloc", "Memory ran out"),
        ("COMPILE_DEVICE", "ptxas error: uses too much shared data (0x19000 bytes)", "shared memory"),
        ("INSTANTIATION_ERROR", "no block", "another version of TVM"),
        ("WRONG_ANSWER", "", "do not use it"),
        ("UNKNOWN_ERROR", "something new", "Compile the untuned task first"),
    ],
)
def test_each_cause_has_its_hint(error_no, message, hint):
    """One cause gives one thing to try, and it is the right one."""
    text = failure_diagnosis("t", results_of([failed(POOL, MeasureErrorNo[error_no], message)]))
    hints = text.split("What to try:\n")[1].splitlines()

    assert len(hints) == 1
    assert hint in hints[0]


def test_a_diagnosis_fits_one_screen():
    """Even with every class of failure and long messages it stays under 40 lines of at most 120 characters."""
    log = [
        failed(POOL, error_no, f"{error_no.name}\n" + "num-cores nvcc not found out of memory sm_90 SIGILL " * 20)
        for error_no in list(MeasureErrorNo)[1:]
    ]
    lines = failure_diagnosis("t", results_of(log)).splitlines()

    assert len(lines) <= 40
    assert max(map(len, lines)) <= 120


def test_a_task_that_works_has_nothing_to_diagnose():
    """Valid candidates are counted; without a failure the diagnosis says so."""
    assert failure_diagnosis("conv", results_of([LOG[3]])) == "Task 'conv': none of 1 candidates failed."
    assert failure_diagnosis("conv", results_of(LOG[3:8])).startswith("Task 'conv': 3 candidates of 5 failed.")


def test_the_summary_of_a_target():
    """Networks and runs of this target only; the untuned programs are no trials."""
    contents = LogContents(
        records=tuple(LOG),
        networks=(
            NetworkRecord(network="resnet18", target=CPU),
            NetworkRecord(network="bert_base", target=CPU, size="tiny", batch=2, options='{"depth":1}'),
            NetworkRecord(network="gpt2", target='{"kind":"cuda"}'),
        ),
    )
    lines = render_summary(contents, CPU).splitlines()

    assert lines[:3] == [f"target {CPU}", "network resnet18", 'network bert_base, tiny, batch 2, {"depth":1}']
    assert sum(int(line.split()[0]) for line in lines[3:]) == 7


def test_what_is_left_out_is_said():
    """Bad lines, records without their workload, and a torn end."""
    contents = LogContents(
        workloads=(WorkloadRecord(task=CONV, workload="{}"),),
        records=tuple(record for record in LOG if record.task in (CONV.key, DENSE.key)),
        quarantined=(QuarantinedLine(number=3, reason="not JSON"),),
        torn=True,
    )
    orphans = sum(record.task == DENSE.key for record in LOG)

    assert list(render_left_out(contents)) == [
        "line 3 is left out: not JSON",
        f"{orphans} records are left out: the lines of their workloads are missing",
        "the last line was cut off in writing and is left out; the next run repairs it",
    ]
