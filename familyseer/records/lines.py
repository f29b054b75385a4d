# SPDX-License-Identifier: Apache-2.0
"""The exact JSON form of the lines of a tuning log.

A ``network`` line tells what was tuned, a ``workload`` line how to rebuild a task, a ``measure`` line what one candidate
gave, a ``families`` line which tasks were families from then on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from sys import float_info
from typing import Any, TypeVar

from familyseer.errors import InvalidInputError, LogError
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.records.canonical import canonical_json, parse_json
from familyseer.records.values import (
    FamiliesRecord,
    LogLine,
    MeasureRecord,
    NetworkRecord,
    WorkloadRecord,
    shown,
)
from familyseer.task import Task

__all__ = ["FORMAT_VERSION", "decode_line", "encode_line"]

FORMAT_VERSION = 1
"""Version of the line format that this module writes, and the newest that it reads."""

_T = TypeVar("_T")


def encode_line(record: LogLine) -> bytes:
    r"""Return the line of `record`: ASCII, one ``\n``, at its end.

    Raises
    ------
    InvalidInputError
        A number is NaN or infinite, or the trace is not JSON.
    """
    if isinstance(record, NetworkRecord):
        body = _network_fields(record)
    elif isinstance(record, FamiliesRecord):
        body = _families_fields(record)
    else:
        body = _workload_fields(record) if isinstance(record, WorkloadRecord) else _measure_fields(record)
    try:
        return (json.dumps(body, separators=(",", ":"), allow_nan=False) + "\n").encode("ascii")
    except ValueError as err:
        raise InvalidInputError(f"a record must hold finite numbers only; got {record!r}") from err


def _network_fields(record: NetworkRecord) -> dict[str, Any]:
    return {
        "v": FORMAT_VERSION,
        "kind": "network",
        "network": record.network,
        "target": record.target,
        "size": record.size,
        "batch": record.batch,
        "options": parse_json(record.options),
    }


def _workload_fields(record: WorkloadRecord) -> dict[str, Any]:
    task = record.task
    return {
        "v": FORMAT_VERSION,
        "kind": "workload",
        "task": task.key,
        "name": task.name,
        "target": task.target,
        "weight": task.weight,
        "flops": task.flops,
        "operator": task.operator,
        "structure": task.structure,
        "shape": list(task.shape),
        "workload": record.workload,
    }


def _measure_fields(record: MeasureRecord) -> dict[str, Any]:
    result = record.result
    return {
        "v": FORMAT_VERSION,
        "kind": "measure",
        "task": record.task,
        "target": record.target,
        "costs": list(result.costs),
        "error": result.error_no.name,
        "message": result.error_msg,
        "time": result.timestamp,
        "build": result.build_seconds,
        "run": result.run_seconds,
        "policy": record.policy,
        "seed": record.seed,
        "round": record.round,
        "tvm": record.tvm_version,
        **({"predicted": dict(record.predicted)} if record.predicted else {}),
        "trace": parse_json(record.trace),
    }


def _families_fields(record: FamiliesRecord) -> dict[str, Any]:
    return {
        "v": FORMAT_VERSION,
        "kind": "families",
        "task": record.task,
        "round": record.round,
        "target": record.target,
        "policy": record.policy,
        "families": {name: list(members) for name, members in record.families},
        "reason": record.reason,
    }


def decode_line(line: bytes) -> LogLine:
    """Return the record that `line` holds; unknown extra fields are ignored.

    Raises
    ------
    InvalidInputError
        The line is damaged or not one of ours; the text says how.
    LogError
        The line is of a newer format version.
    """
    fields = parse_json(line)
    if not isinstance(fields, dict) or type(fields.get("v")) is not int:
        raise InvalidInputError(_foreign(fields))
    version = fields["v"]
    if version > FORMAT_VERSION:
        raise LogError(
            f"the log is of format version {version}; this familyseer understands up to {FORMAT_VERSION}. "
            "Upgrade familyseer to read it."
        )
    decoders: dict[object, Callable[[Mapping[str, Any]], LogLine]]
    decoders = {"network": _to_network, "workload": _to_workload, "measure": _to_measure, "families": _to_families}
    kind = fields.get("kind")
    if version != FORMAT_VERSION or not isinstance(kind, str) or kind not in decoders:
        raise InvalidInputError(f"unknown line: v={version}, kind={kind!r}")
    return decoders[kind](fields)


def _foreign(fields: object) -> str:
    """Name the tool that wrote a line which is not ours, where it can be told."""
    if isinstance(fields, dict) and {"i", "r", "v"} <= fields.keys():
        return (
            "this is a log of tvm.auto_scheduler (Ansor), whose schedules only TVM ≤ 0.19 can rebuild. "
            "Use it there, or tune anew"
        )
    if isinstance(fields, list) and len(fields) == 2 and isinstance(fields[0], int | str):
        return (
            "this is a file of a MetaSchedule JSON database. "
            "Convert its folder with familyseer.meta_schedule.database.import_database"
        )
    return "not a line of a familyseer log"


def _field(fields: Mapping[str, Any], name: str, kind: type[_T]) -> _T:
    """Return a field, which must be of the right type."""
    value = fields.get(name)
    if type(value) is kind:
        return value
    raise InvalidInputError(f"`{name}` must be {kind.__name__}; got {shown(value)}")


def _number(name: str, value: object) -> float:
    """Return a finite number as a float; an integer serves."""
    if type(value) in (int, float) and -float_info.max <= value <= float_info.max:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    raise InvalidInputError(f"`{name}` must be a finite number; got {shown(value)}")


def _to_network(fields: Mapping[str, Any]) -> NetworkRecord:
    text = {name: _field(fields, name, str) for name in ("network", "target", "size")}
    options = canonical_json(_field(fields, "options", dict))
    return NetworkRecord(batch=_field(fields, "batch", int), options=options, **text)


def _to_workload(fields: Mapping[str, Any]) -> WorkloadRecord:
    text = {name: _field(fields, name, str) for name in ("name", "target", "operator", "structure")}
    task = Task(
        key=_field(fields, "task", str),
        weight=_number("weight", fields.get("weight")),
        flops=_number("flops", fields.get("flops")),
        shape=_shape(fields.get("shape", [])),
        **text,
    )
    return WorkloadRecord(task=task, workload=_field(fields, "workload", str))


def _shape(value: object) -> tuple[int, ...]:
    """Return the extents of a task's loops, which older logs do not have."""
    if isinstance(value, list) and all(type(extent) is int and extent > 0 for extent in value):
        return tuple(value)
    raise InvalidInputError(f"`shape` must be a list of integers ≥ 1; got {shown(value)}")


