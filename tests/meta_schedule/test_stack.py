# SPDX-License-Identifier: Apache-2.0
"""Kernels are timed at every alignment of the stack, so that no process is luckier than another."""

from __future__ import annotations

import platform
import sys
import time
from collections import Counter

import pytest

from familyseer.meta_schedule import stack
from familyseer.meta_schedule.stack import call_at, places, spread, stack_pointer, turns
from familyseer.meta_schedule.timing import EvaluatorSettings, time_module

told = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the stack cannot be told here"
)


@told
def test_places_have_every_alignment_twice():
    """Eight places: each multiple of 16 within a cache line, at both halves of a page."""
    pointers = [call_at(place, stack_pointer) for place in places()]
    assert Counter(pointer % 64 for pointer in pointers) == {0: 2, 16: 2, 32: 2, 48: 2}
    assert len({pointer % 4096 for pointer in pointers}) == 8


@told
def test_kernels_run_at_all_of_them():
    """Runs are shared evenly, those of a slow kernel and those that top up a repeat too."""
    alignments = []

    class Module:
        entry_name = "main"

        def __getitem__(self, name):
            return lambda: (alignments.append(stack_pointer() % 64), time.sleep(1e-3))

        def time_evaluator(self, *_, **__):
            raise AssertionError("a kernel of a millisecond is called without it")

    class Device:
        def sync(self):
            return

        def dlpack_device_type(self):
            return 1

    (cost,) = time_module(Module(), Device(), [], EvaluatorSettings(number=3, repeat=1, min_repeat_ms=100))
    assert 1e-3 <= cost < 0.1
    counts = Counter(alignments[1:])  # without the warm-up
    assert sorted(counts) == [0, 16, 32, 48]
    assert max(counts.values()) - min(counts.values()) <= 4


@pytest.mark.parametrize(
    ("runs", "first", "expected"),
    [(8, 0, [1] * 8), (11, 3, [1, 1, 1, 2, 2, 2, 1, 1]), (1, 9, [0, 1, 0, 0, 0, 0, 0, 0]), (0, 0, [0] * 8)],
)
def test_runs_are_shared_evenly(monkeypatch, runs, first, expected):
    """Whatever their number; whoever comes next begins where the last one ended."""
    monkeypatch.setattr(stack, "places", lambda: tuple(range(8)))
    shared = dict(turns(runs, first))
    assert [shared.get(place, 0) for place in range(8)] == expected


def test_runs_go_on_where_they_ended(monkeypatch):
    """Twelve runs in two calls are at twelve places in turn; their seconds add up."""
    monkeypatch.setattr(stack, "places", lambda: tuple(range(8)))
    visited = []
    monkeypatch.setattr(stack, "call_at", lambda place, function: (visited.append(place), function())[1])
    run = spread(lambda runs: 0.5 * runs)
    assert [run(5), run(7)] == [2.5, 3.5]
    assert visited == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]


def test_results_and_errors_come_back():
    """As from a plain call."""
    assert call_at(5, lambda: "done") == "done"
    with pytest.raises(KeyboardInterrupt):
        call_at(5, lambda: (_ for _ in ()).throw(KeyboardInterrupt()))


@pytest.mark.parametrize(("system", "processor"), [("darwin", "arm64"), ("linux", "aarch64")])
def test_elsewhere_there_is_one_place(monkeypatch, system, processor):
    """Where the stack cannot be told all runs are called plainly."""
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    assert stack.places.__wrapped__() == (0,)
