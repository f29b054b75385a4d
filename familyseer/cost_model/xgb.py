# SPDX-License-Identifier: Apache-2.0
"""Cost models on xgboost: what they have in common, and the one that is used by default."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from familyseer.cost_model.base import CostModel, relative_throughput
from familyseer.cost_model.files import header_number, read_model, write_model
from familyseer.cost_model.samples import SampleStore
from familyseer.errors import InvalidInputError, ModelFileError
from familyseer.features import FeatureSet
from familyseer.task import TaskKey

__all__ = ["BoosterModel", "Boosting", "TrainingSet", "XGBCostModel"]

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_RETRAIN_GROWTH = 0.2  # as TVM's: train anew when a fifth more has been measured
_WORST_RATIO = 1e-3  # what is 1000 times slower than the best, or fails, is all equally bad


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSet:
    """Programs of several tasks to train on.

    Parameters
    ----------
    features
        n programs.
    throughput
        (n,) best latency of the program's task over its own, in [0, 1]; 0 for a failed program.
    """

    features: FeatureSet
    throughput: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Boosting:
    """One training of a booster on r rows.

    Parameters
    ----------
    matrix, labels, weights
        (r, d), (r,) and (r,).
    params, rounds
        Of `xgboost.train`.
    objective, error
        Gradient and hessian, and the error by which to stop, from the predictions of all rows; None for squared error.
    patience
        Stop after so many rounds without a smaller `error` on the training rows.
    """

    matrix: NDArray[np.float32]
    labels: Floats
    weights: Floats
    params: dict[str, Any] = field(default_factory=dict)
    rounds: int
    objective: Callable[[Floats], tuple[Floats, Floats]] | None = None
    error: Callable[[Floats], float] | None = None
    patience: int | None = None


class BoosterModel(CostModel):
    """A gradient-boosted model shared by all the tasks it is shown, trained from scratch on each retraining.

    Seeded: the same measurements in the same order give the same predictions, in any process and with any `threads`.
    A loaded model predicts at once.
    When it is then shown `min_samples` new programs, it trains on these alone, starting from what the loaded booster
    predicts: measurements are not in the file, they are in the records.

    Parameters
    ----------
    seed
        Of subsampling.
    adaptive_training
        Retrain when a fifth more programs were measured, not on every update.
    min_samples
        Programs needed before the first training.
    max_samples
        Most programs to train on (see `SampleStore.selection`); bounds the time of a training.
    threads
        Of xgboost. One by default: a training takes one to four seconds, and OpenMP threads that wait for a core which other
        work occupies made it several times slower.
    width
        Features per store; None takes that of the first programs seen.
    """

    kind: str

    def __init__(
        self,
        *,
        seed: int = 0,
        adaptive_training: bool = True,
        min_samples: int = 16,
        max_samples: int = 3000,
        threads: int = 1,
        width: int | None = None,
    ) -> None:
        for name, value, least in [
            ("min_samples", min_samples, 1),
            ("max_samples", max_samples, 1),
            ("threads", threads, 1),
        ]:
            if value < least:
                raise InvalidInputError(f"`{name}` must be a whole number ≥ {least}; got {value!r}")
        self._seed = seed
        self._adaptive_training = adaptive_training
        self._min_samples = min_samples
        self._max_samples = max_samples
        self._threads = threads
        self._width = width
        self._samples = SampleStore()
        self._trained_size = 0
        self._deferring = False
        self._booster: Any = None
        self._prior: Any = None

    def is_trained(self, task_key: TaskKey) -> bool:
        """Return whether there is a booster: it serves every task."""
        return self._booster is not None

    def save(self, path: str | Path) -> None:
        """Write the booster and the length of its features, not the measurements."""
        payload = b"" if self._booster is None else bytes(self._booster.save_raw(raw_format="ubj"))
        write_model(path, self.kind, {"width": self._width or 0}, payload)

    def load(self, path: str | Path) -> None:
        """Take over a saved booster, forget all measurements."""
        header, payload = read_model(path, self.kind)
        width = header_number(path, header, "width")
        if self._width and width and width != self._width:
            raise ModelFileError(
                f"{str(path)!r} must be a model for {self._width} features per store; got one for {width}. Train anew."
            )
        booster = _booster_from(path, payload, self._columns(width)) if payload else None
        self._booster = self._prior = booster
        self._width = width or self._width
        self._samples, self._trained_size = SampleStore(), 0

    def _update(self, task_key: TaskKey, features: FeatureSet, costs: Floats) -> None:
        filled = features.counts > 0
        if not filled.any():
            return
        self._check_width(features)
        self._width = features.width
        self._samples.add(task_key, features[filled], costs[filled])
        if not self._deferring and self._is_due(len(self._samples), self._trained_size):
            self._train()

    def update_many(self, batches: Sequence[tuple[TaskKey, FeatureSet, ArrayLike]]) -> None:
        """Learn batches one after another, but train only where the last training would have been."""
        last = self._last_training([int((features.counts > 0).sum()) for _, features, _ in batches])
        for position, (task_key, features, costs) in enumerate(batches):
            self._deferring = position != last
            try:
                self.update(task_key, features, costs)
            finally:
                self._deferring = False

    def _last_training(self, sizes: Sequence[int]) -> int:
        """Return which of these batches is the last after which `update` would train; -1 for none."""
        size, trained, last = len(self._samples), self._trained_size, -1
        for position, added in enumerate(sizes):
            size += added
            if added and self._is_due(size, trained):
                trained, last = size, position
        return last

    def _predict(self, task_key: TaskKey, features: FeatureSet) -> Floats:
        if self._booster is None:
            return np.ones(len(features))
        scores = np.zeros(len(features))
        filled = features.counts > 0
        if filled.any():
            self._check_width(features)
            scores[filled] = self._score(features[filled], lambda matrix: _evaluate(self._booster, matrix))
        return scores

    def _is_due(self, size: int, trained_size: int) -> bool:
        if size < self._min_samples:
            return False
        return not self._adaptive_training or size - trained_size >= _RETRAIN_GROWTH * trained_size

    def _train(self) -> None:
        selection = self._samples.selection(self._max_samples, np.random.default_rng(self._seed))
        features = FeatureSet.concat([part for part, _, _ in selection])
        throughput = np.concatenate([relative_throughput(costs, best) for _, costs, best in selection])
        boosting = self._boosting(TrainingSet(features=features, throughput=throughput))
        self._booster = _boost(boosting, {"seed": self._seed, "nthread": self._threads}, self._prior)
        self._trained_size = len(self._samples)
        logger.debug("%s trained on %d of %d programs", self.kind, len(features), self._trained_size)

    def _check_width(self, features: FeatureSet) -> None:
        if self._width and features.width != self._width:
            raise InvalidInputError(
                f"`features` must have {self._width} numbers per store, as those seen before; got {features.width}"
            )

    @abstractmethod
    def _columns(self, width: int) -> int:
        """Return how many columns the booster's matrix has."""

    @abstractmethod
    def _boosting(self, training: TrainingSet) -> Boosting:
        """Return what to train."""

    @abstractmethod
    def _score(self, features: FeatureSet, evaluate: Callable[[NDArray[np.float32]], Floats]) -> Floats:
        """Return scores of programs that all have stores; `evaluate` gives the booster's prediction of each row."""


