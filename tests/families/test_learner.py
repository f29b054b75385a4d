# SPDX-License-Identifier: Apache-2.0
"""A family policy's model: its bank follows the tracker, live and after an interruption."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial

import numpy as np

from familyseer.cost_model import XGBCostModel
from familyseer.families.learner import family_model
from tests.families.planted import make_network

NETWORK = make_network((2, 2), operator="dense")
TASKS = [task for task, _, _ in NETWORK]
BATCHES = [
    (task.key, features[part], costs[part])
    for part in (slice(0, 16), slice(16, 32), slice(32, 64))
    for task, features, costs in NETWORK
]


def make(policy="sketch.xgb.family_op", **options):
    """Return a model of few trees."""
    return family_model(TASKS, policy, partial(XGBCostModel, rounds=20, members=2), **options)


def learn(model, batches):
    """Let a model learn batches as a live run does."""
    for batch in batches:
        model.update(*batch)


def test_bank_follows_the_families():
    """One operator, two families in truth: from the moment when that shows, the labels are two, and whoever asked knows."""
    changes = []
    model = make(on_change=changes.append)
    learn(model, BATCHES)

    assert model.labels == model.partition.names == ("dense 1", "dense 2")
    assert [set(model.members(label)) for label in model.labels] == [{"f0-0", "f0-1"}, {"f1-0", "f1-1"}]
    assert changes[-1].partition == model.partition


def test_static_families_stay():
    """Nothing is told of a policy that does not follow cross-accuracy."""
    changes = []
    model = make("sketch.xgb.family_ind", on_change=changes.append)
    learn(model, BATCHES)

    assert len(model.labels) == 4
    assert changes == []


def test_interrupted_run_goes_on_as_if_nothing_had_happened():
    """Judgements and partitions from the log, measurements at once: the same families, scores and predictions."""
    for stop in (3, 6, 9, len(BATCHES)):
        live, changes = make(), []
        told = []
        live._on_change = changes.append
        for batch in BATCHES[:stop]:
            told.append((batch[0], batch[2], live.predictions(batch[0], batch[1]), len(changes)))
            live.update(*batch)
        back = make()
        applied = 0
        for number, (key, costs, said, _) in enumerate(told):
            back.judge(key, costs, said)
            until = told[number + 1][3] if number + 1 < len(told) else len(changes)
            while applied < until:
                back.adopt(changes[applied].partition)
                applied += 1
        back.update_many(BATCHES[:stop])
        for model in (live, back):
            learn(model, BATCHES[stop:])

        assert back.partition == live.partition
        for task, features, _ in NETWORK:
            assert back.serving(task.key) == live.serving(task.key)
            assert back.confidence(task.key) == live.confidence(task.key)
            assert back.predict(task.key, features).tolist() == live.predict(task.key, features).tolist()


def test_decision_that_was_lost_is_made_up_for():
    """Killed after the measurements that change the families, before the change was recorded."""
    live, changes = make(), []
    live._on_change = changes.append
    needed = next(number for number, batch in enumerate(BATCHES, start=1) if live.update(*batch) or changes)
    told = []
    back = make(on_change=told.append)
    back.update_many(BATCHES[:needed])
    assert told == []
    back.catch_up()
    back.catch_up()

    assert told == changes
    assert back.partition == live.partition


def test_a_decision_taken_over_is_a_decision():
    """The measurements that led to it place tasks, also when the first thing that happens next is a live round."""
    live = make("sketch.xgb.family_accuracy")
    needed = next(
        number for number, batch in enumerate(BATCHES, start=1) if live.update(*batch) or live.tracker.accuracy.judged
    )
    back = make("sketch.xgb.family_accuracy")
    back.update_many(BATCHES[:needed])
    back.adopt(live.partition)
    for model in (live, back):
        model.update(*BATCHES[0])

    assert back.tracker._placed == live.tracker._placed == {BATCHES[needed - 1][0]}


def test_nothing_is_printed_and_nobody_s_random_numbers_are_touched(capsys):
    """The released FamilySeer printed in passing and seeded numpy for everybody."""
    np.random.seed(7)
    before = np.random.get_state()[1].tolist()
    learn(make(), BATCHES)

    assert np.random.get_state()[1].tolist() == before
    assert capsys.readouterr() == ("", "")


def test_time_of_families_is_accounted_for():
    """Whoever keeps account is told when families are looked at."""
    opened = []

    @contextmanager
    def phase():
        opened.append(len(opened))
        yield

    learn(make(phase=phase), BATCHES)
    assert len(opened) == 8  # at 32 and at 64 programs of each task
