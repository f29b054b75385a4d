# SPDX-License-Identifier: Apache-2.0
"""Whose schedules are taken, and in which order."""

from __future__ import annotations

import numpy as np
import pytest

from familyseer.transfer import Donor, DonorPool, Option, Seed, Sketch, Tile

FORM = ("tile", "vectorize")


def sketch(*factors: int, form=FORM, option: int = 0) -> Sketch:
    """Return a sketch of one loop and one option of three."""
    return Sketch(form, (Tile(factors), Option(option, 3)))


def seeds(pool: DonorPool, own: list[Sketch], count: int, relatives=(), task="own") -> list[Seed]:
    """Ask a pool."""
    return pool.seeds(task, own, count, relatives=relatives, rng=np.random.default_rng(0))


def test_the_nearest_shape_comes_first():
    """Verbatim schedules of all donors, nearest first, before variants."""
    pool = DonorPool()
    pool.add("far", [Donor(1.0, sketch(64, 4, 8))])
    pool.add("near", [Donor(9.0, sketch(2, 2, 8, option=2))])
    found = seeds(pool, [sketch(64, 1, 1)], 6)

    assert [seed.donor for seed in found[:4]] == ["near", "far", "near", "far"]
    assert found[0] == Seed(0, (Tile((4, 2, 8)), Option(2, 3)), "near")
    assert found[1] == Seed(0, (Tile((2, 4, 8)), Option(0, 3)), "far")
    assert len(set(found)) == 6


def test_relatives_come_before_nearer_shapes():
    """Who is in the family is asked first."""
    pool = DonorPool()
    pool.add("near", [Donor(1.0, sketch(32, 2))])
    pool.add("sister", [Donor(1.0, sketch(2, 4))])

    assert [seed.donor for seed in seeds(pool, [sketch(64, 1)], 2, relatives={"sister"})] == ["sister", "near"]


def test_own_schedules_give_the_steps_away_from_the_best():
    """Every second seed is one step from the task's own best, until there are no more."""
    pool = DonorPool()
    pool.add("own", [Donor(1.0, sketch(32, 2)), Donor(1.1, sketch(1, 64))])
    steps = {(Tile((16, 4)), 0), (Tile((64, 1)), 0), (Tile((32, 2)), 1)}

    assert {(s.choices[0], s.choices[1].index) for s in seeds(pool, [sketch(64, 1)], 9)} == steps
    pool.add("other", [Donor(1.0, sketch(1, 4, option=2))])
    assert [seed.donor for seed in seeds(pool, [sketch(64, 1)], 4)] == ["own", "other", "own", "other"]


def test_a_sketch_that_only_looks_alike_is_no_donor():
    """Other levels or options: nothing can be taken over."""
    pool = DonorPool()
    pool.add("other", [Donor(1.0, Sketch(FORM, (Tile((2, 2, 2)), Option(0, 3))))])

    assert seeds(pool, [sketch(64, 1)], 4) == []


def test_a_donor_whose_best_does_not_fit_gives_its_next():
    """The best schedule of a task may be of a sketch that others lack."""
    pool = DonorPool()
    strange = Sketch(("rfactor",), (Tile((2, 2, 2)), Option(0, 3)))
    pool.add("near", [Donor(1.0, strange), Donor(1.2, sketch(32, 2))])
    pool.add("slow", [Donor(1.0, strange), Donor(1.6, sketch(32, 2))])

    found = seeds(pool, [sketch(64, 1)], 1)
    assert found == [Seed(0, (Tile((32, 2)), Option(0, 3)), "near")]
    assert {seed.donor for seed in seeds(pool, [sketch(64, 1)], 8)} == {"near"}, "too slow beside its task's best"


def test_the_sketch_that_is_treated_most_alike_is_taken():
    """Among own sketches with the same choices open, that whose form is nearest to the donor's."""
    pool = DonorPool()
    pool.add("other", [Donor(1.0, sketch(2, 2, form=("inline", "tile", "vectorize")))])
    own = [sketch(64, 1, form=("tile", "cache", "fuse")), sketch(64, 1, form=("inline", "tile", "cache", "vectorize"))]

    assert {seed.sketch for seed in seeds(pool, own, 5)} == {1}


def test_slow_schedules_give_nothing():
    """Half as slow again as a task's best is too slow."""
    pool = DonorPool()
    pool.add("other", [Donor(1.0, sketch(4, 1)), Donor(1.4, sketch(1, 4)), Donor(1.6, sketch(2, 2))])

    assert [seed.choices[0] for seed in seeds(pool, [sketch(4, 1)], 2)] == [Tile((4, 1)), Tile((1, 4))]
    assert Tile((2, 2)) not in [seed.choices[0] for seed in seeds(pool, [sketch(4, 1)], 2)]


def test_a_task_gives_schedules_that_differ_where_it_matters():
    """Of those with one inner tile the fastest, and four in all."""
    pool = DonorPool()
    pool.add("other", [Donor(1.0 + i / 10, sketch(8 - i, 1 + i // 2)) for i in range(12)])

    assert [(donor.cost, donor.sketch.choices[0].factors[-1]) for donor in pool.best()["other"]] == [
        (1.0, 1),
        (1.2, 2),
        (1.4, 3),
        (1.6, 4),
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_the_order_of_measurements_does_not_matter(order):
    """Nor does it that a schedule was measured twice: its best latency counts."""
    batches = [
        ("a", [Donor(3.0, sketch(4, 2)), Donor(2.5, sketch(2, 4))]),
        ("b", [Donor(1.0, sketch(2, 8))]),
        ("a", [Donor(2.0, sketch(4, 2))]),
    ]
    pool = DonorPool()
    for i in order:
        pool.add(*batches[i])

    assert [donor.cost for donor in pool.best()["a"]] == [2.0, 2.5]
    assert [seed.donor for seed in seeds(pool, [sketch(8, 4)], 4)] == ["b", "a", "a", "b"]


def test_at_most_four_tasks_give():
    """The nearest ones."""
    pool = DonorPool()
    for power in range(7):
        pool.add(f"t{power}", [Donor(1.0, sketch(2**power, 1))])

    assert {seed.donor for seed in seeds(pool, [sketch(1, 1)], 50)} <= {"t0", "t1", "t2", "t3"}
