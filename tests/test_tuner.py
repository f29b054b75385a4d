# SPDX-License-Identifier: Apache-2.0
"""The loop spends exactly its budget, retires what is hopeless, and resumes as if never interrupted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familyseer.errors import InvalidInputError
from familyseer.ledger import Ledger
from familyseer.measure import INVALID_COST, MeasureErrorNo, MeasureResult
from familyseer.metrics import Confidence
from familyseer.schedulers import GradientScheduler, RoundRobinScheduler
from familyseer.task import Task
from familyseer.tuner import RoundOutcome, StopReason, Tuner

FAILURE = MeasureResult(error_no=MeasureErrorNo.RUNTIME_DEVICE, error_msg="boom")


@dataclass
class PlannedEngine:
    """An engine whose candidates are known: those of task i have the latencies `plans[i]`, ``None`` for a failure."""

    plans: list[list[float | None]]
    rounds: list[tuple[int, list[MeasureResult]]] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)
    measured: list[int] = field(init=False)

    def __post_init__(self):
        self.measured = [0] * len(self.plans)
        for index, results in self.rounds:
            self.measured[index] += len(results)

    def run_round(self, index, num_measure):
        """Measure the next candidates of the plan."""
        self.asked.append((index, num_measure))
        start = self.measured[index]
        planned = self.plans[index][start : start + num_measure]
        results = [FAILURE if cost is None else MeasureResult(costs=(cost,)) for cost in planned]
        self.measured[index] += len(results)
        if results:
            self.rounds.append((index, results))
        return RoundOutcome(results=results, exhausted=self.measured[index] == len(self.plans[index]))


def tasks(count):
    """Return tasks that differ in nothing but their keys."""
    return [Task(key=f"k{index}", name=f"task {index}") for index in range(count)]


def tuner(engine, scheduler=None, **options):
    """Return a tuner of an engine's tasks in rounds of 4 trials unless told otherwise."""
    options = {"num_measure_trials": 1000, "num_measures_per_round": 4} | options
    return Tuner(tasks(len(engine.plans)), engine.run_round, scheduler or RoundRobinScheduler(), **options)


def falling(start=1.0, count=10_000):
    """Latencies of which each is a new best."""
    return [start / (1 + index) for index in range(count)]


def flat(cost=1.0, count=10_000):
    """Latencies that never improve."""
    return [cost] * count


def failing(count=10_000):
    """Candidates that all fail."""
    return [None] * count


def test_spends_exactly_the_budget():
    """Every task gets its rounds, and the last one is cut to what is left."""
    engine = PlannedEngine([falling(), falling()])
    tuned = tuner(engine, num_measure_trials=10)

    summary = tuned.run()

    assert engine.asked == [(0, 4), (1, 4), (0, 2)]
    assert (summary.reason, summary.trials, summary.message) == (StopReason.BUDGET, 10, "all 10 trials are spent")
    assert [state.rounds for state in tuned.states] == [2, 1]
    assert [state.trials for state in tuned.states] == [6, 4]
    assert [state.best_cost for state in tuned.states] == [1 / 6, 1 / 4]
    assert [state.history for state in tuned.states] == [(1 / 4, 1 / 6), (1 / 4,)]
    assert summary.score == 1 / 6 + 1 / 4
    assert dict(tuned.ledger.snapshot().trials) == {"k0": 6, "k1": 4}


def test_rounds_shrink_so_that_each_task_has_one():
    """Ten trials for three tasks make rounds of three."""
    engine = PlannedEngine([falling(), falling(), falling()])

    tuner(engine, num_measure_trials=10, num_measures_per_round=64).run()

    assert engine.asked == [(0, 3), (1, 3), (2, 3), (0, 1)]


def test_a_round_with_fewer_results_costs_only_those():
    """A policy that finds fewer candidates than asked is charged what was measured."""
    engine = PlannedEngine([falling(count=5)])
    tuned = tuner(engine)

    assert tuned.run().trials == 5
    assert tuned.ledger.snapshot().total_trials == 5


