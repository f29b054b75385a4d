# SPDX-License-Identifier: Apache-2.0
"""Ansor's measurements as the method sees them."""

from __future__ import annotations

from typing import Any

from familyseer.measure import MeasureErrorNo, MeasureResult

__all__ = ["result_of"]

_NO_LATENCY = 1e9  # seconds; TVM marks failures by 1e10


def result_of(result: Any) -> MeasureResult:
    """Translate a `tvm.auto_scheduler.MeasureResult`; a latency that is none counts as a failure."""
    costs = tuple(float(cost) for cost in result.costs)
    number, seconds, timestamp = int(result.error_no), float(result.all_cost), float(result.timestamp)
    if number == MeasureErrorNo.NO_ERROR and costs and all(0 < cost < _NO_LATENCY for cost in costs):
        return MeasureResult(costs=costs, run_seconds=seconds, timestamp=timestamp)
    known = number in set(MeasureErrorNo) and number != MeasureErrorNo.NO_ERROR
    return MeasureResult(
        error_no=MeasureErrorNo(number) if known else MeasureErrorNo.UNKNOWN_ERROR,
        error_msg=str(result.error_msg or "") or "no latency",
        run_seconds=seconds,
        timestamp=timestamp,
    )
