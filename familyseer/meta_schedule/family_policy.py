# SPDX-License-Identifier: Apache-2.0
"""The search policy of a task that has relatives: it starts from what they found."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from tvm.s_tir import Schedule

from familyseer.measure import MeasureResult
from familyseer.meta_schedule.search_policy import SketchPolicy
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.seeds import SeedSource
from familyseer.meta_schedule.space import ScheduleSpace
from familyseer.meta_schedule.traces import trace_json
from familyseer.meta_schedule.transfer import OwnSeeds, sketch_of
from familyseer.records import canonical_json
from familyseer.transfer import Hope, vector_places
from familyseer.transfer.variety import most_alike, turns

__all__ = ["FamilySketchPolicy"]

_SEEDS = 64  # that the model ranks in a round
_CANDIDATES = 16  # that promise most by their choices, and as many random ones, for the model of programs to rank


class FamilySketchPolicy(SketchPolicy):
    """A `SketchPolicy` of a task that has relatives.

    Its cost model is the family's, so what a relative measured guides the first round already; and its population takes
    in seeds, which come from relatives too.

    Parameters
    ----------
    seeds
        Where candidates other than sampled ones come from; None: from the task's own best (`OwnSeeds`).
    seed_population
        Share of the population that comes from there; the rest, but for the best measured ones, is random.
    seed_measurements
        Shares of a round that go to the seeds that the model likes best, whatever evolution makes of them: in the first
        round of the task, and later.
    **options
        As for `SketchPolicy`; ``program_cost_model`` is a `familyseer.cost_model.ModelBank`.
    """

    name = "sketch.xgb.family"

    def __init__(
        self,
        task: SearchTask,
        program_cost_model: Any = None,
        *,
        seeds: SeedSource | None = None,
        seed_population: float = 0.5,
        seed_measurements: tuple[float, float] = (0.5, 0.125),
        **options: Any,
    ) -> None:
        self._seed_source: SeedSource = seeds or OwnSeeds()
        self._seed_population, self._seed_measurements = seed_population, seed_measurements
        super().__init__(task, program_cost_model, **options)

    def _seeds(self, space: ScheduleSpace, num_measure: int) -> list[Schedule]:
        rng = self._rng()
        count = max(_SEEDS, num_measure)
        traces = self._seed_source.seeds_for(self.described, _sketches(space), count, rng)
        seeds = self._measured.new(space.finish(traces), count, set())
        if not seeds:
            return []
        scores = self._acquisition(self._features(seeds))
        return [seeds[i] for i in np.argsort(-scores, kind="stable")]

    def _certain(self, space: ScheduleSpace, num_measure: int, seen: set[int]) -> list[Schedule]:
        return [*self._copies(space, num_measure, seen), *self._vectors(space, num_measure, seen)]

    def _copies(self, space: ScheduleSpace, num_measure: int, seen: set[int]) -> list[Schedule]:
        count = int(num_measure * self.params.copy_share)
        traces = self._seed_source.copies(self.described, _sketches(space)) if count else ()
        return self._measured.new(space.finish(traces), count, seen)

    def _vectors(self, space: ScheduleSpace, num_measure: int, seen: set[int]) -> list[Schedule]:
        count = vector_places(num_measure, self.params.vector_share, first=not self._measured.trials)
        if not count or "cpu" not in self.task.target.keys:
            return []
        rng = np.random.default_rng([self._entropy(), 1])  # other numbers than the rest of the round
        traces = self._seed_source.vectors(self.described, _sketches(space), max(_CANDIDATES, 2 * num_measure), rng)
        ranked = self._ranked(space.finish(traces))
        order = np.argsort(turns(map(self._new_tile, ranked), 1), kind="stable")  # one of each before two of any
        return self._measured.new([ranked[i] for i in order], count, seen)

    def _evolved(self, space: ScheduleSpace, num_measure: int, seen: set[int]) -> list[Schedule]:
        if not self.params.choice_search:
            return super()._evolved(space, num_measure, seen)
        count = max(_CANDIDATES, 2 * num_measure)
        ranked = self._ranked([*self._promising(space, count), *space.sample(count)])
        chosen = num_measure - int(num_measure * self.params.eps_greedy)  # the rest is drawn at random
        return self._measured.new(self._varied(ranked, num_measure), chosen, seen)

    def _ranked(self, candidates: list[Schedule]) -> list[Schedule]:
        """Return candidates by what the model of programs and the time for their compilation say, best first."""
        if not candidates:
            return []
        traces = [canonical_json(trace_json(candidate)) for candidate in candidates]
        efforts = np.asarray(self._seed_source.efforts(self.described, traces))
        scores = self._acquisition(self._features(candidates)) * np.exp(-self.params.build_time_weight * efforts)
        return [candidates[i] for i in np.argsort(-scores, kind="stable")]

    def _promising(self, space: ScheduleSpace, count: int) -> list[Schedule]:
        """Return what a search among choices proposes, or while too little was measured for that, relatives' schedules."""
        rng, sketches = self._rng(), _sketches(space)
        proposed = self._seed_source.proposals(
            self.described,
            sketches,
            count,
            share=self.params.inner_tile_share,
            build_weight=self.params.build_time_weight,
            hope=Hope(self.params.relative_weight),
            rng=rng,
        )
        return space.finish(proposed or self._seed_source.seeds_for(self.described, sketches, count, rng))

    def _varied(self, schedules: list[Schedule], num_measure: int) -> list[Schedule]:
        """Put off schedules whose inner tile has been picked often enough."""
        most = most_alike(num_measure, self.params.inner_tile_share)
        waits = [turn > 0 for turn in turns(map(self._new_tile, schedules), most)]
        return [schedules[i] for i in np.argsort(waits, kind="stable")]

    def _new_tile(self, schedule: Schedule) -> Hashable | None:
        """Return the inner tile of a schedule that is not measured yet; it has one where it has choices."""
        if schedule in self._measured:
            return None
        sketch = sketch_of(canonical_json(trace_json(schedule)))
        return sketch and sketch.tile

    def _seed_share(self) -> float:
        first, later = self._seed_measurements
        return later if self._measured.trials else first

    def _remember(self, schedules: Sequence[Schedule], traces: Sequence[str], results: Sequence[MeasureResult]) -> None:
        super()._remember(schedules, traces, results)
        self._seed_source.learn(self.described, traces, results)


def _sketches(space: ScheduleSpace) -> list[str]:
    return [canonical_json(trace_json(sketch)) for sketch in space.sketches]
