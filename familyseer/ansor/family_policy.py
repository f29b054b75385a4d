# SPDX-License-Identifier: Apache-2.0
"""The search policy of a task that has relatives, on Ansor's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tvm import auto_scheduler
from tvm.auto_scheduler.measure_record import dump_record_to_string

from familyseer.ansor.cost_model import FamilyCostModel
from familyseer.ansor.results import result_of
from familyseer.ansor.transfer import TransferSeeds, seed_rule

__all__ = ["FamilySketchPolicy"]

_SEARCH = {"evolutionary_search_population": 128, "evolutionary_search_num_iters": 1}
_STARTS = 16  # tile sizes that a round starts from


class FamilySketchPolicy(auto_scheduler.SketchPolicy):  # type: ignore[misc]  # tvm is not typed
    """Ansor's `SketchPolicy`, whose cost model is the family's and whose rounds start from tile sizes that promise most.

    Parameters
    ----------
    task, verbose, init_search_callbacks
        As for TVM's.
    params
        As for TVM's, but for smaller defaults: ``evolutionary_search_population`` is 128 instead of 2048, and
        ``evolutionary_search_num_iters`` 1 instead of 4. A longer search finds what the model is wrong about.
    program_cost_model
        Shared by the policies of all tasks.
    seed
        A whole number ≥ 0; None draws one.
    seeds
        What relatives found, and where they find what this task did; None: every task is on its own.
    measured
        Lines of TVM's log: what was measured of the task before, which is not measured again.
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
        seeds: TransferSeeds | None = None,
        measured: Sequence[str] = (),
    ) -> None:
        self._task, self._seeds = task, seeds
        self._options = {"program_cost_model": program_cost_model, "verbose": verbose}
        self._params = {**_SEARCH, **(params or {})}
        self._seed, self._callbacks, self._measured = seed, list(init_search_callbacks or ()), list(measured)
        self._begin()

    def _begin(self) -> None:
        """Make TVM's policy, anew where there is one: it takes sketches from outside but once."""
        rng = None if self._seed is None else np.random.default_rng([self._seed, len(self._measured)])
        with TemporaryDirectory(prefix="familyseer-") as folder:
            callbacks = list(self._callbacks)
            if self._measured:
                callbacks.append(_preload(Path(folder) / "measured.json", self._measured))
            if self._seeds is not None:
                starts = partial(self._seeds.states_for, self._task, _STARTS)
                callbacks.append(seed_rule(lambda: starts(rng or np.random.default_rng())))
            super().__init__(
                self._task,
                params=dict(self._params),
                seed=int(rng.integers(1, 2**31)) if rng else None,  # TVM takes 0 for "draw one"
                init_search_callbacks=callbacks or None,
                **self._options,
            )

    def continue_search_one_round(self, num_measure: int, measurer: Any) -> tuple[Any, Any]:
        """Search and measure as TVM does, then let relatives know."""
        inputs, results = super().continue_search_one_round(num_measure, measurer)
        if self._seeds is not None and len(inputs):
            states = [given.state for given in inputs]
            self._seeds.learn(self._task, states, [result_of(result) for result in results])
            self._measured += [dump_record_to_string(*pair) for pair in zip(inputs, results, strict=True)]
            self._begin()
        return inputs, results


def _preload(file: Path, lines: Sequence[str]) -> auto_scheduler.PreloadMeasuredStates:
    """Return what lets a policy know measured states, as lines of TVM's log: it reads them, when made, from `file`."""
    file.write_text("".join(line.rstrip("\n") + "\n" for line in lines), encoding="utf-8")
    return auto_scheduler.PreloadMeasuredStates(str(file))
