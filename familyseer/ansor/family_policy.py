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
from familyseer.ansor.journal import Journal
from familyseer.ansor.results import result_of
from familyseer.ansor.transfer import TransferSeeds, seed_rule
from familyseer.errors import InvalidInputError
from familyseer.ledger import share
from familyseer.transfer import Hope, vector_places

__all__ = ["FamilySketchPolicy"]

_SEARCH = {"evolutionary_search_population": 128, "evolutionary_search_num_iters": 1}
_OURS = {"copy_share": 0.5, "vector_share": 0.125, "relative_weight": 1.0}
_HOPE_AFTER = 0  # trials before a task follows relatives: with the other engine's 24, three convolutions ended up to 1.5 times slower
_STARTS = 16  # tile sizes that a round starts from


class FamilySketchPolicy(auto_scheduler.SketchPolicy):  # type: ignore[misc]  # tvm is not typed
    """Ansor's `SketchPolicy`, whose cost model is the family's and whose rounds start from tile sizes that promise most.

    Parameters
    ----------
    task, verbose, init_search_callbacks
        As for TVM's.
    params
        As for TVM's, but for smaller defaults: ``evolutionary_search_population`` is 128 instead of 2048, and
        ``evolutionary_search_num_iters`` 1 instead of 4. A longer search finds what the model is wrong about. And, as on the
        other engine otherwise: ``copy_share``, 0.5, the share of a round for copies of what faster relatives did;
        ``vector_share``, 0.125, that for inner tiles that are new to the task, four times as much in its first round; and
        ``relative_weight``, 1, how much a task is hoped to become as fast per iteration as its relatives, here from its first
        trial on.
    program_cost_model
        Shared by the policies of all tasks. Time is charged to its ledger.
    seed
        A whole number ≥ 0; None draws one.
    seeds
        What relatives found, and where they find what this task did; None: every task is on its own.
    measured
        Lines of TVM's log: what was measured of the task before, which is not measured again.
    journal
        Told where rounds begin and end; None: nobody is.

    Raises
    ------
    InvalidInputError
        TVM has no such parameter, or a share or weight is not from 0 to 1.
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
        journal: Journal | None = None,
    ) -> None:
        self._task, self._key, self._seeds = task, str(task.workload_key), seeds
        self._journal = journal or Journal(None)
        self._model, self._verbose, self._params = program_cost_model, verbose, {**_OURS, **_SEARCH, **_checked(params)}
        self._copy_share, self._vector_share, weight = (share(name, self._params.pop(name)) for name in _OURS)
        self._hope = Hope(weight, _HOPE_AFTER)
        self._seed, self._callbacks, self._measured = seed, list(init_search_callbacks or ()), list(measured)
        self._used = False
        with TemporaryDirectory(prefix="familyseer-") as folder:
            super().__init__(task, **self._arguments(Path(folder)))

    def continue_search_one_round(self, num_measure: int, measurer: Any) -> tuple[Any, Any]:
        """Search and measure as TVM does, then let relatives know."""
        ledger = self._model.ledger
        self._journal.begin(self._key)
        if self._seeds is not None:
            vectors = vector_places(num_measure, self._vector_share, first=not self._measured)
            self._seeds.begin(self._task, vectors, int(num_measure * self._copy_share))
        if self._used and self._seeds is not None:
            with ledger.phase("other", self._key):
                self._renew()
        inputs, results = super().continue_search_one_round(num_measure, measurer)
        with ledger.phase("other", self._key):
            self._note(inputs, results)
        return inputs, results

    def _renew(self) -> None:
        """Put a new policy of TVM's in the place of the present one: it asks for sketches but once."""
        with TemporaryDirectory(prefix="familyseer-") as folder:
            fresh = auto_scheduler.SketchPolicy(self._task, **self._arguments(Path(folder)))
        self.handle, fresh.handle = fresh.handle, self.handle  # so that TVM's old object ends with `fresh`

    def _arguments(self, folder: Path) -> dict[str, Any]:
        """Return what TVM's policy is made with at present."""
        rng = np.random.default_rng(None if self._seed is None else [self._seed, len(self._measured)])
        callbacks = list(self._callbacks)
        if self._measured:
            callbacks.append(_preload(folder / "measured.json", self._measured))
        if self._seeds is not None:
            callbacks.append(seed_rule(lambda: self._starts(rng)))
        return {
            "program_cost_model": self._model,
            "params": dict(self._params),
            "seed": int(rng.integers(1, 2**31)),  # TVM takes 0 for "draw one"
            "verbose": self._verbose,
            "init_search_callbacks": callbacks or None,
        }

    def _starts(self, rng: np.random.Generator) -> list[Any]:
        assert self._seeds is not None
        with self._model.ledger.phase("other", self._key):
            return self._seeds.states_for(self._task, _STARTS, rng, self._hope)

    def _note(self, inputs: Sequence[Any], results: Sequence[Any]) -> None:
        """Remember what was measured, for this task and its relatives."""
        if not len(inputs):
            return
        self._used = True
        if self._seeds is not None:
            states = [given.state for given in inputs]
            self._seeds.learn(self._task, states, [result_of(result) for result in results])
            self._measured += [dump_record_to_string(*pair) for pair in zip(inputs, results, strict=True)]
        self._journal.end(len(inputs))


def _checked(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the parameters, which must be TVM's or ours: TVM ignores others without a word."""
    known, given = {**auto_scheduler.SketchPolicy.DEFAULT_PARAMS, **_OURS}, dict(params or {})
    unknown = sorted(str(name) for name in given.keys() - known.keys())
    if unknown:
        raise InvalidInputError(f"search policy parameters must be among {sorted(known)}; got {', '.join(unknown)}")
    return given


def _preload(file: Path, lines: Sequence[str]) -> auto_scheduler.PreloadMeasuredStates:
    """Return what lets a policy know measured states, as lines of TVM's log: it reads them, when made, from `file`."""
    file.write_text("".join(line.rstrip("\n") + "\n" for line in lines), encoding="utf-8")
    return auto_scheduler.PreloadMeasuredStates(str(file))
