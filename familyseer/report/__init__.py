# SPDX-License-Identifier: Apache-2.0
"""What a tuning log says, as rows and as plain text, from records alone."""

from __future__ import annotations

from familyseer.report.diagnosis import failure_diagnosis
from familyseer.report.families import FamilyMap, FamilyRow, draw_families, family_map, render_families
from familyseer.report.rows import (
    GainRow,
    TaskRow,
    Totals,
    gain_rows,
    gain_totals,
    task_rows,
    totals,
    uncovered,
    untuned_latencies,
)
from familyseer.report.summary import network_text, render_left_out, render_summary
from familyseer.report.text import FAILURE_WORDS, render_gains, render_tasks

__all__ = [
    "FAILURE_WORDS",
    "FamilyMap",
    "FamilyRow",
    "GainRow",
    "TaskRow",
    "Totals",
    "draw_families",
    "failure_diagnosis",
    "family_map",
    "gain_rows",
    "gain_totals",
    "network_text",
    "render_families",
    "render_gains",
    "render_left_out",
    "render_summary",
    "render_tasks",
    "task_rows",
    "totals",
    "uncovered",
    "untuned_latencies",
]
