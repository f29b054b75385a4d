# SPDX-License-Identifier: Apache-2.0
"""One cost model per family of tasks, used as if it were one model."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from familyseer.cost_model.base import CostModel
from familyseer.cost_model.files import write_atomically
from familyseer.errors import InvalidInputError, ModelFileError
from familyseer.features import FeatureSet
from familyseer.task import TaskKey

__all__ = ["BankLoad", "ModelBank"]

logger = logging.getLogger(__name__)

_FORMAT = "familyseer-model-bank"
_VERSION = 1
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankLoad:
    """What `ModelBank.load_matching` did, as sorted labels of families.

    Parameters
    ----------
    loaded
        In the bank and in the file: taken over.
    absent
        In the bank only: left as they were.
    unused
        In the file only: ignored.
    """

    loaded: tuple[str, ...]
    absent: tuple[str, ...]
    unused: tuple[str, ...]


class ModelBank(CostModel):
    """Give every family of tasks a cost model of its own.

    It sees labels only: whoever forms the families says which task has which.

    Parameters
    ----------
    label_of
        The label of every task that will be asked about.
    make_model
        Makes an untrained model; called once per label, in sorted order.

    Examples
    --------
    >>> from familyseer.cost_model.random_model import RandomCostModel
    >>> bank = ModelBank({"k1": "conv", "k2": "conv", "k3": "dense"}, RandomCostModel)
    >>> bank.labels, bank.model_of("k1") is bank.model_of("k2")
    (('conv', 'dense'), True)
    """

    def __init__(self, label_of: Mapping[TaskKey, str], make_model: Callable[[], CostModel]) -> None:
        self._label_of = dict(label_of)
        self._make_model = make_model
        self._models = {label: make_model() for label in sorted(set(self._label_of.values()))}

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the families, sorted."""
        return tuple(self._models)

    @property
    def models(self) -> Mapping[str, CostModel]:
        """The model of each label (a read-only view)."""
        return MappingProxyType(self._models)

    def model_of(self, task_key: TaskKey) -> CostModel:
        """Return the model that serves this task.

        Raises
        ------
        InvalidInputError
            When the bank was made without it.
        """
        if task_key not in self._label_of:
            raise InvalidInputError(
                f"`task_key` must be one of the bank's {len(self._label_of)} tasks; got {task_key!r}"
            )
        return self._models[self._label_of[task_key]]

    def is_trained(self, task_key: TaskKey) -> bool:
        """Return whether the model of this task's family is trained."""
        return self.model_of(task_key).is_trained(task_key)

    def save(self, path: str | Path) -> None:
        """Write a directory: one file per family, then the manifest that lists them."""
        directory = Path(path)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise ModelFileError(f"model bank {str(path)!r} must be a directory: {err.strerror or err}") from err
        for label, model in self._models.items():
            model.save(directory / _file_name(label))
        manifest = {
            "format": _FORMAT,
            "version": _VERSION,
            "models": {label: _file_name(label) for label in self.labels},
        }
        write_atomically(directory / _MANIFEST, json.dumps(manifest, indent=1).encode())

    def load(self, path: str | Path) -> None:
        """Load the families that the bank and the directory both have; the rest is logged as a warning."""
        outcome = self.load_matching(path)
        if outcome.absent or outcome.unused:
            logger.warning(
                "model bank %s: %d families loaded; not in it: %s; not in this run: %s",
                *(path, len(outcome.loaded), ", ".join(outcome.absent) or "none", ", ".join(outcome.unused) or "none"),
            )

    def load_matching(self, path: str | Path) -> BankLoad:
        """Load the families that the bank and the directory both have, and say which those are.

        Raises
        ------
        ModelFileError
            When the directory is no bank, or any file to be loaded is bad; then no model of this bank changes.
        """
        saved = _saved_labels(Path(path))
        loaded = {}
        for label in sorted(saved & self._models.keys()):
            loaded[label] = self._make_model()
            loaded[label].load(Path(path) / _file_name(label))
        self._models.update(loaded)
        return BankLoad(
            loaded=tuple(loaded),
            absent=tuple(sorted(self._models.keys() - saved)),
            unused=tuple(sorted(saved - self._models.keys())),
        )

    def update_many(self, batches: Sequence[tuple[TaskKey, FeatureSet, ArrayLike]]) -> None:
        """Learn batches, each family's in their order."""
        for label, model in self._models.items():
            model.update_many([batch for batch in batches if self._label_of.get(batch[0]) == label])

    def _update(self, task_key: TaskKey, features: FeatureSet, costs: NDArray[np.float64]) -> None:
        self.model_of(task_key).update(task_key, features, costs)

    def _predict(self, task_key: TaskKey, features: FeatureSet) -> NDArray[np.float64]:
        return self.model_of(task_key).predict(task_key, features)

    def _acquire(self, task_key: TaskKey, features: FeatureSet) -> NDArray[np.float64]:
        return self.model_of(task_key).acquisition(task_key, features)


def _file_name(label: str) -> str:
    """Return a name that any file system takes: what is readable of the label, and a digest that tells labels apart."""
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:40]
    return f"{slug or 'family'}-{hashlib.sha256(label.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}.model"


def _saved_labels(directory: Path) -> set[str]:
    """Return the labels of a saved bank; file names follow from them, so none is taken from the manifest."""
    manifest = directory / _MANIFEST
    try:
        document = json.loads(manifest.read_bytes())
    except OSError as err:
        raise ModelFileError(f"{str(directory)!r} must be a model bank: {err.strerror or err} ({_MANIFEST})") from err
    except (ValueError, RecursionError) as err:
        raise ModelFileError(f"{str(manifest)!r} must be the manifest of a model bank; it is not JSON") from err
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ModelFileError(f"{str(manifest)!r} must be the manifest of a model bank; its header says it is not")
    if document.get("version") != _VERSION or not isinstance(document.get("models"), dict):
        raise ModelFileError(f"{str(manifest)!r} must be of version {_VERSION}; got {document.get('version')!r}")
    return set(document["models"])
