# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks' command lines have in common: how they refuse."""

from __future__ import annotations

import sys
from collections.abc import Callable

from familyseer.errors import FamilySeerError

__all__ = ["exit_status"]


def exit_status(run: Callable[[], None]) -> int:
    """Run a command and return its exit status: 2, with one sentence on standard error, when it was refused."""
    try:
        run()
    except FamilySeerError as err:
        print(f"error: {err}", file=sys.stderr)
        return 2
    return 0
