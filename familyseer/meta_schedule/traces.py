# SPDX-License-Identifier: Apache-2.0
"""Traces as text: written of schedules, and applied to workloads whatever the text holds."""

from __future__ import annotations

import json
from typing import Any

from tvm import IRModule
from tvm.s_tir import Schedule
from tvm.s_tir.schedule import Trace

from familyseer.errors import InvalidInputError
from familyseer.meta_schedule.parsing import TENSOR_INTRINSICS, import_parsed

__all__ = ["TVM_ERRORS", "first_line", "rebuild_schedule", "trace_json"]

TVM_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)
"""What TVM raises on text that it cannot rebuild."""


def trace_json(schedule: Schedule) -> Any:
    """Write the trace of a schedule as plain lists, numbers and strings."""
    return json.loads(json.dumps(schedule.trace.as_json(), default=_plain))


def _plain(value: Any) -> Any:
    """Turn a TVM container or constant into a plain one."""
    return value.value if hasattr(value, "value") else list(value)


def rebuild_schedule(mod: IRModule, trace: str) -> Schedule:
    """Apply a recorded trace to a workload.

    Parameters
    ----------
    mod
        The unscheduled workload.
    trace
        `MeasureRecord.trace`.

    Raises
    ------
    InvalidInputError
        The trace does not apply.
    """
    insts_and_decisions = json.loads(trace)
    _check_shape(insts_and_decisions)
    if '"Tensorize"' in trace:
        import_parsed(TENSOR_INTRINSICS)  # seconds, and few traces need what it registers
    schedule = Schedule(mod, debug_mask=0, error_render_level="none")
    try:
        Trace.apply_json_to_schedule(insts_and_decisions, schedule)
    except TVM_ERRORS as err:
        raise InvalidInputError(f"`trace` must apply to its workload; {first_line(err)}") from err
    return schedule


def _check_shape(trace: Any) -> None:
    """Refuse damage on which TVM 0.27 does not raise but crashes: nulls, bad types, decisions on no instruction."""
    insts, decisions = trace if isinstance(trace, list) and len(trace) == 2 else (None, None)
    if not isinstance(insts, list) or not isinstance(decisions, list):
        raise InvalidInputError("`trace` must be a list of instructions and a list of decisions")
    for inst in insts:
        if not _is_instruction(inst):
            raise InvalidInputError(f"`trace` must hold [name, inputs, attributes, outputs]; got {str(inst)[:60]}")
    for entry in decisions:
        index = entry[0] if isinstance(entry, list) and len(entry) == 2 else None
        if type(index) is not int or not 0 <= index < len(insts) or not _is_decision(entry[1]):
            raise InvalidInputError(f"`trace` must decide on its own {len(insts)} instructions; got {str(entry)[:60]}")


def _is_instruction(inst: Any) -> bool:
    if not isinstance(inst, list) or len(inst) != 4:
        return False
    name, inputs, attrs, outputs = inst
    typed = isinstance(name, str) and all(isinstance(part, list) for part in (inputs, attrs, outputs))
    if not typed or _has_null(inputs) or not all(isinstance(output, str) for output in outputs):
        return False
    if "None" in inputs and name not in ("Split", "LoopPartition"):  # a factor left to be inferred
        return False
    return name == "TransformLayout" or not _has_null(attrs)  # which may have no padding value


def _is_decision(value: Any) -> bool:
    """Whether it is an index or a list of tile factors, none of which TVM would divide by zero with."""
    factors = value if isinstance(value, list) else [1]
    return (isinstance(value, list) or type(value) is int) and all(type(f) is int and f > 0 for f in factors)


def _has_null(value: Any) -> bool:
    return value is None or (isinstance(value, list) and any(map(_has_null, value)))


def first_line(err: BaseException) -> str:
    """Return the first line of an error's text, or its class where it has none."""
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:200]
