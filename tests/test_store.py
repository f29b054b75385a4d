# SPDX-License-Identifier: Apache-2.0
"""The store on disk: round trips, merging, refusals, damage, two runs at a time."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from familyseer import store as module
from familyseer.errors import InvalidInputError, StoreError
from familyseer.features import FeatureSet
from familyseer.measure import INVALID_COST
from familyseer.store import Store, StoredTask
from familyseer.task import Task
from familyseer.transfer import Donor, Option, Sketch, Tile, Tried

TASK = Task(
    key="cafe",
    name="dense",
    weight=2.0,
    flops=8.0,
    target='{"kind":"llvm"}',
    operator="dense",
    structure="s",
    shape=(4, 8),
)


def donor(cost: float, *factors: int) -> Donor:
    """Return a schedule of one loop with an option."""
    return Donor(cost, Sketch(("tile", "vectorize 1"), (Tile(factors), Option(1, 3), Option(4))))


def stored(count: int = 3, cost: float = 1.0, task: Task = TASK, donors=None) -> StoredTask:
    """Return a task with `count` programs, the last of which failed."""
    features = FeatureSet.from_arrays([[[i, 1.0]] * (1 + i % 2) for i in range(count)])
    costs = np.array([cost + i for i in range(count - 1)] + [INVALID_COST])
    donors = (donor(1.0, 2, 4),) if donors is None else tuple(donors)
    return StoredTask(task=task, donors=donors, features=features, costs=costs)


def opened(path, target="llvm", engine="tvm 1") -> Store:
    """Open a store."""
    return Store(path, target=target, engine=engine)


def test_what_was_stored_comes_back(tmp_path):
    """Tasks, schedules and programs, from a folder that did not exist."""
    path = tmp_path / "deep" / "store"
    assert opened(path).read() == []
    opened(path).write([stored(), stored(task=Task(key="beef", name=""), donors=())])
    other, found = opened(path).read()

    assert (found.task, found.donors) == (TASK, (donor(1.0, 2, 4),))
    assert found.features.rows.tolist() == stored().features.rows.tolist()
    assert found.features.counts.tolist() == [1, 2, 1]
    assert found.costs.tolist() == [1.0, 2.0, INVALID_COST]
    assert (other.task.key, other.donors) == ("beef", ())


def test_what_was_tried_comes_back(tmp_path):
    """Latencies, compilation times and failures; of many, 64 with the fastest half among them."""
    tried = tuple(Tried(1.0 + i, donor(1.0, i + 1, 4).sketch, 0.25) for i in range(99))
    tried += (Tried(INVALID_COST, donor(1.0, 2, 4).sketch),)
    opened(tmp_path).write(
        [replace(stored(), tried=tried), replace(stored(task=Task(key="few", name="")), tried=tried[-3:])]
    )
    many, few = opened(tmp_path).read()

    assert few.tried == tried[-3:]
    assert len(many.tried) == 64
    assert many.tried[:32] == tried[:32]
    assert set(many.tried) <= set(tried)


def test_the_last_run_counts_and_older_schedules_fill_up(tmp_path):
    """A run's own latencies stand; what an earlier run claimed to be faster is no better than its best."""
    opened(tmp_path).write([stored(donors=[donor(0.1, 8, 1), donor(0.2, 2, 4)])])
    opened(tmp_path).write([stored(donors=[donor(1.0, 2, 4), donor(1.5, 4, 2)])])
    [found] = opened(tmp_path).read()

    assert [(d.cost, d.sketch.choices[0]) for d in found.donors] == [
        (1.0, Tile((2, 4))),
        (1.0, Tile((8, 1))),
        (1.5, Tile((4, 2))),
    ]


@pytest.mark.parametrize(("first", "second", "kept"), [(5, 3, 10.0), (3, 5, 20.0), (4, 4, 20.0)])
def test_programs_are_those_of_the_run_that_measured_more(tmp_path, first, second, kept):
    """Latencies of two runs are not mixed."""
    opened(tmp_path).write([stored(first, 10.0)])
    opened(tmp_path).write([stored(second, 20.0)])
    [found] = opened(tmp_path).read()

    assert len(found.costs) == max(first, second)
    assert found.costs[0] == kept


def test_a_task_keeps_no_more_than_64_programs(tmp_path):
    """The fastest 32 among them."""
    opened(tmp_path).write([stored(200)])
    [found] = opened(tmp_path).read()

    assert len(found.costs) == len(found.features) == 64
    assert found.costs[:32].tolist() == [float(i) for i in range(1, 33)]


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        ({"target": "cuda"}, "is for target llvm, and this run's is cuda. Name another folder."),
        ({"engine": "tvm 2"}, "is for engine tvm 1, and this run's is tvm 2. Name another folder."),
    ],
)
def test_a_store_of_another_target_or_version_is_refused(tmp_path, identity, message):
    """And nothing in it changes."""
    opened(tmp_path).write([stored()])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(StoreError, match=message):
        opened(tmp_path, **identity)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "content", ["", "no JSON", "[]", '{"format": "else"}', '{"format": "familyseer-store", "version": 9}']
)
def test_a_manifest_that_is_none_is_refused(tmp_path, content):
    """Whatever it holds."""
    (tmp_path / "store.json").write_text(content)
    with pytest.raises(StoreError, match="must be the manifest of a store, version 2; it is damaged or not one"):
        opened(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path):
    """A user's folder is not to be filled by mistake."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"must be an empty folder or a store of familyseer; .* is neither"):
        opened(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_file_is_no_folder(tmp_path):
    """One sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="must be a folder that can be written: File exists"):
        opened(tmp_path / "file")


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path, monkeypatch):
    """Before hours of tuning, not after."""

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomically", full)
    with pytest.raises(StoreError, match="cannot be used: No space left on device"):
        opened(tmp_path / "new")


