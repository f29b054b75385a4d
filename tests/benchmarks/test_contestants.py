# SPDX-License-Identifier: Apache-2.0
"""The contestants: their arithmetic, their names, their clocks."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from math import prod
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tvm import te, topi

from benchmarks.search import contestants, diffusion, ours, published, stock
from benchmarks.search.child import Reporter
from benchmarks.search.diffusion import (
    _Cluster,
    _DiffusedSeeds,
    clusters_of,
    diffuse,
    keep,
    prior_of,
    prior_rounds,
    redraw,
    scale,
    sketch_name,
)
from benchmarks.search.job import Job, Work, network_options
from benchmarks.search.loop import PublishedPolicy
from benchmarks.search.published import core_family
from benchmarks.search.stock import phase_seconds
from familyseer.auto_scheduler import SearchTask
from familyseer.errors import InvalidInputError
from familyseer.families.keys import PolicyName
from familyseer.measure import MeasureResult
from familyseer.meta_schedule.measurer import PhaseSeconds
from familyseer.meta_schedule.seeds import SeedSource
from familyseer.meta_schedule.space import Evolution, ScheduleSpace, module_hash
from familyseer.meta_schedule.traces import trace_json
from familyseer.meta_schedule.transfer import sketch_of
from familyseer.records import canonical_json
from familyseer.task import Task
from tests.meta_schedule.measuring import TARGET

FACTORS = st.lists(st.integers(1, 16), min_size=2, max_size=4)
EXTENT = st.integers(1, 4096)


@given(FACTORS, EXTENT, st.integers(0, 2**32))
def test_diffused_factors_have_the_new_extent_as_their_product(factors, extent, seed):
    """Always, and as many as before: TVM would turn anything else into (1, ..., extent)."""
    rng = np.random.default_rng(seed)
    for made in (
        keep(factors, extent),
        scale(factors, extent),
        redraw(factors, extent, rng),
        diffuse(factors, extent, rng),
    ):
        assert prod(made) == extent
        assert len(made) == len(factors)
        assert all(factor >= 1 for factor in made)


@given(FACTORS, st.integers(0, 2**32))
def test_equal_extents_keep_their_factors(factors, seed):
    """Nothing is drawn where nothing changes."""
    assert diffuse(factors, prod(factors), np.random.default_rng(seed)) == factors


@given(FACTORS, st.integers(1, 16))
def test_inner_factors_are_kept_where_they_divide(factors, outer):
    """Only the outermost loop gets longer or shorter."""
    assert keep(factors, outer * prod(factors[1:]))[1:] == factors[1:]


@pytest.mark.parametrize(
    ("function", "factors", "extent", "expected"),
    [
        (keep, [7, 2, 4], 28, [7, 1, 4]),
        (keep, [1, 8, 8], 48, [1, 8, 6]),
        (scale, [4, 4, 8], 512, [1, 16, 32]),
        (scale, [2, 3], 6, [2, 3]),
    ],
)
def test_literal_factors(function, factors, extent, expected):
    """The largest factor is fitted first."""
    assert function(factors, extent) == expected


def test_the_prior_is_the_most_typical_shape():
    """And the first of equals."""
    assert prior_of([[64, 56, 56], [128, 28, 28], [512, 7, 7]]) == 1
    assert prior_of([[3, 4], [3, 4]]) == 0


@pytest.mark.parametrize(
    ("members", "trials_per_task", "per_round", "expected"),
    [
        (1, 200, 64, 1),
        (7, 200, 64, 7),
        (30, 200, 64, 10),
        (7, 900, 64, 7),
        (7, 20, 16, 3),
        (1, 20, 16, 1),
        (30, 20, 16, 4),
    ],
)
def test_priors_take_no_larger_a_part_than_by_the_authors(members, trials_per_task, per_round, expected):
    """One round a member, ten at most; with a tenth of their 200 trials a task in rounds of 16, two fifths of that."""
    assert prior_rounds(members, trials_per_task, per_round) == expected


def test_siblings_start_from_the_prior_s_schedules():
    """Diffused choices fit the sibling; a task with another sketch gets nothing."""
    prior, sibling, data = product(128, 96, 64), product(40, 256, 100), te.placeholder((64, 64), name="data")
    other = SearchTask(func=te.create_prim_func([data, topi.nn.softmax(data)]), target=TARGET)
    measured = [canonical_json(trace_json(schedule)) for schedule in space_of(prior).sample(4)]
    cluster = _Cluster(members=[0, 1], prior=0)
    cluster.learn([4.0, None, 2.0, 3.0], lambda i: measured[i])
    assert cluster.best == [(2.0, measured[2]), (3.0, measured[3])]

    space, rng = space_of(sibling), np.random.default_rng(0)
    sketches = [canonical_json(trace_json(sketch)) for sketch in space.sketches]
    made = _DiffusedSeeds(cluster).seeds_for(sibling.task, sketches, 16, rng)
    assert len(set(made)) == len(made) == 16
    assert len({module_hash(schedule) for schedule in space.finish(made)}) > 8
    softmax = [canonical_json(trace_json(sketch)) for sketch in space_of(other).sketches]
    assert _DiffusedSeeds(cluster).seeds_for(other.task, softmax, 16, rng) == []


def test_siblings_follow_the_prior_s_best_sketch_only():
    """Its second best is no donor where it is made after another sketch."""
    task = product(128, 96, 64)
    sketches = [canonical_json(trace_json(sketch)) for sketch in space_of(task).sketches]
    forms = [sketch_of(trace).form for trace in sketches]
    assert forms[0] != forms[1]
    cluster = _Cluster(members=[0, 1], prior=0)
    by_form = {sketch_of(trace).form: trace for trace in map(trace_of, space_of(task).sample(16))}
    cluster.learn([1.0, 2.0], lambda i: by_form[forms[i]])
    made = _DiffusedSeeds(cluster).seeds_for(task.task, sketches, 16, np.random.default_rng(0))
    assert {sketch_of(trace).form for trace in made} == {forms[0]}


def test_clusters_have_one_sketch_and_one_rank():
    """Tasks in the order in which they are named; a shape of another rank is no relative."""
    found = clusters_of(["a", "a", "b", "a", "a"], [(64, 4), (8, 8), (8,), (2, 3, 4), (4, 64)])
    assert [cluster.members for cluster in found] == [[0, 1, 4], [2], [3]]
    assert [cluster.prior for cluster in found] == [1, 2, 3]


class TestPublishedPolicy:
    """The search of the methods of others."""

    def test_a_population_is_of_seeds_alone_where_there_are_any(self):
        """As many as MetaSchedule has, each as often as it takes."""
        task, cluster = product(40, 256, 100), _Cluster(members=[0, 1], prior=0)
        cluster.learn([1.0], lambda _: trace_of(space_of(product(128, 96, 64)).sample(4)[0]))
        sketches = list(map(trace_of, space_of(task).sketches))
        seeds = _DiffusedSeeds(cluster).seeds_for(task.task, sketches, 2, np.random.default_rng(0))

        class Two(SeedSource):
            def seeds_for(self, *_):
                return seeds

        started = PublishedPolicy(task, seeds=Two(), verbose=0).sample_initial_population()
        assert len(started) == 512
        assert sorted(Counter(map(trace_of, started)).values()) == [256, 256]

    def test_a_population_without_seeds_is_sampled(self):
        """Also 512, and nothing of our own transfer or steps among them."""
        policy = PublishedPolicy(product(40, 256, 100), verbose=0)
        assert policy.params.evolution(8) == Evolution(population=512, generations=4)
        assert len(set(map(module_hash, policy.sample_initial_population()))) > 256

    def test_few_candidates_of_the_first_round_are_random(self):
        """Those of `eps_greedy`: what relatives taught the model is trusted from the start."""
        assert PublishedPolicy(product(8, 8, 8), verbose=0)._random_share() == 0.05


class Stop(Exception):
    """Ends a contestant where it has shown enough."""


@pytest.mark.parametrize(("module", "contestant"), [(published, published.Published), (diffusion, diffusion.Diffusion)])
def test_cost_models_of_others_follow_the_seed(monkeypatch, module, contestant):
    """Not one of their own, the same in every run."""
    model = Mock(side_effect=Stop)
    monkeypatch.setattr(module, "PackSumXGBModel", model)
    with pytest.raises(Stop):
        contestant().tune(work(seed=7), Mock())
    assert model.call_args.kwargs["seed"] == 7


def test_stock_s_scheduler_follows_the_seed(monkeypatch):
    """TVM draws one otherwise; all else of it is as by default."""
    scheduler, tune = Mock(), Mock()
    monkeypatch.setattr(stock.ms.task_scheduler, "GradientBased", scheduler)
    monkeypatch.setattr(stock.ms, "tune_tasks", tune)
    stock.Stock().tune(work(seed=7), Mock())
    scheduler.assert_called_once_with(seed=8)
    assert tune.call_args.kwargs["task_scheduler"] is scheduler.return_value


def test_a_stock_that_can_measure_nothing_is_an_error():
    """As when each of its builds takes longer than it may; failures among others are data."""
    soundness = stock.Soundness()
    soundness.see(["too slow"] * 63)
    with pytest.raises(RuntimeError, match=r"not measure one of its first 64 candidates; .*The last error: crashed"):
        soundness.see(["crashed"])
    soundness = stock.Soundness()
    soundness.see(["too slow", None])
    soundness.see(["too slow"] * 64)


def work(seed):
    """Return a job of one small product."""
    return Work(job=Job(network="none", trials=8, seed=seed), tasks=[product(8, 8, 8)], weights=[1.0])


def trace_of(schedule):
    """Return what a contestant tells of a schedule."""
    return canonical_json(trace_json(schedule))


def test_sketches_of_other_structures_have_other_names():
    """A product and a softmax are no cluster."""
    data = te.placeholder((64, 64), name="data")
    softmax = SearchTask(func=te.create_prim_func([data, topi.nn.softmax(data)]), target=TARGET)
    names = [sketch_name(space_of(task).sketches[0]) for task in (product(8, 8, 8), product(64, 32, 16), softmax)]
    assert names[0] == names[1] != names[2]


def space_of(task):
    """Return the schedules of a task."""
    return ScheduleSpace(task.mod, task.target, seed=1, evolution=Evolution(population=16, generations=1))


def product(n, k, m):
    """Return a matrix product."""
    left, right = te.placeholder((n, k), name="left"), te.placeholder((k, m), name="right")
    return SearchTask(func=te.create_prim_func([left, right, topi.nn.matmul(left, right)]), target=TARGET)


def test_published_families_do_not_tell_convolutions_apart():
    """As the released code, which takes the second word of a display name."""
    assert [core_family(name) for name in ("conv2d", "depthwise_conv2d", "dense")] == ["conv2d", "conv2d", "dense"]


def test_stock_seconds_count_nested_entries_once():
    """MetaSchedule's profiler lists a part beside its whole."""
    profile = {
        "EvoSearch/Evolve/Misc": 2.0,
        "EvoSearch/Evolve/Misc/CopyMeasuredWorkloads": 1.5,
        "EvoSearch/SampleInitPopulation": 3.0,
        "SendToBuilder": 5.0,
        "JoinRunnerFutures": 7.0,
        "MeasureCallback/UpdateCostModel": 0.5,
        "MeasureCallback/AddToDatabase": 0.25,
    }
    assert phase_seconds(profile) == {"search": 5.0, "build": 5.0, "run": 7.0, "train": 0.5}


