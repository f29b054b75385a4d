# SPDX-License-Identifier: Apache-2.0
"""Tile sizes of relatives become sketches, and what TVM samples from them still computes the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tvm import auto_scheduler
from tvm.auto_scheduler.measure import MeasureInput

from familyseer.ansor.transfer import TransferSeeds, seed_rule, sketch_of, with_choices
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.transfer import Option, Tile, Vectors
from familyseer.transfer.choices import inner_tile
from familyseer.transfer.vectors import is_vector
from tests.ansor.workloads import QUICK, conv2d, matmul, products, task

WHOLE = Vectors(shortest=8, least=0, most=256, whole_loops=True)
STEPS = [
    ["SP", 2, 0, 128, [4, 16, 1], 1],
    ["SP", 2, 4, 128, [1, 4, 4], 1],
    ["RE", 2, [0, 4, 1, 5]],
    ["FSP", 3, 0, 0, 1],
]


def steps_of(owner, state) -> list:
    """Return a state's steps as a log has them."""
    return json.loads(MeasureInput(owner, state).serialize()[0])[1][1]


def sampled(owner) -> list:
    """Return a few random states."""
    return list(auto_scheduler.SketchPolicy(owner, params=dict(QUICK), seed=1, verbose=0).sample_initial_population())


def test_a_sketch_is_read_and_written():
    """Choices are the tile sizes with the outermost, the form is all else but extents."""
    sketch = sketch_of(STEPS)

    assert sketch.choices == (Tile((2, 4, 16, 1)), Tile((8, 1, 4, 4)))
    assert sketch.form == sketch_of([[*STEPS[0][:3], 64, [4, 2, 1], 1], *STEPS[1:]]).form
    assert with_choices(STEPS, sketch.choices) == STEPS
    assert with_choices(STEPS, (Tile((1, 1, 1, 128)), Tile((128, 1, 1, 1))))[:2] == [
        ["SP", 2, 0, 128, [1, 1, 128], 1],
        ["SP", 2, 4, 128, [1, 1, 1], 1],
    ]


@pytest.mark.parametrize(
    "step",
    [["SP", 2, 0, None, [4], 1], ["SP", 2, 0, 128, [None], 1], ["SP", 2, 0, 10, [3], 1], ["SP", 2, 0, 8, [2], 0]],
)
def test_a_split_that_leaves_something_open_is_no_choice(step):
    """It stays as it is."""
    assert sketch_of([step]) is None
    assert with_choices([step, STEPS[0]], (Tile((128, 1, 1, 1)),)) == [step, ["SP", 2, 0, 128, [1, 1, 1], 1]]


def test_a_relative_starts_from_tile_sizes_that_were_good(host):
    """They are in its first population, fitted to its extents, beside random ones."""
    first, second, _ = products()
    seeds = TransferSeeds(lambda key: [first.workload_key, second.workload_key])
    assert seeds.states_for(second, 9, np.random.default_rng(0)) == []
    states = sampled(first)[:4]
    seeds.learn(first, states, [MeasureResult(costs=(1.0 + i,)) for i in range(4)])
    donor = sketch_of(steps_of(first, states[0])[:8]) or sketch_of(steps_of(first, states[0])[:4])

    found = seeds.states_for(second, 9, np.random.default_rng(0))
    sizes = [sketch.choices for state in found if (sketch := sketch_of(steps_of(second, state)))]
    assert found
    assert any(tile.factors[1:] == donor.choices[0].factors[1:] for tiles in sizes for tile in tiles)
    policy = auto_scheduler.SketchPolicy(
        second, params=dict(QUICK), seed=1, verbose=0, init_search_callbacks=[seed_rule(lambda: found)]
    )
    plain = auto_scheduler.SketchPolicy(second, params=dict(QUICK), seed=1, verbose=0)
    assert len(policy.generate_sketches()) == len(plain.generate_sketches()) + len(found)
    population = [json.dumps(steps_of(second, state)) for state in policy.sample_initial_population()]
    starts = [json.dumps(steps_of(second, state))[:-1] for state in found]
    share = sum(any(text.startswith(start) for start in starts) for text in population) / len(population)
    assert 0.3 < share < 0.95


