# SPDX-License-Identifier: Apache-2.0
"""What cost models on xgboost have in common."""

from __future__ import annotations

import copy
import logging
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from familyseer.cost_model.base import CostModel, relative_throughput
from familyseer.cost_model.boosting import Boosting, Evaluate, Floats, evaluate, read_booster, train
from familyseer.cost_model.files import header_number, read_model, write_model
from familyseer.cost_model.samples import SampleStore
from familyseer.errors import InvalidInputError, ModelFileError
from familyseer.features import FeatureSet
from familyseer.task import TaskKey

__all__ = ["BoosterModel", "TrainingSet"]

logger = logging.getLogger(__name__)

_RETRAIN_GROWTH = 0.2  # as TVM's: train anew when a fifth more has been measured


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


class BoosterModel(CostModel):
    """Gradient-boosted trees shared by all the tasks they are shown, trained from scratch on each retraining.

    Seeded: the same measurements in the same order give the same predictions, in any process and with any `threads`.
    A loaded model predicts at once.
    When it is then shown `min_samples` new programs, it trains on these alone, starting from what the loaded boosters
    predict: measurements are not in the file, they are in the records.

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
    trained_size: int
    """Programs measured when it was last trained; 0 before that and after loading."""

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
        self._width, self._width_of = width, "those seen before"
        self._samples = SampleStore()
        self.trained_size = 0
        self._deferring = False
        self._boosters: tuple[Any, ...] = ()
        self._priors: tuple[Any, ...] = ()

    def is_trained(self, task_key: TaskKey) -> bool:
        """Return whether there are boosters: they serve every task."""
        return bool(self._boosters)

    def predictions(self, task_key: TaskKey, features: FeatureSet) -> dict[str, Floats]:
        """Return the scores (n,) of this model as those of the one that all tasks share; nothing before it is trained."""
        return {"shared": self.predict(task_key, features)} if self._boosters else {}

    def save(self, path: str | Path) -> None:
        """Write the boosters and the length of their features, not the measurements."""
        parts = [bytes(booster.save_raw(raw_format="ubj")) for booster in self._boosters]
        header = {"width": self._width or 0, "sizes": [len(part) for part in parts]}
        write_model(path, self.kind, header, b"".join(parts))

    def load(self, path: str | Path) -> None:
        """Take over saved boosters, forget all measurements."""
        header, payload = read_model(path, self.kind)
        width = header_number(path, header, "width")
        if self._width and width and width != self._width:
            raise ModelFileError(
                f"{str(path)!r} must be a model for {self._width} features per store; got one for {width}. Train anew."
            )
        columns = self._columns(width)
        boosters = tuple(read_booster(path, part, columns) for part in _parts(path, payload, header))
        self._boosters = self._priors = boosters
        if width:
            self._width, self._width_of = width, f"the model file {str(path)!r} has"
        self._samples, self.trained_size = SampleStore(), 0

    def learnt(self, task_key: TaskKey) -> tuple[FeatureSet, Floats] | None:
        """Return the programs of a task that this model was shown, and their latencies; None without any."""
        return self._samples.get(task_key)

    def forget(self, task_keys: Collection[TaskKey]) -> None:
        """Forget the programs of some tasks; the next update trains on what is left, if that is enough."""
        self._samples, self.trained_size, self._boosters = self._samples.without(task_keys), 0, self._priors

    def joined(self, programs: Mapping[TaskKey, int], *, members: int, rounds: int) -> BoosterModel:
        """Return an ensemble of `members` of these boosters and as many new ones, which learn some tasks alone.

        This model stays as it is. Without measurements of these tasks, or boosters to join, the two predict alike.

        Parameters
        ----------
        programs
            How many programs of each task to learn: the first that were shown.
        members
            New boosters; this model's are as many at most.
        rounds
            Trees of each new booster.
        """
        model = copy.copy(self)
        model._samples, model._priors = self._samples.first(programs), ()
        if self._boosters and len(model._samples):
            model._train(members=members, rounds=rounds)
            model._boosters = (*self._boosters[:members], *model._boosters)
        return model

    def _update(self, task_key: TaskKey, features: FeatureSet, costs: Floats) -> None:
        filled = features.counts > 0
        if not filled.any():
            return
        self._check_width(features)
        self._width = features.width
        self._samples.add(task_key, features[filled], costs[filled])
        if not self._deferring and self._is_due(len(self._samples), self.trained_size):
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
        size, trained, last = len(self._samples), self.trained_size, -1
        for position, added in enumerate(sizes):
            size += added
            if added and self._is_due(size, trained):
                trained, last = size, position
        return last

    def _predict(self, task_key: TaskKey, features: FeatureSet) -> Floats:
        return self._scores(features, self._score)

    def _scores(self, features: FeatureSet, score: Callable[[FeatureSet, Evaluate], Floats]) -> Floats:
        """Return scores (n,) of any programs; `score` sees only those that have stores."""
        if not self._boosters:
            return np.ones(len(features))
        scores = np.zeros(len(features))
        filled = features.counts > 0
        if filled.any():
            self._check_width(features)
            scores[filled] = score(features[filled], lambda matrix: evaluate(self._boosters, matrix))
        return scores

    def _is_due(self, size: int, trained_size: int) -> bool:
        if size < self._min_samples:
            return False
        return not self._adaptive_training or size - trained_size >= _RETRAIN_GROWTH * trained_size

    def _train(self, members: int | None = None, rounds: int | None = None) -> None:
        selection = self._samples.selection(self._max_samples, np.random.default_rng(self._seed))
        features = FeatureSet.concat([part for part, _, _ in selection])
        throughput = np.concatenate([relative_throughput(costs, best) for _, costs, best in selection])
        boosting = self._boosting(TrainingSet(features=features, throughput=throughput))
        boosting = replace(
            boosting, members=members or boosting.members, rounds=_enough(rounds or boosting.rounds, len(features))
        )
        self._boosters = train(boosting, seed=self._seed, threads=self._threads, priors=self._priors)
        self.trained_size = len(self._samples)
        logger.debug("%s trained on %d of %d programs", self.kind, len(features), self.trained_size)

    def _check_width(self, features: FeatureSet) -> None:
        if self._width and features.width != self._width:
            raise InvalidInputError(
                f"`features` must have {self._width} numbers per store, as {self._width_of}; got {features.width}"
            )

    @abstractmethod
    def _columns(self, width: int) -> int:
        """Return how many columns the boosters' matrix has."""

    @abstractmethod
    def _boosting(self, training: TrainingSet) -> Boosting:
        """Return what to train."""

    @abstractmethod
    def _score(self, features: FeatureSet, evaluate: Evaluate) -> Floats:
        """Return scores (n,) of programs that all have stores."""


def _enough(rounds: int, programs: int) -> int:
    """Return how many trees to grow: all `rounds` from four programs per tree on, and not less than two fifths of them.

    More trees rank the programs of a search's next round no better, and cost as much time as there are trees.

    Examples
    --------
    >>> [_enough(160, programs) for programs in (16, 300, 2000)]
    [64, 75, 160]
    """
    return min(rounds, max(2 * rounds // 5, programs // 4, 1))


def _parts(path: str | Path, payload: bytes, header: dict[str, Any]) -> list[bytes]:
    """Return each booster's bytes; a header without sizes is that of an older file, with one booster at most."""
    sizes = header.get("sizes", [len(payload)] if payload else [])
    if (
        not isinstance(sizes, list)
        or not all(type(size) is int and size > 0 for size in sizes)
        or sum(sizes) != len(payload)
    ):
        raise ModelFileError(
            f"'sizes' in the header of {str(path)!r} must sum to its {len(payload)} bytes; got {sizes!r}"
        )
    ends = np.cumsum(sizes, dtype=np.int64).tolist()
    return [payload[end - size : end] for size, end in zip(sizes, ends, strict=True)]
