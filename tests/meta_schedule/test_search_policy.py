# SPDX-License-Identifier: Apache-2.0
"""Search policies: what they propose, never twice, and the same again from the same measurements."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import te

from familyseer.cost_model import ModelBank, RandomCostModel, XGBCostModel
from familyseer.errors import InvalidInputError, UnsupportedError
from familyseer.families.keys import PolicyName
from familyseer.ledger import Ledger
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.meta_schedule.family_policy import FamilySketchPolicy
from familyseer.meta_schedule.knowledge import Knowledge
from familyseer.meta_schedule.measure_record import MeasureInput, State
from familyseer.meta_schedule.measurer import ProgramMeasurer
from familyseer.meta_schedule.policies import make_policies
from familyseer.meta_schedule.search_params import SearchParams
from familyseer.meta_schedule.search_policy import PreloadMeasuredStates, SketchPolicy
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.seeds import SeedSource
from familyseer.meta_schedule.space import Evolution, ScheduleSpace, extract_features, module_hash
from familyseer.meta_schedule.traces import trace_json
from familyseer.meta_schedule.transfer import OwnSeeds, TransferSeeds, sketch_of, with_choices
from familyseer.records import MeasureRecord, canonical_json
from familyseer.transfer import Hope, Vectors, neighbours
from familyseer.transfer.choices import inner_tile
from familyseer.transfer.vectors import is_vector

TARGET = {"kind": "llvm", "num-cores": 2}
GPU = {"kind": "cuda", "arch": "sm_80", "max_threads_per_block": 1024, "max_shared_memory_per_block": 49152}
QUICK = {"evolutionary_search_population": 16, "evolutionary_search_num_iters": 1}


def matmul(n: int, m: int, k: int):
    """Return a matrix product."""
    a, b = te.placeholder((n, k), name="A"), te.placeholder((k, m), name="B")
    r = te.reduce_axis((0, k), name="r")
    return te.create_prim_func([a, b, te.compute((n, m), lambda i, j: te.sum(a[i, r] * b[r, j], axis=r), name="C")])


@pytest.fixture(scope="module")
def task() -> SearchTask:
    """Return a matrix product with a space of thousands of programs."""
    return SearchTask(func=matmul(64, 64, 64), target=TARGET, desc="matmul")


NOWHERE = '[[["GetSBlock",[],["nowhere","main"],["b0"]]],[]]'


def trained_model(task: SearchTask) -> XGBCostModel:
    """Return a model that has learnt a round of a task."""
    model = XGBCostModel(min_samples=8)
    SketchPolicy(task, model, params=QUICK, seed=5).continue_search_one_round(16, PretendMeasurer())
    return model


class PretendMeasurer(ProgramMeasurer):
    """Answers at once with latencies that follow from the program: for what happens around measuring."""

    def __init__(self, callbacks=()):
        self.callbacks = tuple(callbacks)
        self.verbose = 0
        self.measured: list[int] = []

    def measure(self, requests, on_result=None):
        """Return one latency per request; every seventh program fails."""
        import tvm_ffi

        from familyseer.meta_schedule.measurer import PhaseSeconds

        self.seconds = PhaseSeconds()
        results = []
        for position, request in enumerate(requests):
            identity = tvm_ffi.structural_hash(request.mod)
            self.measured.append(identity)
            failed = identity % 7 == 0
            result = (
                MeasureResult(error_no=MeasureErrorNo.RUNTIME_DEVICE, error_msg="bad luck")
                if failed
                else MeasureResult(costs=(1e-4 * (1 + identity % 1000 / 1000),))
            )
            results.append(result)
            if on_result:
                on_result(position, result)
        return results


def recorded(policy, inputs, results) -> list[MeasureRecord]:
    """Return what a log would hold of a round."""
    return [
        MeasureRecord(
            task=policy.described.key,
            target=policy.described.target,
            trace=given.state.trace,
            result=result,
            round=policy.round - 1,
        )
        for given, result in zip(inputs, results, strict=True)
    ]


def test_nothing_is_measured_twice(task):
    """Over many rounds of a small space, each program comes once, and an explored space gives an empty round."""
    tiny = SearchTask(func=matmul(2, 2, 2), target=TARGET)
    policy, measurer = SketchPolicy(tiny, XGBCostModel(), params=QUICK, threads=1), PretendMeasurer()
    for _ in range(40):
        inputs, results = policy.continue_search_one_round(16, measurer)
        assert len(inputs) == len(results) <= 16
        if not inputs:
            break

    assert inputs == []
    assert len(measurer.measured) > 20
    assert len(set(measurer.measured)) == len(measurer.measured)


def test_a_resumed_policy_proposes_what_the_interrupted_one_would_have(task):
    """The same seed and the same measurements give the same candidates, round after round."""
    measurer = PretendMeasurer()
    policy = SketchPolicy(task, XGBCostModel(min_samples=8), params=QUICK, seed=5)
    log: list[MeasureRecord] = []
    for _ in range(2):
        log += recorded(policy, *policy.continue_search_one_round(8, measurer))
    resumed = SketchPolicy(task, XGBCostModel(min_samples=8), params=QUICK, seed=5)
    batches = [batch for number in range(2) for batch in resumed.recall([r for r in log if r.round == number])]
    resumed.model.update_many(batches)

    assert resumed.round == policy.round == 2
    proposed = [module_hash(schedule) for schedule in policy.propose(8)]
    assert [module_hash(schedule) for schedule in resumed.propose(8)] == proposed
    assert len(set(proposed) - set(measurer.measured)) == 8
    assert [module_hash(s) for s in SketchPolicy(task, params=QUICK, seed=6).propose(8)] != [
        module_hash(s) for s in SketchPolicy(task, params=QUICK, seed=5).propose(8)
    ]


def test_each_result_is_reported_with_its_candidate(task):
    """Callbacks hear of one candidate at a time, with the policy that proposed it and the number of its round."""
    heard = []
    measurer = PretendMeasurer([lambda policy, inputs, results: heard.append((policy.round, inputs, results))])
    policy = SketchPolicy(task, params=QUICK)
    first = policy.continue_search_one_round(4, measurer)
    second = policy.continue_search_one_round(4, measurer)

    assert [number for number, _, _ in heard] == [0] * 4 + [1] * 4
    assert [inputs[0] for _, inputs, _ in heard] == first[0] + second[0]
    assert [results[0] for _, _, results in heard] == first[1] + second[1]


def test_evolution_follows_the_model(task):
    """With a model that loves one feature, an evolved population has more of it than a sampled one."""
    policy = SketchPolicy(task, params={**QUICK, "evolutionary_search_num_iters": 3})
    sampled = policy.sample_initial_population()
    before = extract_features(task.mod, task.target, sampled, 1).gathered()
    column = int(np.argmax(before.std(axis=0)))
    policy._acquisition = lambda features: np.exp(features.gathered()[:, column].astype("float64") / 10)
    evolved = policy.evolutionary_search(sampled, 8)
    after = extract_features(task.mod, task.target, evolved, 1).gathered()

    assert len(evolved) == 8
    assert after[:, column].mean() > before[:, column].mean()


def test_relatives_measurements_guide_the_first_round(task):
    """A task without measurements whose family has a trained model is searched with it; an evolution is a quarter random."""
    relative = SearchTask(func=matmul(64, 32, 64), target=TARGET)
    keys = {task.task.key: "dense", relative.task.key: "dense"}
    bank = ModelBank(keys, lambda: XGBCostModel(min_samples=8))
    FamilySketchPolicy(relative, bank, params=QUICK).continue_search_one_round(16, PretendMeasurer())
    policy = FamilySketchPolicy(task, bank, params=QUICK)
    calls = []
    acquisition = policy._acquisition
    policy._acquisition = lambda features: calls.append(len(features)) or acquisition(features)

    assert len(policy.propose(8)) == 8
    assert sum(calls) >= 16
    assert policy._random_share() == 0.25


def test_seeds_join_the_population(task):
    """A source is asked for traces of the task's sketches; those that TVM refuses are left out."""
    asked = []

    class Source(SeedSource):
        def seeds_for(self, task, sketches, count, rng):
            asked.append(count)
            choices = sketch_of(sketches[0]).choices
            return [*(with_choices(sketches[0], chosen) for chosen in neighbours(choices)[:count]), NOWHERE]

    policy = FamilySketchPolicy(task, trained_model(task), seeds=Source(), params=QUICK)
    space = policy._space(8)
    sketches = [canonical_json(trace_json(sketch)) for sketch in space.sketches]
    expected = {module_hash(schedule) for schedule in space.finish(Source().seeds_for(None, sketches, 64, None))}
    population = [module_hash(schedule) for schedule in policy.sample_initial_population()]

    assert asked == [64, 64]
    assert len(expected) > 8
    assert len(population) == 16
    assert set(population[:8]) <= expected
    assert not set(population[8:]) & expected


