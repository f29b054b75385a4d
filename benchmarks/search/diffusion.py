# SPDX-License-Identifier: Apache-2.0
"""Bayesian Code Diffusion (Jeong et al., OSDI 2025), re-implemented for MetaSchedule from its description.

Tasks whose first sketch is the same, with as many loops in their heaviest block, form a cluster; its prior is the task
whose shape is most like the others'.
First every prior is tuned for as many rounds as its cluster has tasks, ten at most; with fewer trials a task than the
authors' 200 for fewer, so that this takes as large a part of all trials as theirs, and siblings get a turn.
Then siblings join, in rounds of half the size and with half the generations, and Ansor's gradient decides. Their
population is made of the prior's two best schedules, as far as both have the best one's sketch: same extents keep their
tile factors, others are kept where they divide, scaled, or drawn anew, each with probability 1/3. One model is shared by
all tasks, with TVM's objective.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from tvm.s_tir import Schedule

from benchmarks.search.job import Job, Report, Work
from benchmarks.search.loop import Loop, PublishedPolicy, described_tasks
from benchmarks.search.ours import measurer_for
from familyseer.cost_model import PackSumXGBModel
from familyseer.ledger import Ledger
from familyseer.meta_schedule.search_policy import SketchPolicy
from familyseer.meta_schedule.seeds import SeedSource
from familyseer.meta_schedule.transfer import sketch_of, with_choices
from familyseer.task import Task
from familyseer.transfer import Choices, Tile
from familyseer.transfer.factors import divisors

__all__ = ["Diffusion", "clusters_of", "diffuse", "keep", "prior_of", "prior_rounds", "redraw", "scale"]

_MAX_PRIOR_ROUNDS = 10
_PRIOR_SHARE = 64 / 200  # the authors' rounds of 64 with 200 trials a task
_DONORS = 2
_GENERATIONS = 2


def _nearest_divisor(number: int, wanted: float) -> int:
    return min(divisors(number), key=lambda d: (abs(d - wanted), d))


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
    [2, 4, 8]
    """
    inner, ratio = list(factors[1:]), extent / prod(factors)
    return _fit(inner, [factor * ratio for factor in inner], extent)


def redraw(factors: Sequence[int], extent: int, rng: np.random.Generator) -> list[int]:
    """Draw all factors anew."""
    remaining, drawn = extent, []
    for _ in factors[1:]:
        drawn.append(int(rng.choice(divisors(remaining))))
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


def prior_rounds(members: int, trials_per_task: float, per_round: int) -> int:
    """Return how many rounds the prior of a cluster of `members` tasks gets: one for each, ten at most, if trials allow.

    Examples
    --------
    >>> prior_rounds(6, trials_per_task=200, per_round=64), prior_rounds(6, trials_per_task=20, per_round=16)
    (6, 2)
    """
    per_member = min(1.0, _PRIOR_SHARE * trials_per_task / per_round)
    return max(1, round(min(members, _MAX_PRIOR_ROUNDS) * per_member))


def sketch_name(sketch: Schedule) -> str:
    """Return what two tasks with the same sketch have in common: its instructions and the blocks that they find."""
    return " ".join(
        f"{inst.kind.name}({inst.attrs[0]})" if inst.kind.name == "GetSBlock" else inst.kind.name
        for inst in sketch.trace.insts
    )


@dataclass(slots=True, kw_only=True)
class _Cluster:
    """Tasks with the same sketch, and the best schedules of their prior."""

    members: list[int]
    prior: int
    best: list[tuple[float, str]] = field(default_factory=list)

    def learn(self, costs: Sequence[float | None], trace_of: Callable[[int], str]) -> None:
        found = sorted((cost, i) for i, cost in enumerate(costs) if cost is not None)[:_DONORS]
        self.best = sorted([*self.best, *((cost, trace_of(i)) for cost, i in found)])[:_DONORS]


def clusters_of(sketches: Sequence[str], shapes: Sequence[Sequence[int]]) -> list[_Cluster]:
    """Return the clusters of tasks, given the name of each one's first sketch and its heaviest block's extents.

    Shapes of different rank have no cosine: such tasks are no relatives, whatever their sketches are called.
    """
    members: dict[tuple[str, int], list[int]] = defaultdict(list)
    for i, (sketch, shape) in enumerate(zip(sketches, shapes, strict=True)):
        members[sketch, len(shape)].append(i)
    return [
        _Cluster(members=indices, prior=indices[prior_of([shapes[i] for i in indices])]) for indices in members.values()
    ]


class _DiffusedSeeds(SeedSource):
    """The `SeedSource` of one sibling, which gives nothing to others."""

    def __init__(self, cluster: _Cluster) -> None:
        self._cluster = cluster

    def seeds_for(self, task: Task, sketches: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
        """Return up to `count` different traces made of the prior's best."""
        own = {sketch.form: (trace, sketch.choices) for trace in sketches if (sketch := sketch_of(trace))}
        best = [sketch for _, trace in self._cluster.best if (sketch := sketch_of(trace)) and sketch.form in own]
        donors = [sketch for sketch in best if sketch.form == best[0].form]
        made: dict[str, None] = {}
        for attempt in range(2 * count if donors else 0):
            donor = donors[attempt % len(donors)]
            trace, choices = own[donor.form]
            made[with_choices(trace, _diffused(donor.choices, choices, rng))] = None
            if len(made) >= count:
                break
        return list(made)


def _diffused(donor: Choices, own: Choices, rng: np.random.Generator) -> Choices:
    """Make a donor's choices with diffused tile factors."""
    return tuple(
        Tile(tuple(diffuse(theirs.factors, mine.extent, rng)))
        if isinstance(theirs, Tile) and isinstance(mine, Tile)
        else theirs
        for theirs, mine in zip(donor, own, strict=True)
    )


class Diffusion:
    """Priors first, then their schedules diffused to the siblings."""

    def tune(self, work: Work, report: Report) -> None:
        """Tune the priors, then everything."""
        described, ledger, job = described_tasks(work), Ledger(), work.job
        clusters = self._clusters(work, described)
        of_task: Mapping[int, _Cluster] = {i: cluster for cluster in clusters for i in cluster.members}
        is_prior = [of_task[i].prior == i for i in range(len(described))]
        model = PackSumXGBModel(seed=job.seed, adaptive_training=False)
        policies = [
            PublishedPolicy(
                task,
                model,
                params={} if is_prior[i] else {"evolutionary_search_num_iters": _GENERATIONS},
                seeds=None if is_prior[i] else _DiffusedSeeds(of_task[i]),
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
            _rounds(loop, clusters, is_prior, job)
            loop.choose(report)

    def _clusters(self, work: Work, described: Sequence[Task]) -> list[_Cluster]:
        names = [
            sketch_name(SketchPolicy(task, seed=work.job.seed, described=info, verbose=0).generate_sketches()[0])
            for task, info in zip(work.tasks, described, strict=True)
        ]
        return clusters_of(names, [info.shape for info in described])


def _rounds(loop: Loop, clusters: Sequence[_Cluster], is_prior: Sequence[bool], job: Job) -> None:
    """Tune the priors first, then whichever task promises most."""
    per_round = job.per_round
    for cluster in clusters:
        for _ in range(prior_rounds(len(cluster.members), job.trials / len(is_prior), per_round)):
            if loop.states[cluster.prior].alive and not loop.round(cluster.prior, per_round):
                return
    index = loop.steepest()
    while index is not None:
        if not loop.round(index, per_round if is_prior[index] else max(1, per_round // 2)):
            return
        index = loop.steepest()