def test_an_explored_task_is_retired():
    """When a space is exhausted the others go on, and when all are, tuning ends with the reason."""
    engine = PlannedEngine([falling(count=4), falling(count=8)])
    tuned = tuner(engine)

    summary = tuned.run()

    assert engine.asked == [(0, 4), (1, 4), (1, 4)]
    assert summary.reason is StopReason.ALL_RETIRED
    assert summary.message == "all tasks are retired: search space explored: no new candidate (2)"
    assert set(summary.retired) == {"k0", "k1"}
    assert tuned.retired[0] == "search space explored: no new candidate"


@pytest.mark.parametrize("exhausted", [True, False])
def test_an_empty_round_retires_its_task(exhausted):
    """A round without a candidate costs nothing and is not repeated, whatever the policy calls it."""
    asked = []

    def run_round(index, num_measure):
        asked.append(index)
        return RoundOutcome(exhausted=exhausted)

    tuned = Tuner(tasks(2), run_round, RoundRobinScheduler(), num_measure_trials=100)

    assert tuned.run().reason is StopReason.ALL_RETIRED
    assert asked == [0, 1]
    assert [(state.rounds, state.trials) for state in tuned.states] == [(0, 0), (0, 0)]


def test_a_task_without_a_valid_schedule_is_retired_after_its_second_round():
    """Failures in one round may be bad luck; after two rounds the budget goes to the others."""
    engine = PlannedEngine([failing(), falling()])
    tuned = tuner(engine, num_measure_trials=24)

    summary = tuned.run()

    assert engine.asked == [(0, 4), (1, 4), (0, 4), (1, 4), (1, 4), (1, 4)]
    assert dict(tuned.retired) == {0: "no valid schedule in 8 trials"}
    assert tuned.states[0].best_cost == INVALID_COST
    assert summary.score == INVALID_COST


def test_a_task_that_first_fails_is_kept_if_its_second_round_succeeds():
    """The second chance counts."""
    engine = PlannedEngine([[None] * 4 + flat(0.5), falling()])
    tuned = tuner(engine, num_measure_trials=40)

    tuned.run()

    assert dict(tuned.retired) == {}
    assert tuned.states[0].best_round == 2


def test_stops_when_every_task_fails():
    """If no candidate of any task works, tuning ends after two rounds each and says so."""
    summary = tuner(PlannedEngine([failing(), failing()])).run()

    assert (summary.reason, summary.trials) == (StopReason.ALL_RETIRED, 16)
    assert summary.message == "all tasks are retired: no valid schedule in 8 trials (2)"


def test_a_task_that_stands_still_is_retired():
    """With a patience of 8 trials it goes after 12 without an improvement, counted from the end of its best round."""
    engine = PlannedEngine([flat(), falling()])
    tuned = tuner(engine, num_measure_trials=100, per_task_early_stopping=8)

    tuned.run()

    assert dict(tuned.retired) == {0: "no improvement in the last 12 trials"}
    assert tuned.states[0].trials == 16
    assert tuned.states[1].trials == 84


def test_patience_is_counted_in_real_trials():
    """Rounds in which few candidates were found do not use up the patience of full rounds."""
    engine = PlannedEngine([flat()])
    tuned = Tuner(
        tasks(1),
        lambda index, wanted: engine.run_round(index, 1),
        RoundRobinScheduler(),
        num_measure_trials=1000,
        per_task_early_stopping=8,
    )

    assert tuned.run().trials == 1 + 9


def test_stops_when_the_objective_stands_still():
    """The objective has not fallen for 8 trials after the warm-up of two tasks."""
    tuned = tuner(PlannedEngine([flat(), flat()]), early_stopping=8)

    summary = tuned.run()

    assert (summary.reason, summary.trials) == (StopReason.EARLY_STOPPING, 16)
    assert summary.message == "no improvement in the last 8 trials"
    assert tuned.best_trial == 8