def test_a_round_measures_the_seeds_that_the_model_likes_best(task):
    """Where programs evolve: half of the first round of a task, an eighth of later ones."""
    model = trained_model(task)

    class Source(SeedSource):
        def seeds_for(self, task, sketches, count, rng):
            return [with_choices(sketches[0], chosen) for chosen in neighbours(sketch_of(sketches[0]).choices)][:8]

    policy = FamilySketchPolicy(task, model, seeds=Source(), params={**QUICK, "choice_search": False})
    for share in (4, 1):
        seeds = [module_hash(schedule) for schedule in policy._seeds(policy._space(8), 8)]
        picked = [module_hash(schedule) for schedule in policy.propose(8)]
        assert picked[:share] == seeds[:share]
        assert len(set(picked)) == 8
        policy.continue_search_one_round(8, PretendMeasurer())


def test_a_search_among_choices_needs_no_evolution(task, monkeypatch):
    """Once enough was measured, choices are searched by their numbers; as many random candidates are ranked with them."""
    params = {**QUICK, "vector_share": 0}
    policy = FamilySketchPolicy(task, trained_model(task), seeds=TransferSeeds(lambda key: ()), params=params)
    measurer = PretendMeasurer()
    policy.continue_search_one_round(24, measurer)
    sampled = []
    sample = ScheduleSpace.sample
    monkeypatch.setattr(ScheduleSpace, "sample", lambda self, count: sampled.append(count) or sample(self, count))
    monkeypatch.setattr(ScheduleSpace, "evolve", lambda *args: pytest.fail("programs were evolved"))
    for count in (8, 32):
        policy.continue_search_one_round(count, measurer)
    assert len(measurer.measured) == len(set(measurer.measured)) == 64
    assert sampled == [16, 64, 64], "to choose from, and once more for the share of 32 that is drawn at random"


