# SPDX-License-Identifier: Apache-2.0
"""Ansor's measurements as the method sees them."""

from __future__ import annotations

from typing import Any

from familyseer.measure import MeasureErrorNo, MeasureResult

__all__ = ["result_of"]

_NO_LATENCY = 1e9  # seconds; TVM marks failures by 1e10


def result_of(result: Any) -> MeasureResult:
    """Translate a `tvm.auto_scheduler.MeasureResult`; a latency that is none counts as a failure.

    Seconds are rounded as in TVM's logs, so that a resumed run decides by what the interrupted one had decided by.
    """
    costs = tuple(_as_logged(cost) for cost in result.costs)
    number, seconds, timestamp = int(result.error_no), _as_logged(result.all_cost), float(result.timestamp)
    if number == MeasureErrorNo.NO_ERROR and costs and all(0 < cost < _NO_LATENCY for cost in costs):
        return MeasureResult(costs=costs, run_seconds=seconds, timestamp=timestamp)
    known = number in set(MeasureErrorNo) and number != MeasureErrorNo.NO_ERROR
    return MeasureResult(
        error_no=MeasureErrorNo(number) if known else MeasureErrorNo.UNKNOWN_ERROR,
        error_msg=str(result.error_msg or "") or "no latency",
        run_seconds=seconds,
        timestamp=timestamp,
    )


def _as_logged(seconds: Any) -> float:
    """Return what can be read from a log again: TVM writes six significant digits."""
    return float(f"{float(seconds):.6g}")
