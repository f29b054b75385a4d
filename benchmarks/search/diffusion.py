# SPDX-License-Identifier: Apache-2.0
"""Bayesian Code Diffusion (Jeong et al., OSDI 2025), re-implemented for MetaSchedule from its description.

Tasks whose first sketch is the same form a cluster; its prior is the task whose shape is most like the others'.
First every prior is tuned for as many rounds as its cluster has tasks, ten at most. Then siblings join, in rounds of half
the size and with half the generations, and Ansor's gradient decides. Their population is made of the prior's two best
schedules: same extents keep their tile factors, others are kept where they divide, scaled, or drawn anew, each with
probability 1/3. One model is shared by all tasks, with TVM's objective.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from tvm.s_tir import Schedule
from tvm.s_tir import meta_schedule as ms

from benchmarks.search.job import Report, Work
from benchmarks.search.loop import Loop, described_tasks
from benchmarks.search.ours import measurer_for
from familyseer.cost_model import PackSumXGBModel
from familyseer.ledger import Ledger
from familyseer.meta_schedule.database.rebuild import TVM_ERRORS, rebuild_schedule
from familyseer.meta_schedule.search_policy import FamilySketchPolicy
from familyseer.meta_schedule.space import trace_json
from familyseer.meta_schedule.workload import blocks_of
from familyseer.records import canonical_json
from familyseer.task import Task

__all__ = ["Diffusion", "diffuse", "keep", "prior_of", "redraw", "scale"]

_MAX_PRIOR_ROUNDS = 10
_DONORS = 2
_GENERATIONS = 2


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def _nearest_divisor(number: int, wanted: float) -> int:
    return min(_divisors(number), key=lambda d: (abs(d - wanted), d))


def _fit(inner: Sequence[int], wanted: Sequence[float], extent: int) -> list[int]:
    """Give each inner factor the nearest divisor of what remains, the largest factor first; the outermost gets the rest."""
    fitted, remaining = list(inner), extent
    for position in sorted(range(len(inner)), key=lambda i: -inner[i]):
        fitted[position] = _nearest_divisor(remaining, wanted[position])
        remaining //= fitted[position]
    return [remaining, *fitted]


def keep(factors: Sequence[int], extent: int) -> list[int]:
    """Keep all but the outermost factor where their product divides the new extent, else come near.

    Examples
    --------
    >>> keep([4, 2, 7], 28)
    [2, 2, 7]
    >>> keep([4, 2, 7], 10)
    [1, 2, 5]
    """
    inner = list(factors[1:])
    return [extent // prod(inner), *inner] if extent % prod(inner) == 0 else _fit(inner, inner, extent)


def scale(factors: Sequence[int], extent: int) -> list[int]:
    """Scale all but the outermost factor by new over old extent, to the nearest divisors.

    Examples
    --------
    >>> scale([4, 2, 4], 64)
    [4, 2, 8]
    """
    inner, ratio = list(factors[1:]), extent / prod(factors)
    return _fit(inner, [factor * ratio for factor in inner], extent)


def redraw(factors: Sequence[int], extent: int, rng: np.random.Generator) -> list[int]:
    """Draw all factors anew."""
    remaining, drawn = extent, []
    for _ in factors[1:]:
        drawn.append(int(rng.choice(_divisors(remaining))))
        remaining //= drawn[-1]
    return [remaining, *(drawn[i] for i in rng.permutation(len(drawn)))]


def diffuse(factors: Sequence[int], extent: int, rng: np.random.Generator) -> list[int]:
    """Return tile factors for another extent; their product is `extent`."""
    if prod(factors) == extent:
        return list(factors)
    choice = rng.integers(3)
    if choice == 2:
        return redraw(factors, extent, rng)
    return keep(factors, extent) if choice == 0 else scale(factors, extent)


def prior_of(shapes: Sequence[Sequence[int]]) -> int:
    """Return the index of the shape with the highest mean cosine similarity to all, the first of equals.

    Examples
    --------
    >>> prior_of([[1, 100], [10, 10], [100, 1]])
    1
    """
    vectors = np.array(shapes, dtype=float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return int(np.argmax((vectors @ vectors.T).mean(axis=1).round(12)))


def sketch_name(sketch: Schedule) -> str:
    """Return what two tasks with the same sketch have in common: its instructions and the blocks that they find."""
    return " ".join(
        f"{inst.kind.name}({inst.attrs[0]})" if inst.kind.name == "GetSBlock" else inst.kind.name
        for inst in sketch.trace.insts
    )


def _shape(task: Any) -> list[int]:
    heaviest = max(blocks_of(task.mod), key=lambda block: block.work)
    return [*heaviest.spatial.values(), *heaviest.reduction.values()]


def transplant(task: Any, postprocs: Sequence[Any], donor: Schedule, rng: np.random.Generator) -> Schedule | None:
    """Apply a donor's schedule to `task` with diffused tile factors; None when it does not fit."""
    schedule = Schedule(task.mod, debug_mask=0, error_render_level="none", seed=int(rng.integers(1, 2**31 - 1)))

    def decide(inst: Any, inputs: Any, attrs: Any, decision: Any) -> Any:
        if inst.kind.name != "SamplePerfectTile":
            return decision
        extent = int(schedule.get(inputs[0]).extent)
        return diffuse([int(factor) for factor in decision], extent, rng)

    try:
        donor.trace.apply_to_schedule(schedule, remove_postproc=True, decision_provider=decide)
        schedule.enter_postproc()
        fits = all(postproc.apply(schedule) for postproc in postprocs)
    except TVM_ERRORS:
        return None
    return schedule if fits else None


