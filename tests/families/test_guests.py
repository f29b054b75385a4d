# SPDX-License-Identifier: Apache-2.0
"""Tasks of earlier runs: which are asked for, where they belong, what they give and what is kept."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from familyseer.cost_model import XGBCostModel
from familyseer.families.guests import guest_labels, nearest
from familyseer.families.learner import family_model
from familyseer.families.memory import Memory
from familyseer.families.partition import Partition
from familyseer.measure import INVALID_COST
from familyseer.metrics import pairwise_accuracy
from familyseer.store import Store, StoredTask
from familyseer.task import Task
from familyseer.transfer import Donor, DonorPool, Experience, Sketch, Tile, Tried
from tests.families.planted import make_network


def task(key: str, operator: str = "dense", shape=(), structure: str = "") -> Task:
    """Return a task."""
    return Task(key=key, name=key, operator=operator, shape=shape, structure=structure)


def test_guests_join_the_family_with_most_of_their_kind():
    """One family may hold several operators, one operator several families; without a mate a guest is on its own."""
    tasks = [task("d0"), task("d1"), task("d2"), task("c0", "conv2d")]
    families = Partition.from_labels({"d0": "1", "d1": "2", "d2": "2", "c0": "1"})
    guests = [task("gd"), task("gc", "conv2d"), task("gs", "softmax"), task("gs2", "softmax")]

    labels = guest_labels(guests, tasks, families, "op")
    assert labels == {"gd": "2", "gc": "1", "gs": "guest softmax", "gs2": "guest softmax"}
    assert guest_labels(guests, tasks, families, "accuracy") == labels
    assert guest_labels([], tasks, families, "op") == {}


def test_static_policies_have_guests_of_their_own_kind():
    """Structures among those of the same structure; where each task is alone, guests are too."""
    tasks = [task("d0", structure="a"), task("d1", structure="b")]
    families = Partition.from_labels({"d0": "structure-a", "d1": "structure-b"})
    guest = task("g", structure="b")

    assert guest_labels([guest], tasks, families, "hash") == {"g": "structure-b"}
    assert guest_labels([guest], tasks, Partition.from_labels({"d0": "x", "d1": "y"}), "ind") == {"g": "guest task-g"}


def test_the_nearest_of_the_same_operator_are_asked_for():
    """Three for each task; an unknown shape is far from all."""
    guests = [task(f"g{n}", shape=(n, 8)) for n in (1, 2, 4, 8, 16)] + [task("gc", "conv2d", (4, 8)), task("gx")]

    assert nearest(guests, [task("new", shape=(4, 8))]) == {"g2", "g4", "g8"}
    assert nearest(guests, [task("new", shape=(16, 8)), task("new2", "conv2d")]) == {"g4", "g8", "g16", "gc"}
    assert nearest(guests, [task("new", "softmax")]) == set()


NETWORK = make_network((3, 3), operator="dense")


def remembered(tmp_path, tasks) -> Memory:
    """Return what a run of `tasks` remembers."""
    return Memory(Store(tmp_path, target="llvm", engine="tvm"), tasks)


def model_of(tasks, **options):
    """Return a family policy's model of few trees."""
    return family_model(tasks, "sketch.xgb.family_op", partial(XGBCostModel, rounds=20, members=2), **options)


def test_a_run_starts_from_what_another_stored(tmp_path):
    """Models are trained before anything is measured, and rank a new relative's programs; schedules are donors."""
    (old, features, costs), (new, others, truth), *_ = NETWORK
    schedule = Donor(0.5, Sketch(("tile",), (Tile((2, 4)),)))
    first, pool, experience = model_of([old]), DonorPool(), Experience()
    first.update(old.key, features, costs)
    pool.add(old.key, [schedule])
    tried = [Tried(1.0 + i, Sketch(("tile",), (Tile((i, 4)),)), build_seconds=0.5) for i in range(1, 21)]
    for one in tried:
        experience.add(old.key, one)
    remembered(tmp_path, [old]).keep(first, pool, experience)

    memory, fresh, warm = remembered(tmp_path, [new]), DonorPool(), Experience()
    second = model_of([new], guests=memory.guests)
    assert [guest.key for guest in memory.guests] == [f"guest:{old.key}"]
    assert not second.is_trained(new.key)
    memory.teach(second, fresh, warm)
    assert second.is_trained(new.key)
    assert second.relatives(new.key) == (new.key, f"guest:{old.key}")
    assert dict(fresh.best()) == {f"guest:{old.key}": (schedule,)}
    assert np.corrcoef(second.predict(new.key, others), -np.log(truth))[0, 1] > 0.5
    assert second.partition == Partition.from_labels({new.key: "dense"})
    assert warm.of(f"guest:{old.key}") == tuple(tried)
    assert warm.model((("tile", 2),)) is not None, "a search among choices needs nothing measured here"


def test_failed_programs_are_stored_too(tmp_path):
    """A model has them as infinitely slow, a store as `INVALID_COST`; the task serves others all the same."""
    (old, features, costs), (new, _, _), *_ = NETWORK
    first = model_of([old])
    first.update(old.key, features, np.where(np.arange(len(costs)) < 3, INVALID_COST, costs))
    remembered(tmp_path, [old]).keep(first, DonorPool(), Experience())

    (stored,) = Store(tmp_path, target="llvm", engine="tvm").read()
    assert stored.costs[:3].tolist() == [INVALID_COST] * 3
    assert stored.costs[3:].tolist() == costs[3:].tolist()
    assert [guest.key for guest in remembered(tmp_path, [new]).guests] == [f"guest:{old.key}"]


