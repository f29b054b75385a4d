# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks' command lines have in common: how they refuse and write."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from familyseer.errors import FamilySeerError

__all__ = ["exit_status", "write_atomically"]


def exit_status(run: Callable[[], None]) -> int:
    """Run a command and return its exit status: 2, with one sentence on standard error, when it was refused."""
    try:
        run()
    except FamilySeerError as err:
        print(f"error: {err}", file=sys.stderr)
        return 2
    return 0


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, and its folder, so that an interruption leaves the last complete state."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(path.suffix + ".new")
    new.write_bytes(content)
    new.replace(path)
