# SPDX-License-Identifier: Apache-2.0
"""What methods of others need that our policies do not have: their order of work, and a plain evolution of programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import numpy as np
from tvm.s_tir import Schedule

from benchmarks.search.job import PHASES, Report, Work
from familyseer.ledger import Ledger
from familyseer.measure import MeasureResult
from familyseer.meta_schedule.finalists import finalists_of, time_finalists
from familyseer.meta_schedule.measure_record import record_of
from familyseer.meta_schedule.search_policy import SearchPolicy, SketchPolicy
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.seeds import SeedSource
from familyseer.meta_schedule.space import ScheduleSpace
from familyseer.meta_schedule.traces import trace_json
from familyseer.records import Ranking, canonical_json
from familyseer.schedulers import GradientScheduler
from familyseer.schedulers.base import ROUNDS_BEFORE_RETIREMENT, TaskState, similarity_label, weighted_sum
from familyseer.task import Task

__all__ = ["POPULATION", "Loop", "PublishedPolicy", "described_tasks", "latency", "phase_seconds"]

POPULATION = 512
"""MetaSchedule's: what methods of others evolve, whatever the round's size."""


class PublishedPolicy(SketchPolicy):
    """The search of one task as others have it: MetaSchedule's evolution, from seeds alone where there are any.

    Of what our policies do beside that, it does nothing: no random candidates but `eps_greedy`, however little was measured
    of the task, no limit to candidates that are alike, no search among choices.

    Parameters
    ----------
    seeds
        Where a population comes from other than sampling and the task's own best.
    params
        As for `SketchPolicy`; the population is `POPULATION`.
    **options
        As for `SketchPolicy`.
    """

    _seed_population = 1.0

    def __init__(
        self,
        task: SearchTask,
        program_cost_model: Any = None,
        *,
        seeds: SeedSource | None = None,
        params: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._seed_source = seeds or SeedSource()
        params = {"evolutionary_search_population": POPULATION, **(params or {})}
        super().__init__(task, program_cost_model, params, **options)

    def _random_share(self) -> float:
        return self.params.eps_greedy

    def _seeds(self, space: ScheduleSpace, num_measure: int) -> list[Schedule]:
        """Return a whole population of seeds, each as often as it takes."""
        count = self.params.evolution(num_measure).population
        sketches = [canonical_json(trace_json(sketch)) for sketch in space.sketches]
        found = space.finish(self._seed_source.seeds_for(self.described, sketches, count, self._rng()))
        return list(islice(cycle(found), count))


def described_tasks(work: Work) -> list[Task]:
    """Return what the method knows of each task, with its weight."""
    return [replace(task.task, weight=weight) for task, weight in zip(work.tasks, work.weights, strict=True)]


def phase_seconds(ledger: Ledger) -> dict[str, float]:
    """Return what was spent so far on each of `PHASES`."""
    snapshot = ledger.snapshot()
    return {phase: snapshot.phase_seconds(phase) for phase in PHASES}


def latency(result: MeasureResult) -> float | None:
    """Return the latency of a candidate in seconds, None when it failed."""
    return result.cost if result.costs else None


class Loop:
    """The states of all tasks, Ansor's gradient, and one budget.

    Parameters
    ----------
    work
        What is tuned.
    policies
        One per task, sharing `ledger`.
    ledger
        Where they charge their time.
    measurer
        A `ProgramMeasurer`, or what can stand for one.
    report
        Called after every round, as a `Report` is.
    """

    def __init__(
        self, work: Work, policies: Sequence[SearchPolicy], ledger: Ledger, measurer: Any, report: Callable[..., None]
    ) -> None:
        self._work = work
        self.described = described_tasks(work)
        self.states = [TaskState(key=t.key, flops=t.flops, similarity=similarity_label(t)) for t in self.described]
        self.left = work.job.trials
        self._policies, self._ledger, self._measurer, self._report = policies, ledger, measurer, report
        self._ranking = Ranking(max(work.job.finalists, 1))
        self._gradient = GradientScheduler(
            weighted_sum([task.weight for task in self.described]), rng=np.random.default_rng(work.job.seed)
        )

    def steepest(self, among: Iterable[int] | None = None) -> int | None:
        """Return the task, of those `among`, that Ansor's scheduler would tune next; None when none is alive."""
        allowed = set(range(len(self.states)) if among is None else among)
        seen = [replace(state, alive=state.alive and i in allowed) for i, state in enumerate(self.states)]
        return self._gradient.next_task(seen) if any(state.alive for state in seen) else None

    def round(self, index: int, count: int) -> bool:
        """Tune a task for at most `count` trials; whether the budget has any left."""
        inputs, results = self._policies[index].continue_search_one_round(min(count, self.left), self._measurer)
        if not inputs:
            self.states[index] = replace(self.states[index], alive=False)
            return any(state.alive for state in self.states)
        state = self.states[index].after_round(results)
        hopeless = state.rounds >= ROUNDS_BEFORE_RETIREMENT and not state.has_schedule
        self.states[index] = replace(state, alive=not hopeless)
        self._gradient.observe(self.states, index)
        self.left -= len(results)
        for given, result in zip(inputs, results, strict=True):
            self._ranking.add(record_of(self._policies[index], given, result))
        costs = [latency(result) for result in results]
        self._report(index, phase_seconds(self._ledger), costs, lambda i: inputs[i].state.trace)
        return self.left > 0 and any(state.alive for state in self.states)

    def choose(self, report: Report) -> None:
        """Time the finalists of all tasks again, as our own scheduler does, and tell what that chose."""
        finalists = finalists_of(self._ranking, self.described, self._work.job.finalists)
        tasks = {info.key: (task, info) for task, info in zip(self._work.tasks, self.described, strict=True)}
        with self._ledger.phase("run"):
            timed = time_finalists(tasks, finalists, self._measurer, seed=self._work.job.seed)
        for index, task in enumerate(self.described):
            if timed.get(task.key):
                report.choose(index, phase_seconds(self._ledger), timed[task.key][0].trace)
