# SPDX-License-Identifier: Apache-2.0
"""The directory that holds a bank of cost models: one file per model, and a manifest that lists families and their scores."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from familyseer.cost_model.files import save_atomically
from familyseer.cost_model.prequential import RunningScores
from familyseer.errors import InvalidInputError, ModelFileError
from familyseer.task import TaskKey

__all__ = ["SHARED_FILE", "Manifest", "family_file", "make_directory"]

SHARED_FILE = "shared.model"

_FORMAT = "familyseer-model-bank"
_VERSION = 3
_MANIFEST = "manifest.json"


def make_directory(path: Path) -> None:
    """Make the directory of a bank unless it exists."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ModelFileError(f"model bank {str(path)!r} must be a directory: {err.strerror or err}") from err


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bank knows beside its models.

    Parameters
    ----------
    members, scores
        Of each family that has a model, by its label: its tasks, and how its models did.
    first
        How the models did on first batches of tasks.
    measured
        Tasks that were measured.
    """

    members: Mapping[str, frozenset[TaskKey]]
    scores: Mapping[str, RunningScores]
    first: RunningScores
    measured: Sequence[TaskKey]

    def write(self, directory: Path) -> None:
        """Write it to the directory of a bank, after the models that it lists."""
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "families": {
                label: {"members": sorted(members), "scores": self.scores[label].to_json()}
                for label, members in self.members.items()
            },
            "first": self.first.to_json(),
            "measured": sorted(self.measured),
        }
        save_atomically(directory / _MANIFEST, json.dumps(document, indent=1).encode())

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read that of a directory; file names follow from its labels, so none is taken from it."""
        path = directory / _MANIFEST
        document = _document(directory, path)
        families, measured = document.get("families"), document.get("measured")
        if not isinstance(families, dict) or not isinstance(measured, list):
            raise ModelFileError(f"{str(path)!r} must list families and measured tasks; it does not")
        try:
            return cls(
                members={label: frozenset(map(str, saved["members"])) for label, saved in families.items()},
                scores={label: RunningScores.from_json(saved["scores"]) for label, saved in families.items()},
                first=RunningScores.from_json(document.get("first")),
                measured=[str(key) for key in measured],
            )
        except (InvalidInputError, KeyError, TypeError) as err:
            raise ModelFileError(f"{str(path)!r} is damaged: {err}") from err


def family_file(label: str) -> str:
    """Return a name that any file system takes: what is readable of the label, and a digest that tells labels apart."""
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:40]
    return f"{slug or 'family'}-{hashlib.sha256(label.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}.model"


def _document(directory: Path, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as err:
        raise ModelFileError(f"{str(directory)!r} must be a model bank: {err.strerror or err} ({_MANIFEST})") from err
    except (ValueError, RecursionError) as err:
        raise ModelFileError(f"{str(path)!r} must be the manifest of a model bank; it is not JSON") from err
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ModelFileError(f"{str(path)!r} must be the manifest of a model bank; its header says it is not")
    if document.get("version") != _VERSION:
        raise ModelFileError(
            f"{str(path)!r} must be of version {_VERSION}; got {document.get('version')!r}. Train anew."
        )
    return document
