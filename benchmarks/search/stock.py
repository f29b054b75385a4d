# SPDX-License-Identifier: Apache-2.0
"""Stock MetaSchedule as a user gets it: ``ms.tune_tasks`` with its scheduler, model, builder and runner."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule.utils import fork_seed

from benchmarks.search.job import Report, Work
from benchmarks.stock_measurer import BUILD_SECONDS
from familyseer.meta_schedule.traces import trace_json
from familyseer.records import canonical_json

__all__ = ["Soundness", "Stock", "phase_seconds"]

_HOPELESS = 64  # failures and nothing else
# How the names of MetaSchedule's profiler begin.
_PHASES: Mapping[str, tuple[str, ...]] = {
    "search": ("EvoSearch/",),
    "build": ("SendToBuilder",),
    "run": ("SendToRunner", "JoinRunnerFutures"),
    "train": ("MeasureCallback/UpdateCostModel",),
}


class Stock:
    """``ms.tune_tasks``, told nothing but the work, the evaluator's settings, a seed and `BUILD_SECONDS`."""

    def tune(self, work: Work, report: Report) -> None:
        """Run `ms.tune_tasks`; a measure callback reports after every round."""
        job = work.job
        np.random.seed(job.seed)  # the warm-up of its cost model draws from numpy's global state
        contexts = [
            ms.TuneContext(
                mod=task.mod,
                target=task.target,
                space_generator="post-order-apply",
                search_strategy="evolutionary",
                task_name=task.desc,
                rand_state=seed,
                num_threads="physical",
            )
            for task, seed in zip(work.tasks, fork_seed(job.seed + 1, n=len(work.tasks)), strict=True)
        ]
        evaluator = ms.runner.EvaluatorConfig(number=3, repeat=1, min_repeat_ms=job.min_repeat_ms)
        with tempfile.TemporaryDirectory(prefix="stock-") as folder, ms.Profiler() as profiler:
            teller = _Teller(report, profiler)
            ms.tune_tasks(
                tasks=contexts,
                task_weights=list(work.weights),
                work_dir=folder,
                max_trials_global=job.trials,
                num_trials_per_iter=job.per_round,
                builder=ms.builder.LocalBuilder(max_workers=contexts[0].num_threads, timeout_sec=BUILD_SECONDS),
                task_scheduler=ms.task_scheduler.GradientBased(seed=job.seed + 1),  # its default, but for the seed
                runner=ms.runner.LocalRunner(evaluator_config=evaluator),
                measure_callbacks=[*ms.MeasureCallback.create("default"), teller],
            )


def phase_seconds(profile: Mapping[str, float]) -> dict[str, float]:
    """Sum the profiler's seconds by phase; an entry that is part of another one counts with that.

    Examples
    --------
    >>> phase_seconds({"EvoSearch/A": 1.0, "EvoSearch/A/B": 0.5, "SendToRunner": 2.0, "JoinRunnerFutures": 3.0})
    {'search': 1.0, 'build': 0, 'run': 5.0, 'train': 0}
    """
    outer = {name: float(s) for name, s in profile.items() if not any(name.startswith(f"{o}/") for o in profile)}
    return {
        phase: sum(seconds for name, seconds in outer.items() if name.startswith(starts))
        for phase, starts in _PHASES.items()
    }


class Soundness:
    """Tells failures, which are data, from a machine on which nothing can be measured."""

    def __init__(self) -> None:
        self._failures: float = 0  # as long as nothing else came

    def see(self, errors: Sequence[str | None]) -> None:
        """Take note of candidates' errors; RuntimeError when 64 or more were all there is."""
        self._failures = -inf if None in errors else self._failures + len(errors)
        if self._failures >= _HOPELESS:
            raise RuntimeError(
                f"stock could not measure one of its first {self._failures:.0f} candidates; make this machine fit for it "
                f"(compilers, memory, load) or leave it out of `--baselines`. The last error: {errors[-1]}"
            )


@derived_object
class _Teller(ms.measure_callback.PyMeasureCallback):  # type: ignore[misc]  # tvm is not typed
    def __init__(self, report: Report, profiler: ms.Profiler) -> None:
        super().__init__()
        self._report, self._profiler = report, profiler
        self._soundness = Soundness()

    def apply(
        self, task_scheduler: Any, task_id: int, measure_candidates: Any, builder_results: Any, runner_results: Any
    ) -> None:
        self._soundness.see([None if result.error_msg is None else str(result.error_msg) for result in runner_results])
        candidates = list(measure_candidates)
        trace_of: Callable[[int], str] = lambda i: canonical_json(trace_json(candidates[i].sch))  # noqa: E731
        costs = [
            float(np.median([float(s) for s in result.run_secs])) if result.error_msg is None else None
            for result in runner_results
        ]
        self._report(int(task_id), phase_seconds(dict(self._profiler.get())), costs, trace_of)
