# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a run while it goes on."""

from __future__ import annotations

import io
from types import SimpleNamespace

from rich.console import Console

from familyseer.measure import INVALID_COST, MeasureResult
from familyseer.progress import RoundProgress

NAME = "fused_conv2d_add_relu_" + "x" * 100 + "[red]"


def run_of(trials, best, total, rounds=(1, 0)):
    """Return what a task scheduler shows of itself."""
    return SimpleNamespace(
        tasks=[SimpleNamespace(desc=NAME), SimpleNamespace(desc="dense")],
        states=[SimpleNamespace(best_cost=best), SimpleNamespace(best_cost=INVALID_COST)],
        task_cts=list(rounds),
        cur_score=total,
        ct=trials,
    )


def shown(*, terminal):
    """Return what two rounds write to a narrow console."""
    stream = io.StringIO()
    console = Console(file=stream, width=40, force_terminal=terminal, legacy_windows=False)
    with RoundProgress(1000, console) as progress:
        progress.pre_tune(run_of(0, INVALID_COST, INVALID_COST), 0)
        progress(None, [None] * 8, [MeasureResult(costs=(0.001,))] * 8)
        progress.post_tune(run_of(8, 0.001, INVALID_COST), 0)
        progress.post_tune(run_of(1000, INVALID_COST, 0.0123456, rounds=(11, 1)), 1)
    return stream.getvalue()


def test_each_round_is_one_whole_line_where_there_is_no_terminal():
    """Nothing is cut at the width of the console or read as markup, and numbers stand below each other."""
    assert shown(terminal=False).splitlines() == [
        f"round    1  trials    8/1000  best  1.0000 ms  total          -  {NAME}",
        "round   12  trials 1000/1000  best          -  total 12.3456 ms  dense",
    ]


def test_a_terminal_has_a_bar_too():
    """The bar counts candidates, and the lines stay whole."""
    text = shown(terminal=True)

    assert "8/1000" in text
    assert "1000/1000" in text
    assert "trials" in text
    assert "round   12" in text
