# SPDX-License-Identifier: Apache-2.0
"""Records carried between the log and MetaSchedule's databases, with real schedules of a matmul and a convolution."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import tvm
import tvm_ffi
from tvm import te, topi
from tvm.s_tir import meta_schedule as ms
from tvm.target import Target

from familyseer.errors import InvalidInputError, LogError
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.meta_schedule.database import export_database, import_database, load_database
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.traces import rebuild_schedule, trace_json
from familyseer.records import UNTUNED, MeasureRecord, RecordLog, WorkloadRecord, canonical_json

TARGET = Target({"kind": "llvm", "mcpu": "skylake-avx512", "num-cores": 2})
OTHER = Target({"kind": "llvm", "mcpu": "skylake-avx512", "num-cores": 64})


@dataclass(frozen=True)
class Known:
    """A task, its designs as trace texts, and the modules they give."""

    task: SearchTask
    traces: list[str]
    mods: list[tvm.IRModule]

    @property
    def workload(self) -> WorkloadRecord:
        """What the log says of the task."""
        return WorkloadRecord(task=self.task.task, workload=str(tvm.ir.save_json(self.task.mod)))

    def record(self, design: int, *costs: float, **changes: object) -> MeasureRecord:
        """Return a record of one design; failed without costs."""
        result = MeasureResult(costs=costs) if costs else MeasureResult(error_no=MeasureErrorNo.RUN_TIMEOUT)
        record = MeasureRecord(
            task=self.task.task.key, target=self.task.task.target, trace=self.traces[design], result=result
        )
        return replace(record, **changes)  # type: ignore[arg-type]


def matmul() -> tvm.tirx.PrimFunc:
    """Return a product of two 32×32 matrices."""
    a, b = (te.placeholder((32, 32), name=name) for name in "AB")
    k = te.reduce_axis((0, 32), name="k")
    return te.create_prim_func([a, b, te.compute((32, 32), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="C")])


def conv() -> tvm.tirx.PrimFunc:
    """Return a 3×3 convolution of 4 channels."""
    data, weight = te.placeholder((1, 4, 8, 8), name="data"), te.placeholder((4, 4, 3, 3), name="weight")
    return te.create_prim_func([data, weight, topi.nn.conv2d_nchw(data, weight, 1, 1, 1)])


@pytest.fixture(scope="session")
def known() -> tuple[Known, Known]:
    """Return the matmul and the convolution, each with three designs that went through the postprocessors."""
    return _design(matmul()), _design(conv())


def _design(func: tvm.tirx.PrimFunc) -> Known:
    task = SearchTask(func=func, target=TARGET)
    context = ms.TuneContext(task.mod, target=TARGET, space_generator="post-order-apply", num_threads=1, rand_state=1)
    traces, mods = [], []
    for schedule in context.generate_design_space():
        schedule.enter_postproc()
        assert all(postproc.apply(schedule) for postproc in context.space_generator.postprocs)
        traces.append(canonical_json(trace_json(schedule)))
        mods.append(schedule.mod)
    assert len(traces) == 3
    return Known(task=task, traces=traces, mods=mods)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the log is to be."""
    return tmp_path / "log.json"


def write(path: Path, *entries: WorkloadRecord | MeasureRecord) -> None:
    """Append entries to a log."""
    with RecordLog(path) as log:
        for entry in entries:
            if isinstance(entry, WorkloadRecord):
                log.add_workload(entry)
            else:
                log.append(entry)


def best_mod(database: ms.database.Database, task: SearchTask) -> tvm.IRModule | None:
    """Return the module that MetaSchedule would compile for a task."""
    return database.query_ir_module(task.mod, TARGET, "main")


def same(a: tvm.IRModule | None, b: tvm.IRModule) -> bool:
    """Whether two modules are structurally equal."""
    return a is not None and bool(tvm_ffi.structural_equal(a, b))


@pytest.mark.parametrize("design", [0, 1, 2])
@pytest.mark.parametrize("which", [0, 1])
def test_a_trace_rebuilds_its_schedule(known, which, design):
    """The text in the log gives the very program that was measured, and the same text again."""
    schedule = rebuild_schedule(known[which].task.mod, known[which].traces[design])

    assert same(schedule.mod, known[which].mods[design])
    assert canonical_json(trace_json(schedule)) == known[which].traces[design]


