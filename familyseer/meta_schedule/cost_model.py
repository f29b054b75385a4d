# SPDX-License-Identifier: Apache-2.0
"""`XGBModel` and `RandomModel` as ``tvm.auto_scheduler`` has them, over familyseer's cost models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from familyseer.cost_model import CostModel, RandomCostModel, XGBCostModel
from familyseer.errors import UnsupportedError
from familyseer.features import FeatureSet
from familyseer.measure import MeasureResult
from familyseer.meta_schedule.measure_record import MeasureInput, RecordReader, State
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.space import extract_features

__all__ = ["ProgramCostModel", "RandomModel", "XGBModel"]


class ProgramCostModel:
    """A cost model that takes tasks and programs instead of keys and features.

    Parameters
    ----------
    learner
        What learns and predicts.
    """

    def __init__(self, learner: CostModel) -> None:
        self.learner = learner

    def update(self, inputs: Sequence[MeasureInput], results: Sequence[MeasureResult]) -> None:
        """Learn measurements of any tasks."""
        for task in {id(given.task): given.task for given in inputs}.values():
            mine = [(given, result) for given, result in zip(inputs, results, strict=True) if given.task is task]
            costs = np.array([result.cost for _, result in mine])
            self.learner.update(task.task.key, _features(task, [given.state for given, _ in mine]), costs)

    def predict(self, task: SearchTask, states: Sequence[State]) -> NDArray[np.float64]:
        """Return scores of n programs of one task, shape (n,), higher is better."""
        return self.learner.predict(task.task.key, _features(task, states))

    def predict_stages(self, task: SearchTask, states: Sequence[State]) -> NDArray[np.float64]:
        """Is not there: the model sees a program as a whole."""
        raise UnsupportedError("this model scores whole programs, not stages; use predict(task, states).")

    def update_from_file(self, file_name: str | os.PathLike[str], n_lines: int | None = None) -> None:
        """Learn the measurements of a log, at most `n_lines` of them."""
        self.update(*RecordReader(file_name).read_lines(n_lines))

    def save(self, file_name: str | os.PathLike[str]) -> None:
        """Write the model."""
        self.learner.save(Path(file_name))

    def load(self, file_name: str | os.PathLike[str]) -> None:
        """Read a model that `save` wrote."""
        self.learner.load(Path(file_name))


class RandomModel(ProgramCostModel):
    """Scores at random.

    Parameters
    ----------
    seed
        Of the scores.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(RandomCostModel(seed=seed))


class XGBModel(ProgramCostModel):
    """The learnt model, see `familyseer.cost_model.XGBCostModel`.

    Parameters
    ----------
    verbose_eval
        Accepted; training reports at logging level DEBUG.
    num_warmup_sample
        Measurements before the first training; until then all programs score alike.
    seed
        None means 43, as in TVM.
    model_file
        Written after each update; None: never.
    adaptive_training
        Train only when a fifth more was measured.
    """

    def __init__(
        self,
        verbose_eval: int = 25,
        num_warmup_sample: int = 100,
        seed: int | None = None,
        model_file: str | None = None,
        adaptive_training: bool = False,
    ) -> None:
        learner = XGBCostModel(
            seed=43 if seed is None else seed,
            adaptive_training=adaptive_training,
            min_samples=max(1, num_warmup_sample),
        )
        super().__init__(learner)
        self.model_file = model_file

    def update(self, inputs: Sequence[MeasureInput], results: Sequence[MeasureResult]) -> None:
        """Learn measurements, and write the model to `model_file` if there is one."""
        super().update(inputs, results)
        if self.model_file:
            self.save(self.model_file)


def _features(task: SearchTask, states: Sequence[State]) -> FeatureSet:
    return extract_features(task.mod, task.target, [state.schedule for state in states], threads=1)