def test_any_improvement_of_the_objective_keeps_the_run_going():
    """Early stopping in all watches the objective, not one task."""
    summary = tuner(PlannedEngine([flat(), falling()]), early_stopping=8, num_measure_trials=400).run()

    assert summary.reason is StopReason.BUDGET


def test_early_stopping_is_not_disabled_by_a_task_that_never_worked():
    """A retired task without a latency does not keep the run going."""
    summary = tuner(PlannedEngine([failing(), flat()]), early_stopping=8).run()

    assert (summary.reason, summary.trials) == (StopReason.EARLY_STOPPING, 20)


def test_no_patience_at_all_ends_with_the_first_vain_round():
    """With 0, rounds that improve go on and the first one that does not is the last."""
    engine = PlannedEngine([[*falling(count=12), *flat()]])

    assert tuner(engine, early_stopping=0).run().trials == 16


def test_a_task_that_never_worked_does_not_hide_microseconds():
    """Next to the mark of failure, 1e10 s, a fall by nanoseconds would be lost in rounding."""
    engine = PlannedEngine([failing(), falling(1e-6)])

    summary = tuner(engine, early_stopping=8, num_measure_trials=200).run()

    assert summary.reason is StopReason.BUDGET


def test_the_warm_up_is_not_stopped_early():
    """Impatience never prevents a task from its first round."""
    engine = PlannedEngine([flat() for _ in range(10)])

    assert tuner(engine, early_stopping=1).run().trials == 44


def power_law(exponent: float, count: int = 4096) -> list[float]:
    """Return candidates whose best latency after n of them is n to the power of minus `exponent`."""
    return [(n + 1.0) ** -exponent for n in range(count)]


def test_stops_when_twice_the_trials_are_not_worth_it():
    """Latencies of n^-0.01 fall by 0.7 % with each doubling: less than 1 % is asked for in vain, 0.5 % keeps it going."""
    summary = tuner(PlannedEngine([power_law(0.01)]), min_gain=0.01, num_measure_trials=400).run()

    assert (summary.reason, summary.trials) == (StopReason.SMALL_GAIN, 8)
    assert summary.message == (
        "the later half of 8 trials brought 0.69 %, and as many again are expected to bring no more; asked for were 1 %"
    )
    keen = tuner(PlannedEngine([power_law(0.01)]), min_gain=0.005, num_measure_trials=400).run()
    assert (keen.reason, keen.trials) == (StopReason.BUDGET, 400)


def test_the_expected_gain_is_that_of_the_last_doubling():
    """A curve of n^-1 halves with each doubling, from the first one after the warm-up of three tasks on."""
    tuned = tuner(PlannedEngine([power_law(1.0) for _ in range(3)]), num_measure_trials=96)
    gains = []
    while tuned.step():
        gains.append(tuned.expected_gain())

    assert gains[:5] == [1.0] * 5
    assert gains[5] == 0.5
    assert gains[-1] == pytest.approx(0.5)
    assert tuner(PlannedEngine([flat()]), min_gain=1.0, num_measure_trials=4).run().reason is StopReason.BUDGET


def test_an_expected_gain_is_not_known_before_the_warm_up_ends():
    """Ten flat tasks all get their first round, and as much again before a small gain ends the run."""
    summary = tuner(PlannedEngine([flat() for _ in range(10)]), min_gain=0.5).run()

    assert (summary.reason, summary.trials) == (StopReason.SMALL_GAIN, 80)


@pytest.mark.parametrize(
    "objective",
    [lambda costs: sum(map(log, costs)) - 100, lambda costs: max(0.0, sum(costs) - 1e9)],
    ids=["negative", "zero"],
)
def test_an_objective_that_is_not_positive_has_no_share_to_gain(objective):
    """Logarithms of latencies, or what exceeds an agreed one: the budget ends the run, and nothing divides by zero."""
    for min_gain in (0.0, 0.01):
        engine = PlannedEngine([falling(), falling()])
        tuned = tuner(engine, objective=objective, min_gain=min_gain, num_measure_trials=64)
        assert tuned.run().reason is StopReason.BUDGET
        assert tuned.expected_gain() == 1.0


