# SPDX-License-Identifier: Apache-2.0
"""What tuning runs learnt, kept on disk for the networks that come next: a folder with one file per task."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import logging
import os
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from familyseer.cost_model.samples import thin
from familyseer.errors import InvalidInputError, StoreError
from familyseer.features import FeatureSet
from familyseer.files import write_atomically
from familyseer.ledger import whole_number
from familyseer.task import Task
from familyseer.transfer import Choice, Donor, DonorPool, Option, Sketch, Tile, Tried

__all__ = ["Store", "StoredTask"]

logger = logging.getLogger(__name__)

_FORMAT = "familyseer-store"
_VERSION = 2
_MANIFEST, _LOCK, _SUFFIX = "store.json", "lock", ".task.npz"
_PROGRAMS = 64  # kept of a task; with more, a model ranks a relative's programs hardly better
_PATIENCE_SECONDS = 30.0  # for another run that is writing
_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)
"""What reading a damaged file raises; a `RuntimeError`, for instance NotImplementedError, where zipfile takes it for encrypted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredTask:
    """What is known of a task.

    Parameters
    ----------
    task
        The task; its weight means nothing to others.
    donors
        Its best schedules, fastest first.
    features
        n measured programs.
    costs
        (n,) their latencies in seconds, `INVALID_COST` for those that failed.
    tried
        Schedules that were measured, good ones and bad ones: what choices are worth.
    """

    task: Task
    donors: tuple[Donor, ...]
    features: FeatureSet
    costs: NDArray[np.float64]
    tried: tuple[Tried, ...] = ()

    def __post_init__(self) -> None:
        if np.shape(self.costs) != (len(self.features),):
            raise InvalidInputError(
                f"`costs` must be one latency for each of {len(self.features)} programs; got shape {np.shape(self.costs)}"
            )

    def over(self, old: StoredTask) -> StoredTask:
        """Return what to keep where `old` is known of the same task from an earlier run.

        Latencies of two runs are not compared: this run's schedules come first, and older ones are taken for no better
        than its best. Programs, and what was tried, are those of the run that measured more.
        """
        best = self.donors[0].cost if self.donors else 0.0
        pool = DonorPool()
        pool.add(self.task.key, [*self.donors, *(replace(donor, cost=max(donor.cost, best)) for donor in old.donors)])
        taught = self if len(self.costs) >= len(old.costs) else old
        donors = tuple(pool.best()[self.task.key])
        return replace(self, donors=donors, features=taught.features, costs=taught.costs, tried=taught.tried)


class Store:
    """A folder of `StoredTask`s for one target and one version of one engine.

    Several runs may use it at a time: files are replaced whole, and writers wait for each other.

    Parameters
    ----------
    path
        The folder; it is made when it does not exist.
    target
        The compilation target as canonical JSON.
    engine
        Engine and version: what measured programs look like depends on both.

    Raises
    ------
    StoreError
        The folder cannot be used, or is a store of something else.
    """

    def __init__(self, path: str | os.PathLike[str], *, target: str, engine: str) -> None:
        self.path = Path(path)
        self._identity = {"target": target, "engine": engine}
        with self._locked():
            self._check()

    def read(self) -> list[StoredTask]:
        """Return all that is known, in order of the tasks' keys; a damaged file is left out, with a warning."""
        found = [task for file in sorted(self.path.glob(f"*{_SUFFIX}")) if (task := _read(file)) is not None]
        return sorted(found, key=lambda stored: stored.task.key)

    def write(self, tasks: Sequence[StoredTask]) -> None:
        """Keep what a run learnt; what was known of the same tasks before is merged as `StoredTask.over` says."""
        with self._locked():
            for new in tasks:
                file = self.path / (hashlib.sha256(new.task.key.encode()).hexdigest()[:32] + _SUFFIX)
                old = _read(file) if file.exists() else None
                kept = new if old is None or old.task.key != new.task.key else new.over(old)
                write_atomically(file, _to_bytes(kept))

    def _check(self) -> None:
        """Refuse a folder of something else; make a store of an empty one."""
        manifest = self.path / _MANIFEST
        if not manifest.exists():
            if any(entry.name != _LOCK for entry in self.path.iterdir()):
                raise StoreError(
                    f"`store` must be an empty folder or a store of familyseer; {str(self.path)!r} is neither"
                )
            fresh = {"format": _FORMAT, "version": _VERSION, **self._identity}
            write_atomically(manifest, json.dumps(fresh, indent=1).encode())
            return
        try:
            document: Any = json.loads(manifest.read_bytes())
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict) or document.get("format") != _FORMAT or document.get("version") != _VERSION:
            raise StoreError(
                f"{str(manifest)!r} must be the manifest of a store, version {_VERSION}; it is damaged or not one"
            )
        for name, mine in self._identity.items():
            if document.get(name) != mine:
                raise StoreError(
                    f"the store {str(self.path)!r} is for {name} {document.get(name)}, and this run's is {mine}. "
                    "Name another folder."
                )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait until no other run writes; the kernel frees the lock however a process ends."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as err:
            raise StoreError(
                f"the store {str(self.path)!r} must be a folder that can be written: {err.strerror}"
            ) from err
        try:
            self._wait(descriptor)
            yield
        except OSError as err:
            raise StoreError(f"the store {str(self.path)!r} cannot be used: {err.strerror or err}") from err
        finally:
            os.close(descriptor)

    def _wait(self, descriptor: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"another run has been writing the store {str(self.path)!r} for {_PATIENCE_SECONDS:.0f} s. "
                        "Wait for it to end, or name another folder."
                    ) from None
                time.sleep(0.05)