class XGBCostModel(BoosterModel):
    """Predict log(best/this) from one row of features per program.

    The row is `FeatureSet.gathered`; labels are cut off at log(1/1000), where failed programs are, too.
    Trees are shallow, slow to learn and subsampled, since there are few samples.
    64 bins rank as well as 256 in a third to a half of the time.
    Measured by ``benchmarks/cost_model.py``.

    Parameters
    ----------
    top_weight
        A program weighs ``1 + top_weight · best/this``, so that the fastest, among which a search moves, count more.
        0, 1 and 3 differ by less than the random splits do: ten of them ordered 78.3, 78.4 and 78.2 % of pairs.
    rounds
        Number of trees.
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
        rounds: int = 500,
    ) -> None:
        super().__init__(
            seed=seed,
            adaptive_training=adaptive_training,
            min_samples=min_samples,
            max_samples=max_samples,
            threads=threads,
            width=width,
        )
        if not 0 <= top_weight < float("inf"):
            raise InvalidInputError(f"`top_weight` must be a number ≥ 0; got {top_weight!r}")
        if rounds < 1:
            raise InvalidInputError(f"`rounds` must be a whole number ≥ 1; got {rounds!r}")
        self._top_weight = top_weight
        self._rounds = rounds

    def _columns(self, width: int) -> int:
        return 3 * width + 1

    def _boosting(self, training: TrainingSet) -> Boosting:
        return Boosting(
            matrix=training.features.gathered(),
            labels=np.log(np.maximum(training.throughput, _WORST_RATIO)),
            weights=1 + self._top_weight * training.throughput,
            params={
                "max_depth": 5,
                "eta": 0.05,
                "subsample": 0.8,
                "colsample_bytree": 0.5,
                "tree_method": "hist",
                "max_bin": 64,
            },
            rounds=self._rounds,
        )

    def _score(self, features: FeatureSet, evaluate: Callable[[NDArray[np.float32]], Floats]) -> Floats:
        return np.exp(evaluate(features.gathered()))


def _boost(boosting: Boosting, settings: dict[str, Any], prior: Any) -> Any:
    import xgboost  # here, so that importing familyseer stays fast

    data = xgboost.DMatrix(boosting.matrix, boosting.labels, weight=boosting.weights, nthread=settings["nthread"])
    options: dict[str, Any] = {}
    objective, error = boosting.objective, boosting.error
    if objective is not None:
        options["obj"] = lambda predictions, _: objective(predictions)
    if error is not None and boosting.patience is not None:
        options["custom_metric"] = lambda predictions, _: ("error", error(predictions))
        options |= {"evals": [(data, "train")], "early_stopping_rounds": boosting.patience, "verbose_eval": False}
    params = {**boosting.params, **settings, "disable_default_eval_metric": True}
    return xgboost.train(params, data, boosting.rounds, xgb_model=prior, **options)


def _evaluate(booster: Any, matrix: NDArray[np.float32]) -> Floats:
    import xgboost

    return np.asarray(booster.predict(xgboost.DMatrix(matrix, nthread=1)), dtype=np.float64)


def _booster_from(path: str | Path, payload: bytes, columns: int) -> Any:
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(bytearray(payload))
        found = booster.num_features()
    except (xgboost.core.XGBoostError, ValueError) as err:
        raise ModelFileError(f"{str(path)!r} must hold a booster that xgboost can read; its payload is none") from err
    if found != columns:
        raise ModelFileError(f"{str(path)!r} must hold a booster for {columns} columns; got one for {found}")
    return booster
