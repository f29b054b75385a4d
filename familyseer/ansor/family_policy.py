# SPDX-License-Identifier: Apache-2.0
"""The search policy of a task that has relatives, on Ansor's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tvm import auto_scheduler

from familyseer.ansor.cost_model import FamilyCostModel
from familyseer.ansor.describe import describe
from familyseer.ansor.results import result_of
from familyseer.ansor.transfer import TransferSeeds, seed_rule
from familyseer.task import Task

__all__ = ["FamilySketchPolicy"]

class FamilySketchPolicy(auto_scheduler.SketchPolicy):  # type: ignore[misc]  # tvm is not typed
    """Ansor's `SketchPolicy`, whose cost model is the family's and whose first round starts from relatives' tile sizes.

    Parameters
    ----------
    task, params, verbose, init_search_callbacks
        As for TVM's. (A generation of its 2048 candidates takes five seconds of feature extraction on two cores;
        ``{"evolutionary_search_population": 512}`` searches faster and finds less.)
    program_cost_model
        Shared by the policies of all tasks.
    seed
        A whole number ≥ 0; None draws one.
    described
        The task as the model knows it; None: described anew.
    seeds
        What relatives found; None: every task starts from its own sketches alone.
    """

    def __init__(
        self,
        task: Any,
        program_cost_model: FamilyCostModel,
        params: Mapping[str, Any] | None = None,
        seed: int | None = None,
        verbose: int = 1,
        init_search_callbacks: Sequence[Any] | None = None,
        *,
        described: Task | None = None,
        seeds: TransferSeeds | None = None,
    ) -> None:
        known = described or describe(task)
        callbacks = list(init_search_callbacks or ())
        if seeds is not None:
            rng = np.random.default_rng(seed)
            callbacks.append(seed_rule(lambda: seeds.states_for(known, task, rng)))
        super().__init__(
            task,
            program_cost_model,
            params=dict(params or {}),
            seed=None if seed is None else seed + 1,  # TVM takes 0 for "draw one"
            verbose=verbose,
            init_search_callbacks=callbacks or None,
        )
        self._task, self._described, self._seeds = task, known, seeds

    def continue_search_one_round(self, num_measure: int, measurer: Any) -> tuple[Any, Any]:
        """Search and measure as TVM does, then let relatives know."""
        inputs, results = super().continue_search_one_round(num_measure, measurer)
        if self._seeds is not None:
            states = [given.state for given in inputs]
            self._seeds.learn(self._described, self._task, states, [result_of(result) for result in results])
        return inputs, results