def test_gradient_and_tuner_spend_on_what_improves():
    """With the sum as objective the slow task that still falls gets most rounds."""
    engine = PlannedEngine([falling(1.0), flat(0.001)])
    scheduler = GradientScheduler(sum, rng=np.random.default_rng(0))

    tuned = tuner(engine, scheduler, num_measure_trials=40)
    tuned.run()

    assert [state.rounds for state in tuned.states] == [9, 1]


def test_the_default_objective_weighs_the_tasks():
    """The score is the sum of weight times latency; a given objective replaces it."""
    weighted = [replace(task, weight=weight) for task, weight in zip(tasks(2), (3.0, 0.5), strict=True)]
    options = {"num_measure_trials": 8, "num_measures_per_round": 4}

    plain = Tuner(weighted, PlannedEngine([flat(1.0), flat(2.0)]).run_round, RoundRobinScheduler(), **options)
    custom = Tuner(
        weighted, PlannedEngine([flat(1.0), flat(2.0)]).run_round, RoundRobinScheduler(), objective=max, **options
    )

    assert (plain.score, plain.run().score) == (INVALID_COST, 4.0)
    assert custom.run().score == 2.0


@pytest.mark.parametrize(("options", "spent"), [({}, (3.0, 6.0)), ({"effort": lambda result: 1.0}, (4.0, 8.0))])
def test_candidates_count_by_their_seconds_or_as_a_run_will_have_it(options, spent):
    """Four of a round, three of them valid, each of a second."""
    results = [MeasureResult(costs=(1.0,), build_seconds=0.75, run_seconds=0.25)] * 3 + [FAILURE]
    tuned = Tuner(
        tasks(1),
        lambda index, most: RoundOutcome(results=results),
        RoundRobinScheduler(),
        num_measure_trials=8,
        num_measures_per_round=4,
        **options,
    )

    tuned.run()

    assert tuned.states[0].spent == spent


def test_hooks_see_each_round_before_and_after():
    """Before a round its task is known, after it the state and outcome are there."""
    seen = []
    engine = PlannedEngine([falling(), falling()])
    tuned = tuner(
        engine,
        num_measure_trials=8,
        before_round=lambda index: seen.append(("before", index, tuned.trials)),
        after_round=lambda index, outcome: seen.append(("after", index, tuned.trials, len(outcome.results))),
    )

    tuned.run()

    assert seen == [("before", 0, 0), ("after", 0, 4, 4), ("before", 1, 4), ("after", 1, 8, 4)]


@pytest.mark.parametrize("place", ["before_round", "run_round", "after_round"])
def test_an_interrupt_passes_and_leaves_whole_rounds(place):
    """Ctrl-C anywhere in the third round ends the run with a state that can go on to the exact budget."""
    engine = PlannedEngine([falling(), falling()])
    calls = {"before_round": 0, "run_round": 0, "after_round": 0}

    def interrupt(where):
        calls[where] += 1
        if where == place and calls[where] == 3:
            raise KeyboardInterrupt

    def run_round(index, wanted):
        interrupt("run_round")
        return engine.run_round(index, wanted)

    tuned = Tuner(
        tasks(2),
        run_round,
        RoundRobinScheduler(),
        num_measure_trials=30,
        num_measures_per_round=4,
        before_round=lambda index: interrupt("before_round"),
        after_round=lambda index, outcome: interrupt("after_round"),
    )

    with pytest.raises(KeyboardInterrupt):
        tuned.run()

    assert tuned.trials == sum(len(results) for _, results in engine.rounds)
    assert tuned.trials == tuned.ledger.snapshot().total_trials == (12 if place == "after_round" else 8)
    assert tuned.run().trials == 30


