# SPDX-License-Identifier: Apache-2.0
"""Time the best schedules of all contestants again, together: only these latencies are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from tvm.s_tir import Schedule

from benchmarks.search.job import Work
from familyseer import auto_scheduler
from familyseer.meta_schedule.builder import ArtefactFolder
from familyseer.meta_schedule.measurer import MeasureRequest
from familyseer.meta_schedule.pool import Ending, WorkerPool, next_outcomes
from familyseer.meta_schedule.relax import default_schedule
from familyseer.meta_schedule.search_policy import measure_request
from familyseer.meta_schedule.space import module_hash
from familyseer.meta_schedule.stack import places
from familyseer.meta_schedule.workers import Call

__all__ = ["final_timing", "remeasure"]

_PASSES = 5
_PASS_MS = 50


def final_timing() -> dict[str, int]:
    """Return what latencies of two results must have in common to be compared: passes, their least ms, stack places."""
    return {"passes": _PASSES, "pass_ms": _PASS_MS, "stack_places": len(places())}


def remeasure(work: Work, runs: Mapping[str, Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Replace the traces in `runs` by numbers of schedules, and time each schedule five times in shuffled order.

    Each pass has processes of its own, so that where the memory of one happens to lie does not decide over all passes.
    Several short passes are better than one long: what disturbs a kernel that streams megabytes, neighbours on a shared
    cache or where its arguments lie, lasts for seconds or for the life of a process.
    Equal programs are timed once, whoever found them. The unscheduled program of each task comes first: number i is
    that of task i.

    Returns
    -------
    list of dict
        For each schedule its ``task`` and ``seconds``, the latencies of the passes (at least 50 ms each; empty when it
        failed).
    """
    requests, tasks = [], []
    for i, task in enumerate(work.tasks):
        requests.append(measure_request(task.workload_key, task, Schedule(default_schedule(task.mod, task.target))))
        tasks.append(i)
    number_of: dict[tuple[int, int], int] = {}
    for rounds in runs.values():
        for made in rounds:
            if made["schedule"] is not None:
                task = work.tasks[made["task"]]
                schedule = auto_scheduler.State(task, made["schedule"]).schedule
                identity = (made["task"], module_hash(schedule))
                if identity not in number_of:
                    number_of[identity] = len(requests)
                    requests.append(measure_request(task.workload_key, task, schedule))
                    tasks.append(made["task"])
                made["schedule"] = number_of[identity]
    seconds = _timed(requests, np.random.default_rng(work.job.seed))
    return [{"task": task, "seconds": found} for task, found in zip(tasks, seconds, strict=True)]


def _timed(requests: Sequence[MeasureRequest], rng: np.random.Generator) -> list[list[float]]:
    """Build everything once, and then time it in each pass."""
    target = str(requests[0].target)
    builder = auto_scheduler.LocalBuilder(timeout=60)
    runner = auto_scheduler.LocalRunner(number=3, repeat=1, min_repeat_ms=_PASS_MS, timeout=30)
    folder = ArtefactFolder()
    try:
        paths = [folder.next_path(builder, target) for _ in requests]
        builds = [
            builder.call(tvm.ir.save_json(request.mod), target, path)
            for request, path in zip(requests, paths, strict=True)
        ]
        built = _outcomes(builder.make_pool(target), dict(enumerate(builds)))
        runs = {i: runner.call(paths[i], requests[i].args_info, target, None) for i in built}
        seconds: list[list[float]] = [[] for _ in requests]
        for _ in range(_PASSES):
            order = [i for i in rng.permutation(len(requests)) if i in runs]
            for i, costs in _outcomes(runner.make_pool(target), {i: runs[i] for i in order}).items():
                seconds[i] += costs
        return seconds
    finally:
        folder.close()


def _outcomes(pool: WorkerPool, calls: Mapping[int, Call]) -> dict[int, Any]:
    """Return what each call that ended well returned; the pool is closed."""
    try:
        for ident, call in calls.items():
            pool.submit(ident, call)
        values = {}
        while pool.unfinished:
            for _, ident, outcome in next_outcomes([pool], [None]):
                if outcome.ending is Ending.DONE:
                    values[ident] = outcome.value
        return values
    finally:
        pool.close()
