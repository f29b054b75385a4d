# SPDX-License-Identifier: Apache-2.0
"""familyseer's cost models in the place of Ansor's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.auto_scheduler.cost_model.cost_model import PythonBasedModel

from familyseer.ansor.features import extract_features
from familyseer.ansor.results import result_of
from familyseer.families.learner import FamilyModel
from familyseer.ledger import Ledger
from familyseer.measure import MeasureResult

__all__ = ["FamilyCostModel"]


class FamilyCostModel(PythonBasedModel):  # type: ignore[misc]  # tvm is not typed
    """What `tvm.auto_scheduler.SketchPolicy` asks for scores; the tasks that share it are told apart by workload key.

    Parameters
    ----------
    learner
        The model.
    ledger
        Where training and `spread` are charged.
    spread
        Changes the scores (n,) of n states of a task so that a round is not filled with what is alike.
    seed
        Of the scores before anything was learnt.
    """

    def __init__(
        self,
        learner: FamilyModel,
        ledger: Ledger | None = None,
        *,
        spread: Callable[[Any, Sequence[Any], NDArray[np.float64]], NDArray[np.float64]] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.learner = learner
        self.ledger = ledger or Ledger()
        self._spread, self._rng = spread, np.random.default_rng(seed)

    def update(self, inputs: Sequence[Any], results: Sequence[Any]) -> None:
        """Learn a batch of measurements of one task."""
        if len(inputs):
            self.learn(inputs[0].task, [given.state for given in inputs], [result_of(result) for result in results])

    def learn(self, task: Any, states: Sequence[Any], results: Sequence[MeasureResult]) -> None:
        """Learn what came of states of a task."""
        key = str(task.workload_key)
        with self.ledger.phase("train", key):
            self.learner.update(key, extract_features(task, states), [result.cost for result in results])

    def recall(self, task: Any, states: Sequence[Any], results: Sequence[MeasureResult]) -> None:
        """Learn a round of the past: it judges the models, and leaves the families as they are."""
        key, costs = str(task.workload_key), [result.cost for result in results]
        with self.ledger.phase("train", key):
            features = extract_features(task, states)
            self.learner.judge(key, costs, self.learner.predictions(key, features))
            self.learner.update_many([(key, features, costs)])

    def predict(self, task: Any, states: Sequence[Any]) -> np.ndarray:
        """Return scores (n,), higher is better; minus infinity for what cannot be lowered."""
        key, features = str(task.workload_key), extract_features(task, states)
        if self.learner.is_trained(key):
            scores = np.array(self.learner.acquisition(key, features), dtype=np.float64)
        else:
            scores = self._rng.uniform(size=len(features))
        scores[features.counts == 0] = -np.inf
        lowered = np.flatnonzero(features.counts).tolist()
        if self._spread is not None and lowered:
            with self.ledger.phase("other", key):
                scores[lowered] = self._spread(task, [states[i] for i in lowered], scores[lowered])
        return scores

    def predict_stages(self, task: Any, states: Sequence[Any]) -> np.ndarray:
        """Return the scores in TVM's packed format, with no stage's own: the model scores whole programs."""
        return np.concatenate([self.predict(task, states), np.zeros(len(states))])