def _to_measure(fields: Mapping[str, Any]) -> MeasureRecord:
    if "trace" not in fields:
        raise InvalidInputError("`trace` is missing")
    return MeasureRecord(
        task=_field(fields, "task", str),
        target=_field(fields, "target", str),
        trace=canonical_json(fields["trace"]),
        result=_to_result(fields),
        policy=_field(fields, "policy", str),
        seed=_field(fields, "seed", int),
        round=_field(fields, "round", int),
        tvm_version=_field(fields, "tvm", str),
        predicted={name: _number(f"predicted.{name}", value) for name, value in _predicted(fields).items()},
    )


def _predicted(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the predictions of a line; those of a run without models, and older ones, have none."""
    return _field(fields, "predicted", dict) if "predicted" in fields else {}


def _to_families(fields: Mapping[str, Any]) -> FamiliesRecord:
    text = {name: _field(fields, name, str) for name in ("task", "target", "policy", "reason")}
    families = _field(fields, "families", dict)
    if not all(isinstance(keys, list) and all(isinstance(key, str) for key in keys) for keys in families.values()):
        raise InvalidInputError(f"`families` must be lists of task keys; got {shown(families)}")
    return FamiliesRecord(
        round=_field(fields, "round", int),
        families=tuple((name, tuple(keys)) for name, keys in families.items()),
        **text,
    )


def _to_result(fields: Mapping[str, Any]) -> MeasureResult:
    costs = _field(fields, "costs", list)
    error = _field(fields, "error", str)
    if error not in MeasureErrorNo.__members__:
        raise InvalidInputError(f"`error` must be one of {', '.join(MeasureErrorNo.__members__)}; got {shown(error)}")
    return MeasureResult(
        costs=tuple(_number("costs", cost) for cost in costs),
        error_no=MeasureErrorNo[error],
        error_msg=_field(fields, "message", str),
        timestamp=_number("time", fields.get("time")),
        build_seconds=_number("build", fields.get("build")),
        run_seconds=_number("run", fields.get("run")),
    )
