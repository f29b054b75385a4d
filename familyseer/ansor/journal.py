# SPDX-License-Identifier: Apache-2.0
"""What TVM's log cannot say, in a file beside it: where rounds ended, and which tasks were families from then on."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from familyseer.ansor.records import mend
from familyseer.errors import LogError
from familyseer.families.tracking import PartitionChange
from familyseer.records import FORMAT_VERSION, FamiliesRecord, canonical_json, decode_line, encode_line, parse_json
from familyseer.task import TaskKey

__all__ = ["History", "Journal", "journal_of", "read_history", "target_text"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a journal holds of one target.

    Parameters
    ----------
    ends
        Of each task how many candidates had been measured when a round of it ended.
    policies
        Names of the policies whose rounds they were.
    families
        Changes of the partition, in order.
    """

    ends: Mapping[TaskKey, frozenset[int]] = field(default_factory=dict)
    policies: frozenset[str] = frozenset()
    families: Sequence[FamiliesRecord] = ()

    def changes(self, policy: str) -> dict[tuple[TaskKey, int], FamiliesRecord] | None:
        """Return the families that a policy decided after a task's round, by key and number of the round.

        None where it had no round.
        """
        if policy not in self.policies:
            return None
        return {(record.task, record.round): record for record in self.families if record.policy == policy}


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """The end of a round of a task that has this many trials by then."""

    task: TaskKey
    trials: int
    target: str
    policy: str


def journal_of(log: str | os.PathLike[str]) -> Path:
    """Return where the journal of a log of TVM's is."""
    return Path(f"{os.fspath(log)}.families")


def target_text(target: Any) -> str:
    """Return a target of TVM's as records have it."""
    return canonical_json({"kind": str(target.kind.name), "text": str(target)})


def read_history(path: Path, target: str) -> History:
    """Read a journal; damaged lines are left out with a warning, and a file that cannot be read is an empty one."""
    ends: dict[TaskKey, set[int]] = {}
    policies: set[str] = set()
    families: list[FamiliesRecord] = []
    bad = 0
    for line in _lines(path):
        try:
            entry = _decode(line)
        except (ValueError, KeyError, TypeError):
            bad += 1
            continue
        if entry.target != target:
            continue
        if isinstance(entry, FamiliesRecord):
            families.append(entry)
        else:
            policies.add(entry.policy)
            ends.setdefault(entry.task, set()).add(entry.trials)
    if bad:
        logger.warning("%s: %d damaged lines are left out", path, bad)
    return History(
        ends={key: frozenset(counts) for key, counts in ends.items()},
        policies=frozenset(policies),
        families=tuple(families),
    )


def _lines(path: Path) -> list[bytes]:
    try:
        return [line for line in path.read_bytes().split(b"\n") if line.strip()]
    except FileNotFoundError:
        return []
    except OSError as err:
        logger.warning("%s cannot be read (%s): families are decided anew", path, err.strerror or err)
        return []


def _decode(line: bytes) -> FamiliesRecord | _End:
    """Return what a line says; raises a ValueError, KeyError or TypeError where it says neither."""
    fields = parse_json(line)
    if isinstance(fields, dict) and fields.get("kind") == "round" and fields["v"] == FORMAT_VERSION:
        text = {name: str(fields[name]) for name in ("task", "target", "policy")}
        return _End(trials=int(fields["trials"]), **text)
    record = decode_line(line)
    if not isinstance(record, FamiliesRecord):
        raise LogError("not a line of a journal")
    return record


class Journal:
    """Write a journal, a line at a time: one that is written survives whatever becomes of the run.

    A disk that fails costs the families a resumed run would take over, and not the run.

    Parameters
    ----------
    log
        TVM's log; the journal is beside it, see `journal_of`. None: nothing is written.
    target, policy
        What is tuned for, see `target_text`, and the policy's name.
    """

    def __init__(self, log: Path | None, *, target: str = "", policy: str = "") -> None:
        self._log, self._target, self._policy = log, target, policy
        self._trials, self._rounds = Counter[TaskKey](), Counter[TaskKey]()
        self._present, self._running = "", False

    def open(self) -> None:
        """End a torn last line; where the log is empty, what the file holds is of another one, and goes."""
        if self._log is None:
            return
        try:
            if self._log.exists() and self._log.stat().st_size:
                mend(journal_of(self._log))
            else:
                journal_of(self._log).unlink(missing_ok=True)
        except (OSError, LogError) as err:
            logger.warning("the journal of %s: %s", self._log, err)

    def begin(self, key: TaskKey) -> None:
        """Take note that a round of a task begins."""
        self._present, self._running = key, True

    def end(self, count: int, *, known: Collection[int] = ()) -> None:
        """Write that the present round ended with `count` candidates, unless the task's end is one of `known`."""
        self._trials[self._present] += count
        self._rounds[self._present] += 1
        self._running = False
        if self._trials[self._present] not in known:
            self._write_end()

    def record(self, change: PartitionChange) -> None:
        """Write which tasks are families after the present round, or between rounds after the last one."""
        record = FamiliesRecord(
            task=self._present,
            round=self._rounds[self._present] - (0 if self._running else 1),
            target=self._target,
            policy=self._policy,
            families=change.partition.families,
            reason=change.reason,
        )
        self._write(encode_line(record))

    def _write_end(self) -> None:
        body = {
            "v": FORMAT_VERSION,
            "kind": "round",
            "task": self._present,
            "trials": self._trials[self._present],
            "target": self._target,
            "policy": self._policy,
        }
        self._write((json.dumps(body, separators=(",", ":")) + "\n").encode("ascii"))

    def _write(self, line: bytes) -> None:
        if self._log is None:
            return
        path = journal_of(self._log)
        try:
            with path.open("ab", buffering=0) as file:
                file.write(line)
                os.fsync(file.fileno())
        except OSError as err:
            logger.warning("%s cannot be written: %s", path, err.strerror or err)
