# SPDX-License-Identifier: Apache-2.0
"""The schedules of one workload: sampled, evolved and replayed through TVM's own evolutionary search.

TVM's search hands candidates to its threads in no fixed order, each thread with a random state of its own, so two runs with
one seed differ. Here every thread evolves an island of its own in a single-threaded context: the same seed gives the same
candidates, in the same time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import tvm_ffi
from tvm import IRModule
from tvm.ir.utils import derived_object
from tvm.s_tir import Schedule
from tvm.s_tir import meta_schedule as ms
from tvm.target import Target

from familyseer.errors import InvalidInputError
from familyseer.features import FeatureSet
from familyseer.meta_schedule.parsing import TENSOR_INTRINSICS, import_parsed
from familyseer.meta_schedule.traces import TVM_ERRORS, rebuild_schedule

__all__ = ["Evolution", "ScheduleSpace", "extract_features", "module_hash"]

_T = TypeVar("_T")
Predict = Callable[[FeatureSet], np.ndarray]

# TVM's search reports every generation at level INFO; a tuning run has hundreds.
_quiet = logging.getLogger("familyseer.tvm")
_quiet.setLevel(logging.WARNING)

_SAMPLING = ("SamplePerfectTile", "SampleCategorical", "SampleComputeLocation", "SamplePartitionedTile")
_UNBOUNDED = 2**30
_SMALLEST_ISLAND = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolution:
    """How hard one round of evolutionary search works.

    Parameters
    ----------
    population
        Schedules alive in one generation, over all islands.
    generations
        How often they are mutated and selected.
    mutation_prob
        Probability that a member of the next generation is a mutation and not a copy.
    """

    population: int = 512
    generations: int = 4
    mutation_prob: float = 0.85


class ScheduleSpace:
    """Every schedule that TVM's rules allow for one workload.

    Parameters
    ----------
    mod
        A normalized workload.
    target
        A resolved target.
    seed
        Start of all randomness; equal seeds give equal candidates.
    islands
        Number of populations that evolve side by side at most, one thread each.
    evolution
        How hard to search; `search` changes it.
    """

    def __init__(
        self, mod: IRModule, target: Target, *, seed: int, islands: int = 1, evolution: Evolution = Evolution()
    ) -> None:
        islands = _islands(islands, evolution)
        seeds = np.random.SeedSequence(seed).generate_state(islands).astype(np.int64) % (2**31 - 2) + 1
        self._contexts = [
            _context(mod, target, 1, space_generator="post-order-apply", rand_state=int(state)) for state in seeds
        ]
        self.sketches: list[Schedule] = list(self._contexts[0].generate_design_space())
        self._model = _PredictBridge()
        self.search(evolution)

    def search(self, evolution: Evolution) -> None:
        """Search as hard as `evolution` says from now on."""
        islands = _islands(len(self._contexts), evolution)
        self._size = max(2, evolution.population // islands)
        self._strategies = [self._strategy(context, evolution) for context in self._contexts[:islands]]

    def _strategy(self, context: ms.TuneContext, evolution: Evolution) -> ms.SearchStrategy:
        strategy = ms.search_strategy.EvolutionarySearch(
            population_size=self._size,
            init_min_unmeasured=1,
            genetic_num_iters=evolution.generations,
            genetic_mutate_prob=evolution.mutation_prob,
        )
        strategy._initialize_with_tune_context(context)
        strategy.pre_tuning(_UNBOUNDED, _UNBOUNDED, self.sketches, ms.database.MemoryDatabase(), self._model)
        return strategy

    @property
    def has_choices(self) -> bool:
        """Whether there is anything to tune: a sketch that leaves a decision open."""
        return any(inst.kind.name in _SAMPLING for sketch in self.sketches for inst in sketch.trace.insts)

    def sample(self, count: int) -> list[Schedule]:
        """Draw about `count` random schedules that pass TVM's checks; fewer when many do not."""
        sample = ms._ffi_api.SearchStrategyEvolutionarySearchSampleInitPopulation
        shares = _shares(count, len(self._strategies))
        return _spread(lambda i: sample(self._strategies[i], shares[i]) if shares[i] else [], len(self._strategies))

    def finish(self, traces: Sequence[str]) -> list[Schedule]:
        """Complete traces that have no post-processing, in their order; those that TVM's checks refuse are left out.

        Parameters
        ----------
        traces
            JSON text, of this workload's sketches with other choices.
        """
        parts = len(self._contexts)
        finished = _spread(lambda i: [_finished(self._contexts[i], trace) for trace in traces[i::parts]], parts)
        return [schedule for schedule in finished if schedule is not None]

    def evolve(self, population: Sequence[Schedule], count: int, predict: Predict) -> list[Schedule]:
        """Return up to `count` schedules that `predict` scores highest after evolution, best of each island first.

        Parameters
        ----------
        population
            Where to start; dealt to the islands in turn.
        count
            Schedules wanted; those already measured are not left out here.
        predict
            Scores of n programs, shape (n,), higher is better, none negative.
        """
        if not population:
            return []
        evolve = ms._ffi_api.SearchStrategyEvolutionarySearchEvolveWithCostModel
        parts = len(self._strategies)
        islands = [self._fill(population[i::parts] or population) for i in range(parts)]  # TVM fails on an empty one
        shares = _shares(count, parts)
        self._model.use(predict)
        try:
            return _spread(lambda i: evolve(self._strategies[i], islands[i], shares[i]) if shares[i] else [], parts)
        finally:
            self._model.use(None)

    def _fill(self, island: Sequence[Schedule]) -> list[Schedule]:
        """Repeat a short population: TVM's sampler assumes that it is as large as announced."""
        return [island[i % len(island)] for i in range(max(self._size, len(island)))]


