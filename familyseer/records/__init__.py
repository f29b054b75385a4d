# SPDX-License-Identifier: Apache-2.0
"""The truth of a tuning run: an append-only JSON-lines log of everything that was measured."""

from __future__ import annotations

from familyseer.records.canonical import canonical_json, canonical_target, parse_json, same_target, trace_digest
from familyseer.records.lines import FORMAT_VERSION, decode_line, encode_line
from familyseer.records.log import RecordLog
from familyseer.records.ranking import Ranking
from familyseer.records.reading import LogContents, LogEntry, QuarantinedLine
from familyseer.records.select import best_per_task, families_by, for_target, trials_for
from familyseer.records.values import (
    FINALIST,
    UNTUNED,
    FamiliesRecord,
    LogLine,
    MeasureRecord,
    NetworkRecord,
    WorkloadRecord,
)

__all__ = [
    "FINALIST",
    "FORMAT_VERSION",
    "UNTUNED",
    "FamiliesRecord",
    "LogContents",
    "LogEntry",
    "LogLine",
    "MeasureRecord",
    "NetworkRecord",
    "QuarantinedLine",
    "Ranking",
    "RecordLog",
    "WorkloadRecord",
    "best_per_task",
    "canonical_json",
    "canonical_target",
    "decode_line",
    "encode_line",
    "families_by",
    "for_target",
    "parse_json",
    "same_target",
    "trace_digest",
    "trials_for",
]