@dataclass(slots=True, kw_only=True)
class _Cluster:
    """Tasks with the same sketch, and the best schedules of their prior."""

    members: list[int]
    prior: int
    prior_task: Any
    best: list[tuple[float, str]] = field(default_factory=list)

    def learn(self, costs: Sequence[float | None], trace_of: Callable[[int], str]) -> None:
        found = sorted((cost, i) for i, cost in enumerate(costs) if cost is not None)[:_DONORS]
        self.best = sorted([*self.best, *((cost, trace_of(i)) for cost, i in found)])[:_DONORS]


class _DiffusedSeeds:
    """The `SeedSource` of one sibling."""

    def __init__(self, task: Any, cluster: _Cluster, seed: int) -> None:
        self._task, self._cluster, self._rng = task, cluster, np.random.default_rng(seed)
        context = ms.TuneContext(mod=task.mod, target=task.target, space_generator="post-order-apply")
        self._postprocs = list(context.space_generator.postprocs)

    def seeds_for(self, task: Task, count: int) -> list[str]:
        """Return up to `count` different traces made of the prior's best."""
        donors = [rebuild_schedule(self._cluster.prior_task.mod, trace) for _, trace in self._cluster.best]
        made: dict[str, None] = {}
        for attempt in range(2 * count if donors else 0):
            schedule = transplant(self._task, self._postprocs, donors[attempt % len(donors)], self._rng)
            if schedule is not None:
                made[canonical_json(trace_json(schedule))] = None
            if len(made) >= count:
                break
        logging.getLogger(__name__).info("%d of %d seeds for %s", len(made), count, task.name)
        return list(made)


class Diffusion:
    """Priors first, then their schedules diffused to the siblings."""

    def tune(self, work: Work, report: Report) -> None:
        """Tune the priors, then everything."""
        described, ledger, job = described_tasks(work), Ledger(), work.job
        clusters = self._clusters(work, described)
        of_task: Mapping[int, _Cluster] = {i: cluster for cluster in clusters for i in cluster.members}
        is_prior = [of_task[i].prior == i for i in range(len(described))]
        model = PackSumXGBModel(adaptive_training=False)
        policies = [
            FamilySketchPolicy(
                task,
                model,
                params=None if is_prior[i] else {"evolutionary_search_num_iters": _GENERATIONS},
                seeds=None if is_prior[i] else _DiffusedSeeds(task, of_task[i], job.seed + i),
                seed=job.seed,
                described=described[i],
                ledger=ledger,
                verbose=0,
            )
            for i, task in enumerate(work.tasks)
        ]

        def watch(
            task: int, phases: Mapping[str, float], costs: Sequence[float | None], trace_of: Callable[[int], str]
        ) -> None:
            if is_prior[task]:
                of_task[task].learn(costs, trace_of)
            report(task, phases, costs, trace_of)

        with measurer_for(work) as measurer:
            loop = Loop(work, policies, ledger, measurer, watch)
            for cluster in clusters:
                for _ in range(min(len(cluster.members), _MAX_PRIOR_ROUNDS)):
                    if loop.states[cluster.prior].alive and not loop.round(cluster.prior, job.per_round):
                        return
            index = loop.steepest()
            while index is not None:
                if not loop.round(index, job.per_round if is_prior[index] else max(1, job.per_round // 2)):
                    return
                index = loop.steepest()

    def _clusters(self, work: Work, described: Sequence[Task]) -> list[_Cluster]:
        members: dict[str, list[int]] = defaultdict(list)
        for i, (task, info) in enumerate(zip(work.tasks, described, strict=True)):
            policy = FamilySketchPolicy(task, seed=work.job.seed, described=info, verbose=0)
            members[sketch_name(policy.generate_sketches()[0])].append(i)
        clusters = []
        for indices in members.values():
            prior = indices[prior_of([_shape(work.tasks[i]) for i in indices])]
            clusters.append(_Cluster(members=indices, prior=prior, prior_task=work.tasks[prior]))
        return clusters