def test_time_outside_the_phases_of_the_engine_is_other():
    """What the engine does not claim is charged to its task as "other"; nothing is charged twice."""
    now = [0.0]
    ledger = Ledger(clock=lambda: now[0])
    engine = PlannedEngine([falling()])

    def run_round(index, wanted):
        now[0] += 1
        with ledger.phase("run", "k0"):
            now[0] += 10
        return engine.run_round(index, wanted)

    tuned = Tuner(
        tasks(1),
        run_round,
        RoundRobinScheduler(),
        num_measure_trials=8,
        num_measures_per_round=4,
        ledger=ledger,
        clock=lambda: now[0],
    )

    summary = tuned.run()
    spent = ledger.snapshot()

    assert summary.seconds == 22.0
    assert (dict(spent.seconds["run"]), spent.seconds["other"]["k0"]) == ({"k0": 20.0}, 2.0)


def test_a_restored_run_counts_what_was_measured():
    """Restored trials belong to the budget, partial rounds with what they have."""
    old = PlannedEngine([falling(), falling()])
    tuner(old, num_measure_trials=10).run()
    partial = [*old.rounds[:1], (1, old.rounds[1][1][:1])]
    engine = PlannedEngine([falling(), falling()], rounds=partial)
    tuned = tuner(engine, num_measure_trials=10)

    tuned.restore(list(partial))
    summary = tuned.run()

    assert engine.asked == [(0, 4), (1, 1)]
    assert (summary.trials, summary.restored_trials) == (10, 5)
    assert dict(tuned.ledger.snapshot().restored) == {"k0": 4, "k1": 1}


def test_a_spent_budget_measures_nothing_more():
    """Resuming a finished run, or one with a larger budget than now, ends at once."""
    old = PlannedEngine([falling()])
    tuner(old, num_measure_trials=40).run()
    engine = PlannedEngine([falling()])
    tuned = tuner(engine, num_measure_trials=30)

    tuned.restore(old.rounds)

    assert tuned.run().reason is StopReason.BUDGET
    assert engine.asked == []
    assert tuned.trials == 40


def test_a_larger_budget_goes_on():
    """A task that a less patient run gave up is judged by the options of this one."""
    old = PlannedEngine([flat()])
    tuner(old, per_task_early_stopping=4).run()
    tuned = tuner(PlannedEngine([flat()], rounds=list(old.rounds)), num_measure_trials=50)

    tuned.restore(old.rounds)

    assert tuned.run().trials == 50


def test_restore_refuses_strange_rounds_as_a_whole():
    """A round of a task that is not there changes nothing."""
    tuned = tuner(PlannedEngine([falling()]))

    with pytest.raises(InvalidInputError, match="`rounds` must name tasks 0 to 0; got 1"):
        tuned.restore([(0, [FAILURE]), (1, [FAILURE])])
    assert tuned.trials == 0


class RecordingScheduler(RoundRobinScheduler):
    """A round-robin that notes what it is told."""

    def __init__(self):
        self.observed = []

    def observe(self, states, index):
        """Note the task and its trials."""
        self.observed.append((index, states[index].trials))


def test_the_scheduler_observes_measured_rounds_old_and_new():
    """It is told of every round with a measurement, restored ones included, with the state after it."""
    old = PlannedEngine([falling(), falling(count=6)])
    tuner(old, num_measure_trials=8).run()
    scheduler = RecordingScheduler()
    tuned = tuner(PlannedEngine(old.plans, rounds=list(old.rounds)), scheduler, num_measure_trials=16)

    tuned.restore(old.rounds)
    tuned.run()

    assert scheduler.observed == [(0, 4), (1, 4), (0, 8), (1, 6), (0, 10)]


def test_a_restored_round_without_results_means_nothing():
    """A round that was interrupted before its first measurement leaves no trace."""
    tuned = tuner(PlannedEngine([falling()]))

    tuned.restore([(0, [])])

    assert (dict(tuned.retired), tuned.trials, tuned.states[0].rounds) == ({}, 0, 0)


