# SPDX-License-Identifier: Apache-2.0
"""The parameters of a search policy under the names that ``tvm.auto_scheduler`` gave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from familyseer.errors import InvalidInputError, UnsupportedError
from familyseer.meta_schedule.space import Evolution

__all__ = ["SearchParams"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchParams:
    """The parameters of `SketchPolicy` under TVM's names, as far as MetaSchedule has them.

    Parameters
    ----------
    eps_greedy
        Share of random candidates in each round.
    sample_init_use_measured_ratio
        Share of the initial population taken from the best measured candidates.
    evolutionary_search_population
        Size of the population; None: eight per candidate to measure, from 64 to MetaSchedule's 512.
    evolutionary_search_num_iters
        Generations.
    evolutionary_search_mutation_prob
        Probability of a mutation.
    seeded_search_num_iters
        Generations where good schedules of relatives start the search (not in TVM); the population is half as large then.
    inner_tile_share
        Share of a round, but two at least, that candidates with one inner tile may take in family policies (not in TVM);
        1 means no limit.
    choice_search
        Whether family policies search among choices (`familyseer.transfer.search`) as soon as enough was measured of
        relatives, and not by TVM's evolution of programs, which takes three times as long (not in TVM). Of the parameters
        above they use `eps_greedy` then, and `inner_tile_share`.
    build_time_weight
        How much faster a candidate has to promise to be for taking longer to compile, where `choice_search` is on (not in
        TVM): at 0.15, one that takes a core 2.5 s has to be 27 % faster than one that takes 0.1 s. 0: no faster.
    relative_weight
        How much family policies, where `choice_search` is on, hope that a task of which 24 candidates were measured can be
        as fast per iteration of its loops as its relatives of like extents, from 0 to 1 (not in TVM). 0: its own best is
        as fast as it gets.
    copy_share
        Share of a round that family policies give to copies: what relatives did that are faster per iteration of their
        loops, with no more changed than the extents ask for (`familyseer.transfer.copies`; not in TVM).
    vector_share
        Share of a round that family policies give on CPUs to inner tiles new to the task: vectors by a few rows
        (`familyseer.transfer.vectors`; not in TVM); four times as much of a task's first round. Rounded down.
    """

    eps_greedy: float = 0.05
    sample_init_use_measured_ratio: float = 0.2
    evolutionary_search_population: int | None = None
    evolutionary_search_num_iters: int = 4
    evolutionary_search_mutation_prob: float = 0.85
    seeded_search_num_iters: int = 2
    inner_tile_share: float = 0.25
    choice_search: bool = True
    build_time_weight: float = 0.15
    relative_weight: float = 1.0
    copy_share: float = 0.5
    vector_share: float = 0.125

    def __post_init__(self) -> None:
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInputError(f"`{name}` must be from 0 to 1; got {getattr(self, name)!r}")
        population, generations = self.evolutionary_search_population, self.evolutionary_search_num_iters
        if population is not None and population < 2:
            raise InvalidInputError(f"`evolutionary_search_population` must be at least 2; got {population!r}")
        for name, number in [("evolutionary", generations), ("seeded", self.seeded_search_num_iters)]:
            if number < 0:
                raise InvalidInputError(f"`{name}_search_num_iters` must be at least 0; got {number!r}")

    @classmethod
    def parse(cls, params: Mapping[str, Any] | None) -> SearchParams:
        """Read TVM's dictionary of parameters; what this engine cannot honour raises `UnsupportedError`."""
        given = dict(params or {})
        for name, value in given.items():
            if name in _FIXED and value != _FIXED[name]:
                raise UnsupportedError(
                    f"`{name}` is fixed by MetaSchedule's schedule rules on this engine; got {value!r}. "
                    "Leave it out, or give the task a space of your own with tvm.s_tir.meta_schedule rules."
                )
        known = {name: value for name, value in given.items() if name in cls.__dataclass_fields__}
        unknown = sorted(set(given) - set(known) - set(_FIXED))
        if unknown:
            raise InvalidInputError(
                f"search policy parameters must be among {sorted(cls.__dataclass_fields__)}; got {', '.join(unknown)}"
            )
        return cls(**known)

    def idle(self) -> tuple[str, ...]:
        """Return the parameters that were given and mean nothing to a family policy, since programs do not evolve there."""
        fields = self.__dataclass_fields__
        given = [name for name in _OF_EVOLUTION if getattr(self, name) != fields[name].default]
        return tuple(given) if self.choice_search else ()

    def evolution(self, num_measure: int, *, seeded: bool = False) -> Evolution:
        """Return how hard to search for `num_measure` candidates."""
        per_candidate, generations = 8, self.evolutionary_search_num_iters
        if seeded:
            per_candidate, generations = 4, min(generations, self.seeded_search_num_iters)
        return Evolution(
            population=self.evolutionary_search_population or min(512, max(64, per_candidate * num_measure)),
            generations=generations,
            mutation_prob=self.evolutionary_search_mutation_prob,
        )


_SHARES = (
    "eps_greedy",
    "sample_init_use_measured_ratio",
    "evolutionary_search_mutation_prob",
    "inner_tile_share",
    "build_time_weight",
    "relative_weight",
    "copy_share",
    "vector_share",
)

_OF_EVOLUTION = (
    "sample_init_use_measured_ratio",
    "evolutionary_search_population",
    "evolutionary_search_num_iters",
    "evolutionary_search_mutation_prob",
    "seeded_search_num_iters",
)

# TVM's defaults: a script that spells them out asks for nothing special.
_FIXED = {
    "retry_search_one_round_on_empty": 1,
    "sample_init_min_population": 50,
    "cpu_multi_level_tiling_structure": "SSRSRS",
    "gpu_multi_level_tiling_structure": "SSSRRSRS",
    "max_innermost_split_factor": 64,
    "max_vectorize_size": 16,
    "disable_change_compute_location": 0,
}
