# SPDX-License-Identifier: Apache-2.0
"""Figures that come out the same for the same data, without a screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from familyseer.errors import EnvironmentFailure

__all__ = ["pyplot", "save_figure"]


def pyplot() -> Any:
    """Return `matplotlib.pyplot`; raises `EnvironmentFailure` where it is not installed."""
    try:
        import matplotlib
    except ImportError as err:
        raise EnvironmentFailure("drawing needs matplotlib; pip install 'familyseer[plot]'") from err
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "familyseer"
    from matplotlib import pyplot as plot

    return plot


def save_figure(figure: Any, paths: Sequence[Path]) -> None:
    """Write a figure to each path, in the format of its suffix, and let go of it.

    Raises
    ------
    EnvironmentFailure
        A file cannot be written.
    """
    try:
        for path in paths:
            figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)
    except OSError as err:
        raise EnvironmentFailure(f"the figure {str(path)!r} cannot be written: {err.strerror or err}") from err
    finally:
        pyplot().close(figure)
