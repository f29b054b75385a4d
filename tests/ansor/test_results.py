# SPDX-License-Identifier: Apache-2.0
"""Ansor's measurements as the method sees them: what is live equals what its log gives back."""

from __future__ import annotations

import json

from tvm import auto_scheduler
from tvm.auto_scheduler.measure_record import dump_record_to_string, load_record_from_string

from familyseer.ansor.results import result_of
from tests.ansor.workloads import matmul, task


def test_seconds_are_those_of_the_log():
    """TVM writes six significant digits: a cost beyond them would let a resumed run decide by other figures."""
    own = task(matmul, 16, 16, 16)
    given = auto_scheduler.MeasureInput(own, own.compute_dag.init_state)
    live = auto_scheduler.MeasureResult([0.00012345678, 1.9999999e-05], 0, "", 0.123456789, 1700000000)
    text = dump_record_to_string(given, live)

    assert json.loads(text)["r"][0] == [0.000123457, 2e-05]
    assert result_of(live).costs == (0.000123457, 2e-05)
    assert result_of(live).run_seconds == 0.123457
    assert result_of(load_record_from_string(text)[1]) == result_of(live)


def test_a_failure_has_no_latency():
    """Whatever TVM wrote in its place."""
    failed = auto_scheduler.MeasureResult([1e10], 4, "it crashed", 0.5, 1700000000)
    assert (result_of(failed).costs, result_of(failed).error_msg) == ((), "it crashed")
