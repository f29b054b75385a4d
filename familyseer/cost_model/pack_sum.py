# SPDX-License-Identifier: Apache-2.0
"""The baseline: MetaSchedule's way of modelling cost, a sum over the stores of a program."""

from __future__ import annotations

import numpy as np

from familyseer.cost_model.booster import BoosterModel, TrainingSet
from familyseer.cost_model.boosting import Boosting, Evaluate, Floats
from familyseer.features import FeatureSet

__all__ = ["PackSumXGBModel"]

_MAX_ROUNDS = 10_000
_PATIENCE = 50


class PackSumXGBModel(BoosterModel):
    """Predict best/this as the sum of one prediction per store, as MetaSchedule's ``XGBModel`` does.

    The objective is the squared error of the sum, weighted by the label: with label y and stores s of a program,
    ``y · (Σ_s f(s) − y)²``, whose gradient every store of the program gets whole.
    A failed program has y = 0 and so no weight.
    Parameters are TVM's: depth 10, gamma 0.001, eta 0.2, boosting until the error on the training rows has not fallen
    for 50 rounds.
    It trains on all that was measured unless `max_samples` is set lower.

    Parameters
    ----------
    seed, adaptive_training, min_samples, max_samples, threads, width
        Those of `BoosterModel`; TVM's seed is 43.
    """

    kind = "pack-sum"

    def __init__(
        self,
        *,
        seed: int = 43,
        adaptive_training: bool = True,
        min_samples: int = 16,
        max_samples: int = 1_000_000,
        threads: int = 1,
        width: int | None = None,
    ) -> None:
        super().__init__(
            seed=seed,
            adaptive_training=adaptive_training,
            min_samples=min_samples,
            max_samples=max_samples,
            threads=threads,
            width=width,
        )

    def _columns(self, width: int) -> int:
        return width

    def _boosting(self, training: TrainingSet) -> Boosting:
        programs = training.features.program_ids
        labels = training.throughput[programs]

        def residual(predictions: Floats) -> Floats:
            return np.bincount(programs, weights=predictions)[programs] - labels

        return Boosting(
            matrix=training.features.rows,
            labels=labels,
            weights=labels,
            params={"max_depth": 10, "gamma": 0.001, "min_child_weight": 0, "eta": 0.2, "tree_method": "hist"},
            rounds=_MAX_ROUNDS,
            objective=lambda predictions: (residual(predictions) * labels, labels),
            error=lambda predictions: float(np.sqrt(np.mean(residual(predictions) ** 2))),
            patience=_PATIENCE,
        )

    def _score(self, features: FeatureSet, evaluate: Evaluate) -> Floats:
        (predictions,) = evaluate(features.rows)
        return np.maximum(np.bincount(features.program_ids, weights=predictions, minlength=len(features)), 0)
