# SPDX-License-Identifier: Apache-2.0
"""The ledger counts every trial and every second once; the budget speaks the users' words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.errors import InvalidInputError
from familyseer.ledger import PHASES, Budget, Ledger


class ManualClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@pytest.fixture
def clock() -> ManualClock:
    """Return a new clock."""
    return ManualClock()


def test_trials_add_up_per_task():
    """Trials of a task add up, and restored ones are also told apart."""
    ledger = Ledger()
    ledger.charge_trials("conv", 64, restored=True)
    ledger.charge_trials("conv", 16)
    ledger.charge_trials("dense", 3)

    spent = ledger.snapshot()

    assert dict(spent.trials) == {"conv": 80, "dense": 3}
    assert dict(spent.restored) == {"conv": 64}
    assert spent.total_trials == 83


@pytest.mark.parametrize("count", [-1, 1.5, True, "3"])
def test_refuses_a_count_that_is_none(count):
    """A negative, fractional or boolean number of trials is refused."""
    with pytest.raises(InvalidInputError, match="`count` must be an integer ≥ 0; got"):
        Ledger().charge_trials("conv", count)


def test_a_phase_is_charged_to_its_task(clock):
    """The time between entering and leaving goes to the phase and task, and time outside goes nowhere."""
    ledger = Ledger(clock=clock)
    clock.sleep(100)
    with ledger.phase("search", "conv"):
        clock.sleep(2)
    clock.sleep(100)
    with ledger.phase("train"):
        clock.sleep(3)

    spent = ledger.snapshot()

    assert {phase: dict(seconds) for phase, seconds in spent.seconds.items() if seconds} == {
        "search": {"conv": 2.0},
        "train": {"": 3.0},
    }
    assert spent.total_seconds == 5.0


def test_a_nested_phase_takes_its_time_from_the_outer_one(clock):
    """Two seconds inside an inner phase are not also seconds of the outer phase."""
    ledger = Ledger(clock=clock)
    with ledger.phase("other", "conv"):
        clock.sleep(1)
        with ledger.phase("run", "conv"):
            clock.sleep(2)
            with ledger.phase("run", "conv"):
                clock.sleep(4)
        clock.sleep(8)

    spent = ledger.snapshot()

    assert (spent.phase_seconds("other"), spent.phase_seconds("run"), spent.total_seconds) == (9.0, 6.0, 15.0)


def test_a_phase_that_raises_is_charged_and_closed(clock):
    """An interrupt inside a phase loses no time and leaves no phase open."""
    ledger = Ledger(clock=clock)

    def work():
        with ledger.phase("search", "conv"), ledger.phase("build", "conv"):
            clock.sleep(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    clock.sleep(10)

    assert ledger.snapshot().total_seconds == 1.0


def test_a_snapshot_shows_open_phases_and_stays_as_it_is(clock):
    """A snapshot in mid-phase includes the time until then, and later time does not change it."""
    ledger = Ledger(clock=clock)
    with ledger.phase("build", "conv"):
        clock.sleep(1)
        early = ledger.snapshot()
        clock.sleep(2)
        ledger.charge_trials("conv", 5)

    assert early.phase_seconds("build") == 1.0
    assert early.total_trials == 0
    assert ledger.snapshot().phase_seconds("build") == 3.0
    with pytest.raises(TypeError):
        early.trials["conv"] = 1


def test_moved_seconds_change_their_phase_only(clock):
    """Seconds that turn out to belong to an overlapped phase leave the open one, and the total stays."""
    ledger = Ledger(clock=clock)
    with ledger.phase("run", "conv"):
        clock.sleep(5)
        ledger.move("run", "build", "conv", 3.0)
        clock.sleep(1)

    spent = ledger.snapshot()

    assert (spent.phase_seconds("run"), spent.phase_seconds("build"), spent.total_seconds) == (3.0, 3.0, 6.0)


def test_refuses_an_unknown_phase():
    """A misspelt phase is named together with the known ones."""
    phase = Ledger().phase("sleep")

    with pytest.raises(InvalidInputError, match="one of search, build, run, train, families, other; got 'sleep'"):
        phase.__enter__()


@given(st.recursive(st.integers(1, 9), lambda inner: st.lists(st.tuples(st.sampled_from(PHASES), inner), max_size=3)))
def test_seconds_of_all_phases_are_the_time_that_passed(tree):
    """However phases nest, their seconds add up to the time inside the outermost one."""
    clock = ManualClock()
    ledger = Ledger(clock=clock)

    def spend(node):
        if isinstance(node, int):
            clock.sleep(node)
            return
        for phase, inner in node:
            clock.sleep(1)
            with ledger.phase(phase, "conv"):
                spend(inner)

    with ledger.phase("other"):
        spend(tree)

    assert ledger.snapshot().total_seconds == clock.now - 1000.0


@pytest.mark.parametrize(("used", "left"), [(0, 100), (99, 1), (100, 0), (250, 0)])
def test_remaining_never_falls_below_zero(used, left):
    """What a resumed log holds beyond the budget is not a negative remainder."""
    assert Budget(100).remaining(used) == left


@pytest.mark.parametrize("trials", [0, -5, 900.0, True, False, "900", None, np.float64(3)])
def test_refuses_a_budget_that_is_no_count(trials):
    """Zero, negative and non-integer budgets are refused by the name that users know."""
    with pytest.raises(InvalidInputError, match=r"`num_measure_trials` must be an integer ≥ 1; got .*\. Set how many"):
        Budget(trials)


def test_accepts_integers_of_numpy():
    """A budget computed with numpy is an integer too."""
    assert Budget(np.int64(900)) == Budget(900)


@pytest.mark.parametrize(
    ("trials", "tasks", "wanted", "size"), [(1000, 10, 64, 64), (100, 10, 64, 10), (10, 10, 64, 1), (1000, 1, 7, 7)]
)
def test_a_round_is_small_enough_for_every_task(trials, tasks, wanted, size):
    """Rounds shrink until each task can have one."""
    assert Budget(trials).round_size(tasks, wanted) == size


def test_refuses_a_budget_below_one_trial_per_task():
    """The message says how many trials are the least."""
    with pytest.raises(
        InvalidInputError, match=r"`num_measure_trials` must be at least the number of tasks \(12\).*11"
    ):
        Budget(11).round_size(12, 64)


@pytest.mark.parametrize("size", [0, -1, 2.0, True])
def test_refuses_a_round_that_is_no_count(size):
    """A round of no candidates is refused by the name that users know."""
    with pytest.raises(InvalidInputError, match="`num_measures_per_round` must be an integer ≥ 1; got"):
        Budget(100).round_size(1, size)