def test_without_experience_relatives_schedules_and_random_ones_are_ranked(task, monkeypatch):
    """As long as too little was measured for a search among choices; nothing evolves, and a source may be empty."""
    monkeypatch.setattr(ScheduleSpace, "evolve", lambda *args: pytest.fail("programs were evolved"))
    asked = []

    class Source(SeedSource):
        def seeds_for(self, task, sketches, count, rng):
            asked.append(count)
            return [with_choices(sketches[0], chosen) for chosen in neighbours(sketch_of(sketches[0]).choices)][:8]

    policy = FamilySketchPolicy(task, trained_model(task), seeds=Source(), params=QUICK)
    space = policy._space(8)
    seeds = space.finish(Source().seeds_for(None, [canonical_json(trace_json(s)) for s in space.sketches], 0, None))
    liked = {module_hash(seed) for seed in seeds}
    policy._acquisition = lambda features: np.arange(len(features), 0, -1.0)  # the first candidates: the seeds
    picked = [module_hash(schedule) for schedule in policy.propose(8)]

    assert asked == [0, 16]
    assert len(set(picked)) == 8
    assert len(liked & set(picked)) >= 4  # no more than two with one inner tile


def test_without_transfer_a_task_searches_with_its_own_experience(task, monkeypatch):
    """The switch takes relatives' schedules away, not the search among choices; it is what a policy by itself does."""
    monkeypatch.setattr(ScheduleSpace, "evolve", lambda *args: pytest.fail("programs were evolved"))
    relative = SearchTask(func=matmul(64, 32, 96), target=TARGET)
    seeds, sketches = (
        OwnSeeds(),
        [canonical_json(trace_json(s)) for s in ScheduleSpace(task.mod, TARGET, seed=0).sketches],
    )
    bank = ModelBank({t.task.key: "dense" for t in (task, relative)}, XGBCostModel)
    of_relative = FamilySketchPolicy(relative, bank, seeds=seeds, params=QUICK)
    of_relative.continue_search_one_round(24, PretendMeasurer())
    rng, options = np.random.default_rng(0), {"share": 0.25, "build_weight": 0.0, "hope": Hope()}
    assert not seeds.proposals(task.task, sketches, 8, **options, rng=rng)
    assert not seeds.seeds_for(task.task, sketches, 8, rng)

    FamilySketchPolicy(task, bank, seeds=seeds, params=QUICK).continue_search_one_round(16, PretendMeasurer())
    assert len(seeds.proposals(task.task, sketches, 8, **options, rng=rng)) == 8


