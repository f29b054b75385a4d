# SPDX-License-Identifier: Apache-2.0
"""From a network to its tasks, and back to a network compiled with the best records."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax.frontend import nn

from familyseer import networks
from familyseer.errors import InvalidInputError, UnsupportedError
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.meta_schedule.database import load_database
from familyseer.meta_schedule.lowering import legalize_and_fuse
from familyseer.meta_schedule.measure_record import State
from familyseer.meta_schedule.relax import (
    ApplyHistoryBest,
    compile_network,
    default_schedule,
    extract,
    extract_tasks,
    is_auto_scheduler_enabled,
)
from familyseer.meta_schedule.session import compare_outputs, run_network
from familyseer.meta_schedule.space import Evolution, ScheduleSpace
from familyseer.meta_schedule.task_scheduler import TaskScheduler
from familyseer.records import UNTUNED, MeasureRecord, RecordLog, WorkloadRecord

TARGET = tvm.target.Target({"kind": "llvm", "mcpu": str(tvm.target.codegen.llvm_get_system_cpu()), "num-cores": 1})
OTHER = tvm.target.Target({"kind": "llvm", "mcpu": str(tvm.target.codegen.llvm_get_system_cpu()), "num-cores": 3})


class Repeated(nn.Module):
    """Three convolutions of one shape and one of another, then a reordering of the image."""

    def __init__(self) -> None:
        self.same = nn.ModuleList([nn.Conv2D(4, 4, 3, padding=1, bias=False) for _ in range(3)])
        self.last = nn.Conv2D(4, 8, 1, bias=False)

    def forward(self, x):
        """Run the layers."""
        for layer in self.same:
            x = layer(x)
        return nn.op.permute_dims(self.last(x), [0, 2, 3, 1])


class Reordered(nn.Module):
    """Nothing but a transposition."""

    def forward(self, x):
        """Swap two axes."""
        return nn.op.permute_dims(x, [0, 2, 1])


def exported(module, shape):
    """Return module and seeded weights of a network with one input."""
    mod, named = module.export_tvm({"forward": {"x": nn.spec.Tensor(shape, "float32")}})
    mod["main"] = mod["forward"].with_attr("global_symbol", "main")
    del mod["forward"]
    rng = np.random.default_rng(0)
    return mod, {name: rng.standard_normal(p.shape).astype("float32") for name, p in named}


@pytest.fixture(scope="module")
def repeated():
    """Return a network that calls one convolution three times."""
    return exported(Repeated(), (1, 4, 8, 8))


def measured(path, tasks, cost=1e-9):
    """Write a log in which one sampled schedule of each task took `cost` seconds; cost None: it failed."""
    with RecordLog(path) as log:
        for task in tasks:
            space = ScheduleSpace(task.mod, TARGET, seed=1, evolution=Evolution(population=4, generations=0))
            trace = State.of(task, space.sample(2)[0]).trace
            write(log, task, trace, cost, "sketch.xgb")
    return path


def write(log, task, trace, cost, policy):
    """Append one record and its workload."""
    log.add_workload(WorkloadRecord(task=task.task, workload=tvm.ir.save_json(task.mod)))
    result = (
        MeasureResult(error_no=MeasureErrorNo.RUN_TIMEOUT, error_msg="late")
        if cost is None
        else MeasureResult(costs=(cost,))
    )
    log.append(MeasureRecord(task=task.task.key, target=task.task.target, trace=trace, result=result, policy=policy))


def test_weights_count_calls(repeated):
    """A convolution that is called three times is one task of weight three; a transposition alone is named, not tuned."""
    found = extract(*repeated, TARGET)

    by_operator = {(task.task.operator, weight) for task, weight in zip(found.tasks, found.weights, strict=True)}
    assert by_operator == {("conv2d", 3), ("conv2d", 1)}
    assert found.left_out == {"transpose": "it has only one schedule"}


def test_left_out_kernels_are_named_in_the_log(repeated, caplog):
    """`extract_tasks` returns pairs as TVM's did; what it leaves out is told."""
    caplog.set_level(logging.INFO, "familyseer")

    tasks, weights = extract_tasks(*repeated, TARGET)

    assert (len(tasks), sorted(weights)) == (2, [1, 3])
    assert "Kernel transpose is left out: it has only one schedule" in caplog.text


def test_simple_tasks_can_be_left_out():
    """Without simple tasks only those with more than element-wise work remain."""
    network = networks.build("resnet18", size="tiny")

    tasks, _ = extract_tasks(network.mod, network.params, TARGET, include_simple_tasks=False)

    assert tasks
    assert "elementwise" not in {task.task.operator for task in tasks}


def test_what_this_engine_cannot_honour_is_refused(repeated):
    """No argument is silently ignored."""
    with pytest.raises(UnsupportedError, match="opt_level"):
        extract_tasks(*repeated, TARGET, opt_level=2)
    with pytest.raises(UnsupportedError, match="include_compatible"):
        ApplyHistoryBest("log.json", include_compatible=True)


def test_dynamic_shapes_are_refused():
    """A symbolic batch size cannot be tuned."""
    mod, params = exported(Repeated(), ("n", 4, 8, 8))

    with pytest.raises(InvalidInputError, match="`mod` must have static shapes"):
        extract(mod, params, TARGET)


