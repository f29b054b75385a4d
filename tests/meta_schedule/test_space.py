# SPDX-License-Identifier: Apache-2.0
"""The search space: reproducible, valid, and steered by what predicts."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import te

from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.space import Evolution, ScheduleSpace, extract_features, module_hash
from familyseer.meta_schedule.traces import trace_json
from tests.meta_schedule.measuring import TARGET, matmul

ROOT = Path(__file__).parents[2]
SMALL = Evolution(population=16, generations=2)


def space_of(task: SearchTask, seed: int = 1, islands: int = 1) -> ScheduleSpace:
    """Return a space that is searched fast."""
    return ScheduleSpace(task.mod, task.target, seed=seed, islands=islands, evolution=SMALL)


def hashes(schedules) -> list[int]:
    """Return what tells programs apart."""
    return [module_hash(schedule) for schedule in schedules]


def mean_size(features) -> np.ndarray:
    """Score a program by the mean sum of its stores' features: any property of programs will do."""
    sums = np.bincount(features.program_ids, weights=np.nan_to_num(features.rows).sum(axis=1), minlength=len(features))
    return sums / np.maximum(features.counts, 1)


def candidates(space: ScheduleSpace) -> list[int]:
    """Return what sampling and evolving give."""
    sample = space.sample(6)
    return hashes(sample) + hashes(space.evolve(sample, 4, mean_size))


@pytest.mark.parametrize("islands", [1, 2])
def test_equal_seeds_give_equal_candidates(matmul_task, islands):
    """Sampled and evolved, with one thread and with two."""
    assert candidates(space_of(matmul_task, 5, islands)) == candidates(space_of(matmul_task, 5, islands))


def test_other_seeds_give_other_candidates(matmul_task):
    """A seed is the start of all randomness."""
    assert hashes(space_of(matmul_task, 1).sample(6)) != hashes(space_of(matmul_task, 2).sample(6))


def test_islands_differ(matmul_task):
    """Each has a random state of its own."""
    found = hashes(space_of(matmul_task, 1, islands=2).sample(8))

    assert found[0::2] != found[1::2]


FRESH = """
from familyseer.meta_schedule.search_task import SearchTask
from tests.meta_schedule.measuring import TARGET, matmul
from tests.meta_schedule.test_space import candidates, space_of
print(*candidates(space_of(SearchTask(matmul(), target=TARGET), 5, islands=2)))
"""


def test_a_fresh_process_gives_the_same_candidates():
    """Nothing depends on the process."""
    with subprocess.Popen([sys.executable, "-c", FRESH], stdout=subprocess.PIPE, text=True, cwd=ROOT) as fresh:
        here = candidates(space_of(SearchTask(matmul(), target=TARGET), 5, islands=2))
        there, _ = fresh.communicate()

    assert [int(word) for word in there.split()] == here


@pytest.mark.parametrize("islands", [1, 2, 3])
def test_gives_as_many_as_asked(matmul_task, islands):
    """Also where the number of islands does not divide it."""
    space = space_of(matmul_task, islands=islands)
    sample = space.sample(7)

    assert len(sample) == 7
    assert len(space.evolve(sample, 5, mean_size)) == 5


