# SPDX-License-Identifier: Apache-2.0
"""The raw results of a benchmark on disk: whole at any time, and refused where they do not belong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from familyseer.errors import InvalidInputError
from familyseer.files import write_atomically

__all__ = ["load", "require_equal", "write"]


def load(path: Path, benchmark: str, parts: Mapping[str, type]) -> dict[str, Any]:
    """Read results.

    Parameters
    ----------
    path
        A file that `write` made.
    benchmark
        The module that they are of, for the refusal.
    parts
        What they must have, and of which type it is.

    Raises
    ------
    InvalidInputError
        The file cannot be read, is not JSON, or lacks a part.
    """
    expected = f"{path} must be results of `python -m {benchmark}`"
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as err:
        raise InvalidInputError(f"{expected}; {err}") from err
    if not isinstance(document, dict):
        raise InvalidInputError(f"{expected}; it is damaged: it holds a {type(document).__name__}")
    for name, kind in parts.items():
        if not isinstance(document.get(name), kind):
            raise InvalidInputError(f"{expected}; it is damaged: `{name}` is not there or no {kind.__name__}")
    return document


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write atomically, so that an interruption leaves the last complete state."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(document, separators=(",", ":")) + "\n").encode())


def require_equal(path: Path, what: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Refuse to go on with results of another machine or with other settings.

    Parameters
    ----------
    path
        The results.
    what
        They were made with another one of these.
    theirs, ours
        What results and present run have.

    Raises
    ------
    InvalidInputError
        They differ; the first difference is named.
    """
    differing = [name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name)]
    if differing:
        name = differing[0]
        raise InvalidInputError(
            f"{path} was made with another {what}: {name} is {theirs.get(name)!r} there and {ours.get(name)!r} here. "
            "Give --out a new file."
        )
