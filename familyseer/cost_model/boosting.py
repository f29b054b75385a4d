# SPDX-License-Identifier: Apache-2.0
"""Trains several boosters of xgboost at once, evaluates them, reads them from a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from familyseer.errors import ModelFileError

__all__ = ["Boosting", "Evaluate", "Floats", "evaluate", "read_booster", "train"]

Floats = NDArray[np.float64]
Evaluate = Callable[[NDArray[np.float32]], Floats]
"""Predictions (m, r) of m boosters for r rows of a matrix (r, d)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Boosting:
    """One training of m boosters on r rows.

    Parameters
    ----------
    matrix, labels, weights
        (r, d), (r,) and (r,).
    params, rounds
        Of `xgboost.train`.
    objective, error
        Gradient and hessian, and the error by which to stop, from the predictions of all rows; None for squared error.
    patience
        Stop after so many rounds without a smaller `error` on the training rows.
    members
        Boosters to train, m; they differ by their seeds alone.
    """

    matrix: NDArray[np.float32]
    labels: Floats
    weights: Floats
    params: dict[str, Any] = field(default_factory=dict)
    rounds: int
    objective: Callable[[Floats], tuple[Floats, Floats]] | None = None
    error: Callable[[Floats], float] | None = None
    patience: int | None = None
    members: int = 1


def train(boosting: Boosting, *, seed: int, threads: int, priors: Sequence[Any] = ()) -> tuple[Any, ...]:
    """Train all boosters.

    Parameters
    ----------
    seed
        Of the run; each booster draws from one of its own.
    threads
        Of each booster. xgboost lets go of Python's lock, so several are trained at once; a booster each is faster than all
        threads on one, and as repeatable.
    priors
        Boosters to go on from, in turn.
    """

    def make(member: int) -> Any:
        prior = priors[member % len(priors)] if priors else None
        return _boost(boosting, {"seed": seed * boosting.members + member, "nthread": threads}, prior)

    with ThreadPoolExecutor(_workers(boosting.members, os.cpu_count() or 1)) as pool:
        return tuple(pool.map(make, range(boosting.members)))


def _boost(boosting: Boosting, settings: dict[str, Any], prior: Any) -> Any:
    import xgboost  # here, so that importing familyseer stays fast

    data = xgboost.DMatrix(boosting.matrix, boosting.labels, weight=boosting.weights, nthread=settings["nthread"])
    options: dict[str, Any] = {}
    objective, error = boosting.objective, boosting.error
    if objective is not None:
        options["obj"] = lambda predictions, _: objective(predictions)
    if error is not None and boosting.patience is not None:
        options["custom_metric"] = lambda predictions, _: ("error", error(predictions))
        options |= {"evals": [(data, "train")], "early_stopping_rounds": boosting.patience, "verbose_eval": False}
    params = {**boosting.params, **settings, "disable_default_eval_metric": True}
    # A booster itself would bring its configuration along, with which xgboost does not seed its generator anew.
    start = None if prior is None else prior.save_raw(raw_format="ubj")
    return xgboost.train(params, data, boosting.rounds, xgb_model=start, **options)


def _workers(boosters: int, cores: int) -> int:
    """Return how many boosters to train at once: as many as there are cores, or all where that would leave cores idle.

    Examples
    --------
    >>> [_workers(boosters, cores=2) for boosters in (1, 3, 6)]
    [1, 3, 2]
    """
    return min(boosters, cores) if boosters % cores == 0 else boosters


def evaluate(boosters: Sequence[Any], matrix: NDArray[np.float32]) -> Floats:
    """Return the predictions (m, r) of m boosters for r rows of a matrix (r, d)."""
    import xgboost

    data = xgboost.DMatrix(matrix, nthread=1)
    return np.array([booster.predict(data) for booster in boosters], dtype=np.float64)


def read_booster(path: str | Path, payload: bytes, columns: int) -> Any:
    """Return the booster that a part of a file holds.

    Raises
    ------
    ModelFileError
        It holds none, or one for another number of columns.
    """
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    try:
        booster.load_model(bytearray(payload))
        found = booster.num_features()
    except (xgboost.core.XGBoostError, ValueError) as err:
        raise ModelFileError(f"{str(path)!r} must hold a booster that xgboost can read; its payload is none") from err
    if found != columns:
        raise ModelFileError(f"{str(path)!r} must hold a booster for {columns} columns; got one for {found}")
    return booster
