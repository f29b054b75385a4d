# SPDX-License-Identifier: Apache-2.0
"""The first lines of a failure's text, without the noise of C++ backtraces."""

from __future__ import annotations

import re

__all__ = ["failure_text", "first_lines"]

_MAX_LINES = 15
_MAX_CHARS = 2000
_NOISE = re.compile(
    r"""^\s*(
        \d+:\s                           # numbered C++ frame
        | File\s"(<unknown>|[^"]*\.(cc|cpp|h|hpp|so|cu))"   # C++ frame in Python's style
        | at\s/                          # where a C++ frame is
        | \[bt\]|Stack\strace|Traceback\s\(most\srecent|_{3,}|-{5,}|\^+\s*$
    )""",
    re.VERBOSE,
)


def first_lines(text: str) -> str:
    """Return the first telling lines of `text`: at most 15 lines and 2000 characters."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not _NOISE.match(line)]
    return "\n".join(lines[:_MAX_LINES])[:_MAX_CHARS]


def failure_text(error: BaseException) -> str:
    """Return class and message of `error`, shortened to its first telling lines."""
    return first_lines(f"{type(error).__name__}: {error}")
