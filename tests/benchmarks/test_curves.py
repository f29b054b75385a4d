# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the search benchmark."""

from __future__ import annotations

from math import inf

import pytest

from benchmarks.curves import (
    Point,
    at_seconds,
    at_trials,
    curve,
    first_within,
    ratio,
    timed_latencies,
    untuned_latencies,
)
from familyseer.errors import InvalidInputError

ROUNDS = [
    {"task": 0, "seconds": {"search": 1.0, "other": 0.5}, "latencies": [4.0, None], "schedule": 2},
    {"task": 1, "seconds": {"search": 2.0, "other": 1.0}, "latencies": [3.0], "schedule": 3},
    {"task": 0, "seconds": {"search": 2.5, "other": 1.5}, "latencies": [9.0, 8.0], "schedule": None},
    {"task": 0, "seconds": {"search": 4.0, "other": 2.0}, "latencies": [1.0], "schedule": 4},
]
# Two untuned programs, then three schedules.
SCHEDULES = [
    {"task": 0, "seconds": [10.0, 12.0, 11.0]},
    {"task": 1, "seconds": [5.0]},
    {"task": 0, "seconds": [4.0, 4.0, 6.0]},
    {"task": 1, "seconds": [2.0, 3.0]},
    {"task": 0, "seconds": []},
]


def test_the_median_of_the_passes_counts():
    """One slow pass does not matter; a schedule that always failed has no latency."""
    assert timed_latencies(SCHEDULES) == [11.0, 5.0, 4.0, 2.5, None]


def test_a_curve_starts_untuned_and_uses_final_timings_only():
    """What a contestant measured itself does not enter; a schedule that failed at the end is passed over."""
    points = curve(ROUNDS, [2.0, 1.0], timed_latencies(SCHEDULES), [11.0, 5.0])
    assert points == [
        Point(0.0, 0, 27.0),
        Point(1.5, 2, 13.0),
        Point(3.0, 3, 10.5),
        Point(4.0, 5, 10.5),
        Point(6.0, 6, 10.5),
    ]


def test_a_schedule_that_is_slower_than_believed_raises_the_curve():
    """Noise in a contestant's own measurements is its own loss."""
    rounds = [{"task": 0, "seconds": {"run": 1.0}, "latencies": [1.0], "schedule": n} for n in (1, 2)]
    assert [point.latency for point in curve(rounds, [1.0], [9.0, 2.0, 3.0], [9.0])] == [9.0, 2.0, 3.0]


def test_an_untuned_program_counts_with_its_own_latency():
    """Even where a schedule is slower."""
    schedules = [{"task": 0, "seconds": [10.0]}, {"task": 0, "seconds": [30.0]}]
    assert untuned_latencies(schedules, ["conv"]) == [10.0]


def test_who_has_not_tuned_a_task_gains_nothing_when_its_untuned_program_fails():
    """The task counts with the slowest schedule that anybody found, until its own is there."""
    schedules = [
        {"task": 0, "seconds": [10.0]},
        {"task": 1, "seconds": []},
        {"task": 1, "seconds": [2.0]},
        {"task": 1, "seconds": [7.0, 6.0, 8.0]},
        {"task": 0, "seconds": [99.0]},
    ]
    untuned = untuned_latencies(schedules, ["conv", "dense"])
    assert untuned == [10.0, 7.0]
    rounds = [{"task": 1, "seconds": {"run": 1.0}, "latencies": [1.0], "schedule": n} for n in (None, 2)]
    points = curve(rounds, [1.0, 2.0], timed_latencies(schedules), untuned)
    assert [point.latency for point in points] == [24.0, 24.0, 14.0]


def test_a_task_that_was_never_timed_is_refused():
    """There is nothing that it could count with."""
    schedules = [{"task": 0, "seconds": [10.0]}, {"task": 1, "seconds": []}, {"task": 1, "seconds": []}]
    with pytest.raises(InvalidInputError, match="dense has none"):
        untuned_latencies(schedules, ["conv", "dense"])


@pytest.mark.parametrize(("goal", "expected"), [(27.0, 0.0), (13.0, 1.5), (12.9, 3.0), (10.5, 3.0)])
def test_first_within(goal, expected):
    """The first point at or below the goal."""
    assert first_within(curve(ROUNDS, [2.0, 1.0], timed_latencies(SCHEDULES), [11.0, 5.0]), goal).seconds == expected


def test_never_reached_is_a_loss():
    """It counts as zero, not as a gap."""
    points = curve(ROUNDS, [2.0, 1.0], timed_latencies(SCHEDULES), [11.0, 5.0])
    assert first_within(points, 10.0) is None
    assert ratio(points[2], None, lambda point: point.seconds) == 0.0
    assert ratio(None, points[2], lambda point: point.seconds) == inf
    assert ratio(points[4], points[1], lambda point: point.seconds) == 4.0
    assert ratio(points[4], points[1], lambda point: point.trials) == 3.0


def test_a_goal_that_was_met_before_the_start_is_met_by_both_alike():
    """Nothing over nothing is a tie; who needs nothing where the baseline needs something is ahead of any factor."""
    untuned, later = Point(0.0, 0, 2.0), Point(5.0, 16, 1.0)
    assert ratio(untuned, untuned, lambda point: point.seconds) == 1.0
    assert ratio(later, untuned, lambda point: point.seconds) == inf
    assert ratio(untuned, later, lambda point: point.seconds) == 0.0


def test_reading_a_curve_between_its_points():
    """What was reached stays until something better is found."""
    points = curve(ROUNDS, [2.0, 1.0], timed_latencies(SCHEDULES), [11.0, 5.0])
    assert [at_seconds(points, s) for s in (0, 1.4, 1.5, 2.9, 100)] == [27.0, 27.0, 13.0, 13.0, 10.5]
    assert [at_trials(points, t) for t in (0, 1, 2, 3)] == [27.0, 27.0, 13.0, 10.5]
