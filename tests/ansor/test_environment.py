# SPDX-License-Identifier: Apache-2.0
"""An environment that cannot work is refused before it crashes."""

from __future__ import annotations

import pytest

from familyseer.ansor import require_compatible_xgboost
from familyseer.errors import EnvironmentFailure


@pytest.mark.parametrize(
    ("modules", "xgboost", "exported"),
    [
        (["tvm", "xgboost"], "1.7.6", True),
        (["tvm", "xgboost"], "2.1.0", False),
        (["xgboost", "tvm"], "3.2.0", True),
    ],
)
def test_what_works_is_left_alone(modules, xgboost, exported):
    """An old xgboost, a TVM that keeps its symbols, an xgboost that came first."""
    require_compatible_xgboost(modules, xgboost, exported=exported)


@pytest.mark.parametrize("modules", [["tvm"], ["tvm", "xgboost"]])
def test_what_would_crash_is_refused(modules):
    """With what to do."""
    with pytest.raises(
        EnvironmentFailure, match=r"xgboost 2.1.0 would crash beside this libtvm.so.* Import xgboost before"
    ):
        require_compatible_xgboost(modules, "2.1.0", exported=True)
