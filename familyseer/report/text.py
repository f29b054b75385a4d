# SPDX-License-Identifier: Apache-2.0
"""Rows as aligned plain text."""

from __future__ import annotations

from collections.abc import Sequence

from familyseer.measure import MeasureErrorNo
from familyseer.report.rows import GainRow, TaskRow, gain_totals, totals, uncovered

__all__ = ["FAILURE_WORDS", "render_gains", "render_table", "render_tasks"]

_WORDS = ("task", "failures", "family", "served by")  # titles of columns that are not numbers

FAILURE_WORDS = {
    MeasureErrorNo.NO_ERROR: "no error",
    MeasureErrorNo.INSTANTIATION_ERROR: "schedule does not apply",
    MeasureErrorNo.COMPILE_HOST: "compile",
    MeasureErrorNo.COMPILE_DEVICE: "device compile",
    MeasureErrorNo.RUNTIME_DEVICE: "crash",
    MeasureErrorNo.WRONG_ANSWER: "wrong answer",
    MeasureErrorNo.BUILD_TIMEOUT: "build timeout",
    MeasureErrorNo.RUN_TIMEOUT: "run timeout",
    MeasureErrorNo.UNKNOWN_ERROR: "unknown",
}
"""What a person calls each class of failure."""


def render_tasks(rows: Sequence[TaskRow]) -> str:
    """Return the table of tasks with a line of totals, as plain text."""
    header = ("task", "weight", "trials", "valid", "best ms", "share", "GFLOP/s", "failures")
    cells = [
        (
            row.task.name,
            f"{row.task.weight:g}",
            str(row.trials),
            str(row.valid),
            _number(row.best, "{:.4f}", 1e3),
            _number(row.share, "{:.1%}"),
            _number(row.gflops, "{:.1f}"),
            _failures(row.failures),
        )
        for row in rows
    ]
    sums = totals(rows)
    latency = f"{sums.latency * 1e3:.4f}"
    last = ("total", "", str(sums.trials), str(sums.valid), latency, "", "", _failures(sums.failures))
    return render_table(header, cells, last) + _uncovered_note(rows)


def _uncovered_note(rows: Sequence[TaskRow]) -> str:
    missing = uncovered(rows)
    if not missing:
        return ""
    names = ", ".join(task.name for task in missing)
    return f"\n{len(missing)} of {len(rows)} tasks without a valid record, left out of the total: {names}"


def render_gains(gains: Sequence[GainRow]) -> str:
    """Return the table of latencies before and after tuning with a line of totals, as plain text.

    The totals are over the tasks whose both latencies are known.
    """
    cells = [
        (
            row.name if row.tuned else row.name + " (untuned)",
            f"{row.weight:g}",
            _number(row.before, "{:.4f}", 1e3),
            _number(row.after, "{:.4f}", 1e3),
            _number(row.speedup, "{:.2f}x"),
        )
        for row in gains
    ]
    before, after = gain_totals(gains)
    total = GainRow(name="total", weight=1, before=before, after=after, tuned=True)
    last = ("total", "", f"{before * 1e3:.4f}", f"{after * 1e3:.4f}", _number(total.speedup, "{:.2f}x"))
    return render_table(("task", "weight", "before ms", "after ms", "speedup"), cells, last)


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "-" if value is None else form.format(value * scale)


def _failures(failures: Sequence[tuple[MeasureErrorNo, int]]) -> str:
    return ", ".join(f"{count} {FAILURE_WORDS[error_no]}" for error_no, count in failures) or "-"


def render_table(header: Sequence[str], cells: Sequence[Sequence[str]], last: Sequence[str] = ()) -> str:
    """Return aligned columns, those of words to the left, with a last line set apart where there is one."""
    rows = [header, *cells, *([last] if last else [])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    left = {column for column, title in enumerate(header) if title in _WORDS}
    lines = [_line(row, widths, left) for row in rows]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([lines[0], rule, *lines[1:-1], *([rule] if last else []), lines[-1]])


def _line(row: Sequence[str], widths: Sequence[int], left: set[int]) -> str:
    padded = (
        text.ljust(width) if i in left else text.rjust(width)
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(padded).rstrip()
