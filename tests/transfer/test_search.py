# SPDX-License-Identifier: Apache-2.0
"""Search among choices: what was measured of relatives leads to what is good for a task, and nothing impossible comes out."""

from __future__ import annotations

from collections import Counter
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.measure import INVALID_COST
from familyseer.transfer import Donor, DonorPool, Experience, Hope, Option, Sketch, Tile, Tried, propose
from familyseer.transfer.choices import inner_tile, kinds_of, random_tile
from familyseer.transfer.experience import encode

FORM = ("tile", "vectorize")


def sketch(*extents: int, form=FORM) -> Sketch:
    """Return a sketch of loops of three levels and one option of four."""
    return Sketch(form, (*(Tile((extent, 1, 1)) for extent in extents), Option(0, 4)))


def cost(choices) -> float:
    """Return a latency that is best with inner factors of eight and option two, whatever the extents."""
    tiles = [choice for choice in choices if isinstance(choice, Tile)]
    away = sum(abs(log2(tile.factors[-1]) - 3) for tile in tiles) + abs(choices[-1].index - 2)
    return float(np.prod([tile.extent for tile in tiles])) * 1e-6 * 2.0**away


def measured(tasks: dict[str, Sketch], count: int, seed: int = 0) -> tuple[DonorPool, Experience]:
    """Measure random schedules of tasks."""
    rng, pool, experience = np.random.default_rng(seed), DonorPool(), Experience()
    for task, own in tasks.items():
        for _ in range(count):
            tiles = [random_tile(tile.extent, 3, rng) for tile in own.choices if isinstance(tile, Tile)]
            found = Sketch(own.form, (*tiles, Option(int(rng.integers(4)), 4)))
            pool.add(task, [Donor(cost(found.choices), found)])
            experience.add(task, Tried(cost(found.choices), found))
    return pool, experience


def ask(
    pool, experience, own: Sketch, count: int = 16, task: str = "own", share: float = 1.0, seed: int = 0, **options
):
    """Propose for one sketch."""
    return propose(task, [own], pool, experience, count, share=share, rng=np.random.default_rng(seed), **options)


def test_relatives_lead_to_what_is_good():
    """The best of sixteen proposals for a task that was never measured is optimal; drawn at random, it is far from that."""
    pool, experience = measured({"a": sketch(64, 128), "b": sketch(32, 64)}, 40)
    own = sketch(256, 32)
    optimum = 256 * 32 * 1e-6
    found = ask(pool, experience, own)
    rng = np.random.default_rng(0)
    drawn = [
        (*(random_tile(extent, 3, rng) for extent in (256, 32)), Option(int(rng.integers(4)), 4)) for _ in range(16)
    ]

    assert min(cost(made.choices) for made in found) == pytest.approx(optimum)
    assert np.median([cost(made.choices) for made in found]) <= 2 * optimum
    assert np.median([cost(choices) for choices in drawn]) > 8 * optimum


def test_proposals_come_best_first_and_once():
    """Sorted by score, all different, the same for the same generator."""
    pool, experience = measured({"a": sketch(64, 128)}, 40)
    found = ask(pool, experience, sketch(64, 128), 40, task="a")

    assert [made.score for made in found] == sorted((made.score for made in found), reverse=True)
    assert len({(made.sketch, made.choices) for made in found}) == 40
    assert found == ask(pool, experience, sketch(64, 128), 40, task="a")


def test_no_inner_tile_has_more_than_its_share():
    """Two at least."""
    pool, experience = measured({"a": sketch(64, 128)}, 40)
    for share, most in [(0.25, 4), (0.01, 2), (1.0, 16)]:
        found = ask(pool, experience, sketch(64, 64), share=share)
        assert len(found) == 16
        assert max(Counter(inner_tile(made.choices) for made in found).values()) <= most


def test_nothing_comparable_is_no_proposal():
    """Other kinds of choices, or too few measurements."""
    pool, experience = measured({"a": sketch(64, 128)}, 15)
    assert ask(pool, experience, sketch(64, 64)) == []
    pool, experience = measured({"a": sketch(64, 128)}, 16)
    assert len(ask(pool, experience, sketch(64, 64))) == 16
    assert ask(pool, experience, sketch(64)) == []


def test_each_sketch_is_ranked_by_those_of_its_kinds():
    """A sketch without experience beside one with: proposals are for the latter."""
    pool, experience = measured({"a": sketch(64, 128)}, 40)
    found = propose("own", [sketch(64), sketch(64, 64)], pool, experience, 8, rng=np.random.default_rng(0))
    assert {made.sketch for made in found} == {1}