@pytest.mark.parametrize(
    "name", [*contestants.NAMES, "sketch.xgb:pack_sum", "sketch.xgb.family_op:random_families+stock_builder"]
)
def test_known_names_are_taken(name):
    """Each makes a tuner."""
    contestants.check(name)
    assert callable(contestants.parse(name).tune)


@pytest.mark.parametrize(
    "name",
    ["", "ansor", "stock:pack_sum", "sketch.xgb:nothing", "sketch.random:pack_sum", "sketch.xgb.family_accurate"],
)
def test_unknown_names_are_refused(name):
    """The message says what there is."""
    with pytest.raises(InvalidInputError, match=r"must be one of|nothing to change"):
        contestants.check(name)


@pytest.mark.parametrize("flag", ["random_families", "first_families"])
def test_a_store_that_could_teach_nobody_is_refused(flag):
    """Families that are fixed have no guests."""
    with pytest.raises(InvalidInputError, match=f"{flag} has none that could learn from it"):
        contestants.check(f"sketch.xgb.family_op:warm_store+{flag}")


@pytest.mark.parametrize("name", ["sketch.xgb:hopeful", "sketch.xgb.family_op:small_rounds+ansor_gradient"])
def test_what_changes_a_scheduler_needs_it(name):
    """Ansor's has no such parameter."""
    with pytest.raises(InvalidInputError, match="changes the scheduler of family policies; this contestant has Ansor"):
        contestants.check(name)


