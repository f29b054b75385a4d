# SPDX-License-Identifier: Apache-2.0
"""The yardstick of untuned programs, and the comparison of outputs."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from hypothesis import given
from hypothesis import strategies as st

from familyseer import auto_scheduler
from familyseer.errors import EnvironmentFailure
from familyseer.meta_schedule.session import Comparison, compare_outputs, measure_untuned, run_network
from familyseer.records import UNTUNED, RecordLog
from tests.meta_schedule.measuring import TARGET, matmul


def floats(*values, dtype="float32"):
    """Return one tensor."""
    return np.array(values, dtype=dtype)


EQUAL = {
    "the same": ([floats(1, 2)], [floats(1, 2)]),
    "no outputs": ([], []),
    "empty tensors": ([floats()], [floats()]),
    "rounding": ([floats(1000, 1)], [floats(1000.5, 1.4)]),
    "half precision": ([floats(10, dtype="float16")], [floats(10.2, dtype="float16")]),
    "infinities in the same places": ([floats(1, -np.inf)], [floats(1, -np.inf)]),
    "integers": ([np.array([2**53 + 1])], [np.array([2**53 + 1])]),
    "booleans": ([np.array([True])], [np.array([True])]),
    "zeros": ([floats(0, 0)], [floats(0, 0)]),
}
DIFFERENT = {
    "a wrong value": ([floats(1, 2)], [floats(1, 2.01)]),
    "a wrong value in double precision": ([floats(1, dtype="float64")], [floats(1.0001, dtype="float64")]),
    "NaN": ([floats(1, 2)], [floats(1, np.nan)]),
    "NaN in both": ([floats(np.nan)], [floats(np.nan)]),
    "infinity": ([floats(1, 2)], [floats(1, np.inf)]),
    "finite where infinite": ([floats(1, np.inf)], [floats(1, 3)]),
    "the other infinity": ([floats(np.inf)], [floats(-np.inf)]),
    "another shape": ([floats(1, 2)], [floats(1, 2)[None]]),
    "another type": ([floats(1)], [floats(1, dtype="float64")]),
    "fewer outputs": ([floats(1), floats(1)], [floats(1)]),
    "an integer off by one among many": ([np.array([10**6, 1])], [np.array([10**6 + 1, 1])]),
    "an integer that a double cannot hold": ([np.array([2**53])], [np.array([2**53 + 1])]),
    "an integer beside floats": ([floats(1), np.array([10**6])], [floats(1), np.array([10**6 + 1])]),
    "a strict tensor beside a lax one": (
        [floats(1, dtype="float16"), floats(1)],
        [floats(1.01, dtype="float16"), floats(1.01)],
    ),
    "a boolean": ([np.array([True])], [np.array([False])]),
    "something instead of nothing": ([floats(0, 0)], [floats(0, 1e-6)]),
}


@pytest.mark.parametrize("outputs", EQUAL.values(), ids=EQUAL)
def test_equal_outputs(outputs):
    """Rounding is no difference."""
    assert compare_outputs(*outputs).equal


@pytest.mark.parametrize("outputs", DIFFERENT.values(), ids=DIFFERENT)
def test_different_outputs(outputs):
    """Whatever rounding does not explain is a difference."""
    assert not compare_outputs(*outputs).equal


def test_a_comparison_tells_of_the_worst_tensor():
    """Error and tolerance are those of one tensor, relative to its largest value."""
    found = compare_outputs([floats(4, 2), floats(1)], [floats(4, 3), floats(1)])

    assert found == Comparison(error=0.25, tolerance=1e-3)


def test_a_comparison_tells_why_values_cannot_be_compared():
    """The reason names what is wrong in words."""
    shapes = compare_outputs([floats(1, 2)], [np.array([[1]])])
    assert shapes.reason == "outputs are int64[1, 1] instead of float32[2]"
    assert compare_outputs([floats(1)], [floats(np.nan)]).reason == "the tuned network's output has NaN"
    assert compare_outputs([floats(np.nan)], [floats(1)]).reason == "the untuned network's output has NaN"


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1), st.floats(-0.9e-3, 0.9e-3))
def test_errors_below_the_tolerance_pass_at_any_scale(values, relative):
    """Scaling an output by less than the tolerance is rounding, by ten times as much it is not."""
    before = np.array(values, dtype="float32")
    largest = float(np.abs(before).max())
    if largest < 1e-30:
        return

    assert compare_outputs([before], [(before.astype("float64") * (1 + relative)).astype("float32")]).equal
    assert not compare_outputs([before], [(before.astype("float64") * 1.01).astype("float32")]).equal


def test_untuned_programs_are_measured_once(tmp_path):
    """Each task gets one record of its unscheduled program, and none more when it is asked for again."""
    task = auto_scheduler.SearchTask(func=matmul(32), target=TARGET, desc="matmul")
    builder, runner = auto_scheduler.LocalBuilder(n_parallel=1), auto_scheduler.LocalRunner(number=1, min_repeat_ms=0)
    log = tmp_path / "log.json"

    for _ in range(2):
        measure_untuned([task], [task.task], builder, runner, log)

    contents = RecordLog(log).read()
    assert [(record.task, record.policy, record.trace) for record in contents.records] == [
        (task.task.key, UNTUNED, "[[],[]]")
    ]
    assert contents.records[0].valid


@pytest.mark.skipif(tvm.runtime.device("cuda").exist, reason="a CUDA device is visible")
def test_without_the_device_nothing_can_be_run():
    """One sentence says which device is missing."""
    with pytest.raises(EnvironmentFailure, match="a device of kind 'cuda' is needed to run the network"):
        run_network(None, [], tvm.target.Target({"kind": "cuda", "arch": "sm_80"}))
