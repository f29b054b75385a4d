# SPDX-License-Identifier: Apache-2.0
"""Which schedules of relatives are copied."""

from __future__ import annotations

from familyseer.measure import INVALID_COST
from familyseer.transfer import Donor, DonorPool, Experience, Option, Seed, Sketch, Tile, Tried, copies

FORM = ("tile", "unroll")


def sketch(*factors: int, option: int = 0) -> Sketch:
    """Return a sketch of one loop and one option of three."""
    return Sketch(FORM, (Tile(factors), Option(option, 3)))


class Run:
    """What was measured of tasks."""

    def __init__(self) -> None:
        self.pool, self.experience = DonorPool(), Experience()

    def measure(self, task: str, cost: float, found: Sketch) -> None:
        """Let the run know of one schedule."""
        if cost < INVALID_COST:
            self.pool.add(task, [Donor(cost, found)])
        self.experience.add(task, Tried(cost, found))

    def copies(self, own: Sketch, relatives=("slow", "fast", "faster", "own")) -> list[tuple[str, Tile, int]]:
        """Return whose copies the task "own" is to have, with tile and option."""
        found = copies("own", [own], self.pool, self.experience, relatives=relatives)
        assert all(seed.sketch == 0 for seed in found)
        return [(seed.donor, *choice_values(seed)) for seed in found]


def choice_values(seed: Seed) -> tuple[Tile, int]:
    """Return tile and option of a seed."""
    tile, option = seed.choices
    return tile, option.index


def test_a_task_without_schedules_copies_the_fastest_first():
    """By iterations per second; with the factors kept, then scaled."""
    run = Run()
    run.measure("fast", 4.0, sketch(2, 4, 8))
    run.measure("faster", 2.0, sketch(2, 2, 16, option=2))

    assert run.copies(sketch(64, 1, 1)) == [
        ("faster", Tile((2, 2, 16)), 2),
        ("fast", Tile((2, 4, 8)), 0),
    ]
    assert run.copies(sketch(128, 1, 1))[:2] == [("faster", Tile((4, 2, 16)), 2), ("fast", Tile((4, 4, 8)), 0)]


def test_only_relatives_that_are_faster_are_copied():
    """Than the task's own best, by a twentieth at least; no other family's."""
    run = Run()
    run.measure("own", 1.0, sketch(64, 1, 1))
    run.measure("slow", 0.98, sketch(4, 2, 8))
    run.measure("fast", 0.9, sketch(2, 4, 8))

    assert [donor for donor, *_ in run.copies(sketch(64, 1, 1))] == ["fast"]
    assert run.copies(sketch(64, 1, 1), relatives=("slow", "own")) == []


def test_nothing_is_copied_twice():
    """Neither what was measured of the task nor what two relatives share."""
    run = Run()
    run.measure("fast", 1.0, sketch(2, 4, 8))
    run.measure("faster", 0.5, sketch(2, 4, 8))
    assert run.copies(sketch(64, 1, 1)) == [("faster", Tile((2, 4, 8)), 0)]
    run.measure("own", 0.9, sketch(2, 4, 8))
    assert run.copies(sketch(64, 1, 1)) == []


def test_copies_that_were_no_use_tell_of_the_next():
    """A relative whose copies keep half of its speed has to be twice as fast; one whose copies fail gives nothing."""
    run = Run()
    run.measure("own", 1.0, sketch(64, 1, 1))
    run.measure("fast", 0.5, sketch(2, 4, 8))
    assert [donor for donor, *_ in run.copies(sketch(64, 1, 1))] == ["fast"]
    run.measure("own", 1.0, sketch(2, 4, 8))
    run.measure("fast", 0.49, sketch(4, 2, 8))
    assert run.copies(sketch(64, 1, 1)) == []
    run.measure("fast", 0.4, sketch(8, 1, 8))
    assert [tile for _, tile, _ in run.copies(sketch(64, 1, 1))] == [Tile((8, 1, 8))]

    run.measure("own", INVALID_COST, sketch(1, 4, 16))
    run.measure("faster", 0.1, sketch(1, 4, 16))
    assert [donor for donor, *_ in run.copies(sketch(64, 1, 1))] == ["fast"]


def test_what_leaves_other_choices_open_is_not_copied():
    """Other levels, or an option more."""
    run = Run()
    run.measure("fast", 0.1, sketch(8, 8))
    run.measure("faster", 0.1, Sketch(FORM, (Tile((2, 4, 8)),)))

    assert run.copies(sketch(64, 1, 1)) == []