def test_the_form_of_a_sketch_counts():
    """Of two sketches with the same kinds of choices, one is always four times slower: the other one is proposed."""
    pool, experience = measured({"a": sketch(64, 128)}, 40)
    rng = np.random.default_rng(1)
    for _ in range(40):
        tiles = (random_tile(64, 3, rng), random_tile(128, 3, rng))
        slow = Sketch(("tile", "cache"), (*tiles, Option(int(rng.integers(4)), 4)))
        experience.add("a", Tried(4 * cost(slow.choices), slow))
    both = [sketch(64, 64, form=("tile", "cache")), sketch(64, 64)]
    found = propose("own", both, pool, experience, 16, share=1.0, rng=np.random.default_rng(0))
    assert Counter(made.sketch for made in found)[1] >= 12


@pytest.mark.parametrize(("hope", "count", "relative", "expected"), [
    (Hope(), 80, (128, 64), 16),
    (Hope(weight=0.0), 80, (128, 64), 0),
    (None, 80, (128, 64), 0),
    (Hope(), 24, (128, 64), 16),
    (Hope(), 23, (128, 64), 0),
    (Hope(after=0), 23, (128, 64), 16),
    (Hope(), 80, (2048, 8), 0),
])  # fmt: skip
def test_a_task_that_is_stuck_follows_relatives_that_are_faster(hope, count, relative, expected):
    """All it knows has inner factors of one, 64 times slower per iteration than what a relative found: that is proposed.

    Were its own best as good as its relative's best, it would praise its own kind. It does as long as little of it was
    measured, and where the relative's extents are eight times larger and smaller.
    """
    pool, experience = measured({"a": sketch(*relative)}, 40)
    rng, own = np.random.default_rng(1), sketch(256, 64)
    for _ in range(count):
        tiles = (Tile((*random_tile(extent, 2, rng).factors, 1)) for extent in (256, 64))
        found = Sketch(FORM, (*tiles, Option(2, 4)))
        pool.add("own", [Donor(cost(found.choices), found)])
        experience.add("own", Tried(cost(found.choices), found))
    proposed = ask(pool, experience, own, relatives={"own", "a"}, hope=hope)

    assert sum(min(inner_tile(made.choices)) > 1 for made in proposed) == expected


def test_what_hopes_for_nothing_is_one_model():
    """Whoever asks, and whatever the families are: it is not trained again for the same labels."""
    _, experience = measured({"a": sketch(64, 128), "b": sketch(32, 64)}, 30)
    kinds = kinds_of(sketch(64, 128).choices)
    plain = experience.model(kinds)

    assert plain is not None
    assert experience.model(kinds, {"a", "b"}, Hope(0.0)) is plain
    assert experience.model(kinds, (), Hope()) is plain
    assert experience.model(kinds, {"a"}, Hope()) is plain

    experience.add("a", Tried(1e-6, sketch(64, 128)))
    plain, of_both = experience.model(kinds), experience.model(kinds, {"a", "b"}, Hope())
    assert of_both is not plain
    assert experience.model(kinds, {"a", "b"}, Hope()) is of_both
    assert experience.model(kinds, {"a", "b"}, Hope(0.5)) is not of_both


def test_a_task_that_is_slow_by_nature_keeps_what_it_knows():
    """A hundred times slower per iteration than its relative, whatever is chosen: what was best of it is proposed."""
    pool, experience = measured({"a": sketch(64, 128)}, 40)
    rng, own = np.random.default_rng(1), sketch(256, 64)
    for _ in range(80):
        tiles = (random_tile(extent, 3, rng) for extent in (256, 64))
        found = Sketch(FORM, (*tiles, Option(int(rng.integers(4)), 4)))
        pool.add("own", [Donor(100 * cost(found.choices), found)])
        experience.add("own", Tried(100 * cost(found.choices), found))
    optimum = 256 * 64 * 1e-6
    proposed = [cost(made.choices) for made in ask(pool, experience, own, relatives={"own", "a"}, hope=Hope())]

    assert min(proposed) == pytest.approx(optimum)
    assert np.median(proposed) <= 2 * optimum


def test_what_takes_long_to_compile_has_to_be_worth_it():
    """Option two is twice as fast as its neighbours and takes five seconds to compile: it is proposed for free only."""
    rng, pool, experience = np.random.default_rng(0), DonorPool(), Experience()
    for _ in range(120):
        tiles = [random_tile(extent, 3, rng) for extent in (64, 128)]
        found = Sketch(FORM, (*tiles, Option(int(rng.integers(4)), 4)))
        pool.add("a", [Donor(cost(found.choices), found)])
        experience.add("a", Tried(cost(found.choices), found, 5.0 if found.choices[-1].index == 2 else 0.0))
    options = [
        Counter(
            made.choices[-1].index
            for made in propose(
                "own", [sketch(64, 64)], pool, experience, 16, share=1.0, build_weight=weight,
                rng=np.random.default_rng(0),
            )
        )
        for weight in (0.0, 1.0)
    ]  # fmt: skip
    assert options[0][2] >= 12
    assert options[1][2] <= 2