def test_siblings_draw_other_numbers(task):
    """One seed for the run, and every task and round draws its own."""
    sibling = SearchTask(func=matmul(64, 32, 96), target=TARGET)
    policies = [FamilySketchPolicy(t, RandomCostModel(), seed=s) for t, s in [(task, 0), (sibling, 0), (task, 1)]]
    draws = [policy._rng().random() for policy in policies]
    policies[0].round = 1
    draws.append(policies[0]._rng().random())
    assert len(set(draws)) == 4


def test_a_share_of_a_round_is_random(task):
    """`eps_greedy` of 0.75: two of eight are those that the model likes best."""

    class Source(SeedSource):
        def seeds_for(self, task, sketches, count, rng):
            return [with_choices(sketches[0], chosen) for chosen in neighbours(sketch_of(sketches[0]).choices)][:16]

    policy = FamilySketchPolicy(task, trained_model(task), seeds=Source(), params={"eps_greedy": 0.75})
    texts = [canonical_json(trace_json(sketch)) for sketch in policy._space(8).sketches]
    liked = {module_hash(seed) for seed in policy._space(8).finish(Source().seeds_for(None, texts, 0, None))}
    policy._acquisition = lambda features: np.arange(len(features), 0, -1.0)  # the first candidates: the seeds
    picked = [module_hash(schedule) for schedule in policy.propose(8)]
    assert len(set(picked)) == 8
    assert [identity in liked for identity in picked[:2]] == [True, True]
    assert sum(identity in liked for identity in picked[2:]) <= 1


def test_parameters_of_an_evolution_that_is_not_held_are_told(task, caplog):
    """Once for a run, by name; where programs evolve they count."""
    for params, told in [({"evolutionary_search_num_iters": 2}, True), ({"eps_greedy": 0.2}, False), (None, False)]:
        for name, expected in [("sketch.xgb.family_op", told), ("sketch.xgb", False)]:
            caplog.clear()
            knowledge = Knowledge(ModelBank({task.task.key: "dense"}, XGBCostModel))
            make_policies(
                PolicyName.parse(name),
                [task],
                [task.task],
                knowledge,
                params=params,
                seed=0,
                verbose=0,
                ledger=Ledger(),
            )
            assert ("evolutionary_search_num_iters mean nothing" in caplog.text) is expected
    assert SearchParams.parse({"evolutionary_search_num_iters": 2, "choice_search": False}).idle() == ()


class Backwards(PretendMeasurer):
    """Candidates end in another order than that in which they were asked for, as builds side by side do."""

    def measure(self, requests, on_result=None):
        """Report the last one first."""
        results = super().measure(requests)
        for position in reversed(range(len(results))):
            on_result(position, results[position])
        return results


@pytest.mark.parametrize("choice_search", [False, True])
def test_a_resumed_family_proposes_what_the_interrupted_one_would_have(task, choice_search):
    """Models, donors and own bests come back from the records of all, in whatever order the tasks take them over."""
    relative = SearchTask(func=matmul(64, 32, 96), target=TARGET)
    members = [task, relative]

    def family():
        bank = ModelBank({t.task.key: "dense" for t in members}, lambda: XGBCostModel(min_samples=8), serve="shared")
        seeds = TransferSeeds(bank.relatives)
        params = {**QUICK, "choice_search": choice_search}
        return bank, [FamilySketchPolicy(t, bank, seeds=seeds, params=params) for t in members]

    bank, policies = family()
    rounds = []
    for turn in (0, 1, 0, 1, 1):
        log = []
        measurer = Backwards([lambda policy, inputs, results, log=log: log.append((inputs[0], results[0]))])
        policies[turn].continue_search_one_round(8, measurer)
        rounds.append((turn, recorded(policies[turn], *zip(*log, strict=True))))
    restored, resumed = family()
    restored.update_many([batch for turn, records in rounds for batch in resumed[turn].recall(records)])
    probe = resumed[0]._features(resumed[0]._space(8).sample(16))

    for key in (member.task.key for member in members):
        assert restored.predict(key, probe).tolist() == bank.predict(key, probe).tolist()
    for before, after in zip(policies, resumed, strict=True):
        expected = [module_hash(schedule) for schedule in before.propose(8)]
        assert [module_hash(schedule) for schedule in after.propose(8)] == expected
        assert len(set(expected)) == 8