def test_all_schedules_compute_the_same(matmul_schedules, matmul_task):
    """Each sampled program is built and multiplies matrices."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((64, 64)).astype("float32") for _ in "ab")

    for schedule in matmul_schedules:
        result = tvm.runtime.tensor(np.zeros((64, 64), "float32"))
        tvm.compile(schedule.mod, target=matmul_task.target)(tvm.runtime.tensor(a), tvm.runtime.tensor(b), result)
        np.testing.assert_allclose(result.numpy(), a @ b, atol=1e-4)


def test_evolution_finds_what_the_predictor_prefers(matmul_task):
    """The evolved score better than the random ones, best first."""
    space = space_of(matmul_task)
    sample = space.sample(16)

    evolved = space.evolve(sample, 4, mean_size)

    before, after = (
        mean_size(extract_features(matmul_task.mod, matmul_task.target, some, 1)) for some in (sample, evolved)
    )
    assert after.mean() > before.mean()
    assert after[0] >= before.max()
    assert list(after) == sorted(after, reverse=True)


def test_evolution_follows_the_opposite_wish(matmul_task):
    """The predictor alone decides what is better."""
    space = space_of(matmul_task)
    sample = space.sample(16)

    evolved = space.evolve(sample, 4, lambda features: 1 / (1 + mean_size(features)))

    before, after = (
        mean_size(extract_features(matmul_task.mod, matmul_task.target, some, 1)) for some in (sample, evolved)
    )
    assert after.mean() < before.mean()


def test_the_predictor_sees_programs_of_the_space(matmul_task):
    """Each call has at least one program, each program stores of 164 features."""
    seen = []

    def predict(features):
        seen.append((len(features), features.width, int(features.counts.min())))
        return np.ones(len(features))

    space = space_of(matmul_task)
    space.evolve(space.sample(4), 4, predict)

    assert seen
    assert all(count >= 1 and width == 164 and stores >= 1 for count, width, stores in seen)


def test_errors_of_the_predictor_come_through(matmul_task):
    """A broken model is reported, and the space can be used again."""
    space = space_of(matmul_task)
    sample = space.sample(4)

    def broken(features):
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError, match="the model broke"):
        space.evolve(sample, 4, broken)

    assert len(space.evolve(sample, 4, mean_size)) == 4


@pytest.mark.parametrize("islands", [1, 2])
def test_an_empty_population_evolves_to_nothing(matmul_task, islands):
    """TVM's search would fail on it."""
    assert space_of(matmul_task, islands=islands).evolve([], 4, mean_size) == []


def test_one_ancestor_serves_two_islands(matmul_task, matmul_schedules):
    """A population smaller than the number of islands is shared."""
    assert len(space_of(matmul_task, islands=2).evolve(matmul_schedules[:1], 4, mean_size)) == 4


def test_a_space_that_was_searched_is_freed(matmul_task):
    """A run makes one for every round; a cycle through TVM's objects would keep them all."""
    space = space_of(matmul_task, islands=2)
    space.evolve(space.sample(8), 4, mean_size)
    gone = weakref.ref(space)
    del space
    gc.collect()
    assert gone() is None


def test_nothing_asked_is_nothing_given(matmul_space, matmul_schedules):
    """Zero is a number of candidates."""
    assert matmul_space.sample(0) == []
    assert matmul_space.evolve(matmul_schedules, 0, mean_size) == []


def test_matmul_has_choices(matmul_space):
    """Tile sizes are open."""
    assert matmul_space.has_choices
    assert matmul_space.sketches


def test_a_scalar_function_has_none(host_target):
    """There is one schedule for one number, and it can be sampled."""
    data = te.placeholder((1,), name="data")
    task = SearchTask(te.create_prim_func([data, te.compute((1,), lambda i: data[i] + 1.0)]), target=host_target)
    space = space_of(task)

    assert not space.has_choices
    assert len(set(hashes(space.sample(2)))) == 1


def test_features_have_the_width_of_tvm(matmul_task, matmul_schedules):
    """164 features per store, one set per program, whatever the number of threads."""
    features = extract_features(matmul_task.mod, matmul_task.target, matmul_schedules, threads=1)
    threaded = extract_features(matmul_task.mod, matmul_task.target, matmul_schedules, threads=2)

    assert (len(features), features.width) == (6, 164)
    assert features.counts.min() >= 1
    np.testing.assert_array_equal(features.rows, threaded.rows)


def test_features_of_no_program(matmul_task):
    """No programs, no features."""
    assert len(extract_features(matmul_task.mod, matmul_task.target, [], threads=1)) == 0


def test_traces_are_plain(matmul_schedules):
    """A trace is instructions and decisions, of JSON's own types."""
    insts, decisions = trace_json(matmul_schedules[0])

    assert insts[0][0] == "GetSBlock"
    assert all(type(value) in (int, list) for _, value in decisions)
