# SPDX-License-Identifier: Apache-2.0
"""MetaSchedule's builder and runner behind the interface of our measurer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.throughput import Batch
from benchmarks.throughput import Stock as StockPipeline
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.meta_schedule.measurer import MeasureRequest, PhaseSeconds

__all__ = ["StockMeasurer"]


class StockMeasurer:
    """Stands for a `ProgramMeasurer`."""

    callbacks = ()

    def __init__(self, min_repeat_ms: int) -> None:
        self._pipeline = StockPipeline(30.0, min_repeat_ms)
        self.seconds = PhaseSeconds()

    def __enter__(self) -> StockMeasurer:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def measure(
        self, requests: Sequence[MeasureRequest], on_result: Callable[[int, MeasureResult], None]
    ) -> list[MeasureResult]:
        """Build and time all requests; results are told at the end."""
        outcome = self._pipeline(Batch(mod=requests[0].mod, schedules=[], requests=list(requests)))
        self.seconds = PhaseSeconds(build=outcome.build_seconds, run=outcome.run_seconds)
        results = [_result(latency) for latency in outcome.latencies]
        for index, result in enumerate(results):
            on_result(index, result)
        return results


def _result(latency: float) -> MeasureResult:
    if np.isnan(latency):
        return MeasureResult(error_no=MeasureErrorNo.UNKNOWN_ERROR, error_msg="failed", timestamp=time.time())
    return MeasureResult(costs=(latency,), timestamp=time.time())
