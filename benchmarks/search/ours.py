# SPDX-License-Identifier: Apache-2.0
"""Our own policies, as a user calls them, and with parts taken away or exchanged (ablations)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.search.job import Job, Report, Work
from benchmarks.search.loop import latency, phase_seconds
from benchmarks.stock_measurer import StockMeasurer
from familyseer import auto_scheduler
from familyseer.cost_model import CostModel, ModelBank, PackSumXGBModel, XGBCostModel
from familyseer.cost_model.booster import BoosterModel
from familyseer.errors import InvalidInputError
from familyseer.families.keys import PolicyName, partition_tasks
from familyseer.meta_schedule.transfer import OwnSeeds
from familyseer.records import FINALIST
from familyseer.task import Task, TaskKey

__all__ = ["FLAGS", "Ours", "measurer_for"]

FLAGS: Mapping[str, str] = {
    "random_families": "as many families of the same sizes, drawn at random",
    "first_families": "the families of the first round for the whole run, no cross-accuracy",
    "serve_shared": "the shared model answers for every task, whatever the families' models predict",
    "serve_family": "every family is served by its own model, however that predicts",
    "no_transfer": "no schedules of relatives: a task starts from its own best and its own experience",
    "no_variety": "rounds may be filled with candidates that have the same inner tile",
    "no_copies": "no place in a round for copies of what faster relatives did",
    "no_vectors": "no place in a round for inner tiles that are new to the task",
    "own_best": "a task's own best counts as good as it gets, whatever relatives show",
    "program_search": "TVM's evolution of programs instead of a search among choices",
    "equal_first_rounds": "first rounds of eight, however relatives' models did on those of others",
    "hopeful": "as much is hoped for of tasks that had many trials as Ansor's scheduler does",
    "small_rounds": "rounds of eight, however the model that chooses them does",
    "any_build_time": "candidates that take long to compile are as welcome as others",
    "ansor_gradient": "Ansor's scheduler: no priors, rounds of equal size, gain per round",
    "pack_sum": "TVM's objective for the cost model instead of ours",
    "no_optimism": "the search follows the mean prediction instead of an upper confidence bound",
    "large_population": "program_search with MetaSchedule's 512 schedules in every generation, whatever the round's size",
    "full_timing": "hopeless candidates are timed as long as the others",
    "warm_store": "starts from a copy of the store that --store names",
    "stock_builder": "MetaSchedule's builder and runner",
    "more_trials": "four times the trials of the others: what it holds when a slower baseline ends",
}

MakeMeasurer = Callable[[Any], Any]
"""Makes, of tuning options, what stands for our measurer."""

_MODEL_FLAGS = frozenset(
    {"random_families", "first_families", "serve_shared", "serve_family", "pack_sum", "no_optimism"}
)

_SCHEDULING: Mapping[str, tuple[str, Any]] = {
    "equal_first_rounds": ("foreseen", 8),
    "hopeful": ("settled", 10**9),
    "small_rounds": ("sure", 0.0),
}
"""The parameter of `FamilyGradientScheduler` that a flag changes, and to what."""

_FIXED_FAMILIES = frozenset({"random_families", "first_families"})


@dataclass(frozen=True, slots=True)
class Ours:
    """One of our policies by its name, through the API that users call, from which `FLAGS` may take something away."""

    policy: str
    flags: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        unknown = sorted(self.flags - FLAGS.keys())
        if unknown:
            raise InvalidInputError(f"an ablation must be one of {', '.join(FLAGS)}; got {', '.join(unknown)}")
        if self.flags and PolicyName.parse(self.policy).model != "xgb":
            raise InvalidInputError(f"ablations change a learnt policy; {self.policy!r} has nothing to change")
        scheduling = sorted(self.flags & _SCHEDULING.keys())
        if scheduling and (PolicyName.parse(self.policy).family == "shared" or "ansor_gradient" in self.flags):
            raise InvalidInputError(
                f"`{scheduling[0]}` changes the scheduler of family policies; this contestant has Ansor's. Leave it out."
            )
        fixed = sorted(self.flags & _FIXED_FAMILIES)
        if fixed and "warm_store" in self.flags:
            raise InvalidInputError(
                f"`warm_store` teaches families that may change; {fixed[0]} has none that could learn from it. "
                "Leave one of them out."
            )

    def tune(self, work: Work, report: Report, *, make_measurer: MakeMeasurer | None = None) -> None:
        """Run `TaskScheduler.tune`; `make_measurer` makes what stands for our measurer."""
        with TemporaryDirectory(prefix="store-") as folder:
            store = _copied(work.job.store, folder) if "warm_store" in self.flags else None
            scheduler, reporter = _scheduler(work, report, self.flags, store)
            scheduler.make_measurer = make_measurer
            options, params = _settings(work, reporter, self.policy, self.flags)
            scheduler.tune(options, search_policy=self.policy, search_policy_params=params)
            reporter.choose(scheduler)


def _copied(store: str, folder: str) -> str:
    """Return a copy of a store, so that no contestant learns from another."""
    return shutil.copytree(store, folder, dirs_exist_ok=True)


def _scheduler(
    work: Work, report: Report, flags: frozenset[str], store: str | None
) -> tuple[_AblatedScheduler, _Reporter]:
    reporter = _Reporter(report)
    scheduler = _AblatedScheduler(
        work.tasks,
        work.weights,
        strategy="ansor" if "ansor_gradient" in flags else "gradient",
        callbacks=[reporter],
        seed=work.job.seed,
        seeds=OwnSeeds() if "no_transfer" in flags else None,
        store=store,
    )
    scheduler.flags = flags
    return scheduler, reporter


def _settings(work: Work, reporter: _Reporter, policy: str, flags: frozenset[str]) -> tuple[Any, dict[str, Any]]:
    job = work.job
    options = auto_scheduler.TuningOptions(
        job.trials,
        num_measures_per_round=job.per_round,
        verbose=0,
        finalists=job.finalists,
        runner=_runner(work, **({"patience": float("inf")} if "full_timing" in flags else {})),
        measure_callbacks=[reporter, *(() if flags else _record_to(job, policy))],
    )
    params: dict[str, Any] = {"evolutionary_search_population": 512} if "large_population" in flags else {}
    params |= {"inner_tile_share": 1.0} if "no_variety" in flags else {}
    params |= {"copy_share": 0.0} if "no_copies" in flags else {}
    params |= {"vector_share": 0.0} if "no_vectors" in flags else {}
    params |= {"relative_weight": 0.0} if "own_best" in flags else {}
    params |= {"build_time_weight": 0.0} if "any_build_time" in flags else {}
    params |= {"choice_search": False} if flags & {"program_search", "large_population"} else {}
    return options, params


class _AblatedScheduler(auto_scheduler.TaskScheduler):
    """The users' scheduler, but for the parts that flags exchange."""

    flags: frozenset[str] = frozenset()
    make_measurer: MakeMeasurer | None = None

    def _make_measurer(self, tune_option: Any) -> Any:
        if self.make_measurer is not None:
            return self.make_measurer(tune_option)
        if "stock_builder" in self.flags:
            return StockMeasurer(tune_option.runner.settings.min_repeat_ms)
        return super()._make_measurer(tune_option)

    def _make_strategy(self, policy: PolicyName | None = None, **options: Any) -> Any:
        changed = {name: value for flag, (name, value) in _SCHEDULING.items() if flag in self.flags and policy}
        return super()._make_strategy(policy, **options, **changed)

    def _make_model(self, name: PolicyName, adaptive_training: bool, guests: Sequence[Task]) -> CostModel:
        if not self.flags & _MODEL_FLAGS:
            return super()._make_model(name, adaptive_training, guests)
        make_model = self._maker(name)
        if name.family == "shared":
            return make_model()
        serve: dict[str, Any] = {}
        for flag in ("serve_shared", "serve_family"):
            serve |= {"serve": flag.removeprefix("serve_")} if flag in self.flags else {}
        if not self.flags & _FIXED_FAMILIES:
            return self._family_model(name, make_model, guests, **serve)
        labels = partition_tasks(name, self.described).labels()
        if "random_families" in self.flags:
            shuffled = np.random.default_rng(self.seed).permutation(list(labels.values()))
            labels = dict(zip(labels, map(str, shuffled), strict=True))
        return ModelBank(labels, make_model, **serve)

    def _maker(self, name: PolicyName) -> Callable[[], BoosterModel]:
        kind = PackSumXGBModel if "pack_sum" in self.flags else XGBCostModel
        options: dict[str, Any] = {"optimism": 0.0} if "no_optimism" in self.flags else {}
        options |= {"adaptive_training": False} if name.family == "shared" else {}
        return lambda: kind(seed=self.seed, **options)