def _islands(most: int, evolution: Evolution) -> int:
    """Return on how many islands a population lives: none is very small."""
    return min(most, max(1, evolution.population // _SMALLEST_ISLAND))


def _spread(work: Callable[[int], Sequence[_T]], parts: int) -> list[_T]:
    """Do each part of a work in a thread of its own and interleave what they return."""
    with ThreadPoolExecutor(parts) as pool:
        found = [list(part) for part in pool.map(work, range(parts))]
    longest = max(map(len, found))
    return [part[i] for i in range(longest) for part in found if i < len(part)]


def _finished(context: ms.TuneContext, trace: str) -> Schedule | None:
    """Apply a trace and post-process it as TVM's search does its own."""
    try:
        schedule = rebuild_schedule(context.mod, trace)
        schedule.enter_postproc()
        fits = all(postproc.apply(schedule) for postproc in context.space_generator.postprocs)
    except (*TVM_ERRORS, InvalidInputError):
        return None
    return schedule if fits else None


def _shares(count: int, parts: int) -> list[int]:
    return [count // parts + (i < count % parts) for i in range(parts)]


@derived_object
class _PredictBridge(ms.cost_model.PyCostModel):  # type: ignore[misc]  # tvm is not typed
    """What TVM's search takes for a cost model: it hands the features on.

    TVM's contexts own it. Did it own anything that owns them, no collector would find the cycle through C++.
    """

    def __init__(self) -> None:
        super().__init__()
        self._predict: Predict | None = None

    def use(self, predict: Predict | None) -> None:
        """Score with `predict` from now on."""
        self._predict = predict

    def predict(self, context: ms.TuneContext, candidates: Sequence[ms.MeasureCandidate]) -> np.ndarray:
        features = _features(context, list(candidates))
        assert self._predict is not None
        return np.ascontiguousarray(self._predict(features), dtype="float64")


def _context(mod: IRModule, target: Target, threads: int, **options: Any) -> ms.TuneContext:
    import_parsed(TENSOR_INTRINSICS)  # TVM's context does, and slowly
    return ms.TuneContext(mod=mod, target=target, num_threads=threads, logger=_quiet, **options)


_EXTRACTOR: list[Any] = []


def _features(context: ms.TuneContext, candidates: list[ms.MeasureCandidate]) -> FeatureSet:
    if not _EXTRACTOR:
        _EXTRACTOR.append(ms.feature_extractor.PerStoreFeature())
    rows = _EXTRACTOR[0].extract_from(context, candidates)
    return FeatureSet.from_arrays([row.numpy() for row in rows])


def extract_features(mod: IRModule, target: Target, schedules: Sequence[Schedule], threads: int) -> FeatureSet:
    """Return the per-store features of scheduled programs of one workload."""
    context = _context(mod, target, threads)
    return _features(context, [ms.MeasureCandidate(schedule, []) for schedule in schedules])


def module_hash(schedule: Schedule) -> int:
    """Hash a scheduled program, to tell whether it was measured before."""
    return int(tvm_ffi.structural_hash(schedule.mod))
