# SPDX-License-Identifier: Apache-2.0
"""How long search and training of a round take, in stock MetaSchedule and in familyseer, after the same measurements."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
import tvm
from tvm.s_tir import Schedule
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule.arg_info import ArgInfo

from familyseer import auto_scheduler
from familyseer.cost_model import XGBCostModel
from familyseer.measure import INVALID_COST, MeasureResult
from familyseer.meta_schedule.space import extract_features
from familyseer.meta_schedule.target import usable_cores
from familyseer.records import MeasureRecord

__all__ = ["OurRounds", "StockRounds"]

_NO_LIMIT = 10**6


class StockRounds:
    """Search and training as ``ms.tune_tasks`` does them, with one model for all tasks."""

    def __init__(self, target: tvm.target.Target, seed: int) -> None:
        self._target, self._seed = target, seed
        self._model = ms.cost_model.CostModel.create("xgb", num_tuning_cores=psutil.cpu_count(logical=False))

    def seconds(
        self, mod: tvm.IRModule, schedules: Sequence[Schedule], latencies: Sequence[float], count: int
    ) -> dict[str, float]:
        """Learn what was measured of a task (n schedules, n seconds, NaN: failed), then propose `count` candidates."""
        context = ms.TuneContext(
            mod=mod,
            target=self._target,
            space_generator="post-order-apply",
            search_strategy="evolutionary",
            rand_state=self._seed,
        )
        arguments = [ArgInfo.from_entry_func(schedule.mod, remove_preproc=True) for schedule in schedules]
        candidates = [ms.MeasureCandidate(*pair) for pair in zip(schedules, arguments, strict=True)]
        results = [
            ms.runner.RunnerResult(None, "failed") if np.isnan(cost) else ms.runner.RunnerResult([cost], None)
            for cost in latencies
        ]
        started = time.perf_counter()
        self._model.update(context, candidates, results)
        trained = time.perf_counter() - started
        database = ms.database.MemoryDatabase()
        workload = database.commit_workload(mod)
        for schedule, info, cost in zip(schedules, arguments, latencies, strict=True):
            costs = [INVALID_COST if np.isnan(cost) else cost]
            database.commit_tuning_record(ms.database.TuningRecord(schedule.trace, workload, costs, self._target, info))
        spaces = context.generate_design_space()
        started = time.perf_counter()
        context.pre_tuning(_NO_LIMIT, count, spaces, database, self._model)
        found = context.search_strategy.generate_measure_candidates()
        searched = time.perf_counter() - started
        context.post_tuning()
        return {"search": searched, "train": trained, "proposed": len(found or [])}


class OurRounds:
    """Search and training as ``sketch.xgb`` does them with the defaults of `TaskScheduler.tune`."""

    def __init__(self, target: tvm.target.Target, seed: int) -> None:
        self._target, self._seed = target, seed
        self._model = XGBCostModel(seed=seed, adaptive_training=False)

    def seconds(
        self, mod: tvm.IRModule, schedules: Sequence[Schedule], latencies: Sequence[float], count: int
    ) -> dict[str, float]:
        """Do what `StockRounds.seconds` does."""
        task = auto_scheduler.SearchTask(func=mod, target=self._target)
        policy = auto_scheduler.SketchPolicy(task, self._model, seed=self._seed)
        policy.recall([_record(task, *pair) for pair in zip(schedules, latencies, strict=True)])
        costs = np.nan_to_num(np.array(latencies), nan=INVALID_COST)
        started = time.perf_counter()
        features = extract_features(task.mod, task.target, schedules, usable_cores())
        self._model.update(task.task.key, features, costs)
        trained = time.perf_counter() - started
        started = time.perf_counter()
        found = policy.propose(count)
        return {"search": time.perf_counter() - started, "train": trained, "proposed": len(found)}


def _record(task: Any, schedule: Schedule, latency: float) -> MeasureRecord:
    failed = MeasureResult(error_no=auto_scheduler.MeasureErrorNo.UNKNOWN_ERROR, error_msg="failed")
    return MeasureRecord(
        task=task.task.key,
        target=task.task.target,
        trace=auto_scheduler.State.of(task, schedule).trace,
        result=failed if np.isnan(latency) else MeasureResult(costs=(float(latency),)),
    )
