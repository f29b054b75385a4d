# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks' command lines have in common: how they refuse, and where they may write."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

from familyseer.errors import FamilySeerError, InvalidInputError

__all__ = ["exit_status", "require_file", "require_folder"]


def exit_status(run: Callable[[], int | None]) -> int:
    """Run a command and return its exit status: 2, with one sentence on standard error, when it was refused."""
    try:
        return run() or 0
    except FamilySeerError as err:
        print(f"error: {err}", file=sys.stderr)
        return 2


def require_file(option: str, path: Path) -> None:
    """Make the folder of a file that will be written, before hours are spent on what is to be in it.

    Raises
    ------
    InvalidInputError
        `path`, given by `option`, is a folder or cannot be written.
    """
    if path.is_dir():
        raise InvalidInputError(f"`{option}` must name a file; {path} is a folder")
    if path.exists() and not os.access(path, os.W_OK):
        raise InvalidInputError(f"`{option}` must name a file that can be written; {path} cannot")
    require_folder(option, path.parent)


def require_folder(option: str, folder: Path) -> None:
    """Make a folder into which files will be written.

    Raises
    ------
    InvalidInputError
        `folder`, given by `option`, is a file or cannot be written into.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as err:
        raise InvalidInputError(
            f"`{option}` must lead to a folder that can be written; {folder} cannot: {err}"
        ) from err