def test_what_a_log_knows_comes_from_the_log(tmp_path):
    """A run that was interrupted, and is resumed, does not learn its own measurements a second time from the store."""
    (old, features, costs), (new, _, _), *_ = NETWORK
    first = model_of([old])
    first.update(old.key, features, costs)
    remembered(tmp_path, [old]).keep(first, DonorPool(), Experience())
    store = Store(tmp_path, target="llvm", engine="tvm")
    assert Memory(store, [old, new], measured={old.key}).guests == ()
    assert [guest.key for guest in Memory(store, [old, new], measured={new.key}).guests] == [f"guest:{old.key}"]


def test_a_wrong_store_costs_a_model_no_more_than_its_first_guesses(tmp_path, caplog):
    """Latencies turned upside down: after three batches the model is that of a run that never heard of them."""
    (old, features, costs), (new, others, truth), *_ = NETWORK
    Store(tmp_path, target="llvm", engine="tvm").write(
        [StoredTask(task=old, donors=(), features=features, costs=1 / costs)]
    )
    memory = remembered(tmp_path, [new])
    told = []
    misled, alone = model_of([new], guests=memory.guests, on_misled=lambda: told.append(1)), model_of([new])
    memory.teach(misled, DonorPool(), Experience())
    assert pairwise_accuracy(truth, misled.predict(new.key, others)) < 0.4
    for part in (slice(0, 16), slice(16, 32), slice(32, 48)):
        assert "not listened to" not in caplog.text
        assert not told
        for model in (misled, alone):
            model.update(new.key, others[part], truth[part])
    assert "ranks this run's programs worse than chance" in caplog.text
    assert told == [1]
    assert misled.predict(new.key, others).tolist() == alone.predict(new.key, others).tolist()
    assert pairwise_accuracy(truth[48:], misled.predict(new.key, others[48:])) > 0.8


def test_a_good_store_is_listened_to_for_the_whole_run(tmp_path, caplog):
    """Real latencies of a relative: its programs stay."""
    (old, features, costs), (new, others, truth), *_ = NETWORK
    Store(tmp_path, target="llvm", engine="tvm").write(
        [StoredTask(task=old, donors=(), features=features, costs=costs)]
    )
    memory = remembered(tmp_path, [new])
    model = model_of([new], guests=memory.guests)
    memory.teach(model, DonorPool(), Experience())
    for start in range(0, 64, 8):
        model.update(new.key, others[start : start + 8], truth[start : start + 8])
    assert len(model.learnt(f"guest:{old.key}")[1]) == len(costs)
    assert "not listened to" not in caplog.text


def test_a_task_is_its_own_guest(tmp_path):
    """The same network again: its latencies of then are not those of now."""
    (old, features, costs), *_ = NETWORK
    first = model_of([old])
    first.update(old.key, features, costs)
    remembered(tmp_path, [old]).keep(first, DonorPool(), Experience())

    memory = remembered(tmp_path, [old])
    second = model_of([old], guests=memory.guests)
    memory.teach(second, DonorPool(), Experience())
    assert second.learnt(old.key) is None
    assert len(second.learnt(f"guest:{old.key}")[1]) == len(costs)


def test_families_change_without_guests(tmp_path):
    """Guests follow their operator when cross-accuracy divides the tasks, and are in no record of families."""
    tasks = [task for task, _, _ in NETWORK]
    guest = replace(tasks[0], key="guest:x")
    changes = []
    model = model_of(tasks, guests=[guest], on_change=changes.append)
    model.learn_guests([("guest:x", NETWORK[0][1], NETWORK[0][2])])
    for part in (slice(0, 16), slice(16, 32), slice(32, 64)):
        for member, features, costs in NETWORK:
            model.update(member.key, features[part], costs[part])

    assert len(changes[-1].partition.families) == 2
    changes[-1].partition.require([task.key for task in tasks])
    assert "guest:x" in model.members(changes[-1].partition.names[0])
    model.adopt(Partition.from_labels(dict.fromkeys([task.key for task in tasks], "all")))
    assert model.labels == ("all",)


def test_nothing_measured_is_nothing_stored(tmp_path):
    """A run that was stopped at once changes nothing."""
    old = NETWORK[0][0]
    remembered(tmp_path, [old]).keep(model_of([old]), DonorPool(), Experience())
    assert Store(tmp_path, target="llvm", engine="tvm").read() == []


def test_a_stored_task_of_other_features_is_refused_by_the_model(tmp_path):
    """Whoever wrote it, one sentence says so."""
    (old, features, costs), (new, _, _), *_ = NETWORK
    store = Store(tmp_path, target="llvm", engine="tvm")
    store.write([StoredTask(task=old, donors=(), features=features, costs=costs)])
    memory = remembered(tmp_path, [new])
    model = model_of([new], guests=memory.guests)
    memory.teach(model, DonorPool(), Experience())
    with pytest.raises(ValueError, match="must have"):
        model.update(new.key, type(features).from_arrays([[[1.0]]] * 20), np.arange(1.0, 21.0))