def test_the_best_of_each_task_is_loaded(known, path):
    """The median decides; failures and an untuned program that is slower do not count."""
    mm, cv = known
    write(
        path,
        mm.workload,
        mm.record(0, 3e-3),
        mm.record(1, 1e-3, 1e-3, 9e-3),  # the lowest median, not the lowest mean
        mm.record(2, 2e-3),
        mm.record(2),
        mm.record(0, 2e-3, trace="[[],[]]", policy=UNTUNED),
        cv.workload,
        cv.record(2, 5e-3),
    )
    database, report = load_database(path, TARGET)

    assert len(database) == 2
    assert same(best_mod(database, mm.task), mm.mods[1])
    assert same(best_mod(database, cv.task), cv.mods[2])
    assert (report.loaded, report.failed, report.other_target, report.stale, report.missing) == (2, 1, 0, 0, ())


def test_a_schedule_slower_than_none_is_not_loaded(known, path):
    """Where the untuned program is the fastest, the network keeps it."""
    mm, cv = known
    untuned = mm.record(0, 1e-3, trace="[[],[]]", policy=UNTUNED)
    write(path, mm.workload, mm.record(0, 2e-3), untuned, cv.workload, cv.record(2, 5e-3))
    database, report = load_database(path, TARGET)

    assert len(database) == 1
    assert report.unbeaten == (mm.task.task,)
    assert report.missing == ()


def test_as_many_records_as_asked_for_are_loaded(known, path):
    """A warm start takes several records per workload, the best first."""
    mm, _ = known
    write(path, mm.workload, mm.record(0, 3e-3), mm.record(1, 1e-3), mm.record(2, 2e-3))
    database, report = load_database(path, TARGET, top_k=2)
    found = database.get_top_k(database.commit_workload(mm.task.mod), 5)

    assert report.loaded == 2
    assert [canonical_json(json.loads(json.dumps(record.as_json()[0]))) for record in found] == [
        mm.traces[1],
        mm.traces[2],
    ]


def test_a_record_for_another_target_is_never_applied(known, path):
    """However fast it was there, and though MetaSchedule's look-up would take it."""
    mm, cv = known
    elsewhere = SearchTask(func=mm.task.mod, target=OTHER).task
    write(
        path,
        WorkloadRecord(task=elsewhere, workload=mm.workload.workload),
        mm.record(0, 1e-9, target=elsewhere.target),
        mm.workload,
        mm.record(1, 1e-3),
        cv.workload,
    )
    database, report = load_database(path, TARGET)

    assert same(best_mod(database, mm.task), mm.mods[1])
    assert report.other_target == 1
    assert report.missing == (cv.task.task,)
    assert load_database(path, Target("nvidia/nvidia-a100"))[1].other_target == 2


@pytest.mark.parametrize(
    "trace",
    [
        "null",
        "[[]]",
        '{"a":1}',
        '[[["NoSuchInstruction",[],[],[]]],[]]',
        '[[["GetSBlock",[],["no such block","main"],["b0"]]],[]]',
        '[[["GetSBlock",[],[],["b0"]]],[]]',
        '[[["GetLoops",["b7"],[],["l0"]]],[]]',
        '[[["GetSBlock",[],["C","main"],["b0","b1"]]],[]]',
        '[[["GetSBlock",[],["C","main"],["b0"]]],[[1000000000,[1]]]]',
        '[[["GetSBlock",[],["C","main"],["b0"]]],[[-1,[1]]]]',
        '[[["GetSBlock",[],["C","main"],["b0"]]],[[true,[1]]]]',
        '[[["GetSBlock",[],["C",null],["b0"]]],[]]',
        '[[["GetSBlock",[],["C","main"],"b0"]],[]]',
        '[[["GetSBlock",[],["C","main"],["b0"]]],[[0,null]]]',
        '[[["GetLoops",["None"],[],["l0"]]],[]]',
        '[[["GetSBlock",[],["C","main"],["b0"]]],[[0,[4,0,8]]]]',
        '[[["GetSBlock",[],["C","main"],["b0"]],7],[]]',
    ],
)
def test_a_trace_that_does_not_apply_is_set_aside(known, path, trace):
    """It is counted, the next best takes its place, and no text crashes the process."""
    mm, _ = known
    write(path, mm.workload, mm.record(0, 1e-6, trace=trace), mm.record(1, 1e-3))
    database, report = load_database(path, TARGET)

    assert same(best_mod(database, mm.task), mm.mods[1])
    assert (report.loaded, report.stale) == (1, 1)


