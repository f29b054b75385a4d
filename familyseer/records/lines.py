# SPDX-License-Identifier: Apache-2.0
"""The four kinds of lines of a tuning log and their exact JSON form.

A ``network`` line tells what was tuned, a ``workload`` line how to rebuild a task, a ``measure`` line what one candidate
gave, a ``families`` line which tasks were families from then on.
Workloads and traces are text that only the engine which wrote them can read; nothing here needs TVM.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from sys import float_info
from typing import Any, TypeVar

from familyseer.errors import InvalidInputError, LogError
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.records.canonical import canonical_json, canonical_target, parse_json
from familyseer.task import Task, TaskKey

__all__ = [
    "FINALIST",
    "FORMAT_VERSION",
    "UNTUNED",
    "FamiliesRecord",
    "LogLine",
    "MeasureRecord",
    "NetworkRecord",
    "WorkloadRecord",
    "decode_line",
    "encode_line",
]

FORMAT_VERSION = 1
"""Version of the line format that this module writes, and the newest that it reads."""

UNTUNED = "untuned"
"""Policy name of the measurement of an unscheduled program: a yardstick, no trial."""

FINALIST = "finalist"
"""Policy name of a second measurement of one of a task's fastest candidates, beside its rivals: no trial."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRecord:
    """What was tuned, so that a log can be applied without saying it again.

    Parameters
    ----------
    network
        A built-in network's name, or the absolute path of a model file.
    target
        The compilation target as canonical JSON.
    size, batch
        Of a built-in network.
    options
        Further options of the network as canonical JSON text of an object.
    """

    network: str
    target: str
    size: str = "full"
    batch: int = 1
    options: str = "{}"

    def __post_init__(self) -> None:
        if not self.network:
            raise InvalidInputError("`network` must be the name of a network or a file; got ''")
        canonical_target(self.target)
        if not isinstance(parse_json(self.options), dict):
            raise InvalidInputError(f"`options` must be a JSON object; got {_shown(self.options)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadRecord:
    """What rebuilds a task.

    Parameters
    ----------
    task
        The task as the method sees it.
    workload
        The computation as the engine serialises it (``tvm.ir.save_json`` of the IRModule).
    """

    task: Task
    workload: str

    def __post_init__(self) -> None:
        if not self.workload:
            raise InvalidInputError(f"`workload` of task {self.task.name!r} must be a non-empty text; got ''")
        canonical_target(self.task.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRecord:
    """One measured candidate.

    Parameters
    ----------
    task
        Key of the task.
    target
        The compilation target as canonical JSON.
    trace
        The schedule as canonical JSON text, instructions and decisions.
        It stays text, since the parsed values take many times the memory and the engine applies only a few.
    result
        What measuring it gave.
    policy
        Name of the search policy that proposed it.
    seed
        Seed of the run.
    round
        Number of the task's round, from 0.
    tvm_version
        Version of the TVM that built it.
    predicted
        What each cost model had said of the candidate before it was measured, higher is better; ``"shared"`` and
        ``"family"`` are the models of a `familyseer.cost_model.ModelBank`.
    """

    task: TaskKey
    target: str
    trace: str
    result: MeasureResult
    policy: str = ""
    seed: int = 0
    round: int = 0
    tvm_version: str = ""
    predicted: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.task:
            raise InvalidInputError("`task` must be the key of a task; got ''")
        if not isinstance(self.trace, str):
            raise InvalidInputError(
                f"`trace` must be JSON text; got {type(self.trace).__name__}. Use `canonical_json`."
            )
        canonical_target(self.target)
        if not all(isfinite(cost) and cost > 0 for cost in self.result.costs):
            raise InvalidInputError(f"`costs` must be finite numbers > 0; got {self.result.costs!r}")

    @property
    def valid(self) -> bool:
        """Whether the candidate ran."""
        return bool(self.result.costs)

    @property
    def is_trial(self) -> bool:
        """Whether this was a search policy's candidate, which a budget counts."""
        return self.policy not in (UNTUNED, FINALIST)

    @property
    def foreseen(self) -> bool:
        """Whether a model chose it before anything of its task had been measured: it knew relatives only."""
        return self.is_trial and self.round == 0 and bool(self.predicted)

    @property
    def cost(self) -> float:
        """Median latency in seconds; `INVALID_COST` when it failed."""
        return self.result.cost


@dataclass(frozen=True, slots=True, kw_only=True)
class FamiliesRecord:
    """Which tasks are families from a round on.

    Parameters
    ----------
    task, round
        The round after which it was decided.
    target
        The compilation target as canonical JSON.
    policy
        Name of the search policy that decided it.
    families
        Pairs of a family's name and its members' keys, as `familyseer.families.Partition` has them.
    reason
        Why, for people.
    """

    task: TaskKey
    round: int
    target: str
    policy: str
    families: tuple[tuple[str, tuple[TaskKey, ...]], ...]
    reason: str = ""

    def __post_init__(self) -> None:
        canonical_target(self.target)
        if not self.families or not all(name and members for name, members in self.families):
            raise InvalidInputError(f"`families` must have names and members; got {_shown(self.families)}")


LogLine = NetworkRecord | WorkloadRecord | MeasureRecord | FamiliesRecord
"""What one line of a log says."""


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
    raise InvalidInputError(f"`{name}` must be {kind.__name__}; got {_shown(value)}")


def _number(name: str, value: object) -> float:
    """Return a finite number as a float; an integer serves."""
    if type(value) in (int, float) and -float_info.max <= value <= float_info.max:  # type: ignore[operator]
        return float(value)  # type: ignore[arg-type]
    raise InvalidInputError(f"`{name}` must be a finite number; got {_shown(value)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


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
    raise InvalidInputError(f"`shape` must be a list of integers ≥ 1; got {_shown(value)}")


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
        raise InvalidInputError(f"`families` must be lists of task keys; got {_shown(families)}")
    return FamiliesRecord(
        round=_field(fields, "round", int),
        families=tuple((name, tuple(keys)) for name, keys in families.items()),
        **text,
    )


def _to_result(fields: Mapping[str, Any]) -> MeasureResult:
    costs = _field(fields, "costs", list)
    error = _field(fields, "error", str)
    if error not in MeasureErrorNo.__members__:
        raise InvalidInputError(f"`error` must be one of {', '.join(MeasureErrorNo.__members__)}; got {_shown(error)}")
    return MeasureResult(
        costs=tuple(_number("costs", cost) for cost in costs),
        error_no=MeasureErrorNo[error],
        error_msg=_field(fields, "message", str),
        timestamp=_number("time", fields.get("time")),
        build_seconds=_number("build", fields.get("build")),
        run_seconds=_number("run", fields.get("run")),
    )
