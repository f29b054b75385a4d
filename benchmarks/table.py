# SPDX-License-Identifier: Apache-2.0
"""Recorded tables of measurements: programs of several tasks with features and latencies, to study without a device."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from familyseer.errors import InvalidInputError
from familyseer.features import FeatureSet
from familyseer.files import write_atomically
from familyseer.task import Task

__all__ = ["RANDOM_PROGRAMS", "MeasuredTask", "load_origin", "load_table", "save_table"]

RANDOM_PROGRAMS = Path(__file__).parent / "data" / "random-programs-x86.npz"

_ORIGIN = "origin"  # the other arrays are called TASK/...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredTask:
    """One task and n of its programs.

    Parameters
    ----------
    task
        Its key is its name.
    features
        Of the n programs.
    seconds
        (n,) latencies; 1e10 for a failed program.
    rounds
        (n,) number, in the whole run, of the round in which each was measured; all 0 for programs of no search.
    """

    task: Task
    features: FeatureSet
    seconds: NDArray[np.float64]
    rounds: NDArray[np.int64]


def load_table(path: Path = RANDOM_PROGRAMS) -> list[MeasuredTask]:
    """Read a table, by name of task.

    A file without operators and structures takes both from the names: ``c3_56`` and ``c3_14`` are relatives.
    """
    with _refusing(path), np.load(path, allow_pickle=False) as data:
        names = sorted({name.split("/")[0] for name in data.files if "/" in name})
        return [_measured(name, data) for name in names]


def load_origin(path: Path = RANDOM_PROGRAMS) -> dict[str, Any] | None:
    """Return of what and where a table was measured: ``machine``, ``network``, …; None if it does not say."""
    with _refusing(path), np.load(path, allow_pickle=False) as data:
        return dict(json.loads(str(data[_ORIGIN]))) if _ORIGIN in data else None


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except (BadZipFile, EOFError, KeyError, OSError, ValueError) as err:
        raise InvalidInputError(
            f"{path} must be a table of measurements (python -m benchmarks.accuracy); {err}"
        ) from err


def _measured(name: str, data: Mapping[str, Any]) -> MeasuredTask:
    described = {part: str(data[f"{name}/{part}"]) for part in ("operator", "structure") if f"{name}/{part}" in data}
    relatives = re.sub(r"_.*|\d+$", "", name)
    weight = float(data[f"{name}/weight"]) if f"{name}/weight" in data else 1.0
    flops = float(data[f"{name}/flops"]) if f"{name}/flops" in data else 0.0
    return MeasuredTask(
        task=Task(
            key=name,
            name=name,
            weight=weight,
            flops=flops,
            operator=described.get("operator", relatives),
            structure=described.get("structure", relatives),
        ),
        features=FeatureSet(rows=data[f"{name}/rows"], counts=data[f"{name}/counts"]),
        seconds=np.asarray(data[f"{name}/seconds"], dtype=np.float64),
        rounds=np.asarray(data.get(f"{name}/rounds", np.zeros(len(data[f"{name}/seconds"]))), dtype=np.int64),
    )


def save_table(path: Path, tasks: Sequence[MeasuredTask], origin: Mapping[str, Any] | None = None) -> None:
    """Write a table atomically, with what `load_origin` is to return of it."""
    arrays: dict[str, Any] = {_ORIGIN: np.array(json.dumps(origin))} if origin else {}
    for measured in tasks:
        task, name = measured.task, measured.task.name
        arrays |= {
            f"{name}/rows": measured.features.rows,
            f"{name}/counts": measured.features.counts,
            f"{name}/seconds": measured.seconds,
            f"{name}/rounds": measured.rounds,
            f"{name}/operator": np.array(task.operator),
            f"{name}/structure": np.array(task.structure),
            f"{name}/weight": np.array(task.weight),
            f"{name}/flops": np.array(task.flops),
        }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())