def test_what_was_measured_guides_a_search_among_tile_sizes(host):
    """Where wide innermost tiles were fast, the next starts have them; a quarter of all sketches stays open."""
    first, second, _ = products()
    seeds = TransferSeeds(lambda key: [first.workload_key, second.workload_key])

    def widths(owner, states) -> list[int]:
        sketches = [sketch for state in states if (sketch := seeds._space(owner).sketch_of(steps_of(owner, state)))]
        return [tile.factors[-1] for sketch in sketches for tile in sketch.choices[1:2]]

    states = [*sampled(first), *sampled(first)][:64]
    costs = [1.0 / width for width in widths(first, states)]
    assert len(costs) == len(states) >= 32
    seeds.learn(first, states, [MeasureResult(costs=(cost,)) for cost in costs])
    found = seeds.states_for(second, 16, np.random.default_rng(0))
    chosen = [sketch.choices[1].factors[-1] for state in found[:16] if (sketch := sketch_of(steps_of(second, state)))]

    assert len(chosen) == 16
    assert np.mean(np.log2(chosen)) > np.mean(np.log2(widths(second, sampled(second)))) + 1
    plain = len(auto_scheduler.SketchPolicy(second, params=dict(QUICK), seed=1, verbose=0).generate_sketches())
    assert 0.25 <= (len(found) - 16 + plain) / (len(found) + plain) < 0.4


def test_no_inner_tile_fills_a_round(host):
    """Two new states of each come first, whatever their scores; measured ones are not counted."""
    owner = products()[0]
    seeds = TransferSeeds(lambda key: ())
    one, *others = sampled(owner)
    ranked = [one, one, one, one, *others[:4]]
    scores = np.linspace(1.0, 0.3, len(ranked))

    def order() -> list[int]:
        return np.argsort(-seeds.spread(owner, ranked, scores), kind="stable").tolist()

    assert order()[:2] == [0, 1]
    assert order()[-2:] == [2, 3]
    seeds.learn(owner, [one], [MeasureResult(costs=(1.0,))])
    assert order()[:4] == [0, 1, 2, 3]


def test_vectors_that_are_new_come_first(host):
    """Whatever their scores, as many as the round is to have, in every generation the same; some of the starts are such."""
    owner = products()[0]
    seeds = TransferSeeds(lambda key: ())

    def tile(state) -> tuple[int, ...]:
        sketch = seeds._space(owner).sketch_of(steps_of(owner, state))
        return inner_tile(sketch.choices) if sketch else ()

    def first(*states) -> int:
        return int(np.argmax(seeds.spread(owner, states, np.linspace(1.0, 0.0, len(states)))))

    plain, measured = [state for state in sampled(owner) if not is_vector(tile(state), WHOLE)][:2]
    seeds.learn(owner, [measured], [MeasureResult(costs=(1.0,))])
    seeds.begin(owner, 2)
    found, open_sketches = seeds.states_for(owner, 16, np.random.default_rng(0)), seeds._space(owner).open
    starts = [state for state in found if not any(state is sketch for sketch in open_sketches)]
    vectors = list({tile(state): state for state in starts if is_vector(tile(state), WHOLE)}.values())
    assert len(vectors) >= 3
    assert {len(tile(state)) for state in vectors} == {2, 4}, "of two loops, and with an empty level inside"

    scores = seeds.spread(owner, [plain, *vectors], np.linspace(1.0, 0.0, 1 + len(vectors)))
    assert np.argsort(-scores)[:3].tolist() == [1, 2, 0]
    assert first(plain, vectors[2]) == 0, "the round has its two"
    assert first(plain, vectors[1]) == 1
    seeds.learn(owner, [vectors[1]], [MeasureResult(costs=(1.0,))])
    assert first(plain, vectors[1]) == 0
    seeds.begin(owner, 1)
    assert first(plain, vectors[2]) == 1
    seeds.begin(owner, 0)
    assert first(plain, vectors[2]) == 0


