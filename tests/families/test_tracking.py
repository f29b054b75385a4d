# SPDX-License-Identifier: Apache-2.0
"""Families before and after measurements: priors, planted families, hysteresis, reasons."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from familyseer.errors import InvalidInputError
from familyseer.families.clustering import FamilyClustering
from familyseer.families.cross_accuracy import CrossAccuracy
from familyseer.families.learner import quick_ranker
from familyseer.families.partition import Partition
from familyseer.families.tracking import Evidence, FamilyTracker
from tests.families.planted import make_network, make_task


def track(network, policy="sketch.xgb.family_accuracy", **options):
    """Return a tracker of these tasks, which has seen nothing."""
    tasks = [task for task, _, _ in network]
    accuracy = CrossAccuracy([task.key for task in tasks], quick_ranker)
    return FamilyTracker(tasks, policy, accuracy, **options)


def observe(tracker, network):
    """Show measurements one task after another, as a run does, and return the changes."""
    changes = []
    for task, features, costs in network:
        due = tracker.learn(task.key, features, costs)
        changes.append(tracker.decide() if due else None)
    return changes


def groups(partition):
    """Return the families as sets of keys."""
    return {frozenset(members) for _, members in partition.families}


def planted(network):
    """Return the families that `make_network` made."""
    labels = Partition.from_labels({task.key: task.key.split("-")[0] for task, _, _ in network})
    return groups(labels)


@pytest.mark.parametrize("sizes", [(3, 3), (3, 2, 4, 2, 3), (4, 1)], ids=["two", "five", "outlier"])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_planted_families_are_found(sizes, noise):
    """Two groups, five groups, a group and an outlier; with exact and with noisy latencies."""
    network = make_network(sizes, noise=noise)
    tracker = track(network)
    observe(tracker, network)

    assert groups(tracker.partition) == planted(network)


def test_order_of_tasks_does_not_matter():
    """Reversed tasks, measured in another order, form the same families."""
    network = make_network((3, 2, 2))
    one, other = track(network), track(network[::-1])
    observe(one, network)
    observe(other, network[::-1])

    assert groups(one.partition) == groups(other.partition)


def test_same_seed_gives_the_same_partition():
    """Names and order included."""
    network = make_network((3, 2), noise=0.5)
    found = []
    for _ in range(2):
        tracker = track(network)
        observe(tracker, network)
        found.append(tracker.partition)

    assert found[0] == found[1]


def test_operators_decide_before_there_are_measurements():
    """A task that was measured too little stays with those of its operator, wherever these have gone."""
    network = make_network((2, 2), operator="conv2d")
    (young, features, costs) = make_task(0, 9, operator="conv2d")
    (lonely, _, _) = make_task(1, 9, operator="softmax")
    tracker = track([*network, (young, None, None), (lonely, None, None)], "sketch.xgb.family_op")
    assert tracker.partition.names == ("conv2d", "softmax")

    assert observe(tracker, [(young, features[:10], costs[:10])]) == [None]
    observe(tracker, network)
    assert groups(tracker.partition) == {
        frozenset({"f0-0", "f0-1", young.key}),
        frozenset({"f1-0", "f1-1"}),
        frozenset({lonely.key}),
    }
    assert tracker.partition.names == ("conv2d 1", "conv2d 2", "softmax")


def test_accuracy_policy_knows_no_operators():
    """Tasks without measurements are together, apart from those that have some; operators only give names."""
    network = [
        make_task(0, seed, operator=name) for seed, name in enumerate(["dense", "dense", "batch_matmul", "dense"])
    ]
    tracker = track(network)
    assert tracker.partition.names == ("all",)

    observe(tracker, network[1:3])
    assert tracker.partition.families == (
        ("dense", ("f0-0", "f0-3")),
        ("batch_matmul+dense", ("f0-1", "f0-2")),
    )


@pytest.mark.parametrize("policy", ["sketch.xgb.family_hash", "sketch.xgb.family_ind"])
def test_static_policies_stay(policy):
    """Whatever is measured."""
    network = make_network((2, 2))
    tracker = track(network, policy)
    before = tracker.partition

    assert observe(tracker, network) == [None] * 4
    assert tracker.partition is before


def test_a_change_says_its_reason():
    """Who is now with whom; no change, no reason."""
    network = make_network((2, 1), operator="dense")
    tracker = track(network, "sketch.xgb.family_op")
    changes = observe(tracker, network)

    (change,) = [change for change in changes if change is not None]
    assert change.partition == tracker.partition
    assert change.reason == (
        "by cross-accuracy task 0.0 is now without task 1.0; task 0.1 is now without task 1.0; "
        "task 1.0 is now without task 0.0, task 0.1"
    )


def test_families_do_not_flap():
    """Two tasks whose distance swings around the threshold: with hysteresis they change at most once."""
    changes = {}
    for hysteresis in (0.0, 0.2):
        network = make_network((2,))
        tracker = track(network, clustering=FamilyClustering(hysteresis=hysteresis))
        observe(tracker, network)
        found = []
        for swing in (0.02, -0.02) * 3:
            aligned = np.array([[1.0, 0.2 + swing], [0.2 + swing, 1.0]])
            known = Evidence(
                keys=tracker.accuracy.keys,
                accuracy=np.full((2, 2), 0.8),
                alignment=aligned,
                programs=np.array([64, 64]),
            )
            tracker.evidence = lambda known=known: known
            found.append(tracker.decide() is not None)
        changes[hysteresis] = sum(found)

    assert changes[0.0] >= 4
    assert changes[0.2] <= 1


def test_a_task_that_waits_for_its_first_decision_is_in_no_family():
    """Before cross-accuracy has placed tasks, the label that they share does not draw them together."""
    for distance, joined in [(0.78, True), (0.82, False)]:
        network = make_network((2,))
        tracker = track(network)
        observe(tracker, network[:1])
        known = Evidence(
            keys=tracker.accuracy.keys,
            accuracy=np.full((2, 2), 0.8),
            alignment=np.array([[1.0, 1 - distance], [1 - distance, 1.0]]),
            programs=np.array([64, 64]),
        )
        tracker.evidence = lambda known=known: known
        tracker.decide()
        assert (len(tracker.partition.families) == 1) is joined


def test_a_resumed_tracker_knows_who_was_placed():
    """Decisions of the past are skipped, and count all the same: hysteresis is as it was."""
    network = make_network((3, 3))
    live, resumed = track(network), track(network)
    observe(live, network)
    for task, features, costs in network:
        if resumed.learn(task.key, features, costs):
            resumed.skip()
    resumed.adopt(live.partition)
    assert [resumed._present(task.key) for task, _, _ in network] == [live._present(task.key) for task, _, _ in network]
    assert resumed.decide() is None


def test_nothing_known_changes_nothing():
    """No records, or failed ones only."""
    network = make_network((2,))
    tracker = track(network)
    assert tracker.decide() is None

    assert observe(tracker, [(task, features, np.full(64, np.inf)) for task, features, _ in network]) == [None, None]
    assert tracker.partition.names == ("all",)


def test_one_task_is_one_family():
    """There is nobody to compare with."""
    network = make_network((1,))
    tracker = track(network)
    observe(tracker, network)

    assert groups(tracker.partition) == {frozenset({"f0-0"})}


def test_identical_tasks_are_one_family():
    """The same programs and latencies under two keys."""
    (one, features, costs), (other, _, _) = make_task(0, 0), make_task(0, 1)
    tracker = track([(one, None, None), (other, None, None)])
    observe(tracker, [(one, features, costs), (other, features, costs)])

    assert len(tracker.partition.families) == 1


def test_features_that_are_not_finite_are_borne():
    """Infinite and missing features are what boosters take for missing."""
    network = make_network((2, 2))
    for _, features, _ in network:
        features.rows[::7, 3] = np.nan
    tracker = track(network)
    observe(tracker, network)

    assert groups(tracker.partition) == planted(network)


@pytest.mark.parametrize(
    ("families", "message"),
    [
        ({"all": ["f0-0"]}, r"missing: \['f0-1'\]"),
        ({"all": ["f0-0", "f0-1", "x"]}, r"not among the tasks: \['x'\]"),
    ],
)
def test_partition_of_other_tasks_is_not_adopted(families, message):
    """Nothing changes."""
    tracker = track(make_network((2,)))
    before = tracker.partition

    with pytest.raises(InvalidInputError, match=message):
        tracker.adopt(Partition.from_json(families))
    assert tracker.partition is before


def test_ranker_is_seeded():
    """The same seed gives the same scores."""
    _, features, costs = make_task(0, 0)
    scores = [quick_ranker(features, costs, seed=seed)(features).tolist() for seed in (1, 1, 2)]

    assert scores[0] == scores[1] != scores[2]
    assert partial(quick_ranker, seed=1)(features, costs)(features).tolist() == scores[0]