def test_a_trace_of_another_workload_is_set_aside(known, path):
    """The trace of a convolution does not fit a matmul, and its task is reported as missing."""
    mm, cv = known
    write(path, mm.workload, mm.record(0, 1e-6, trace=cv.traces[0]))
    database, report = load_database(path, TARGET)

    assert len(database) == 0
    assert report.missing == (mm.task.task,)
    assert report.stale == 1


def test_a_workload_that_cannot_be_rebuilt_costs_its_task_only(known, path):
    """A workload that this TVM cannot read is set aside with its records, the others load."""
    mm, cv = known
    write(
        path,
        replace(mm.workload, workload="{}"),
        mm.record(0, 1e-3),
        mm.record(1, 2e-3),
        cv.workload,
        cv.record(0, 1e-3),
    )
    database, report = load_database(path, TARGET)

    assert same(best_mod(database, cv.task), cv.mods[0])
    assert (report.loaded, report.stale, report.missing) == (1, 2, (mm.task.task,))


def test_damaged_lines_are_reported(known, path):
    """A bad line and a record whose workload line is gone are counted, the rest loads."""
    mm, cv = known
    write(path, mm.workload, mm.record(0, 1e-3), cv.workload, cv.record(0, 1e-3))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + b"{broken\n" + lines[3])
    _, report = load_database(path, TARGET)

    assert (report.loaded, report.orphans) == (1, 1)
    assert [line.number for line in report.quarantined] == [3]


def test_many_records_leave_only_the_best_in_memory(known, path):
    """Of a long log the best are found wherever they are."""
    mm, _ = known
    costs = [1e-3 * (1 + (number * 37) % 101) for number in range(100)]
    write(path, mm.workload, *(mm.record(number % 2, cost) for number, cost in enumerate(costs)), mm.record(2, 1e-4))
    database, report = load_database(path, TARGET, top_k=3)
    found = database.get_top_k(database.commit_workload(mm.task.mod), 5)

    assert report.loaded == 3
    assert [float(record.run_secs[0]) for record in found] == [1e-4, *sorted(costs)[:2]]


def test_an_empty_log_gives_an_empty_database(path):
    """Nothing recorded, nothing applied, no error."""
    database, report = load_database(path, TARGET)

    assert (len(database), report.loaded, report.missing) == (0, 0, ())


def test_loading_no_records_is_refused(path):
    """A database of zero records per task is a mistake of the caller."""
    with pytest.raises(InvalidInputError, match="`top_k` must be ≥ 1; got 0"):
        load_database(path, TARGET, top_k=0)


def test_the_exported_database_gives_the_same_best(known, path, tmp_path):
    """MetaSchedule reads the exported files and chooses what we choose: same trace, same program."""
    mm, cv = known
    write(
        path,
        mm.workload,
        cv.workload,
        mm.record(0, 3e-3),
        cv.record(1, 2e-3),
        mm.record(1, 1e-3, 1e-3, 9e-3),
        mm.record(2),
        cv.record(0, 4e-3),
        cv.record(2, 1e-9, trace='[[["NoSuchInstruction",[],[],[]]],[]]'),
    )
    count = export_database(path, tmp_path / "db")
    database = ms.database.JSONDatabase(work_dir=str(tmp_path / "db"))
    ours, _ = load_database(path, TARGET)

    assert count == len(database) == 4
    for task in (mm.task, cv.task):
        assert same(best_mod(database, task), best_mod(ours, task))
        theirs, mine = (db.query_tuning_record(task.mod, TARGET, "main") for db in (database, ours))
        assert str(theirs.trace) == str(mine.trace)
        assert theirs.run_secs[0].value == pytest.approx(mine.run_secs[0].value, rel=1e-6)
    assert str(theirs.target) == str(TARGET)


