# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks' command lines have in common: how they refuse, write and draw."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from familyseer.errors import FamilySeerError

__all__ = ["exit_status", "pyplot", "save_figure", "write_atomically"]


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


def pyplot() -> Any:
    """Return `matplotlib.pyplot`, set up so that the same results give the same file, without a screen."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "familyseer"
    from matplotlib import pyplot as plot

    return plot


def save_figure(figure: Any, paths: Sequence[Path]) -> None:
    """Write a figure to each path, in the format of its suffix, and let go of it."""
    for path in paths:
        figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot().close(figure)
