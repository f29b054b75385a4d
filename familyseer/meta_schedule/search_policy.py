# SPDX-License-Identifier: Apache-2.0
"""Search policies: which candidates of a task to measure next."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm.s_tir import Schedule

from familyseer.cost_model import CostModel, RandomCostModel
from familyseer.errors import InvalidInputError, UnsupportedError
from familyseer.features import FeatureSet
from familyseer.ledger import Ledger
from familyseer.measure import MeasureResult
from familyseer.meta_schedule.measure_record import MeasureInput, State
from familyseer.meta_schedule.measured import Measured
from familyseer.meta_schedule.measurer import MeasureRequest, ProgramMeasurer
from familyseer.meta_schedule.search_params import SearchParams
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.space import ScheduleSpace, extract_features
from familyseer.meta_schedule.target import usable_cores
from familyseer.meta_schedule.traces import rebuild_schedule
from familyseer.records import MeasureRecord, RecordLog, for_target
from familyseer.task import Task, TaskKey

__all__ = [
    "PreloadMeasuredStates",
    "SearchPolicy",
    "SketchPolicy",
]

logger = logging.getLogger(__name__)

Batch = tuple[TaskKey, FeatureSet, np.ndarray]
"""What a cost model learns at once: programs (n) of one task and their latencies (n,) in seconds."""

_ATTEMPTS = 5  # how often a round that finds too few new candidates samples again
_RELATIVES_ONLY_RANDOM = 0.25  # share of random candidates while only relatives' measurements guide the search


class SearchPolicy:
    """Proposes and measures candidates of one task.

    Attributes
    ----------
    name, seed
        What its records say of where they come from.
    round
        Number of the current round, from 0.
    """

    name = "search"
    seed = 0
    round = 0

    def continue_search_one_round(
        self, num_measure: int, measurer: ProgramMeasurer
    ) -> tuple[list[MeasureInput], list[MeasureResult]]:
        """Measure up to `num_measure` new candidates; none when the space holds no more."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PreloadMeasuredStates:
    """Start a policy from what a log says was measured.

    Parameters
    ----------
    filename
        A familyseer log.
    """

    filename: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Population:
    """What a round starts from: measured schedules, those from elsewhere (best first) and random ones."""

    measured: list[Schedule]
    seeds: list[Schedule]
    sampled: list[Schedule]


