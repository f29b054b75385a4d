# SPDX-License-Identifier: Apache-2.0
"""Read a tuning log line by line, setting aside what is damaged."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from familyseer.errors import InvalidInputError, LogError
from familyseer.records.lines import decode_line
from familyseer.records.values import FamiliesRecord, LogLine, MeasureRecord, NetworkRecord, WorkloadRecord

__all__ = ["LogContents", "LogEntry", "QuarantinedLine", "check_regular", "scan_log"]

_MAGIC = b'{"v":1,"kind":"'  # how each line starts; what a first line that was torn is recognised by


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedLine:
    """A line that cannot be read.

    Parameters
    ----------
    number
        Line number, from 1.
    reason
        What is wrong with it.
    torn
        Whether it is the last line and was not written to its end; the next run cuts it off.
    """

    number: int
    reason: str
    torn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogContents:
    """Everything in a log.

    Parameters
    ----------
    workloads
        What rebuilds each task, once per task and target, in file order.
    records
        The measurements in file order.
    quarantined
        Bad lines before the last.
    torn
        Whether the last line was not written to its end and was left out.
    networks
        What was tuned, each once, in file order.
    families
        Changes of the partition in file order.
    """

    workloads: tuple[WorkloadRecord, ...] = ()
    records: tuple[MeasureRecord, ...] = ()
    quarantined: tuple[QuarantinedLine, ...] = ()
    torn: bool = False
    networks: tuple[NetworkRecord, ...] = ()
    families: tuple[FamiliesRecord, ...] = ()


LogEntry = LogLine | QuarantinedLine
"""What one line of a log holds."""


def scan_log(path: Path) -> Iterator[LogEntry]:
    """Yield what each line holds, in file order and in constant memory; nothing when the file is missing or empty.

    Raises
    ------
    LogError
        The path is a folder, the file cannot be read, is not a familyseer log, or is of a newer format version.
    """
    try:
        if not os.path.lexists(path):
            return
        check_regular(path)
        with path.open("rb") as file:
            yield from _scan(file, path)
    except FileNotFoundError:  # a link to nowhere, or deleted just now
        return
    except OSError as err:
        raise LogError(f"the log {str(path)!r} cannot be read: {err.strerror}") from err


def check_regular(path: Path) -> None:
    """Raise LogError unless `path` is a regular file."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise LogError(f"the log {str(path)!r} must be a file; it is {what}")


def _scan(file: BinaryIO, path: Path) -> Iterator[LogEntry]:
    """Yield what each line holds; bad lines are held back until a good one shows that this is one of our logs."""
    bad: list[QuarantinedLine] = []
    ours = False
    for number, line in enumerate(file, start=1):
        try:
            entry = decode_line(line)
        except InvalidInputError as err:
            torn = not line.endswith(b"\n")
            bad.append(QuarantinedLine(number=number, reason=str(err), torn=torn))
            ours = ours or (torn and number == 1 and line[: len(_MAGIC)] == _MAGIC[: len(line)])
        except LogError as err:
            raise LogError(f"{str(path)!r}, line {number}: {err}") from err
        else:
            ours = True
            yield from bad
            bad.clear()
            yield entry
    if bad and not ours:
        raise LogError(f"{str(path)!r} is not a familyseer log: line {bad[0].number}: {bad[0].reason}")
    yield from bad
