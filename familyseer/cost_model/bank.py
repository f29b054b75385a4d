# SPDX-License-Identifier: Apache-2.0
"""A cost model shared by all tasks and, for each family of them, one of its own: whichever predicts better serves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from familyseer.cost_model.arrivals import Arrivals
from familyseer.cost_model.bank_files import SHARED_FILE, Manifest, family_file, make_directory
from familyseer.cost_model.base import CostModel
from familyseer.cost_model.booster import BoosterModel
from familyseer.cost_model.prequential import RunningScores
from familyseer.errors import InvalidInputError
from familyseer.features import FeatureSet
from familyseer.metrics import Confidence
from familyseer.task import TaskKey

__all__ = ["FAMILY_MEMBERS", "FAMILY_ROUNDS", "BankLoad", "ModelBank", "Serving"]

logger = logging.getLogger(__name__)

Serving = Literal["shared", "family"]
"""Which of a bank's models answers for a task."""

FAMILY_MEMBERS, FAMILY_ROUNDS = 3, 80
"""Boosters of a family's own, and the trees of each, where nothing else is said."""

_GROWTH = 0.1  # a family that grew by less keeps its model; new ones after every round ranked the next round no better


@dataclass(frozen=True, slots=True, kw_only=True)
class BankLoad:
    """What `ModelBank.load_matching` did, as sorted labels of families; the shared model is always loaded.

    Parameters
    ----------
    loaded
        In the bank and in the file: taken over.
    absent
        In the bank only: they start from the shared model.
    unused
        In the file only: ignored.
    """

    loaded: tuple[str, ...]
    absent: tuple[str, ...]
    unused: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Family:
    """A family's model, of which shared model it was made, and of how many programs of each task."""

    model: BoosterModel
    shared: int
    programs: Mapping[TaskKey, int]