def test_one_inner_tile_does_not_fill_a_round(task):
    """Two of a kind come early, the others after everything else, and none is lost."""
    policy = FamilySketchPolicy(task, RandomCostModel(), params=QUICK)
    schedules = policy._space(8).sample(48)
    varied = policy._varied(schedules, 8)
    tiles = [inner_tile(sketch_of(canonical_json(trace_json(schedule))).choices) for schedule in varied]

    assert sorted(map(module_hash, varied)) == sorted(map(module_hash, schedules))
    assert policy._varied(schedules[:1] * 5 + schedules[1:2], 8)[:3] == [schedules[0], schedules[0], schedules[1]]
    assert len(set(tiles[:8])) >= 4


def tile_of(schedule) -> tuple[int, ...]:
    """Return the inner tile of a schedule."""
    return inner_tile(sketch_of(canonical_json(trace_json(schedule))).choices)


def test_places_of_each_round_are_for_vectors_that_are_new(task):
    """Half of the first round, then one of eight, none of four; they come first and were never measured before."""
    seeds = TransferSeeds(lambda key: ())
    policy = FamilySketchPolicy(task, XGBCostModel(min_samples=8), seeds=seeds, params=QUICK)
    met: set[tuple[int, ...]] = set()
    for count, vectors in [(8, 4), (8, 1), (16, 2), (4, 0), (8, 1)]:
        schedules = policy.propose(count)
        tiles = [tile_of(schedule) for schedule in schedules]
        assert len(set(map(module_hash, schedules))) == count
        assert all(is_vector(tile, Vectors()) for tile in tiles[:vectors])
        forms = [sketch_of(canonical_json(trace_json(schedule))).form for schedule in schedules]
        assert len({*zip(forms[:vectors], tiles, strict=False)}) == vectors, "one of each sketch's"
        assert not met & set(tiles[:vectors])
        inputs, _ = policy.continue_search_one_round(count, PretendMeasurer())
        assert [given.state.trace for given in inputs] == [canonical_json(trace_json(s)) for s in schedules]
        met |= set(tiles)


def test_vectors_have_no_place_where_they_are_not_wanted(task, monkeypatch):
    """Off by a share of 0, on targets that are no CPUs, and in a search without families."""
    asked = []
    monkeypatch.setattr(TransferSeeds, "vectors", lambda self, *args: asked.append(args) or [])
    gpu = SearchTask(func=matmul(64, 64, 64), target=GPU)
    for make, of, params in [
        (FamilySketchPolicy, task, {"vector_share": 0}),
        (FamilySketchPolicy, gpu, {}),
        (SketchPolicy, task, {}),
    ]:
        assert len(make(of, trained_model(of), params={**QUICK, **params}).propose(8)) == 8
    assert asked == []
    assert len(FamilySketchPolicy(task, trained_model(task), params=QUICK).propose(8)) == 8
    assert len(asked) == 1, "and its place goes to another candidate where there is none"


@pytest.mark.parametrize(("share", "copied"), [(0.5, 4), (0.25, 2)])
def test_a_share_of_a_round_is_for_copies_of_faster_relatives(task, share, copied):
    """They come first, the fastest relative's before all; what was measured is not copied again."""
    relative = SearchTask(func=matmul(64, 64, 128), target=TARGET)
    seeds, model = TransferSeeds(lambda key: (task.task.key, relative.task.key)), XGBCostModel(min_samples=8)
    params = {**QUICK, "copy_share": share}
    other, policy = (FamilySketchPolicy(of, model, seeds=seeds, params=params) for of in (relative, task))
    other.continue_search_one_round(16, PretendMeasurer())
    space = policy._space(8)
    own = [canonical_json(trace_json(sketch)) for sketch in space.sketches]
    copies = [module_hash(schedule) for schedule in space.finish(seeds.copies(task.task, own))]
    assert len(copies) >= 4

    proposed = [module_hash(schedule) for schedule in policy.propose(8)]
    assert proposed[:copied] == copies[:copied]
    assert len(set(proposed)) == 8
    policy.continue_search_one_round(8, PretendMeasurer())
    again = [module_hash(schedule) for schedule in space.finish(seeds.copies(task.task, own))]
    assert not set(again) & set(proposed)


