# SPDX-License-Identifier: Apache-2.0
"""Programs of Ansor as the cost model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.auto_scheduler.feature import get_per_store_feature_names, get_per_store_features_from_states

from familyseer.features import FeatureSet

__all__ = ["extract_features"]

_BUFFERS = 5
"""That TVM tells of per store."""


def extract_features(task: Any, states: Sequence[Any]) -> FeatureSet:
    """Return TVM's per-store features of states of one task; one that cannot be lowered has no stores.

    TVM puts stores, and the buffers of a store that it touches as much, in an order that differs from call to call; here
    equal states have equal features.
    """
    if not states:
        return FeatureSet.from_arrays([])
    rows = get_per_store_features_from_states(list(states), task)
    found = FeatureSet.from_arrays([np.zeros((0, 0)) if not np.any(row) else row for row in rows])
    return FeatureSet(rows=_in_order(found), counts=found.counts) if len(found.rows) else found


def _in_order(found: FeatureSet) -> NDArray[np.float32]:
    """Return rows whose buffers, and then themselves within each program, are in an order that their values decide."""
    start, keys = _buffer_columns()
    columns, rows = slice(start, start + _BUFFERS * len(keys)), found.rows.copy()
    buffers = rows[:, columns].reshape(len(rows), _BUFFERS, len(keys))
    order = np.lexsort([-buffers[:, :, key] for key in reversed(keys)], axis=-1)
    rows[:, columns] = np.take_along_axis(buffers, order[:, :, None], axis=1).reshape(len(rows), -1)
    projection = rows @ np.random.default_rng(0).standard_normal(rows.shape[1])
    in_programs = np.lexsort([projection, np.repeat(np.arange(len(found)), found.counts)])
    return np.asarray(rows[in_programs])


@cache
def _buffer_columns() -> tuple[int, tuple[int, ...]]:
    """Return the column where buffers begin, and the features of a buffer in the order by which TVM sorts, then the others."""
    names = [str(name) for name in get_per_store_feature_names(_BUFFERS)]
    own = [name.removeprefix("B0.") for name in names if name.startswith("B0.")]
    first = [own.index("lines"), own.index("bytes")]
    return names.index(f"B0.{own[0]}"), (*first, *(key for key in range(len(own)) if key not in first))