def test_restore_comes_first():
    """Replaying a log into a run that has begun would count trials twice."""
    tuned = tuner(PlannedEngine([falling()]))
    tuned.step()

    with pytest.raises(InvalidInputError, match="`restore` must come before the first round; 4 trials are measured"):
        tuned.restore([(0, [FAILURE])])


LATENCY = st.one_of(st.none(), st.sampled_from([0.5, 0.25]), st.floats(1e-6, 1.0))


@st.composite
def runs(draw):
    """Plans of all tasks, and the options of a run that they suit."""
    plans = draw(st.lists(st.lists(LATENCY, max_size=25), min_size=1, max_size=4))
    # Twins of the first task, to have ties.
    plans += [plans[0]] * draw(st.integers(0, 2))
    options = {
        "num_measure_trials": draw(st.integers(len(plans), 80)),
        "num_measures_per_round": draw(st.integers(1, 6)),
        "early_stopping": draw(st.sampled_from([-1, 0, 5, 20])),
        "per_task_early_stopping": draw(st.sampled_from([None, 0, 4, 10])),
        "min_gain": draw(st.sampled_from([0.0, 0.02])),
    }
    return plans, options


def schedulers():
    """Makers of schedulers, each of which makes the same one every time."""
    return st.sampled_from(
        [
            RoundRobinScheduler,
            lambda: GradientScheduler(sum, rng=np.random.default_rng(3)),
            lambda: GradientScheduler(max, rng=np.random.default_rng(3), backward_window_size=1),
        ]
    )


def alive(states):
    """States without the knowledge of explored spaces, which a log does not hold."""
    return [replace(state, alive=True) for state in states]


@settings(max_examples=200)
@given(run=runs(), make=schedulers(), data=st.data())
def test_a_run_cut_between_rounds_goes_on_as_if_never_cut(run, make, data):
    """The rounds before and after the cut, the end, and the state at the end are those of the whole run."""
    plans, options = run
    whole = PlannedEngine(plans)
    uncut = tuner(whole, make(), **options)
    uncut_summary = uncut.run()
    cut = data.draw(st.integers(0, len(whole.rounds)))

    engine = PlannedEngine(plans, rounds=whole.rounds[:cut])
    resumed = tuner(engine, make(), **options)
    resumed.restore(list(engine.rounds))
    summary = resumed.run()

    assert engine.rounds == whole.rounds
    assert alive(resumed.states) == alive(uncut.states)
    assert (summary.score, resumed.best_trial) == (uncut_summary.score, uncut.best_trial)
    # Cut after its last round, a run that ended because all spaces were explored may have two reasons to end.
    assert summary.reason in {uncut_summary.reason, StopReason.EARLY_STOPPING, StopReason.SMALL_GAIN}