def test_copies_have_no_place_where_they_are_not_wanted(task, monkeypatch):
    """Off by a share of 0, without transfer, and in a search without families."""
    asked = []
    monkeypatch.setattr(TransferSeeds, "copies", lambda self, *args: asked.append(args) or [])
    for make, params, options in [
        (FamilySketchPolicy, {"copy_share": 0}, {"seeds": TransferSeeds(lambda key: ())}),
        (FamilySketchPolicy, {}, {"seeds": OwnSeeds()}),
        (SketchPolicy, {}, {}),
    ]:
        assert len(make(task, trained_model(task), params={**QUICK, **params}, **options).propose(8)) == 8
    assert asked == []
    seeds = TransferSeeds(lambda key: ())
    assert len(FamilySketchPolicy(task, trained_model(task), seeds=seeds, params=QUICK).propose(8)) == 8
    assert len(asked) == 1


def test_what_a_log_holds_is_taken_over(task, tmp_path):
    """`PreloadMeasuredStates` makes a policy remember; any other callback is refused with its reason."""
    from familyseer.meta_schedule.measure_record import RecordToFile

    writer = RecordToFile(tmp_path / "log.json")
    first = SketchPolicy(task, params=QUICK)
    inputs, _ = first.continue_search_one_round(4, PretendMeasurer([writer]))
    writer.finish()
    second = SketchPolicy(task, params=QUICK, init_search_callbacks=[PreloadMeasuredStates(str(tmp_path / "log.json"))])

    assert second.round == 1
    assert len(second._measured) == len(inputs) == 4
    assert all(given.state.schedule in second._measured for given in inputs)
    with pytest.raises(UnsupportedError, match="only PreloadMeasuredStates"):
        SketchPolicy(task, init_search_callbacks=["custom rule"])


def test_records_of_other_tasks_and_targets_are_left_alone(task):
    """Restoring counts only what belongs to the task and its target."""
    policy = SketchPolicy(task, params=QUICK)
    state = State.untuned(task)
    result = MeasureResult(costs=(1e-3,))
    foreign = [
        MeasureRecord(task="0" * 16, target=policy.described.target, trace=state.trace, result=result),
        MeasureRecord(task=policy.described.key, target='{"kind":"cuda"}', trace=state.trace, result=result),
    ]

    assert policy.restore(foreign) == 0
    assert policy.round == 0
    assert MeasureInput(task, state).state.trace == "[[],[]]"


class TestParameters:
    """TVM's names of parameters are understood; what this engine cannot honour is never silently ignored."""

    def test_defaults_scale_with_the_round(self):
        """A population is eight per candidate, from 64 to MetaSchedule's 512, unless it is given."""
        params = SearchParams.parse(None)

        assert [params.evolution(n).population for n in (1, 8, 16, 64, 1000)] == [64, 64, 128, 512, 512]
        assert SearchParams.parse({"evolutionary_search_population": 2048}).evolution(4) == Evolution(
            population=2048, generations=4, mutation_prob=0.85
        )

    def test_tvm_defaults_spelled_out_are_accepted(self):
        """A script that repeats TVM's defaults runs."""
        assert SearchParams.parse({"max_vectorize_size": 16, "eps_greedy": 0.1}).eps_greedy == 0.1

    @pytest.mark.parametrize(
        ("params", "error", "text"),
        [
            ({"max_vectorize_size": 8}, UnsupportedError, "`max_vectorize_size` is fixed by MetaSchedule"),
            ({"cpu_multi_level_tiling_structure": "SSRS"}, UnsupportedError, "schedule rules"),
            ({"populaton": 3}, InvalidInputError, "got populaton"),
            ({"eps_greedy": 1.5}, InvalidInputError, "`eps_greedy` must be from 0 to 1; got 1.5"),
            ({"evolutionary_search_population": 1}, InvalidInputError, "at least 2; got 1"),
            ({"evolutionary_search_num_iters": -1}, InvalidInputError, "at least 0; got -1"),
        ],
    )
    def test_what_cannot_be_honoured_is_refused(self, params, error, text):
        """The message names the parameter and what to do."""
        with pytest.raises(error, match=text):
            SearchParams.parse(params)

    def test_a_cost_model_must_be_one(self, task):
        """Anything else as a model is refused."""
        with pytest.raises(InvalidInputError, match="`program_cost_model` must be an XGBModel"):
            SketchPolicy(task, object())
