# SPDX-License-Identifier: Apache-2.0
"""The engine on ``tvm.auto_scheduler``, which TVM has from 0.8 to 0.19."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from familyseer.errors import EnvironmentFailure

__all__ = ["require_compatible_xgboost"]

_REGEX = "_ZNSt8__detail8_ScannerIcE14_M_scan_normalEv"  # of libstdc++'s headers; xgboost has it from version 2 on


def require_compatible_xgboost(modules: Sequence[str], xgboost: str, *, exported: bool) -> None:
    """Refuse an xgboost that would crash in this process.

    Some builds of libtvm.so export parts of their own C++ library to all that is loaded after them. xgboost 2 then calls
    TVM's ``std::regex`` on objects of its own, and the process dies.

    Parameters
    ----------
    modules
        What has been imported, in order.
    xgboost
        Its version.
    exported
        Whether libtvm.so exports ``std::regex``.

    Raises
    ------
    EnvironmentFailure
        It would crash.
    """
    before = "xgboost" in modules and modules.index("xgboost") < modules.index("tvm")
    if exported and not before and int(xgboost.split(".")[0]) >= 2:
        raise EnvironmentFailure(
            f"xgboost {xgboost} would crash beside this libtvm.so, which exports parts of its own C++ library. "
            "Import xgboost before tvm, or: pip install 'xgboost<2'"
        )


def _installed_xgboost() -> str:
    for name in ("xgboost", "xgboost-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            pass
    raise EnvironmentFailure("familyseer needs xgboost for its cost models. Try: pip install 'xgboost<2'")


if "tvm" in sys.modules and sys.platform == "linux":
    require_compatible_xgboost(list(sys.modules), _installed_xgboost(), exported=hasattr(ctypes.CDLL(None), _REGEX))
