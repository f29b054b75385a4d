# SPDX-License-Identifier: Apache-2.0
"""What a tuner had reached when: pure arithmetic on the raw results of the search benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, inf
from statistics import median
from typing import Any

from familyseer.errors import InvalidInputError

__all__ = [
    "SLACKS",
    "Point",
    "at_seconds",
    "at_trials",
    "curve",
    "first_within",
    "ratio",
    "step",
    "timed_latencies",
    "untuned_latencies",
]

SLACKS = (0.10, 0.05, 0.02, 0.0)
"""How far above the best, or a baseline's final latency, counts as reached."""


@dataclass(frozen=True, slots=True)
class Point:
    """The weighted latency of the network that a tuner had reached.

    Parameters
    ----------
    seconds, trials
        Spent until then.
    latency
        Seconds; a task without a schedule counts with its untuned program, see `untuned_latencies`.
    """

    seconds: float
    trials: int
    latency: float


def timed_latencies(schedules: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Return the median of the final timings of each schedule, None where it failed in every pass."""
    return [median(schedule["seconds"]) if schedule["seconds"] else None for schedule in schedules]


def untuned_latencies(schedules: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[float]:
    """Return with what each task counts as long as a contestant has no timed schedule of it, seconds.

    That is the latency of its untuned program. Where that failed, it is the highest that any schedule of the task had,
    whoever found it: not having tuned a task must not look better than having tuned it badly.

    Parameters
    ----------
    schedules
        Of the t tasks called `names`, with ``task`` and the final timings ``seconds``; untuned programs come first.
    """
    latencies, found = timed_latencies(schedules), []
    for task, name in enumerate(names):
        known = [
            latency
            for schedule, latency in zip(schedules, latencies, strict=True)
            if schedule["task"] == task and latency is not None
        ]
        if not known:
            raise InvalidInputError(
                f"every task must have a schedule that the final timing could time; {name} has none. Delete the "
                "block's `schedules` (set it to null) to time it again, or leave this block out."
            )
        untuned = latencies[task]
        found.append(max(known) if untuned is None else untuned)
    return found


def curve(
    rounds: Sequence[Mapping[str, Any]],
    weights: Sequence[float],
    latencies: Sequence[float | None],
    untuned: Sequence[float],
) -> list[Point]:
    """Return what was reached at the start and after each round.

    Parameters
    ----------
    rounds
        With ``task``, ``seconds`` by phase, ``latencies`` and ``schedule``: the number of the task's new best or None.
    weights
        Of the t tasks.
    latencies
        Of all schedules, timed together at the end; those of the t untuned programs come first. A schedule that
        failed then is passed over.
    untuned
        With what each of the t tasks starts, see `untuned_latencies`.
    """
    now = list(untuned)
    points, trials = [Point(0.0, 0, _weighted(now, weights))], 0
    for made in rounds:
        trials += len(made["latencies"])
        better = latencies[made["schedule"]] if made["schedule"] is not None else None
        if better is not None:
            now[made["task"]] = better
        points.append(Point(fsum(made["seconds"].values()), trials, _weighted(now, weights)))
    return points


def _weighted(latencies: Sequence[float], weights: Sequence[float]) -> float:
    return fsum(weight * latency for weight, latency in zip(weights, latencies, strict=True))


def first_within(points: Sequence[Point], latency: float) -> Point | None:
    """Return the first point at or below `latency`, None when it is never reached.

    Examples
    --------
    >>> first_within([Point(0, 0, 3.0), Point(5, 16, 2.0), Point(9, 32, 1.0)], 2.5)
    Point(seconds=5, trials=16, latency=2.0)
    """
    return next((point for point in points if point.latency <= latency), None)


def ratio(baseline: Point | None, other: Point | None, of: Callable[[Point], float]) -> float:
    """Return how many times less `other` needed than `baseline`; 0, a loss, when it never got there.

    Two that needed nothing, since the goal was met before they began, are equal.

    Examples
    --------
    >>> ratio(Point(10, 32, 1.0), Point(5, 32, 1.0), lambda point: point.seconds)
    2.0
    >>> ratio(Point(10, 32, 1.0), None, lambda point: point.seconds)
    0.0
    """
    if other is None:
        return 0.0
    if baseline is None:
        return inf
    if of(other) == 0:
        return 1.0 if of(baseline) == 0 else inf
    return of(baseline) / of(other)


def step(points: Sequence[Point], where: float, of: Callable[[Point], float]) -> float:
    """Return the latency of the last point that is not beyond `where`."""
    return [point for point in points if of(point) <= where][-1].latency


def at_seconds(points: Sequence[Point], seconds: float) -> float:
    """Return the latency reached after `seconds`.

    Examples
    --------
    >>> at_seconds([Point(0, 0, 3.0), Point(5, 16, 2.0), Point(9, 32, 1.0)], 8)
    2.0
    """
    return step(points, seconds, lambda point: point.seconds)


def at_trials(points: Sequence[Point], trials: int) -> float:
    """Return the latency reached after `trials`."""
    return step(points, trials, lambda point: point.trials)
