# SPDX-License-Identifier: Apache-2.0
"""The cost model that is used by default."""

from __future__ import annotations

import numpy as np

from familyseer.cost_model.booster import BoosterModel, TrainingSet
from familyseer.cost_model.boosting import Boosting, Evaluate, Floats
from familyseer.errors import InvalidInputError
from familyseer.features import FeatureSet
from familyseer.task import TaskKey

__all__ = ["XGBCostModel"]

_WORST_RATIO = 1e-3  # what is 1000 times slower than the best, or fails, is all equally bad


class XGBCostModel(BoosterModel):
    """Predict log(best/this) from one row of features per program, and how sure that is.

    The row is `FeatureSet.gathered`; labels are cut off at log(1/1000), where failed programs are, too.
    Trees are shallow and subsampled, since there are few samples.
    64 bins rank as well as 256 in a third to a half of the time.

    Several boosters that differ by their subsamples predict; their mean is the prediction.
    A search that follows the mean alone measures near copies of what it knows, and chose no better than by chance.
    So `acquisition` adds `optimism` standard deviations of the boosters' predictions: an upper confidence bound
    (Srinivas et al., ICML 2010) from an ensemble of trees (Hutter et al., LION 2011).
    Both are measured by ``benchmarks/cost_model.py``.

    Parameters
    ----------
    top_weight
        A program weighs ``1 + top_weight · best/this``, so that the fastest, among which a search moves, count more.
        0, 1 and 3 differ by less than the random splits do.
    rounds
        Number of trees of each booster; down to two fifths of it where there are few programs.
    members
        Number of boosters.
    optimism
        Standard deviations that `acquisition` adds; 0 for none.
    **options
        Those of `BoosterModel`.
    """

    kind = "gathered"

    def __init__(
        self,
        *,
        seed: int = 0,
        adaptive_training: bool = True,
        min_samples: int = 16,
        max_samples: int = 3000,
        threads: int = 1,
        width: int | None = None,
        top_weight: float = 1.0,
        rounds: int = 160,
        members: int = 6,
        optimism: float = 3.0,
    ) -> None:
        super().__init__(
            seed=seed,
            adaptive_training=adaptive_training,
            min_samples=min_samples,
            max_samples=max_samples,
            threads=threads,
            width=width,
        )
        for name, number in [("top_weight", top_weight), ("optimism", optimism)]:
            if not 0 <= number < float("inf"):
                raise InvalidInputError(f"`{name}` must be a number ≥ 0; got {number!r}")
        for name, count in [("rounds", rounds), ("members", members)]:
            if count < 1:
                raise InvalidInputError(f"`{name}` must be a whole number ≥ 1; got {count!r}")
        self._top_weight, self._optimism = top_weight, optimism
        self._rounds, self._members = rounds, members

    def _columns(self, width: int) -> int:
        return 3 * width + 1

    def _boosting(self, training: TrainingSet) -> Boosting:
        return Boosting(
            matrix=training.features.gathered(),
            labels=np.log(np.maximum(training.throughput, _WORST_RATIO)),
            weights=1 + self._top_weight * training.throughput,
            params={
                "max_depth": 5,
                "eta": 0.1,
                "subsample": 0.6,
                "colsample_bytree": 0.2,
                "tree_method": "hist",
                "max_bin": 64,
            },
            rounds=self._rounds,
            members=self._members,
        )

    def _score(self, features: FeatureSet, evaluate: Evaluate) -> Floats:
        return np.asarray(np.exp(evaluate(features.gathered()).mean(axis=0)))

    def _acquire(self, task_key: TaskKey, features: FeatureSet) -> Floats:
        return self._scores(features, self._upper_bound)

    def _upper_bound(self, features: FeatureSet, evaluate: Evaluate) -> Floats:
        predictions = evaluate(features.gathered())
        return np.asarray(np.exp(predictions.mean(axis=0) + self._optimism * predictions.std(axis=0)))
