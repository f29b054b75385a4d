# SPDX-License-Identifier: Apache-2.0
"""What is tuned in one block of the benchmark, and what a contestant tells of each of its rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from familyseer.errors import InvalidInputError
from familyseer.ledger import Phase

__all__ = [
    "PHASES",
    "SIZES",
    "Contestant",
    "Job",
    "Report",
    "Round",
    "Work",
    "network_options",
    "prepare",
]

PHASES: tuple[Phase, ...] = ("search", "build", "run", "train", "families")

SIZES = ("small", "full", "tiny")
"""Few layers at their true widths, which has nearly all tasks of the network; the published depth; a toy for tests."""

_SMALL: Mapping[str, Mapping[str, Any]] = {
    "resnet18": {},
    "resnet50": {"depth": 2},
    "mobilenet_v2": {"depth": 2},
    "bert_base": {"depth": 2},
    "roberta_base": {"depth": 2},
    "gpt2": {"depth": 2},
    "vit_b16": {"depth": 2},
}


def network_options(name: str, size: str) -> dict[str, Any]:
    """Return the options with which `familyseer.networks.build` makes a network of one of `SIZES`."""
    if name not in _SMALL:
        raise InvalidInputError(f"`network` must be one of {', '.join(_SMALL)}; got {name!r}")
    if size not in SIZES:
        raise InvalidInputError(f"`size` must be one of {', '.join(SIZES)}; got {size!r}")
    return {"size": "tiny"} if size == "tiny" else dict(_SMALL[name]) if size == "small" else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One network, one seed: what every contestant of a block gets alike.

    Parameters
    ----------
    network, batch, size
        What to tune, see `network_options`.
    target
        As TVM takes it; ``"llvm"`` is this machine.
    trials
        Candidates that a contestant may measure in all.
    per_round
        Candidates of one round.
    min_repeat_ms
        Duration of one timing, at least.
    finalists
        Candidates per task that tuners which do such a thing time again at the end, see `TuningOptions`.
    seed
        Of everything random.
    only
        Tune only tasks whose name contains this; empty for all. For trying things out.
    records
        Folder where our policies keep their tuning logs; empty for nowhere.
    store
        Folder with what runs on other networks learnt, for contestants with the flag ``warm_store``; empty for none.
    """

    network: str
    batch: int = 1
    size: str = "small"
    target: str = "llvm"
    trials: int
    per_round: int = 16
    min_repeat_ms: int = 100
    finalists: int = 3
    seed: int = 0
    only: str = ""
    records: str = ""
    store: str = ""

    @property
    def block(self) -> tuple[str, int, int]:
        """What tells it from the other jobs of one table: network, batch and seed."""
        return self.network, self.batch, self.seed

    @property
    def title(self) -> str:
        """What progress messages call it."""
        return f"{self.network} batch {self.batch} seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The tasks of a job, made anew in every process.

    Parameters
    ----------
    job
        Where they come from.
    tasks
        `SearchTask`s, in the same order everywhere.
    weights
        How often the network calls each.
    """

    job: Job
    tasks: Sequence[Any] = field(repr=False)
    weights: Sequence[float]


def prepare(job: Job) -> Work:
    """Build the network and extract its tasks."""
    from familyseer import networks
    from familyseer.meta_schedule.relax import extract

    network = networks.build(job.network, batch=job.batch, **network_options(job.network, job.size))
    found = extract(network.mod, network.params, job.target)
    chosen = [(task, weight) for task, weight in zip(found.tasks, found.weights, strict=True) if job.only in task.desc]
    if not chosen:
        raise InvalidInputError(f"`only` must be part of a task's name; got {job.only!r}")
    return Work(job=job, tasks=[task for task, _ in chosen], weights=[float(weight) for _, weight in chosen])


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a contestant tells after one round.

    Parameters
    ----------
    task
        Index of the task that was tuned.
    seconds
        Wall seconds since the start by phase (`PHASES` and ``"other"``), waiting for its turn not counted.
    latencies
        Seconds of each candidate, None for a failed one.
    schedule
        The trace, as JSON text, of the task's new best candidate; None when there is none.
    """

    task: int
    seconds: Mapping[str, float]
    latencies: Sequence[float | None]
    schedule: str | None


class Report(Protocol):
    """Where a contestant reports; the call returns when it may go on."""

    def __call__(
        self, task: int, phases: Mapping[str, float], costs: Sequence[float | None], trace_of: Callable[[int], str]
    ) -> None:
        """Tell of a round: its task, the seconds of `PHASES` so far, latencies, and the trace of candidate i."""

    def choose(self, task: int, phases: Mapping[str, float], trace: str) -> None:
        """Tell that no trial but timing finalists again has made this the task's best."""


class Contestant(Protocol):
    """A tuner that takes part."""

    def tune(self, work: Work, report: Report) -> None:
        """Measure ``work.job.trials`` candidates, reporting after every round."""