class ModelBank(CostModel):
    """A model shared by all tasks and one for each family, which can help and not hurt.

    A family's model is an ensemble: half of its boosters are shared ones, half have learnt the family alone. On tasks
    that were never measured it ranks random programs a little better than either half does (``benchmarks/accuracy.py``);
    on the programs of a search no difference has been shown (``benchmarks/bank.py``).
    It is made anew with every shared model, and when the family has grown by a tenth.

    Every batch of measurements judges both models before they learn it.
    A family's model serves the family's tasks only while it has put more pairs in order than the shared one.
    A task that was never measured is served by its family's model, unless on the first batches of tasks, in all families
    together, the shared one was better.

    The bank sees labels only: whoever forms the families says which task has which, and may say it anew.

    Parameters
    ----------
    label_of
        The label of every task that will be asked about.
    make_model
        Makes an untrained model.
    family_members, family_rounds
        Boosters of a family's own, and the trees of each.
    serve
        ``"measured"``: as above. ``"shared"`` or ``"family"``: always that one, for ablations.

    Examples
    --------
    >>> from familyseer.cost_model import XGBCostModel
    >>> bank = ModelBank({"k1": "conv", "k2": "conv", "k3": "dense"}, XGBCostModel)
    >>> bank.labels, bank.serving("k1")
    (('conv', 'dense'), 'shared')
    """

    def __init__(
        self,
        label_of: Mapping[TaskKey, str],
        make_model: Callable[[], BoosterModel],
        *,
        family_members: int = FAMILY_MEMBERS,
        family_rounds: int = FAMILY_ROUNDS,
        serve: Serving | Literal["measured"] = "measured",
    ) -> None:
        if serve not in ("measured", *get_args(Serving)):
            raise InvalidInputError(f"`serve` must be measured, shared or family; got {serve!r}")
        for name, value in [("family_members", family_members), ("family_rounds", family_rounds)]:
            if value < 1:
                raise InvalidInputError(f"`{name}` must be a whole number ≥ 1; got {value!r}")
        self._label_of = dict(label_of)
        self._make_model, self._serve = make_model, serve
        self._own = {"members": family_members, "rounds": family_rounds}
        self._shared = make_model()
        self._families: dict[str, _Family] = {}
        self._loaded: dict[str, BoosterModel] = {}
        self._measured: set[TaskKey] = set()
        self._arrivals = Arrivals()
        self._scores = {label: RunningScores() for label in self.labels}
        self._first_scores = RunningScores()

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the families, sorted."""
        return tuple(sorted(set(self._label_of.values())))

    def members(self, label: str) -> tuple[TaskKey, ...]:
        """Return the tasks that have a label, in the order in which they were named."""
        return tuple(key for key, other in self._label_of.items() if other == label)

    def relatives(self, task_key: TaskKey) -> tuple[TaskKey, ...]:
        """Return the members of a task's family, itself included."""
        return self.members(self._require(task_key))

    def regroup(self, label_of: Mapping[TaskKey, str]) -> None:
        """Give the same tasks other labels; a family that has the same members as before keeps its scores, and its loaded model.

        Raises
        ------
        InvalidInputError
            When a task is missing or new.
        """
        if label_of.keys() != self._label_of.keys():
            differing = sorted(label_of.keys() ^ self._label_of.keys())
            raise InvalidInputError(f"`label_of` must name the bank's tasks, each once; these differ: {differing!r}")
        before = {frozenset(self.members(label)): label for label in self.labels}
        scores, loaded = self._scores, self._loaded
        self._label_of = {key: label_of[key] for key in self._label_of}
        old = {label: before.get(frozenset(self.members(label))) for label in self.labels}
        self._scores = {label: scores[was] if was else RunningScores() for label, was in old.items()}
        self._loaded = {label: loaded[was] for label, was in old.items() if was in loaded}
        self._families = {}

    def is_trained(self, task_key: TaskKey) -> bool:
        """Return whether the shared model is trained."""
        self._require(task_key)
        return self._shared.is_trained(task_key)

    def serving(self, task_key: TaskKey) -> Serving:
        """Return which model answers for a task at present."""
        label = self._require(task_key)
        if not self._has_own(label):
            return "shared"
        if self._serve != "measured":
            return self._serve
        if task_key in self._measured:
            return "family" if self._scores[label].advantage("family", over="shared") > 0 else "shared"
        return "shared" if self._first_scores.advantage("shared", over="family") > 0 else "family"

    def confidence(self, task_key: TaskKey) -> Confidence:
        """Return how far the model that serves this task can be trusted; for a new task, on first batches of others."""
        scores = self._scores[self._require(task_key)] if task_key in self._measured else self._first_scores
        return scores.confidence(self.serving(task_key))

    def family_confidence(self, label: str) -> dict[str, Confidence]:
        """Return how both models did on a family's batches, first batches of tasks not counted."""
        return {name: self._scores[label].confidence(name) for name in get_args(Serving)}

    def prepare(self, task_key: TaskKey) -> None:
        """Make the model of the task's family, if it has one."""
        label = self._require(task_key)
        if self._has_own(label):
            self._family(label)

    def predictions(self, task_key: TaskKey, features: FeatureSet) -> dict[str, NDArray[np.float64]]:
        """Return the scores (n,) of the shared model, and of the family's if it has one; nothing from untrained models."""
        label = self._require(task_key)
        models = {"shared": self._shared} if self._shared.is_trained(task_key) else {}
        if self._has_own(label):
            models["family"] = self._family(label)
        return {name: model.predict(task_key, features) for name, model in models.items()}

    def judge(self, task_key: TaskKey, costs: ArrayLike, predictions: Mapping[str, ArrayLike]) -> None:
        """Take note of what `predictions` had said of a batch; `update` does this by itself.

        A resumed run tells it what the log says, so that no model of the past has to be trained again.
        """
        label = self._require(task_key)
        if predictions:
            scores = self._scores[label] if task_key in self._measured else self._first_scores
            scores.judge(costs, predictions)
        self._measured.add(task_key)

    def forget(self, task_keys: Collection[TaskKey]) -> None:
        """Forget the programs of some tasks, as if none had been measured."""
        self._shared.forget(task_keys)
        self._measured -= set(task_keys)
        self._arrivals.forget(task_keys)
        self._families = {}

    def learnt(self, task_key: TaskKey) -> tuple[FeatureSet, NDArray[np.float64]] | None:
        """Return the programs of a task that the bank was shown, and their latencies; None without any."""
        self._require(task_key)
        return self._shared.learnt(task_key)

    def save(self, path: str | Path) -> None:
        """Write a directory: the shared model, one file per family that has a model, then the manifest that lists them."""
        directory = Path(path)
        make_directory(directory)
        self._shared.save(directory / SHARED_FILE)
        families = [label for label in self.labels if self._has_own(label)]
        for label in families:
            self._family(label).save(directory / family_file(label))
        Manifest(
            members={label: frozenset(self.members(label)) for label in families},
            scores={label: self._scores[label] for label in families},
            first=self._first_scores,
            measured=sorted(self._measured),
        ).write(directory)

    def load(self, path: str | Path) -> None:
        """Load the shared model and the families that bank and directory both have; the rest is logged as a warning."""
        outcome = self.load_matching(path)
        if outcome.absent or outcome.unused:
            logger.warning(
                "model bank %s: %d families loaded; not in it: %s; not in this run: %s",
                *(path, len(outcome.loaded), ", ".join(outcome.absent) or "none", ", ".join(outcome.unused) or "none"),
            )

    def load_matching(self, path: str | Path) -> BankLoad:
        """Load the shared model and the families that bank and directory both have, and say which those are.

        A saved family is the one with the same members, or where it has none of the bank's tasks, as another network's,
        the one with the same label. Loaded models serve until the shared one has learnt enough here to be trained.

        Raises
        ------
        ModelFileError
            When the directory is no bank, or any file to be loaded is bad; then no model of this bank changes.
        """
        saved = Manifest.read(Path(path))
        shared = self._make_model()
        shared.load(Path(path) / SHARED_FILE)
        sources = {
            label: name for label in self.labels if (name := self._counterpart(label, saved.members)) is not None
        }
        loaded = {}
        for label, name in sources.items():
            loaded[label] = self._make_model()
            loaded[label].load(Path(path) / family_file(name))
        self._shared, self._loaded, self._families = shared, loaded, {}
        self._scores |= {label: saved.scores[name] for label, name in sources.items()}
        self._first_scores, self._measured, self._arrivals = saved.first, set(saved.measured), Arrivals()
        return BankLoad(
            loaded=tuple(loaded),
            absent=tuple(sorted(set(self.labels) - loaded.keys())),
            unused=tuple(sorted(saved.scores.keys() - set(sources.values()))),
        )

    def _counterpart(self, label: str, saved: Mapping[str, frozenset[TaskKey]]) -> str | None:
        """Return which saved family is one of the bank's."""
        mine = frozenset(self.members(label))
        same = next((name for name, members in saved.items() if members == mine), None)
        stranger = label in saved and not saved[label] & self._label_of.keys()
        return same or (label if stranger else None)

    def update_many(self, batches: Sequence[tuple[TaskKey, FeatureSet, ArrayLike]]) -> None:
        """Learn batches of the past without judging the models by them; `judge` tells what they had predicted."""
        for task_key, features, _ in batches:
            self._note(task_key, features)
        self._shared.update_many(batches)

    def _update(self, task_key: TaskKey, features: FeatureSet, costs: NDArray[np.float64]) -> None:
        self.judge(task_key, costs, self.predictions(task_key, features))
        self._shared.update(task_key, features, costs)
        self._note(task_key, features)

    def _note(self, task_key: TaskKey, features: FeatureSet) -> None:
        self._require(task_key)
        self._measured.add(task_key)
        self._arrivals.add(task_key, int((features.counts > 0).sum()))

    def _predict(self, task_key: TaskKey, features: FeatureSet) -> NDArray[np.float64]:
        return self._model_for(task_key).predict(task_key, features)

    def _acquire(self, task_key: TaskKey, features: FeatureSet) -> NDArray[np.float64]:
        return self._model_for(task_key).acquisition(task_key, features)

    def _model_for(self, task_key: TaskKey) -> BoosterModel:
        return self._family(self._label_of[task_key]) if self.serving(task_key) == "family" else self._shared

    def _has_own(self, label: str) -> bool:
        """Return whether a family has a model that is not the shared one."""
        if label in self._loaded:
            return True
        return len(self.labels) > 1 and self._shared.trained_size > 0 and bool(self._programs(label))

    def _programs(self, label: str) -> dict[TaskKey, int]:
        """Return how many programs of each of its tasks a family's model is to learn."""
        return self._arrivals.settled(self.members(label), growth=_GROWTH)

    def _family(self, label: str) -> BoosterModel:
        """Return a family's model, made anew when the shared one is another or the family has grown."""
        if self._shared.trained_size == 0 and label in self._loaded:
            return self._loaded[label]
        programs, found = self._programs(label), self._families.get(label)
        if found is None or (found.shared, found.programs) != (self._shared.trained_size, programs):
            model = self._shared.joined(programs, **self._own)
            found = self._families[label] = _Family(model, self._shared.trained_size, programs)
        return found.model

    def _require(self, task_key: TaskKey) -> str:
        """Return the label of a task."""
        if task_key not in self._label_of:
            raise InvalidInputError(
                f"`task_key` must be one of the bank's {len(self._label_of)} tasks; got {task_key!r}"
            )
        return self._label_of[task_key]
