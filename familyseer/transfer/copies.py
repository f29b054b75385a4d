# SPDX-License-Identifier: Apache-2.0
"""Copies: what a faster relative did, with no more changed than other extents ask for, measured without asking a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from familyseer.task import TaskKey
from familyseer.transfer.choices import Choices, fits, fitted, iterations
from familyseer.transfer.donors import DonorPool, Seed, Sketch
from familyseer.transfer.experience import Experience, Tried

__all__ = ["copies"]

_FASTER = 1.05  # times, per iteration, that a copy has to promise to be
_GOOD = 1.5  # times as slow as its task's best, at most, a schedule is that tells what copies of its task's are worth

Done = Mapping[Sketch, float]
"""How fast schedules were."""


def copies(
    task: TaskKey,
    sketches: Sequence[Sketch],
    pool: DonorPool,
    experience: Experience,
    *,
    relatives: Collection[TaskKey] = (),
) -> list[Seed]:
    """Return copies for a task of the best schedules of relatives that promise more speed than its own best, most first.

    Speed is iterations per second of the tiled loops.
    A copy promises the speed of its model, times the most that copies of that relative's good schedules kept of theirs here.
    In logs a third (MetaSchedule) to half (TVM's auto_scheduler) of the copies of faster relatives improved their task, of
    slower ones one in ten, and of all other candidates one in eight to one in six.

    Parameters
    ----------
    task, sketches, relatives
        As for `DonorPool.seeds`; tasks of other families give nothing.
    pool, experience
        What was measured.
    """
    done = {tried.sketch: tried.speed for tried in experience.of(task)}
    least = _FASTER * max(done.values(), default=0.0)
    found = []
    for match in pool.matches(task, sketches, relatives):
        kept = _kept(experience.of(match.task), sketches, done) if match.related else 0.0
        promises = [
            (kept * (iterations(donor.sketch.choices) / donor.cost), place, donor) for donor, place in match.donors
        ]
        found += [(promise, place, donor, match.task) for promise, place, donor in promises if promise > least]
    seeds: dict[tuple[int, Choices], Seed] = {}
    for _, place, donor, other in sorted(found, key=lambda each: -each[0]):
        for choices in fitted(donor.sketch.choices, sketches[place].choices):
            if Sketch(sketches[place].form, choices) not in done:
                seeds.setdefault((place, choices), Seed(place, choices, other))
    return list(seeds.values())


def _kept(tried: Sequence[Tried], sketches: Sequence[Sketch], done: Done) -> float:
    """Return which share of their speed a relative's good schedules kept at most where copies were measured; 1 without any."""
    fastest = max((one.speed for one in tried), default=0.0)
    shares = [
        done[copy] / one.speed
        for one in tried
        if one.speed * _GOOD >= fastest > 0
        for sketch in sketches
        if fits(one.sketch.choices, sketch.choices)
        for choices in fitted(one.sketch.choices, sketch.choices)
        if (copy := Sketch(sketch.form, choices)) in done
    ]
    return max(shares, default=1.0)