def test_a_copy_of_a_faster_relative_comes_first(host):
    """With how far loops are unrolled, once, in every generation the same state; not once the task has it, or is faster."""
    first, second, _ = products()
    seeds = TransferSeeds(lambda key: [first.workload_key, second.workload_key])
    space = seeds._space(second)

    def sketches(owner, states) -> list:
        return [seeds._space(owner).sketch_of(steps_of(owner, state)) for state in states]

    def best(*states) -> int:
        return int(np.argmax(seeds.spread(second, states, np.linspace(1.0, 0.0, len(states)))))

    unrolled = [
        [c.index for c in sketch.choices if isinstance(c, Option)] for sketch in sketches(first, sampled(first))
    ]
    assert {tuple(indices) for indices in unrolled} >= {(0,), (16,), (64,), (512,)}
    seeds.begin(second, 0, 1)
    states = sampled(first)[:4]
    seeds.learn(first, states, [MeasureResult(costs=(1.0 + i,)) for i in range(4)])
    found = seeds.states_for(second, 9, np.random.default_rng(0))
    (copy,) = seeds._round(second).copied
    wanted = [tile for tile in copy.choices if isinstance(tile, Tile)]
    tiled = [state for state in found if not any(state is sketch for sketch in space.open)]
    starts = [sketch_of(steps_of(second, state)) for state in tiled]
    assert wanted[0].factors[1:] == sketches(first, states)[0].choices[0].factors[1:]
    assert sum(start is not None and list(start.choices) == wanted for start in starts) >= 2

    policy = auto_scheduler.SketchPolicy(
        second, params=dict(QUICK), seed=1, verbose=0, init_search_callbacks=[seed_rule(lambda: tiled * 4)]
    )
    population = [*policy.sample_initial_population()]
    marks = sketches(second, population)
    copied = population[marks.index(copy)]
    others = [state for state, mark in zip(population, marks, strict=True) if mark != copy][:3]
    assert best(*others, copied) == 3
    assert best(*others, copied) == 3, "in the next generation, too"
    seeds.learn(second, [copied], [MeasureResult(costs=(0.5,))])
    assert best(*others, copied) == 0
    seeds.begin(second, 0, 1)
    seeds.states_for(second, 9, np.random.default_rng(0))
    assert seeds._round(second).copied == {}, "the task is faster now"


def test_failures_and_strangers_teach_nothing(host):
    """A schedule that did not run, and one of another structure."""
    first, second, _ = products()
    seeds = TransferSeeds(lambda key: ())
    failed = MeasureResult(error_no=MeasureErrorNo.RUN_TIMEOUT, error_msg="too slow")
    seeds.learn(first, sampled(first)[:2], [failed, failed])
    assert dict(seeds.pool.best()) == {}
    strange = task(conv2d, 8, 8, 8)
    seeds.learn(strange, sampled(strange)[:1], [MeasureResult(costs=(1.0,))])
    assert seeds.states_for(second, 9, np.random.default_rng(0)) == []


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 13, 11), (1, 97, 3)])
def test_extents_of_one_and_primes(host, shape):
    """What cannot be divided is left undivided."""
    first, second = task(matmul, 64, 64, 32), task(matmul, *shape)
    seeds = TransferSeeds(lambda key: ())
    seeds.learn(first, sampled(first)[:4], [MeasureResult(costs=(1.0,))] * 4)

    for state in seeds.states_for(second, 9, np.random.default_rng(0)):
        assert all(
            step[3] % np.prod(step[4]) == 0 for step in steps_of(second, state) if step[0] == "SP" and step[4] != [None]
        )