class _Reporter(auto_scheduler.TaskSchedulerCallback, auto_scheduler.MeasureCallback):
    """Gathers the measurements of a round and reports when the round is over; of finalists, the best of each task."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._measured: list[tuple[float | None, str]] = []
        self._chosen: dict[TaskKey, str] = {}

    def __call__(self, policy: Any, inputs: Sequence[Any], results: Sequence[Any]) -> None:
        if policy.name == FINALIST:
            self._chosen.setdefault(policy.described.key, inputs[0].state.trace)  # the best is told first
            return
        for given, result in zip(inputs, results, strict=True):
            self._measured.append((latency(result), given.state.trace))

    def post_tune(self, task_scheduler: Any, task_id: int) -> None:
        measured, self._measured = self._measured, []
        if measured:
            costs = [cost for cost, _ in measured]
            self._report(task_id, phase_seconds(task_scheduler.ledger), costs, lambda i: measured[i][1])

    def choose(self, task_scheduler: Any) -> None:
        """Report what timing finalists again has made the best."""
        for index, task in enumerate(task_scheduler.described):
            if task.key in self._chosen:
                self._report.choose(index, phase_seconds(task_scheduler.ledger), self._chosen[task.key])


def _record_to(job: Job, policy: str) -> Sequence[auto_scheduler.MeasureCallback]:
    """Return what keeps a new log of all that is measured, where one is wanted."""
    if not job.records:
        return ()
    path = Path(job.records) / f"{job.network}-b{job.batch}-{policy}-{job.seed}.log"
    path.unlink(missing_ok=True)  # of a block that was interrupted
    return (auto_scheduler.RecordToFile(str(path)),)


def _runner(work: Work, **options: Any) -> Any:
    return auto_scheduler.LocalRunner(number=3, repeat=1, min_repeat_ms=work.job.min_repeat_ms, **options)


def measurer_for(work: Work) -> AbstractContextManager[Any]:
    """Return our measurement pipeline with the job's evaluator settings."""
    return auto_scheduler.ProgramMeasurer(auto_scheduler.LocalBuilder(), _runner(work), verbose=0)