def test_locations_that_relatives_tried_are_tried():
    """The own and the nearest donor's is six, all the best of the family have it, and three is twice as fast."""
    pool, experience = DonorPool(), Experience()
    rng = np.random.default_rng(4)
    for task, extents, locations in [("a", (64, 128), (6, 3)), ("own", (32, 64), (6,))]:
        for number in range(40):
            tiles = [random_tile(extent, 3, rng) for extent in extents]
            location = locations[number % len(locations)]
            found = Sketch(FORM, (*tiles, Option(location)))
            seconds = cost((*tiles, Option(2, 4))) * (2 if location == 6 else 1)
            experience.add(task, Tried(seconds, found))
            if location == 6:
                pool.add(task, [Donor(seconds, found)])
    experience.add("a", Tried(INVALID_COST, Sketch(FORM, (Tile((64, 1, 1)), Tile((128, 1, 1)), Option(9)))))

    found = [
        made.choices[-1]
        for made in ask(pool, experience, Sketch(FORM, (Tile((32, 1, 1)), Tile((64, 1, 1)), Option(6))))
    ]
    assert Counter(found).most_common(1)[0][0] == Option(3)
    assert set(found) <= {Option(3), Option(6)}


def test_what_failed_is_not_proposed():
    """Nothing with option two ever ran on another task: it is avoided, although it was good where it did."""
    pool, experience = measured({"a": sketch(64, 128)}, 20)
    rng = np.random.default_rng(2)
    for _ in range(60):
        tiles = [random_tile(extent, 3, rng) for extent in (64, 128)]
        experience.add("a", Tried(INVALID_COST, Sketch(FORM, (*tiles, Option(2, 4)))))
    found = ask(pool, experience, sketch(64, 64))
    assert Counter(made.choices[-1].index for made in found)[2] <= 2


def test_a_task_that_never_worked_teaches_nothing_good():
    """All its schedules count as slow, not as the best there are."""
    pool, experience = measured({"a": sketch(64, 128)}, 40)
    rng = np.random.default_rng(3)
    for _ in range(40):
        tiles = [random_tile(extent, 3, rng) for extent in (32, 32)]
        experience.add("b", Tried(INVALID_COST, Sketch(("tile", "cache"), (*tiles, Option(int(rng.integers(4)), 4)))))
    both = [sketch(64, 64, form=("tile", "cache")), sketch(64, 64)]
    found = propose("own", both, pool, experience, 16, share=1.0, rng=np.random.default_rng(0))
    assert Counter(made.sketch for made in found) == {1: 16}


@given(st.lists(st.integers(1, 360), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_proposals_are_possible(extents, seed):
    """Every loop keeps its extent, every option is one of those there are."""
    own = sketch(*extents)
    pool, experience = measured({"a": sketch(*reversed(extents))}, 16, seed)
    for made in ask(pool, experience, own, 8, seed=seed):
        assert kinds_of(made.choices) == kinds_of(own.choices)
        assert [c.extent for c in made.choices if isinstance(c, Tile)] == extents
        assert 0 <= made.choices[-1].index < 4


@given(st.integers(1, 5000), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_random_tiles_multiply_to_the_extent(extent, levels, seed):
    """Exactly."""
    tile = random_tile(extent, levels, np.random.default_rng(seed))
    assert tile.extent == extent
    assert len(tile.factors) == levels


def test_encoding_is_what_it_says():
    """Extent, factors, sizes of inner tiles; options; sums over loops of as many levels."""
    assert encode((Tile((2, 4)), Option(3, 4), Tile((1, 8)), Tile((4, 1, 2)))) == [
        *[3.0, 1.0, 2.0, 2.0],
        3.0,
        *[3.0, 0.0, 3.0, 3.0],
        *[3.0, 2.0, 0.0, 1.0, 1.0, 1.0],
        *[1.0, 5.0],
        *[2.0, 0.0, 1.0],
    ]


def test_the_order_of_measurements_does_not_matter():
    """An interrupted run learns its log task by task."""
    tasks = {"a": sketch(64, 128), "b": sketch(32, 32, form=("tile", "cache"))}
    found = []
    for names in (["a", "b"], ["b", "a"]):
        pool, experience = DonorPool(), Experience()
        for name in names:
            part, _ = measured({name: tasks[name]}, 20)
            for donor in part.best()[name]:
                pool.add(name, [donor])
                for _ in range(5):
                    experience.add(name, Tried(donor.cost, donor.sketch))
        found.append(ask(pool, experience, sketch(64, 64)))
    assert found[0] == found[1] != []


def test_models_are_made_anew_only_for_news():
    """And the last two thousand schedules are enough."""
    _, experience = measured({"a": sketch(8, 8)}, 20)
    kinds = kinds_of(sketch(8, 8).choices)
    first = experience.model(kinds)
    assert experience.model(kinds) is first
    experience.add("a", Tried(1.0, sketch(8, 8)))
    assert experience.model(kinds) is not first