def test_a_large_population_is_one_of_programs():
    """A search among choices has no population."""
    name = "sketch.xgb.family_op"
    params = {flag: ours._settings(work(seed=0), Mock(), name, frozenset({flag}))[1] for flag in ours.FLAGS}
    assert params["large_population"] == {"evolutionary_search_population": 512, "choice_search": False}
    assert params["program_search"] == {"choice_search": False}
    assert params["pack_sum"] == {}


def test_small_rounds_need_no_prior_where_a_guest_was_tuned():
    """The store's tasks stand for the priors of their families, as they do without the flag."""
    relative, light, heavy = (described(key, flops) for key, flops in [("guest", 1.0), ("light", 1.0), ("heavy", 9.0)])
    scheduler, _ = ours._scheduler(work(seed=0), Mock(), frozenset({"small_rounds"}), None)
    scheduler.described = (light, replace(light, key="light2"), heavy)
    order = scheduler._make_strategy(PolicyName.parse("sketch.xgb.family_op"))._order
    scheduler._knowledge = Mock(guests=(relative,))
    warm = scheduler._make_strategy(PolicyName.parse("sketch.xgb.family_op"))._order
    assert order[0] == "light"
    assert warm == ("heavy", "light", "light2")


def test_a_model_flag_keeps_the_account_of_what_families_take():
    """As without the flag: ``families`` in the report is comparable."""
    scheduler, _ = ours._scheduler(work(seed=0), Mock(), frozenset({"no_optimism"}), None)
    scheduler._round = ("key", 0)
    model = scheduler._make_model(PolicyName.parse("sketch.xgb.family_accuracy"), True, ())
    with model._phase():
        time.sleep(0.01)
    assert scheduler.ledger.snapshot().phase_seconds("families") >= 0.01