class SketchPolicy(SearchPolicy):
    """Sample programs from the space of sketches and improve them by evolution, guided by a cost model.

    Everything random follows from the seed, the task and the number of the round: the same measurements give the same
    candidates, also after a resume.

    Parameters
    ----------
    task
        What to search for.
    program_cost_model
        Scores candidates; None means a `RandomCostModel`. An `XGBModel` or any `familyseer.cost_model.CostModel`.
    params
        TVM's dictionary of parameters, see `SearchParams`.
    seed
        None means 0.
    verbose
        0 for silence.
    init_search_callbacks
        `PreloadMeasuredStates` only.
    """

    name = "sketch"
    _seed_population = 0.0

    def __init__(
        self,
        task: SearchTask,
        program_cost_model: Any = None,
        params: Mapping[str, Any] | None = None,
        seed: int | None = None,
        verbose: int = 1,
        init_search_callbacks: Sequence[Any] | None = None,
        *,
        name: str | None = None,
        described: Task | None = None,
        ledger: Ledger | None = None,
        threads: int | None = None,
    ) -> None:
        self.task = task
        self.described = described or task.task
        self.model = _learner(program_cost_model, seed or 0)
        self.params = SearchParams.parse(params)
        self.seed = seed or 0
        self.verbose = verbose
        self.name = name or self.name
        self.ledger = ledger or Ledger()
        self._threads = threads or usable_cores()
        self._measured = Measured()
        for callback in init_search_callbacks or ():
            if not isinstance(callback, PreloadMeasuredStates):
                raise UnsupportedError(
                    f"only PreloadMeasuredStates can be an init_search_callback on this engine; got {callback!r}. "
                    "Custom sketch rules are MetaSchedule schedule rules."
                )
            self.restore(RecordLog(callback.filename).read().records)

    def generate_sketches(self, print_for_debug: bool = False) -> list[Schedule]:
        """Return the sketches of the task: schedules with their decisions open."""
        sketches = self._space(64).sketches
        for position, sketch in enumerate(sketches if print_for_debug else ()):
            logger.info("Sketch %d\n%s", position, sketch.trace)
        return sketches

    def sample_initial_population(self) -> list[Schedule]:
        """Return the population that the next round starts from: the best measured, seeds and random ones."""
        start = self._start(self._space(64), 64)
        return [*start.measured, *start.seeds, *start.sampled]

    def evolutionary_search(self, init_populations: Sequence[Schedule], out_size: int) -> list[Schedule]:
        """Return the `out_size` best-scored schedules of an evolution from `init_populations`."""
        space = self._space(out_size)
        return space.evolve(init_populations, out_size, self._acquisition)[:out_size]

    def continue_search_one_round(
        self, num_measure: int, measurer: ProgramMeasurer
    ) -> tuple[list[MeasureInput], list[MeasureResult]]:
        """Search, measure and learn for one round."""
        with self.ledger.phase("train", self.described.key):
            self.model.prepare(self.described.key)
        with self.ledger.phase("search", self.described.key):
            schedules = self.propose(num_measure)
            if not schedules:
                return [], []
            features = self._features(schedules)
            inputs = self._inputs(schedules, features)
            best = self._measured.best_cost
            requests = [measure_request(self.described.key, self.task, schedule, best) for schedule in schedules]

        order: list[int] = []  # in which a log has them, so that a resumed run learns them alike

        def report(position: int, result: MeasureResult) -> None:
            order.append(position)
            for callback in measurer.callbacks:
                callback(self, [inputs[position]], [result])

        with self.ledger.phase("run", self.described.key):
            results = measurer.measure(requests, report)
        self.ledger.move("run", "build", self.described.key, measurer.seconds.build)
        with self.ledger.phase("train", self.described.key):
            self._remember(
                [schedules[i] for i in order], [inputs[i].state.trace for i in order], [results[i] for i in order]
            )
            self.model.update(self.described.key, features[np.array(order)], [results[i].cost for i in order])
        self.round += 1
        return inputs, results

    def _inputs(self, schedules: Sequence[Schedule], features: FeatureSet) -> list[MeasureInput]:
        """Describe what is to be measured, with what the cost models say of it."""
        said = {name: scores.tolist() for name, scores in self.model.predictions(self.described.key, features).items()}
        return [
            MeasureInput(
                self.task,
                State.of(self.task, schedule),
                predicted={name: scores[i] for name, scores in said.items()},
            )
            for i, schedule in enumerate(schedules)
        ]

    def _features(self, schedules: Sequence[Schedule]) -> FeatureSet:
        return extract_features(self.task.mod, self.task.target, schedules, self._threads)

    def propose(self, num_measure: int) -> list[Schedule]:
        """Return up to `num_measure` schedules never measured before; fewer or none when the space is explored."""
        space = self._space(num_measure)
        if not space.has_choices:
            return self._measured.new(space.sketches, num_measure, set())
        seen: set[int] = set()
        picked = self._certain(space, num_measure, seen)
        left = num_measure - len(picked)
        if left and not self.model.is_trained(self.described.key):
            picked += self._measured.new(space.sample(left), left, seen)
        elif left:
            picked += self._evolved(space, left, seen)
        for _ in range(_ATTEMPTS):
            if len(picked) >= num_measure:
                break
            picked += self._measured.new(space.sample(2 * num_measure), num_measure - len(picked), seen)
        return picked

    def _certain(self, space: ScheduleSpace, num_measure: int, seen: set[int]) -> list[Schedule]:
        """Return what a round measures whatever the models say of it; nothing here."""
        return []

    def _evolved(self, space: ScheduleSpace, num_measure: int, seen: set[int]) -> list[Schedule]:
        start = self._start(space, num_measure)
        population = [*start.measured, *start.seeds, *start.sampled]
        if not population:
            return []
        # Those measured before come back too: ask for as many more, and for some to choose from.
        wanted = max(num_measure, min(4 * num_measure + len(self._measured), len(population)))
        bests = space.evolve(population, wanted, self._acquisition)
        num_random = int(num_measure * self._random_share())
        num_seeds = int(num_measure * self._seed_share())
        picked = self._measured.new(start.seeds, min(num_seeds, num_measure - num_random), seen)
        picked += self._measured.new(self._varied(bests, num_measure), num_measure - num_random - len(picked), seen)
        order = self._rng().permutation(len(start.sampled))
        return picked + self._measured.new([start.sampled[i] for i in order], num_measure - len(picked), seen)

    def _varied(self, schedules: list[Schedule], num_measure: int) -> list[Schedule]:
        """Return candidates in the order in which they are picked; as they come, here."""
        return schedules

    def _random_share(self) -> float:
        return self.params.eps_greedy if self._measured.trials else max(self.params.eps_greedy, _RELATIVES_ONLY_RANDOM)

    def _seed_share(self) -> float:
        """Return the share of a round that goes to the seeds, whatever evolution prefers to them."""
        return 0.0

    def _start(self, space: ScheduleSpace, num_measure: int) -> _Population:
        """Return what the next round starts from, and let `space` search as hard as that needs."""
        seeds = self._seeds(space, num_measure)
        evolution = self.params.evolution(num_measure, seeded=bool(seeds))
        space.search(evolution)
        share = int(evolution.population * self.params.sample_init_use_measured_ratio)
        measured = self._replay(self._measured.best_traces(share))
        seeds = seeds[: int((evolution.population - len(measured)) * self._seed_population)]
        sampled = space.sample(evolution.population - len(measured) - len(seeds))
        return _Population(measured=measured, seeds=seeds, sampled=sampled)

    def _seeds(self, space: ScheduleSpace, num_measure: int) -> list[Schedule]:
        """Return new schedules that come from elsewhere, best first; none here."""
        return []

    def _replay(self, traces: Sequence[str]) -> list[Schedule]:
        """Apply traces; one that no longer fits is left out."""
        schedules = []
        for trace in traces:
            try:
                schedules.append(rebuild_schedule(self.task.mod, trace))
            except InvalidInputError as err:
                logger.warning("A recorded schedule of %s does not apply: %s", self.task.desc, err)
        return schedules

    def _space(self, num_measure: int) -> ScheduleSpace:
        return ScheduleSpace(
            self.task.mod,
            self.task.target,
            seed=self._entropy(),
            islands=self._threads,
            evolution=self.params.evolution(num_measure),
        )

    def _rng(self) -> np.random.Generator:
        """Return what draws in this round: other numbers for every seed, task and round."""
        return np.random.default_rng(self._entropy())

    def _entropy(self) -> int:
        digest = hashlib.sha256(f"{self.seed}/{self.described.key}/{self.round}".encode()).digest()
        return int.from_bytes(digest[:8], "big")

    def _acquisition(self, features: Any) -> np.ndarray:
        return np.asarray(self.model.acquisition(self.described.key, features))

    def _remember(self, schedules: Sequence[Schedule], traces: Sequence[str], results: Sequence[MeasureResult]) -> None:
        self._measured.add(schedules, traces, results)

    def restore(self, records: Sequence[MeasureRecord]) -> int:
        """Take over what a log says was measured of this task for this target; return how many records that were.

        Their programs are never measured again and the cost model learns from them. A trace that does not apply, for
        instance because another TVM wrote it, is left out.
        """
        batches = self.recall(records)
        self.model.update_many(batches)
        return len(batches[0][2]) if batches else 0

    def recall(self, records: Sequence[MeasureRecord]) -> list[Batch]:
        """Take over what was measured as `restore` does, and return what the cost model is to learn from it."""
        mine = [r for r in for_target(records, self.described.target) if r.task == self.described.key]
        pairs = [(record, schedule) for record in mine for schedule in self._replay([record.trace])]
        self.round = max((record.round + 1 for record in mine), default=self.round)
        if not pairs:
            return []
        schedules = [schedule for _, schedule in pairs]
        self._remember(schedules, [record.trace for record, _ in pairs], [record.result for record, _ in pairs])
        costs = np.array([record.cost for record, _ in pairs])
        return [(self.described.key, self._features(schedules), costs)]


def measure_request(key: str, task: SearchTask, schedule: Schedule, best: float | None = None) -> MeasureRequest:
    """Return what the measurer needs of a schedule; see `MeasureRequest` for `best`.

    Layout rewriting changes the shapes of weights, so the arguments come from the scheduled module.
    """
    info = tvm.s_tir.meta_schedule.arg_info.ArgInfo.from_entry_func(schedule.mod, remove_preproc=True)
    return MeasureRequest(
        task_key=key, mod=schedule.mod, target=task.target, args_info=[entry.as_json() for entry in info], best=best
    )


def _learner(program_cost_model: Any, seed: int) -> CostModel:
    if program_cost_model is None:
        return RandomCostModel(seed=seed)
    learner = getattr(program_cost_model, "learner", program_cost_model)
    if not isinstance(learner, CostModel):
        raise InvalidInputError(
            f"`program_cost_model` must be an XGBModel, a RandomModel or a familyseer.cost_model.CostModel; got {program_cost_model!r}"
        )
    return learner
