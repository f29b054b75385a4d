# SPDX-License-Identifier: Apache-2.0
"""Programs of Ansor as the cost model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm.auto_scheduler.feature import get_per_store_features_from_states

from familyseer.features import FeatureSet

__all__ = ["extract_features"]


def extract_features(task: Any, states: Sequence[Any]) -> FeatureSet:
    """Return TVM's per-store features of states of one task; one that cannot be lowered has no stores.

    TVM puts the buffers of a store in an order that differs from call to call, so equal states may differ in features.
    """
    if not states:
        return FeatureSet.from_arrays([])
    rows = get_per_store_features_from_states(list(states), task)
    return FeatureSet.from_arrays([np.zeros((0, 0)) if not np.any(row) else row for row in rows])
