# SPDX-License-Identifier: Apache-2.0
"""Tune a whole network: yardstick, search, compilation, and the proof that it still computes the same."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.s_tir import Schedule
from tvm.target import Target

from familyseer.errors import EnvironmentFailure
from familyseer.meta_schedule.builder import LocalBuilder
from familyseer.meta_schedule.measure_record import MeasureInput, RecordToFile, State
from familyseer.meta_schedule.measurer import ProgramMeasurer
from familyseer.meta_schedule.relax import default_schedule
from familyseer.meta_schedule.runner import ProgramRunner
from familyseer.meta_schedule.search_policy import measure_request
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.stack import places, spread
from familyseer.meta_schedule.timing import EvaluatorSettings, repeat_costs
from familyseer.records import UNTUNED, RecordLog, same_target
from familyseer.task import Task

__all__ = ["Comparison", "compare_outputs", "latency_of", "measure_untuned", "run_network", "use_cores"]

logger = logging.getLogger(__name__)

# Sums are taken in another order: what a float has of them is good to about its precision times the root of their length.
_TOLERANCE = {"float64": 1e-8, "float32": 1e-3, "float16": 3e-2, "bfloat16": 1e-1}


@dataclass(frozen=True, slots=True)
class _Untuned:
    """Stands for the policy in records of unscheduled programs."""

    described: Task
    name: str = UNTUNED
    seed: int = 0
    round: int = 0


def measure_untuned(
    tasks: Sequence[SearchTask],
    described: Sequence[Task],
    builder: LocalBuilder,
    runner: ProgramRunner,
    log_file: str | os.PathLike[str],
) -> None:
    """Time each task's program as it would be compiled untuned, and record it; not again where the log has it.

    These measurements are a yardstick and no trials. On a CPU the program has no schedule at all, on a GPU TVM's default
    one, without which nothing runs there.

    Raises
    ------
    EnvironmentFailure
        No worker can be started, or no device works.
    """
    wanted = described[0].target if described else ""
    known = {
        r.task for r in RecordLog(log_file).read().records if r.policy == UNTUNED and same_target(r.target, wanted)
    }
    missing = [(task, info) for task, info in zip(tasks, described, strict=True) if info.key not in known]
    if not missing:
        return
    record = RecordToFile(log_file)
    record.start()
    try:
        with ProgramMeasurer(builder, runner, verbose=0) as measurer:
            requests = [
                measure_request(info.key, task, Schedule(default_schedule(task.mod, task.target)))
                for task, info in missing
            ]
            measurer.measure(
                requests,
                lambda i, result: record(
                    _Untuned(missing[i][1]), [MeasureInput(missing[i][0], State.untuned(missing[i][0]))], [result]
                ),
            )
    finally:
        record.finish()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How the outputs of a tuned network differ from those of the untuned one, in the tensor that differs most.

    Parameters
    ----------
    error
        Largest difference, relative to the largest value of the same untuned tensor; infinite where none can be taken.
    tolerance
        What rounding explains at most; 0 for anything but floats.
    reason
        What makes a comparison of values pointless: other shapes or types, or values that are not finite; else empty.
    """

    error: float
    tolerance: float
    reason: str = ""

    @property
    def equal(self) -> bool:
        """Whether both compute the same."""
        return not self.reason and self.error <= self.tolerance


def use_cores(target: Target) -> None:
    """Let this process run kernels on as many threads as the target has cores, unless the user chose otherwise.

    TVM's own default on x86 is half of the logical processors. It counts for the process from its first kernel on.
    """
    cores = target.attrs.get("num-cores")
    if cores is not None:
        os.environ.setdefault("TVM_NUM_THREADS", str(int(cores)))


def run_network(executable: Any, arguments: Sequence[Any], target: Target) -> list[np.ndarray]:
    """Run ``main`` once and return its outputs."""
    machine, device = _machine(executable, target)
    return _flatten(machine["main"](*[tvm.runtime.tensor(argument, device) for argument in arguments]))


def _machine(executable: Any, target: Target) -> tuple[Any, Any]:
    kind = str(target.kind.name)
    device = tvm.runtime.device("cpu" if kind in ("llvm", "c") else kind)
    if not device.exist:
        raise EnvironmentFailure(f"a device of kind {kind!r} is needed to run the network; none is visible")
    return relax.VirtualMachine(executable, device), device


def _flatten(value: Any) -> list[np.ndarray]:
    return [value.numpy()] if hasattr(value, "numpy") else [part for item in value for part in _flatten(item)]


def compare_outputs(untuned: Sequence[np.ndarray], tuned: Sequence[np.ndarray]) -> Comparison:
    """Compare outputs tensor by tensor.

    Floats may differ by rounding; infinities must be in the same places, NaN is never right; everything else must be
    exactly the same.
    """
    kinds = [[(tensor.shape, str(tensor.dtype)) for tensor in outputs] for outputs in (untuned, tuned)]
    if kinds[0] != kinds[1]:
        return Comparison(
            error=np.inf, tolerance=0.0, reason=f"outputs are {_shown(kinds[1])} instead of {_shown(kinds[0])}"
        )
    found = [_compare(before, after) for before, after in zip(untuned, tuned, strict=True)]
    return max(found, key=lambda c: (not c.equal, c.error - c.tolerance), default=Comparison(error=0.0, tolerance=0.0))


def _shown(kinds: Sequence[tuple[tuple[int, ...], str]]) -> str:
    return ", ".join(f"{dtype}{list(shape)}" for shape, dtype in kinds) or "nothing"


def _compare(before: np.ndarray, after: np.ndarray) -> Comparison:
    tolerance = _TOLERANCE.get(str(before.dtype))
    if tolerance is None:
        return Comparison(error=0.0 if np.array_equal(before, after) else np.inf, tolerance=0.0)
    wide, other = before.astype(np.float64), after.astype(np.float64)
    if np.isnan(wide).any() or np.isnan(other).any():
        whose = "untuned" if np.isnan(wide).any() else "tuned"
        return Comparison(error=np.inf, tolerance=tolerance, reason=f"the {whose} network's output has NaN")
    finite = np.isfinite(wide)
    if not np.array_equal(wide[~finite], other[~finite]) or not np.isfinite(other[finite]).all():
        return Comparison(error=np.inf, tolerance=tolerance, reason="infinite values are not in the same places")
    difference = np.abs(wide[finite] - other[finite]).max(initial=0.0)
    scale = np.abs(wide[finite]).max(initial=0.0)
    return Comparison(error=float(difference / scale) if scale else float(difference > 0), tolerance=tolerance)


def latency_of(executable: Any, arguments: Sequence[Any], target: Target) -> float:
    """Return the latency of ``main`` in seconds: the mean of as many runs at each of several places as fill a second."""
    machine, device = _machine(executable, target)
    tensors = [tvm.runtime.tensor(argument, device) for argument in arguments]
    main = machine["main"]

    def run(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            main(*tensors)
        device.sync()
        return time.perf_counter() - started

    run(1)  # the first is slower
    (latency,) = repeat_costs(spread(run), EvaluatorSettings(number=len(places()), min_repeat_ms=1000))
    return latency