def damage(name: str, **changes):
    """Return what makes a task's file one with other arrays."""

    def spoil(content: bytes, path) -> bytes:
        with np.load(path) as arrays:
            parts = dict(arrays)
        about = json.loads(str(parts["about"][()]))
        for key, value in changes.items():
            if key in parts:
                parts[key] = value
            elif value is None:
                about["task"].pop(key)
            elif key in ("donors", "tried"):
                about[key] = value
            else:
                about["task"][key] = value
        np.savez(path.with_suffix(".other.npz"), **{**parts, "about": np.array(json.dumps(about))})
        return path.with_suffix(".other.npz").read_bytes()

    spoil.__name__ = name
    return spoil


def entry(**changes) -> list:
    """Return one donor as JSON with changes."""
    return [{"cost": 1.0, "form": ["tile"], "choices": [{"factors": [2, 4]}], **changes}]


def flag(offset: int, value: int):
    """Return what sets a byte of the first entry of a zip archive's directory: zipfile takes it for encrypted, or unknown."""

    def spoil(content: bytes, path) -> bytes:
        place = content.index(b"PK\x01\x02") + offset
        return content[:place] + bytes([value]) + content[place + 1 :]

    spoil.__name__ = f"byte {offset}"
    return spoil


DAMAGE = [
    flag(8, 1),
    flag(10, 99),
    damage("an extent of nothing", shape=[0, 4]),
    lambda content, path: b"",
    lambda content, path: content[: len(content) // 2],
    lambda content, path: content[:100] + b"\0" * 50 + content[150:],
    lambda content, path: b"PK\x03\x04" + b"x" * 100,
    damage("unknown field", colour="red"),
    damage("no shape", shape=None),
    damage("shape of text", shape=["4"]),
    damage("no key", key=""),
    damage("cost of nothing", costs=np.zeros(3)),
    damage("costs not a number", costs=np.full(3, np.nan)),
    damage("too few costs", costs=np.ones(2)),
    damage("rows of text", rows=np.array([["a", "b"]] * 4)),
    damage("counts too large", counts=np.array([9, 9, 9])),
    damage("objects", costs=np.array([1.0, 1.0, "os.system"], dtype=object)),
    damage("negative factor", donors=entry(choices=[{"factors": [-2, 4]}])),
    damage("factor zero", donors=entry(choices=[{"factors": [0, 4]}])),
    damage("a true factor", donors=entry(choices=[{"factors": [True, 4]}])),
    damage("no index", donors=entry(choices=[{}])),
    damage("infinite cost", donors=entry(cost=float("inf"))),
    damage("cost of text", donors=entry(cost="cheap")),
    damage("donors a number", donors=3),
    damage("tried a number", tried=3),
    damage("tried without a time", tried=entry()),
    damage("time below nothing", tried=entry(build=-1.0)),
    damage("time of text", tried=entry(build="long")),
    damage("tried at no cost", tried=entry(build=1.0, cost=0.0)),
]


@pytest.mark.parametrize("spoil", DAMAGE, ids=lambda spoil: spoil.__name__)
def test_a_damaged_task_is_left_out_and_written_anew(tmp_path, caplog, spoil):
    """With a warning that names the file; the others are read."""
    opened(tmp_path).write([stored(), stored(task=Task(key="beef", name=""))])
    [file] = [file for file in tmp_path.glob("*.npz") if "cafe" in str(np.load(file)["about"])]
    file.write_bytes(spoil(file.read_bytes(), file))
    for extra in tmp_path.glob("*.other.npz"):
        extra.unlink()

    assert [found.task.key for found in opened(tmp_path).read()] == ["beef"]
    assert f"{file} is damaged and left out" in caplog.text
    opened(tmp_path).write([stored()])
    assert [found.task.key for found in opened(tmp_path).read()] == ["beef", "cafe"]


def test_a_writer_waits_for_another(tmp_path, monkeypatch):
    """It goes on when the other is done, and gives up in a sentence when that takes too long."""
    store = opened(tmp_path)
    descriptor = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    threading.Timer(0.3, os.close, [descriptor]).start()
    start = time.monotonic()
    store.write([stored()])
    assert time.monotonic() - start >= 0.25
    assert len(store.read()) == 1

    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.1)
    descriptor = os.open(tmp_path / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match=r"another run has been writing the store .* Wait for it to end"):
            store.write([stored()])
    finally:
        os.close(descriptor)


def test_two_runs_write_at_a_time(tmp_path):
    """Neither loses what the other stored."""
    tasks = [Task(key=f"{i:x}", name="") for i in range(20)]

    def run(part):
        store = opened(tmp_path)
        for task in part:
            store.write([stored(task=task)])

    threads = [threading.Thread(target=run, args=[tasks[i::2]]) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {found.task.key for found in opened(tmp_path).read()} == {task.key for task in tasks}


def test_costs_must_match_programs():
    """One each."""
    with pytest.raises(
        InvalidInputError, match="`costs` must be one latency for each of 1 programs; got shape \\(2,\\)"
    ):
        StoredTask(task=TASK, donors=(), features=FeatureSet.from_arrays([[[1.0]]]), costs=np.ones(2))
