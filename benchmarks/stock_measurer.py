# SPDX-License-Identifier: Apache-2.0
"""MetaSchedule's builder and runner behind the interface of our measurer."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule.arg_info import ArgInfo

from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.meta_schedule.measurer import MeasureRequest, PhaseSeconds

__all__ = ["BUILD_SECONDS", "StockMeasurer"]

BUILD_SECONDS = 120.0
"""Seconds that stock's builder gives a candidate: not its 30, which are over before its worker has started where that parses
TVM's tensor intrinsics for 40 s (on two cores `znver3`; 16 s on `znver4`), and then nothing at all is built."""


class StockMeasurer:
    """Stands for a `ProgramMeasurer`.

    Parameters
    ----------
    min_repeat_ms
        Duration of one timing, at least; the evaluator's other settings are MetaSchedule's defaults.
    """

    callbacks = ()

    def __init__(self, min_repeat_ms: int) -> None:
        evaluator = ms.runner.EvaluatorConfig(number=3, repeat=1, min_repeat_ms=min_repeat_ms)
        self._builder = ms.builder.LocalBuilder(timeout_sec=BUILD_SECONDS)
        self._runner = ms.runner.LocalRunner(evaluator_config=evaluator)
        self.seconds = PhaseSeconds()

    def __enter__(self) -> StockMeasurer:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def measure(
        self, requests: Sequence[MeasureRequest], on_result: Callable[[int, MeasureResult], None] | None = None
    ) -> list[MeasureResult]:
        """Build and time all requests; results are told at the end."""
        started = time.perf_counter()
        built = self._builder.build([ms.builder.BuilderInput(request.mod, request.target) for request in requests])
        at_run = time.perf_counter()
        results = [self._run(made, request) for made, request in zip(built, requests, strict=True)]
        self.seconds = PhaseSeconds(build=at_run - started, run=time.perf_counter() - at_run)
        for made in built:
            if made.artifact_path:
                shutil.rmtree(os.path.dirname(str(made.artifact_path)), ignore_errors=True)
        if on_result is not None:
            for index, result in enumerate(results):
                on_result(index, result)
        return results

    def _run(self, built: Any, request: MeasureRequest) -> MeasureResult:
        if built.error_msg is not None:
            return _failed(MeasureErrorNo.COMPILE_HOST, str(built.error_msg))
        kind = str(request.target.kind.name)
        args_info = ArgInfo.from_entry_func(request.mod, remove_preproc=True)
        device = "cpu" if kind in ("llvm", "c") else kind
        (future,) = self._runner.run([ms.runner.RunnerInput(built.artifact_path, device, args_info)])
        result = future.result()
        if result.error_msg is not None:
            return _failed(MeasureErrorNo.RUNTIME_DEVICE, str(result.error_msg))
        return MeasureResult(costs=(float(np.median([float(s) for s in result.run_secs])),), timestamp=time.time())


def _failed(error_no: MeasureErrorNo, text: str) -> MeasureResult:
    return MeasureResult(error_no=error_no, error_msg=text[:500] or "no reason is known", timestamp=time.time())
