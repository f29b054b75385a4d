# SPDX-License-Identifier: Apache-2.0
"""Our own policies, as a user calls them, and with parts taken away or exchanged (ablations)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.job import Job, Report, Work
from benchmarks.search.loop import Loop, described_tasks, latency, phase_seconds
from benchmarks.stock_measurer import StockMeasurer
from familyseer import auto_scheduler
from familyseer.cost_model import CostModel, ModelBank, PackSumXGBModel, XGBCostModel
from familyseer.cost_model.booster import BoosterModel
from familyseer.errors import InvalidInputError
from familyseer.families.keys import PolicyName, partition_tasks
from familyseer.families.learner import family_model
from familyseer.ledger import Ledger
from familyseer.meta_schedule.search_policy import FamilySketchPolicy
from familyseer.meta_schedule.seeds import NoSeeds, SeedSource
from familyseer.meta_schedule.transfer import TransferSeeds
from familyseer.task import Task

__all__ = ["FLAGS", "Ablation", "Ours", "measurer_for"]

FLAGS: Mapping[str, str] = {
    "random_families": "as many families of the same sizes, drawn at random",
    "first_families": "the families of the first round for the whole run, no cross-accuracy",
    "serve_shared": "the shared model answers for every task, whatever the families' models predict",
    "serve_family": "every family is served by its own model, however that predicts",
    "no_transfer": "no schedules of relatives in the population",
    "pack_sum": "TVM's objective for the cost model instead of ours",
    "no_optimism": "the search follows the mean prediction instead of an upper confidence bound",
    "large_population": "MetaSchedule's 512 schedules in every generation, whatever the round's size",
    "stock_builder": "MetaSchedule's builder and runner",
}


@dataclass(frozen=True, slots=True)
class Ours:
    """One of our policies by its name, through the API that users call."""

    policy: str

    def tune(self, work: Work, report: Report) -> None:
        """Run `TaskScheduler.tune`."""
        job = work.job
        reporter = _Reporter(report)
        scheduler = auto_scheduler.TaskScheduler(work.tasks, work.weights, callbacks=[reporter], seed=job.seed)
        options = auto_scheduler.TuningOptions(
            job.trials,
            num_measures_per_round=job.per_round,
            verbose=0,
            runner=_runner(work),
            measure_callbacks=[reporter, *_record_to(job, self.policy)],
        )
        scheduler.tune(options, search_policy=self.policy)


class _Reporter(auto_scheduler.TaskSchedulerCallback, auto_scheduler.MeasureCallback):
    """Gathers the measurements of a round, and reports when the round is over."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._measured: list[tuple[float | None, str]] = []

    def __call__(self, policy: Any, inputs: Sequence[Any], results: Sequence[Any]) -> None:
        for given, result in zip(inputs, results, strict=True):
            self._measured.append((latency(result), given.state.trace))

    def post_tune(self, task_scheduler: Any, task_id: int) -> None:
        measured, self._measured = self._measured, []
        if measured:
            costs = [cost for cost, _ in measured]
            self._report(task_id, phase_seconds(task_scheduler.ledger), costs, lambda i: measured[i][1])


def _record_to(job: Job, policy: str) -> Sequence[auto_scheduler.MeasureCallback]:
    """Return what keeps a new log of all that is measured, where one is wanted."""
    if not job.records:
        return ()
    path = Path(job.records) / f"{job.network}-b{job.batch}-{policy}-{job.seed}.log"
    path.unlink(missing_ok=True)  # of a block that was interrupted
    return (auto_scheduler.RecordToFile(str(path)),)


def _runner(work: Work) -> Any:
    return auto_scheduler.LocalRunner(number=3, repeat=1, min_repeat_ms=work.job.min_repeat_ms)


def measurer_for(work: Work) -> AbstractContextManager[Any]:
    """Return our measurement pipeline with the job's evaluator settings."""
    return auto_scheduler.ProgramMeasurer(auto_scheduler.LocalBuilder(), _runner(work), verbose=0)


@dataclass(frozen=True, slots=True)
class Ablation:
    """A policy with some of `FLAGS`; the rest is as `Ours` has it."""

    policy: str
    flags: frozenset[str]

    def __post_init__(self) -> None:
        unknown = sorted(self.flags - FLAGS.keys())
        if unknown:
            raise InvalidInputError(f"an ablation must be one of {', '.join(FLAGS)}; got {', '.join(unknown)}")
        if PolicyName.parse(self.policy).model != "xgb":
            raise InvalidInputError(f"ablations change a learnt policy; {self.policy!r} has nothing to change")

    def tune(self, work: Work, report: Report) -> None:
        """Tune one round of one task after another, as the gradient says."""
        described, ledger, seed = described_tasks(work), Ledger(), work.job.seed
        bank = self._bank(described, seed)
        params = {"evolutionary_search_population": 512} if "large_population" in self.flags else {}
        seeds = self._seeds(bank)
        policies = [
            FamilySketchPolicy(
                task, bank, params=params, seed=seed, described=info, ledger=ledger, seeds=seeds, verbose=0
            )
            for task, info in zip(work.tasks, described, strict=True)
        ]
        measurer = StockMeasurer(work.job.min_repeat_ms) if "stock_builder" in self.flags else measurer_for(work)
        with measurer as opened:
            loop = Loop(work, policies, ledger, opened, report)
            index = loop.steepest()
            while index is not None and loop.round(index, work.job.per_round):
                index = loop.steepest()

    def _bank(self, described: Sequence[Task], seed: int) -> CostModel:
        make_model = self._make_model(seed)
        if PolicyName.parse(self.policy).family == "shared":
            return make_model()
        serve: dict[str, Any] = {}
        for flag in ("serve_shared", "serve_family"):
            serve |= {"serve": flag.removeprefix("serve_")} if flag in self.flags else {}
        if not self.flags & {"random_families", "first_families"}:
            return family_model(described, self.policy, make_model, seed=seed, **serve)
        labels = partition_tasks(self.policy, described).labels()
        if "random_families" in self.flags:
            shuffled = np.random.default_rng(seed).permutation(list(labels.values()))
            labels = dict(zip(labels, map(str, shuffled), strict=True))
        return ModelBank(labels, make_model, **serve)

    def _seeds(self, bank: CostModel) -> SeedSource:
        if "no_transfer" in self.flags or not isinstance(bank, ModelBank):
            return NoSeeds()
        return TransferSeeds(bank.relatives)

    def _make_model(self, seed: int) -> Callable[[], BoosterModel]:
        if "pack_sum" in self.flags:
            return lambda: PackSumXGBModel(seed=seed, adaptive_training=False)
        if "no_optimism" in self.flags:
            return lambda: XGBCostModel(seed=seed, adaptive_training=False, optimism=0.0)
        return lambda: XGBCostModel(seed=seed, adaptive_training=False)