@settings(max_examples=100)
@given(run=runs(), make=schedulers(), data=st.data())
def test_trials_are_exact_wherever_a_run_is_cut(run, make, data):
    """Killed in mid-round, twice, the trials in all are the measurements in all and never exceed the budget."""
    plans, options = run
    rounds = []
    for _ in range(3):
        engine = PlannedEngine(plans, rounds=list(rounds))
        tuned = tuner(engine, make(), **options)
        tuned.restore(list(rounds))
        tuned.run()

        assert tuned.trials == sum(len(results) for _, results in engine.rounds) == sum(engine.measured)
        assert tuned.trials == tuned.ledger.snapshot().total_trials == sum(state.trials for state in tuned.states)
        assert tuned.trials <= options["num_measure_trials"]
        assert (tuned.stop_reason() is StopReason.BUDGET) == (tuned.trials == options["num_measure_trials"])

        rounds = engine.rounds[: data.draw(st.integers(0, len(engine.rounds)))]
        if rounds:
            index, results = rounds[-1]
            rounds[-1] = (index, results[: data.draw(st.integers(1, len(results)))])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_measure_trials": 0}, "`num_measure_trials` must be an integer ≥ 1; got 0"),
        ({"num_measure_trials": -3}, "`num_measure_trials` must be an integer ≥ 1; got -3"),
        ({"num_measure_trials": 9.0}, "`num_measure_trials` must be an integer ≥ 1; got 9.0"),
        ({"num_measure_trials": 1}, r"`num_measure_trials` must be at least the number of tasks \(2\).*; got 1\."),
        ({"num_measures_per_round": 0}, "`num_measures_per_round` must be an integer ≥ 1; got 0"),
        ({"early_stopping": -2}, "`early_stopping` must be an integer ≥ -1; got -2. -1 means never"),
        ({"min_gain": 1.5}, "`min_gain` must be a number from 0 to 1; got 1.5"),
        ({"min_gain": None}, "`min_gain` must be a number from 0 to 1; got None"),
        ({"early_stopping": None}, "`early_stopping` must be an integer ≥ -1; got None"),
        ({"per_task_early_stopping": -1}, "`per_task_early_stopping` must be an integer ≥ 0; got -1. None means"),
        ({"objective": lambda costs: float("nan")}, "`objective_func` must return a finite number"),
        ({"objective": lambda costs: -sum(costs)}, "`objective_func` must not grow when a latency falls"),
    ],
)
def test_refuses_wrong_options_before_measuring(options, message):
    """Wrong options are refused at once, by the names that users know."""
    with pytest.raises(InvalidInputError, match=message):
        tuner(PlannedEngine([falling(), falling()]), **options)


def test_refuses_no_tasks_and_repeated_tasks():
    """Without a task there is nothing to do, and a workload given twice would be tuned twice."""
    with pytest.raises(InvalidInputError, match="`tasks` must hold at least one task; got 0"):
        Tuner([], PlannedEngine([]).run_round, RoundRobinScheduler(), num_measure_trials=1)
    with pytest.raises(InvalidInputError, match=r"each workload once; got \['k0'\] more than once. Merge them"):
        Tuner(tasks(1) * 2, PlannedEngine([]).run_round, RoundRobinScheduler(), num_measure_trials=9)


def test_refuses_more_results_than_were_asked_for():
    """An engine that measures too much is wrong, and would overrun the budget."""
    tuned = Tuner(
        tasks(1), lambda index, wanted: RoundOutcome(results=[FAILURE] * 9), RoundRobinScheduler(), num_measure_trials=8
    )

    with pytest.raises(InvalidInputError, match="`run_round` must return ≤ 8 results; got 9"):
        tuned.run()


def test_the_scheduler_says_how_many_to_measure():
    """Up to the size of a round, and to what is left of the budget."""
    asked = []

    class Small(RoundRobinScheduler):
        def round_size(self, states, index, most):
            asked.append(most)
            return min(most, 3)

    engine = PlannedEngine([falling(), falling()])
    summary = tuner(engine, Small(), num_measure_trials=8).run()

    assert engine.asked == [(0, 3), (1, 3), (0, 2)]
    assert asked == [4, 4, 2]
    assert summary.trials == 8


def test_the_scheduler_sees_how_far_models_can_be_trusted():
    """Every decision gets what is true at that moment, for all tasks."""
    seen = []

    class Watching(RoundRobinScheduler):
        def next_task(self, states):
            seen.append([state.confidence.rank_correlation for state in states])
            return super().next_task(states)

    engine = PlannedEngine([falling(), falling()])
    known = {0: 0.0, 1: 0.5}
    tuned = tuner(
        engine,
        Watching(),
        num_measure_trials=8,
        confidence=lambda index: Confidence(batches=1, rank_correlation=known[index]),
        after_round=lambda index, outcome: known.update({index: 0.25}),
    )
    tuned.run()

    assert seen == [[0.0, 0.5], [0.25, 0.5]]