def test_a_network_with_nothing_to_tune():
    """There are no tasks, and the scheduler says so instead of dividing by zero."""
    found = extract(*exported(Reordered(), (1, 4, 8)), TARGET)

    assert (found.tasks, list(found.left_out)) == ([], ["transpose"])
    with pytest.raises(InvalidInputError, match=r"at least one task; got 0\. The network may have nothing to tune"):
        TaskScheduler(found.tasks, found.weights, callbacks=[])


def test_kernels_say_which_record_serves_them(repeated, tmp_path, caplog):
    """One task with a record, one without: the first is tuned, the second missing and warned of, the transposition not."""
    found = extract(*repeated, TARGET)
    tuned, bare = found.tasks
    applied = ApplyHistoryBest(measured(tmp_path / "log.json", [tuned], 2e-9))

    applied.compile(*repeated, TARGET)

    assert {kernel.name: kernel.latency for kernel in applied.kernels} == {
        tuned.desc: 2e-9,
        bare.desc: None,
        "transpose": None,
    }
    assert applied.missing == [bare.desc, "transpose"]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"No valid record in {tmp_path / 'log.json'} for {bare.desc}: untuned"
    ]


def test_a_failed_record_serves_nothing(repeated, tmp_path):
    """Candidates that failed are never applied."""
    found = extract(*repeated, TARGET)
    applied = ApplyHistoryBest(measured(tmp_path / "log.json", found.tasks, None))

    applied.compile(*repeated, TARGET)

    assert {kernel.latency for kernel in applied.kernels} == {None}


def test_a_record_slower_than_no_schedule_is_not_applied(repeated, tmp_path, caplog):
    """The task stays untuned on purpose, so nobody is warned."""
    task = extract(*repeated, TARGET).tasks[0]
    path = measured(tmp_path / "log.json", extract(*repeated, TARGET).tasks, 2e-3)
    with RecordLog(path) as log:
        write(log, task, "[[],[]]", 1e-3, UNTUNED)
    applied = ApplyHistoryBest(path)

    applied.compile(*repeated, TARGET)

    assert [(kernel.name, kernel.latency) for kernel in applied.kernels if kernel.unbeaten] == [(task.desc, None)]
    assert "WARNING" not in {record.levelname for record in caplog.records}


def test_records_of_another_target_are_never_applied(repeated, tmp_path):
    """The same log serves its own target and not another with more cores."""
    path = measured(tmp_path / "log.json", extract(*repeated, TARGET).tasks)
    applied = ApplyHistoryBest(path, target=OTHER)

    applied.compile(*repeated)

    assert applied.report.other_target == 2
    assert {kernel.latency for kernel in applied.kernels} == {None}


def test_as_a_scope_it_serves_the_pass_of_tvm(repeated, tmp_path):
    """Inside the scope `MetaScheduleApplyDatabase` schedules the recorded kernels; outside nothing is consulted."""
    path = measured(tmp_path / "log.json", extract(*repeated, TARGET).tasks)
    fused = legalize_and_fuse(*repeated)

    with TARGET, ApplyHistoryBest(path, target=TARGET):
        assert is_auto_scheduler_enabled()
        applied = relax.transform.MetaScheduleApplyDatabase()(fused)
    assert not is_auto_scheduler_enabled()

    scheduled = {
        var.name_hint
        for var, function in applied.functions_items()
        if isinstance(function, tvm.tirx.PrimFunc) and function.attrs.get("tirx.is_scheduled")
    }
    assert len(scheduled) == 2


@pytest.mark.parametrize(("name", "outputs"), [("resnet18", 1), ("bert_base", 2)])
def test_tuned_networks_compute_what_untuned_ones_do(name, outputs, tmp_path):
    """Random schedules of every task change no output, with one output and with a tuple of two."""
    network = networks.build(name, size="tiny", depth=1)
    found = extract(network.mod, network.params, TARGET)
    path = measured(tmp_path / "log.json", found.tasks)
    arguments = network.example_inputs()
    applied = ApplyHistoryBest(path)

    tuned = run_network(applied.compile(network.mod, network.params, TARGET), arguments, TARGET)
    untuned = run_network(compile_network(network.mod, network.params, TARGET), arguments, TARGET)

    assert len(tuned) == outputs
    assert set(applied.missing) == set(found.left_out)
    assert compare_outputs(untuned, tuned).equal


def test_a_wrong_schedule_is_found_out(repeated, tmp_path):
    """A kernel that is replaced by one that computes something else changes the outputs, and the comparison sees it."""
    mod, params = repeated
    arguments = [np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype("float32")]
    right = run_network(compile_network(mod, params, TARGET), arguments, TARGET)
    planted = {name: value.copy() for name, value in params.items()}
    planted["last.weight"][0] *= 1.01
    wrong = run_network(compile_network(mod, planted, TARGET), arguments, TARGET)

    assert compare_outputs(right, right).equal
    assert not compare_outputs(right, wrong).equal


def test_on_a_gpu_what_has_no_schedule_is_bound_to_threads(repeated):
    """The default schedule binds a copy of every kernel to threads for a GPU and changes nothing for a CPU."""
    gpu = tvm.target.Target({"kind": "cuda", "arch": "sm_80", "max_threads_per_block": 1024, "thread_warp_size": 32})
    task = extract(*repeated, TARGET).tasks[0]

    untouched = task.mod.script()

    assert "threadIdx.x" in default_schedule(task.mod, gpu).script()
    assert task.mod.script() == untouched
    assert default_schedule(task.mod, TARGET) is task.mod
    assert load_database("missing.json", TARGET)[1].loaded == 0