def test_records_come_back_from_an_exported_database(known, path, tmp_path):
    """Log to database to log: the same tasks, traces and latencies; importing again adds nothing."""
    mm, cv = known
    write(path, mm.workload, cv.workload, mm.record(0, 3e-3), cv.record(1, 2e-3), mm.record(1, 1e-3))
    export_database(path, tmp_path / "db")
    back = tmp_path / "back.json"

    assert import_database(tmp_path / "db", back, TARGET) == 3
    assert import_database(tmp_path / "db", back, TARGET) == 0
    before, after = RecordLog(path).read(), RecordLog(back).read()
    assert [(r.task, r.target, r.trace) for r in after.records] == [(r.task, r.target, r.trace) for r in before.records]
    assert [r.cost for r in after.records] == pytest.approx([3e-3, 2e-3, 1e-3], rel=1e-6)
    assert {w.task for w in after.workloads} == {w.task for w in before.workloads}
    assert {r.policy for r in after.records} == {"imported"}


def test_only_what_fits_the_target_is_imported(known, path, tmp_path):
    """Other targets, failures, damaged lines and traces that do not apply are left out; no target is taken as ours."""
    mm, _ = known
    write(path, mm.workload, mm.record(0, 3e-3))
    export_database(path, tmp_path / "db")
    file = tmp_path / "db" / "database_tuning_record.json"
    index, (trace, run_secs, target, args) = json.loads(file.read_text())
    lines = [
        [index, [trace, run_secs, {**target, "num-cores": 64}, args]],
        [index, [trace, run_secs, {"kind": "no such kind"}, args]],
        [index, [trace, [1e10], target, args]],
        [index, [trace, None, target, args]],
        [9, [trace, run_secs, target, args]],
        [index, [[[["NoSuchInstruction", [], [], []]], []], run_secs, target, args]],
        "nonsense",
        [index, [json.loads(mm.traces[1]), [2e-3, 4e-3], None, None]],
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{torn")

    assert import_database(tmp_path / "db", tmp_path / "new.json", TARGET) == 1
    (record,) = RecordLog(tmp_path / "new.json").read().records
    assert (record.trace, record.result.costs) == (mm.traces[1], (2e-3, 4e-3))


def test_importing_needs_a_database(tmp_path):
    """A folder without the two files is refused before the log is touched."""
    with pytest.raises(InvalidInputError, match=r"has no database_workload\.json"):
        import_database(tmp_path, tmp_path / "new.json", TARGET)
    assert not (tmp_path / "new.json").exists()


def test_exporting_never_mixes_with_what_is_there(known, path, tmp_path):
    """A folder that holds a database is left as it is."""
    mm, _ = known
    write(path, mm.workload, mm.record(0, 3e-3))
    export_database(path, tmp_path / "db")

    with pytest.raises(InvalidInputError, match="must not hold a database yet"):
        export_database(path, tmp_path / "db")


def test_exporting_several_targets_needs_a_choice(known, path, tmp_path):
    """MetaSchedule would apply one target's schedules to the other, so one must be chosen."""
    mm, _ = known
    elsewhere = SearchTask(func=mm.task.mod, target=OTHER).task
    write(
        path,
        mm.workload,
        mm.record(0, 3e-3),
        WorkloadRecord(task=elsewhere, workload=mm.workload.workload),
        mm.record(1, 1e-3, target=elsewhere.target),
    )
    with pytest.raises(InvalidInputError, match="`target` must be given, as the log has records of 2"):
        export_database(path, tmp_path / "db")

    assert export_database(path, tmp_path / "db", target=OTHER) == 1


def test_a_file_that_is_no_log_is_refused(tmp_path):
    """The error of the log comes through, and no database is made."""
    (tmp_path / "log.json").write_bytes(b"\x7fELF\n")

    with pytest.raises(LogError, match="is not a familyseer log"):
        export_database(tmp_path / "log.json", tmp_path / "db")
    assert not (tmp_path / "db").exists()
