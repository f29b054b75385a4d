# SPDX-License-Identifier: Apache-2.0
"""Tune a whole network: yardstick, search, compilation, and the proof that it still computes the same."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.s_tir import Schedule
from tvm.target import Target

from familyseer.errors import EnvironmentFailure, InvalidInputError
from familyseer.meta_schedule.builder import LocalBuilder
from familyseer.meta_schedule.measure_record import MeasureInput, RecordToFile, State
from familyseer.meta_schedule.measurer import ProgramMeasurer
from familyseer.meta_schedule.runner import ProgramRunner
from familyseer.meta_schedule.search_policy import measure_request
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.records import UNTUNED, RecordLog, same_target
from familyseer.task import Task

__all__ = ["Comparison", "compare_outputs", "latency_of", "measure_untuned", "run_network", "with_weights"]

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
    """Time each task's program as it is without any schedule, and record it; not again where the log has it.

    These measurements are a yardstick and no trials.
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
            requests = [measure_request(info.key, task, Schedule(task.mod)) for task, info in missing]
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
    """How the outputs of a tuned network differ from those of the untuned one.

    Parameters
    ----------
    error
        Largest difference, relative to the largest untuned output of the same tensor.
    tolerance
        What rounding explains at most.
    finite
        Whether all outputs are finite.
    """

    error: float
    tolerance: float
    finite: bool

    @property
    def equal(self) -> bool:
        """Whether both compute the same."""
        return self.finite and self.error <= self.tolerance


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
    """Compare outputs tensor by tensor."""
    if [a.shape for a in untuned] != [b.shape for b in tuned]:
        raise InvalidInputError("both networks must have outputs of the same shapes")
    errors, tolerances = [0.0], [0.0]
    finite = True
    for before, after in zip(untuned, tuned, strict=True):
        finite = finite and bool(np.isfinite(before).all() and np.isfinite(after).all())
        difference = np.abs(before.astype(np.float64) - after.astype(np.float64)).max(initial=0.0)
        errors.append(float(difference / max(np.abs(before.astype(np.float64)).max(initial=0.0), 1e-30)))
        tolerances.append(_TOLERANCE.get(str(before.dtype), 0.0))
    return Comparison(error=max(errors), tolerance=max(tolerances), finite=finite)


def latency_of(executable: Any, arguments: Sequence[Any], target: Target, *, repeat: int = 10) -> float:
    """Return the median latency of ``main`` in seconds over `repeat` runs of at least 100 ms each."""
    machine, device = _machine(executable, target)
    tensors = [tvm.runtime.tensor(argument, device) for argument in arguments]
    timing = machine.time_evaluator("main", device, number=1, repeat=repeat, min_repeat_ms=100)(*tensors)
    return float(timing.median)


def with_weights(tasks: Sequence[SearchTask], weights: Sequence[float]) -> list[Task]:
    """Return what the method sees of weighted tasks."""
    return [replace(task.task, weight=float(weight)) for task, weight in zip(tasks, weights, strict=True)]
