# SPDX-License-Identifier: Apache-2.0
"""`TaskScheduler` as ``tvm.auto_scheduler`` has it: it tunes many tasks, one round of one task at a time."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from familyseer.cost_model import CostModel, RandomCostModel, XGBCostModel
from familyseer.cost_model.booster import BoosterModel
from familyseer.errors import InvalidInputError
from familyseer.families.keys import DEFAULT_POLICY, PolicyName
from familyseer.families.learner import FamilyModel, family_model
from familyseer.families.memory import Memory
from familyseer.families.tracking import PartitionChange
from familyseer.ledger import Ledger
from familyseer.measure import MeasureResult
from familyseer.meta_schedule.callbacks import LogEstimatedLatency, PrintTableInfo, TaskSchedulerCallback
from familyseer.meta_schedule.finalists import finalists_of, time_finalists
from familyseer.meta_schedule.knowledge import Knowledge
from familyseer.meta_schedule.measure_record import record_of
from familyseer.meta_schedule.measurer import ProgramMeasurer
from familyseer.meta_schedule.policies import check_policies, make_policies
from familyseer.meta_schedule.resume import Round, recorded_rounds, restore_models
from familyseer.meta_schedule.scheduler_view import SchedulerView
from familyseer.meta_schedule.search_policy import SearchPolicy
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.seeds import SeedSource
from familyseer.meta_schedule.tuning_options import TuningOptions
from familyseer.records import UNTUNED, FamiliesRecord, LogContents, Ranking, RecordLog, for_target
from familyseer.report import failure_diagnosis
from familyseer.schedulers import TaskScheduler as Strategy
from familyseer.schedulers import make_scheduler
from familyseer.schedulers.base import Objective, weighted_sum
from familyseer.store import Store
from familyseer.task import Task, TaskKey
from familyseer.tuner import RoundOutcome, Tuner, TuningSummary

__all__ = ["TaskScheduler"]

logger = logging.getLogger(__name__)


class TaskScheduler(SchedulerView):
    """Share a budget of measurements among tasks so that the objective falls as fast as possible.

    Parameters
    ----------
    tasks
        What to tune, all for one target.
    task_weights
        How often each task is called; None: once each.
    objective_func
        What to minimise, of the latencies of all tasks in seconds; None: the weighted sum.
    strategy
        ``"gradient"``, ``"ansor"`` or ``"round-robin"``, see `familyseer.schedulers.make_scheduler`.
    load_model_file
        A cost model to start from if it exists, written at the end: a file for ``sketch.xgb``, a folder with a file per
        family for the family policies.
    load_log_file
        A log to resume from if it exists: its measurements count towards the budget, are not repeated, and restore
        models and scheduler.
    alpha, beta, gamma, backward_window_size
        Of the gradient strategy, see `familyseer.schedulers.GradientScheduler`.
    callbacks
        None: `PrintTableInfo` and ``LogEstimatedLatency("total_latency.tsv")``.
    seed
        Of everything random (not in TVM, which draws one).
    seeds
        Where family policies get candidates from other than sampled ones (not in TVM); None: from the best schedules of
        relatives (`TransferSeeds`). ``OwnSeeds()`` switches that off: each task learns from its own.
    store
        Folder of what earlier runs for the same target and TVM learnt (not in TVM), made if need be: family policies start
        from it, and add what this run learnt at the end. None: every run starts from nothing.
    """

    def __init__(
        self,
        tasks: Sequence[SearchTask],
        task_weights: Sequence[float] | None = None,
        objective_func: Callable[[list[float]], object] | None = None,
        strategy: str = "gradient",
        load_model_file: str | os.PathLike[str] | None = None,
        load_log_file: str | os.PathLike[str] | None = None,
        alpha: float = 0.2,
        beta: float = 2,
        gamma: float = 0.5,
        backward_window_size: int = 3,
        callbacks: Sequence[TaskSchedulerCallback] | None = None,
        *,
        seed: int = 0,
        seeds: SeedSource | None = None,
        store: str | os.PathLike[str] | None = None,
    ) -> None:
        self.tasks = list(tasks)
        weights = _weights(self.tasks, task_weights)
        self.described = tuple(replace(task.task, weight=w) for task, w in zip(self.tasks, weights, strict=True))
        if len({task.target for task in self.described}) > 1:
            raise InvalidInputError("`tasks` must all be for one target; tune each target by itself")
        self.objective_func = Objective(objective_func) if objective_func else weighted_sum(weights)
        self.objective_func.check(len(self.tasks))
        self.strategy = strategy
        self.load_model_file = Path(load_model_file) if load_model_file is not None else None
        self.load_log_file = Path(load_log_file) if load_log_file is not None else None
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.backward_window_size = backward_window_size
        self.callbacks = (
            list(callbacks) if callbacks is not None else [PrintTableInfo(), LogEstimatedLatency("total_latency.tsv")]
        )
        self.seed = seed
        self.ledger = Ledger()
        self.search_policies: list[SearchPolicy] = []
        self.tune_option = TuningOptions(num_measure_trials=1)
        self.tic = time.time()
        self._seeds, self._knowledge = seeds, Knowledge()
        self._store = _open_store(store, self.described[0].target) if store is not None else None
        self._tuner: Tuner | None = None
        self._make_strategy()  # so that wrong parameters fail here

    def tune(
        self,
        tune_option: TuningOptions,
        search_policy: str | Sequence[SearchPolicy] = "default",
        search_policy_params: Mapping[str, Any] | None = None,
        adaptive_training: bool = False,
        per_task_early_stopping: int | None = None,
    ) -> TuningSummary:
        """Tune all tasks until the budget is spent or nothing is left to gain.

        Parameters
        ----------
        tune_option
            How much to measure, and with what.
        search_policy
            ``"sketch.xgb.family_op"`` and its like, see `familyseer.families.keys.POLICY_NAMES`; ``"default"`` means
            ``"sketch.xgb"``, as in TVM. Or one policy per task.
        search_policy_params
            See `familyseer.meta_schedule.search_params.SearchParams`.
        adaptive_training
            Train the model of ``sketch.xgb`` only when a fifth more was measured. That of the family policies always is
            trained so, since their families' models take in what was measured since.
        per_task_early_stopping
            Give a task up when nothing improved in so many of its trials; None: never.

        Returns
        -------
        TuningSummary
            Why it ended and what it took (TVM returns nothing).
        """
        if not isinstance(tune_option, TuningOptions):
            raise InvalidInputError(f"`tune_option` must be TuningOptions; got {tune_option!r}")
        self.tune_option, self.tic, self.ledger = tune_option, time.time(), Ledger()
        self._failures: dict[int, list[MeasureResult]] = {}
        self._ranking = Ranking(max(tune_option.finalists, 1))
        name = PolicyName.parse(search_policy) if isinstance(search_policy, str) else None
        contents, rounds = self._recorded()
        memory = self._open_memory(name, {self.described[index].key for index, _ in rounds})
        guests = memory.guests if memory else ()
        self._knowledge = Knowledge(
            self._make_model(name, adaptive_training, guests) if name else None,
            seeds=self._seeds,
            memory=memory,
            model_file=self.load_model_file,
        )
        self.search_policies = self._make_policies(name, search_policy, search_policy_params)
        self._tuner = self._make_tuner(tune_option, per_task_early_stopping, name)
        started: list[Any] = []
        try:
            for callback in tune_option.measure_callbacks:
                getattr(callback, "start", lambda: None)()
                started.append(callback)
            with self.ledger.phase("train"):
                if not rounds:
                    self._knowledge.load()
                self._knowledge.learn_from_guests()
            self._restore(contents, rounds)
            with self._make_measurer(tune_option) as self.measurer:
                return self._time_finalists(self._tuner.run())
        finally:
            for callback in started:
                getattr(callback, "finish", lambda: None)()
            self._diagnose()
            self._knowledge.keep()

    def _make_measurer(self, tune_option: TuningOptions) -> ProgramMeasurer:
        return ProgramMeasurer(
            tune_option.builder, tune_option.runner, tune_option.measure_callbacks, tune_option.verbose
        )

    def _make_tuner(
        self, tune_option: TuningOptions, per_task_early_stopping: int | None, name: PolicyName | None
    ) -> Tuner:
        return Tuner(
            self.described,
            self._run_round,
            self._make_strategy(name),
            num_measure_trials=tune_option.num_measure_trials,
            num_measures_per_round=tune_option.num_measures_per_round,
            objective=self.objective_func,
            early_stopping=tune_option.early_stopping,
            per_task_early_stopping=per_task_early_stopping,
            min_gain=tune_option.min_gain,
            before_round=lambda index: self._tell("pre_tune", index),
            after_round=lambda index, outcome: self._tell("post_tune", index),
            confidence=lambda index: self._knowledge.confidence(self.described[index].key),
            ledger=self.ledger,
        )

    def _make_strategy(self, policy: PolicyName | None = None, **options: Any) -> Strategy:
        return make_scheduler(
            self.strategy,
            self.objective_func,
            policy=policy,
            tasks=self.described,
            guests=self._knowledge.guests,
            alpha=self.alpha,
            beta=self.beta,
            gamma=self.gamma,
            backward_window_size=self.backward_window_size,
            rng=np.random.default_rng(self.seed),
            **options,
        )

    def _tell(self, moment: str, index: int) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(self, index)

    def _run_round(self, index: int, num_measure: int) -> RoundOutcome:
        policy = self.search_policies[index]
        self._round = self.described[index].key, policy.round
        inputs, results = policy.continue_search_one_round(num_measure, self.measurer)
        self._note_failures(index, results)
        for given, result in zip(inputs, results, strict=True):
            self._ranking.add(replace(record_of(policy, given, result), round=self._round[1]))
        return RoundOutcome(results=results, exhausted=not inputs)

    def _time_finalists(self, summary: TuningSummary) -> TuningSummary:
        """Time again what may be the best of each task, and return the summary with what that took and gave."""
        finalists = finalists_of(self._ranking, self.described, self.tune_option.finalists)
        if not finalists:
            return summary
        start = time.perf_counter()
        described = {info.key: (task, info) for task, info in zip(self.tasks, self.described, strict=True)}
        with self.ledger.phase("run"):
            for records in time_finalists(described, finalists, self.measurer, seed=self.seed).values():
                self._ranking.extend(records)
        best = self._ranking.best()
        known = all(task.key in best for task in self.described)
        score = self.objective_func([best[task.key].cost for task in self.described]) if known else summary.score
        return replace(summary, seconds=summary.seconds + time.perf_counter() - start, score=score)

    def _note_failures(self, index: int, results: Sequence[MeasureResult]) -> None:
        """Keep what went wrong with a task as long as nothing of it has worked."""
        if not self.states[index].has_schedule:
            self._failures.setdefault(index, []).extend(results)

    def _diagnose(self) -> None:
        """Explain, for each task that has no valid schedule, why that is so."""
        for index, results in self._failures.items():
            if not self.states[index].has_schedule:
                logger.warning("%s", failure_diagnosis(self.tasks[index].desc, results))

    def _make_policies(
        self, name: PolicyName | None, given: Sequence[Any], params: Mapping[str, Any] | None
    ) -> list[SearchPolicy]:
        if name is None:
            return check_policies(given, len(self.tasks), self.ledger)
        return make_policies(
            name,
            self.tasks,
            self.described,
            self._knowledge,
            params=params,
            seed=self.seed,
            verbose=self.tune_option.verbose,
            ledger=self.ledger,
        )

    def _make_model(self, name: PolicyName, adaptive_training: bool, guests: Sequence[Task]) -> CostModel:
        if name.model == "random":
            return RandomCostModel(seed=self.seed)
        make_model = partial(XGBCostModel, seed=self.seed)
        if name.family != "shared":
            return self._family_model(name, make_model, guests)
        return make_model(adaptive_training=adaptive_training)

    def _family_model(
        self, name: PolicyName, make_model: Callable[[], BoosterModel], guests: Sequence[Task], **options: Any
    ) -> FamilyModel:
        return family_model(
            self.described,
            name,
            make_model,
            seed=self.seed,
            guests=guests,
            on_change=partial(self._record_families, str(name)),
            on_misled=lambda: self._knowledge.forget_guests(),
            phase=lambda: self.ledger.phase("families", self._round[0]),
            **options,
        )

    def _record_families(self, policy: str, change: PartitionChange) -> None:
        """Let the log know which tasks are families from the present round on."""
        key, number = self._round
        record = FamiliesRecord(
            task=key,
            round=number,
            target=self.described[0].target,
            policy=policy,
            families=change.partition.families,
            reason=change.reason,
        )
        for callback in self.tune_option.measure_callbacks:
            getattr(callback, "record_families", lambda record: None)(record)

    def _open_memory(self, name: PolicyName | None, measured: Collection[TaskKey]) -> Memory | None:
        if self._store is None:
            return None
        if name is None or name.family == "shared":
            asked = str(name) if name else "search policies"
            raise InvalidInputError(f"`store` serves family policies such as {DEFAULT_POLICY!r}; got {asked!r}")
        return Memory(self._store, self.described, measured)

    def _recorded(self) -> tuple[LogContents, Sequence[Round]]:
        """Return what is in the log to resume from."""
        if self.load_log_file is None:
            return LogContents(), []
        contents = RecordLog(self.load_log_file).read()
        return contents, recorded_rounds(contents, self.described, self.load_log_file)

    def _restore(self, contents: LogContents, rounds: Sequence[Round]) -> None:
        """Take over what the log says was measured."""
        assert self._tuner is not None
        if rounds:
            index, records = rounds[-1]
            self._round = self.described[index].key, records[0].round
        restore_models(contents, self.search_policies, self.model, rounds)
        mine = for_target(contents.records, self.described[0].target)
        self._ranking.extend(record for record in mine if record.policy != UNTUNED)
        outcomes = [(index, [record.result for record in records]) for index, records in rounds]
        for index, results in outcomes:
            self._note_failures(index, results)
        self._tuner.restore(outcomes)


def _open_store(path: str | os.PathLike[str], target: str) -> Store:
    return Store(path, target=target, engine=f"MetaSchedule of TVM {tvm.__version__}")


def _weights(tasks: Sequence[SearchTask], weights: Sequence[float] | None) -> list[float]:
    if not tasks:
        raise InvalidInputError("`tasks` must hold at least one task; got 0. The network may have nothing to tune.")
    strange = [task for task in tasks if not isinstance(task, SearchTask)]
    if strange:
        raise InvalidInputError(f"`tasks` must be SearchTasks; got {strange[0]!r}")
    if weights is None:
        return [1.0] * len(tasks)
    if len(weights) != len(tasks):
        raise InvalidInputError(f"`task_weights` must hold one weight per task ({len(tasks)}); got {len(weights)}")
    return [float(weight) for weight in weights]
