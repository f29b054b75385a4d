# SPDX-License-Identifier: Apache-2.0
"""What a tuning log can say: four kinds of records, and how trials are told from yardsticks.

Workloads and traces are text that only the engine which wrote them can read; nothing here needs TVM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from familyseer.errors import InvalidInputError
from familyseer.measure import MeasureResult
from familyseer.records.canonical import canonical_target, parse_json
from familyseer.task import Task, TaskKey

__all__ = [
    "FINALIST",
    "UNTUNED",
    "FamiliesRecord",
    "LogLine",
    "MeasureRecord",
    "NetworkRecord",
    "WorkloadRecord",
    "shown",
]

UNTUNED = "untuned"
"""Policy name of the measurement of an unscheduled program: a yardstick, no trial."""

FINALIST = "finalist"
"""Policy name of a second measurement of one of a task's fastest candidates, beside its rivals: no trial."""


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
            raise InvalidInputError(f"`options` must be a JSON object; got {shown(self.options)}")


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
            raise InvalidInputError(f"`families` must have names and members; got {shown(self.families)}")


LogLine = NetworkRecord | WorkloadRecord | MeasureRecord | FamiliesRecord
"""What one line of a log says."""


def shown(value: object) -> str:
    """Return a value as a refusal quotes it: its first 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
