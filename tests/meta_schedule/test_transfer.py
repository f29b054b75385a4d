# SPDX-License-Identifier: Apache-2.0
"""Transfer through TVM: what a trace chose is read, and made in the sketch of another task."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import te, topi

from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.space import Evolution, ScheduleSpace, module_hash
from familyseer.meta_schedule.traces import trace_json
from familyseer.meta_schedule.transfer import OwnSeeds, TransferSeeds, sketch_of, with_choices
from familyseer.records import canonical_json
from familyseer.transfer import Option, Tile

TARGET = {"kind": "llvm", "num-cores": 2}


def dense(n: int, k: int, m: int, *epilogue) -> SearchTask:
    """Return a matrix product, followed by element-wise functions."""
    result = topi.nn.matmul(a := te.placeholder((n, k), name="A"), b := te.placeholder((k, m), name="B"))
    for function in epilogue:
        result = function(result)
    return SearchTask(func=te.create_prim_func([a, b, result]), target=TARGET)


def space_of(task: SearchTask) -> ScheduleSpace:
    """Return the schedules of a task, on two islands."""
    return ScheduleSpace(task.mod, task.target, seed=1, islands=2, evolution=Evolution(population=32, generations=1))


def texts(schedules) -> list[str]:
    """Return traces as JSON text."""
    return [canonical_json(trace_json(schedule)) for schedule in schedules]


def test_a_measured_trace_is_read():
    """Tiles have their loops' extents, options their number, and post-processing does not count."""
    task = dense(128, 96, 64)
    space = space_of(task)
    for schedule in space.sample(8):
        trace = canonical_json(trace_json(schedule))
        sketch = sketch_of(trace)
        tiles = [choice.extent for choice in sketch.choices if isinstance(choice, Tile)]
        assert tiles == [128, 64, 96]
        assert all(choice.of in (0, 4) for choice in sketch.choices if isinstance(choice, Option))
        assert "EnterPostproc" not in sketch.form
        assert "Split" in sketch.form
        assert "EnterPostproc" in trace
        own = next(text for text in texts(space.sketches) if sketch_of(text).form == sketch.form)
        again = space.finish([with_choices(own, sketch.choices)])
        assert [module_hash(found) for found in again] == [module_hash(schedule)]


@pytest.mark.parametrize("epilogue", [(), (topi.nn.relu,), (topi.tanh, topi.nn.relu)])
def test_seeds_of_a_relative_compute_what_the_task_computes(epilogue):
    """Other extents, some of them prime, and another epilogue: most apply, all are different and right."""
    donor, task = dense(128, 96, 64, topi.nn.relu), dense(40, 256, 97, *epilogue)
    seeds = TransferSeeds(lambda key: [donor.task.key, task.task.key])
    seeds.learn(donor.task, texts(space_of(donor).sample(8)), [MeasureResult(costs=(1.0 + i / 100,)) for i in range(8)])
    space = space_of(task)
    traces = seeds.seeds_for(task.task, texts(space.sketches), 32, np.random.default_rng(0))
    schedules = space.finish(traces)

    assert len(set(traces)) == 32
    assert len(schedules) >= 16
    assert len({module_hash(schedule) for schedule in schedules}) >= 16
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=shape).astype("float32") for shape in ((40, 256), (256, 97)))
    expected = a @ b
    for function in epilogue:
        expected = np.tanh(expected) if function is topi.tanh else np.maximum(expected, 0)
    for schedule in schedules[:4]:
        got = tvm.runtime.tensor(np.zeros((40, 97), "float32"))
        tvm.compile(schedule.mod, target=task.target)(tvm.runtime.tensor(a), tvm.runtime.tensor(b), got)
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_what_takes_long_to_compile_is_known():
    """As soon as enough schedules were compiled: a lasting half second counts as log 2, failures and timeouts too."""
    task, other = dense(128, 96, 64), dense(64, 64, 64)
    seeds, traces = TransferSeeds(lambda key: ()), texts(space_of(task).sample(20))
    timeout = MeasureResult(error_no=MeasureErrorNo.BUILD_TIMEOUT, error_msg="too long", build_seconds=0.5)
    seeds.learn(task.task, traces[:15], [timeout] * 15)
    assert seeds.efforts(task.task, traces) == [0.0] * 20

    seeds.learn(task.task, traces[15:], [MeasureResult(costs=(1.0,), build_seconds=0.5)] * 5)

    assert seeds.efforts(other.task, texts(space_of(other).sample(4))) == pytest.approx([np.log(2)] * 4)
    assert list(seeds.pool.best()) == [task.task.key], "schedules that failed are no donors"
    assert OwnSeeds().efforts(task.task, traces) == [0.0] * 20


def test_a_task_of_another_structure_gets_nothing():
    """A softmax leaves other choices open than a product."""
    donor, data = dense(128, 96, 64), te.placeholder((64, 64), name="data")
    softmax = SearchTask(func=te.create_prim_func([data, topi.nn.softmax(data)]), target=TARGET)
    seeds = TransferSeeds(lambda key: ())
    seeds.learn(donor.task, texts(space_of(donor).sample(4)), [MeasureResult(costs=(1.0,))] * 4)

    assert seeds.seeds_for(softmax.task, texts(space_of(softmax).sketches), 8, np.random.default_rng(0)) == []


def test_traces_that_do_not_apply_are_left_out():
    """What TVM refuses is no candidate; the others keep their order."""
    task = dense(64, 64, 64)
    space = space_of(task)
    good = [with_choices(text, sketch_of(text).choices) for text in texts(space.sketches) if sketch_of(text)]
    nowhere = '[[["GetSBlock",[],["nowhere","main"],["b0"]]],[]]'
    alone = [module_hash(schedule) for text in good for schedule in space.finish([text])]

    assert len(alone) >= 1
    assert [module_hash(schedule) for schedule in space.finish([nowhere, *good, nowhere])] == alone
    assert space.finish([]) == []


@pytest.mark.parametrize(
    "trace",
    [
        "[[],[]]",
        '[[["SampleCategorical",[],[[1,2],[0.5,0.5]],["v0"]]],[]]',
        '[[["SamplePartitionedTile",[],[2,1,1,64],["v0","v1"]]],[[0,[2,2]]]]',
    ],
)
def test_traces_without_known_choices_are_no_sketch(trace):
    """Nothing open, nothing decided, or a kind of choice that is not known."""
    assert sketch_of(trace) is None
