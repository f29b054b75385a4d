# SPDX-License-Identifier: Apache-2.0
"""The search policy of a task that has relatives, on Ansor's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tvm import auto_scheduler
from tvm.auto_scheduler.measure_record import dump_record_to_string

from familyseer.ansor.cost_model import FamilyCostModel
from familyseer.ansor.describe import describe
from familyseer.ansor.results import result_of
from familyseer.ansor.transfer import TransferSeeds, seed_rule
from familyseer.task import Task

__all__ = ["FamilySketchPolicy", "preload"]

_POPULATION = 512


class FamilySketchPolicy(auto_scheduler.SketchPolicy):  # type: ignore[misc]  # tvm is not typed
    """Ansor's `SketchPolicy`, whose cost model is the family's and whose first round starts from relatives' tile sizes.

    Parameters
    ----------
    task, verbose, init_search_callbacks
        As for TVM's.
    params
        As for TVM's, but for a smaller default of ``evolutionary_search_population``: a generation of TVM's 2048 takes
        five seconds of feature extraction on two cores, and found no more (``benchmarks/results/ansor.md``).
    program_cost_model
        Shared by the policies of all tasks.
    seed
        A whole number ≥ 0; None draws one.
    described
        The task as the model knows it; None: described anew.
    seeds
        What relatives found, and where they find what this task did; None: every task is on its own. Its first round starts
        from them, unless `init_search_callbacks` tell that it was measured before.
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
        self._task, self._described, self._seeds = task, described or describe(task), seeds
        self._options = {"program_cost_model": program_cost_model, "verbose": verbose}
        self._params = {"evolutionary_search_population": _POPULATION, **(params or {})}
        self._seed, self._callbacks = seed, list(init_search_callbacks or ())
        measured = any(isinstance(callback, auto_scheduler.PreloadMeasuredStates) for callback in self._callbacks)
        self._starts_from_relatives = seeds is not None and not measured
        self._begin([self._seed_rule()] if self._starts_from_relatives else [])

    def _begin(self, callbacks: Sequence[Any], stage: int = 1) -> None:
        """Make TVM's policy, anew where there is one."""
        super().__init__(
            self._task,
            params=dict(self._params),
            seed=None if self._seed is None else stage + 2 * self._seed,  # TVM takes 0 for "draw one"
            init_search_callbacks=[*self._callbacks, *callbacks] or None,
            **self._options,
        )

    def _seed_rule(self) -> Any:
        rng = np.random.default_rng(self._seed)
        return seed_rule(lambda: self._seeds.states_for(self._described, self._task, rng) if self._seeds else [])

    def continue_search_one_round(self, num_measure: int, measurer: Any) -> tuple[Any, Any]:
        """Search and measure as TVM does, then let relatives know.

        After a round that started from relatives, the search goes on from what was measured and from the task's own
        sketches: TVM would put the same tile sizes into each of its populations, better ones since or not.
        """
        inputs, results = super().continue_search_one_round(num_measure, measurer)
        if self._seeds is not None:
            states = [given.state for given in inputs]
            self._seeds.learn(self._described, self._task, states, [result_of(result) for result in results])
        if self._starts_from_relatives and len(inputs):
            self._starts_from_relatives = False
            self._go_on_from(inputs, results)
        return inputs, results

    def _go_on_from(self, inputs: Sequence[Any], results: Sequence[Any]) -> None:
        with TemporaryDirectory(prefix="familyseer-") as folder:
            lines = [dump_record_to_string(given, result) for given, result in zip(inputs, results, strict=True)]
            self._begin([preload(Path(folder) / "measured.json", lines)], stage=2)


def preload(file: Path, lines: Sequence[str]) -> auto_scheduler.PreloadMeasuredStates:
    """Return what lets a policy know measured states, as lines of TVM's log: it reads them, when made, from `file`."""
    file.write_text("".join(line.rstrip("\n") + "\n" for line in lines), encoding="utf-8")
    return auto_scheduler.PreloadMeasuredStates(str(file))