def _read(file: Path) -> StoredTask | None:
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"][()]))
            return StoredTask(
                task=_task(about["task"]),
                donors=tuple(_donor(entry) for entry in about["donors"]),
                tried=tuple(_tried(entry) for entry in about["tried"]),
                features=FeatureSet(rows=arrays["rows"], counts=arrays["counts"]),
                costs=_costs(arrays["costs"]),
            )
    except _DAMAGE as err:
        logger.warning("%s is damaged and left out: %s", file, err)
        return None


def _to_bytes(stored: StoredTask) -> bytes:
    kept = thin(stored.costs, _PROGRAMS, np.random.default_rng(0))
    features = stored.features[kept]
    tried = thin(np.array([one.cost for one in stored.tried]), _PROGRAMS, np.random.default_rng(0))
    about = {
        "task": asdict(stored.task),
        "donors": [_donor_json(donor) for donor in stored.donors],
        "tried": [_donor_json(one) | {"build": one.build_seconds} for one in (stored.tried[i] for i in tried)],
    }
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, about=np.array(json.dumps(about)), rows=features.rows, counts=features.counts, costs=stored.costs[kept]
    )
    return buffer.getvalue()


def _task(values: Any) -> Task:
    kinds = {field.name: field.type for field in fields(Task)}
    if not isinstance(values, dict) or values.keys() != kinds.keys():
        raise InvalidInputError(f"a task must have {', '.join(kinds)}; got {values!r:.200}")
    return Task(**{**values, "shape": tuple(whole_number("shape", extent, at_least=1) for extent in values["shape"])})


def _costs(values: NDArray[Any]) -> NDArray[np.float64]:
    costs = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(costs) & (costs > 0)):
        raise InvalidInputError("latencies must be numbers > 0")
    return costs


def _donor_json(donor: Donor | Tried) -> dict[str, Any]:
    choices = [
        {"factors": list(choice.factors)} if isinstance(choice, Tile) else {"index": choice.index, "of": choice.of}
        for choice in donor.sketch.choices
    ]
    return {"cost": donor.cost, "form": list(donor.sketch.form), "choices": choices}


def _donor(values: Any) -> Donor:
    return Donor(float(_costs(np.array(values["cost"]))), _sketch(values))


def _tried(values: Any) -> Tried:
    seconds = float(values["build"])
    if not 0 <= seconds < inf:
        raise InvalidInputError(f"seconds of a compilation must be a number ≥ 0; got {seconds}")
    return Tried(float(_costs(np.array(values["cost"]))), _sketch(values), seconds)


def _sketch(values: Any) -> Sketch:
    return Sketch(tuple(map(str, values["form"])), tuple(_choice(entry) for entry in values["choices"]))


def _choice(values: Any) -> Choice:
    if "factors" in values:
        return Tile(tuple(whole_number("factors", factor, at_least=1) for factor in values["factors"]))
    return Option(whole_number("index", values["index"], at_least=0), of=whole_number("of", values["of"], at_least=0))