def described(key, flops):
    """Return what is known of a task; heavy ones are of an operator of their own."""
    return Task(key=key, name=key, operator="conv2d" if flops > 1 else "dense", structure="s", flops=flops)


@pytest.mark.parametrize(("name", "size"), [("alexnet", "small"), ("resnet18", "huge")])
def test_unknown_networks_and_sizes_are_refused(name, size):
    """The message says what there is."""
    with pytest.raises(InvalidInputError, match="must be one of"):
        network_options(name, size)


def test_more_trials_are_four_times_as_many():
    """Nobody else has more."""
    names = ["stock", "sketch.xgb.family_op", "sketch.xgb:pack_sum", "sketch.xgb:pack_sum+more_trials"]
    assert [contestants.trials_of(name, 6) for name in names] == [6, 6, 6, 24]


def test_a_job_says_what_it_is():
    """Progress messages call it by network, batch and seed."""
    assert Job(network="gpt2", batch=8, trials=64, seed=2).title == "gpt2 batch 8 seed 2"


def test_the_clock_stands_still_while_others_have_the_turn():
    """Waiting takes 100 s here; time that no phase claims is ``other``; a schedule is told only when it is better."""
    now = iter([0.0, 5.0, 105.0, 109.0, 200.0, 203.0, 203.0])
    made = []
    report = Reporter(made.append, lambda: None, clock=lambda: next(now))
    report(0, {"search": 1.0, "build": 2.0, "run": 1.0, "train": 0.5}, [None, 3.0, 2.0], lambda i: f"trace {i}")
    report(0, {"search": 2.0, "build": 4.0, "run": 2.0, "train": 0.5}, [2.5], lambda i: f"trace {i}")
    assert made[0].seconds == {"search": 1.0, "build": 2.0, "run": 1.0, "train": 0.5, "families": 0.0, "other": 0.5}
    assert made[1].seconds == {"search": 2.0, "build": 4.0, "run": 2.0, "train": 0.5, "families": 0.0, "other": 0.5}
    report.choose(0, {"search": 2.0, "run": 9.0}, "trace 7")
    assert [round_.schedule for round_ in made] == ["trace 2", None, "trace 7"]
    assert [round_.latencies for round_ in made] == [[None, 3.0, 2.0], [2.5], []]
    assert sum(made[2].seconds.values()) == 12.0


class Fickle:
    """Times the first of its candidates luckily: when it is timed again it takes half as long again."""

    def __init__(self, callbacks=()):
        self.callbacks, self.seconds, self.seen = callbacks, PhaseSeconds(), {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return

    def measure(self, requests, on_result=lambda i, result: None):
        """Return 1 s and a hundredth more for each that came before."""
        results = [MeasureResult(costs=(self.cost(request.mod.script()),), timestamp=1.0) for request in requests]
        for i, result in enumerate(results):
            on_result(i, result)
        return results

    def cost(self, program):
        """Return the seconds of a program."""
        again, number = program in self.seen, self.seen.setdefault(program, len(self.seen))
        return 1.5 if again and number == 0 else 1 + number / 100


@pytest.mark.parametrize(("finalists", "expected"), [(3, 1), (0, 0)])
@pytest.mark.parametrize("name", ["sketch.random", "familyseer_published", "bayesian_code_diffusion"])
def test_what_finalists_choose_is_held(name, finalists, expected, monkeypatch):
    """Eight trials, and then a round of none, in which another one than the lucky first becomes the best."""
    for module in (published, diffusion):
        monkeypatch.setattr(module, "measurer_for", lambda work: Fickle())
    ours = {"make_measurer": lambda options: Fickle(options.measure_callbacks)} if name == "sketch.random" else {}
    made, given = [], work(seed=7)
    job = replace(given.job, finalists=finalists)
    contestants.parse(name).tune(replace(given, job=job), Reporter(made.append, lambda: None), **ours)
    trials, last = [m for m in made if m.latencies], [m for m in made if not m.latencies]
    assert made == [*trials, *last]
    assert sum(len(m.latencies) for m in trials) == 8
    assert len(last) == expected
    assert all(m.schedule not in {None, *(t.schedule for t in trials)} for m in last)
