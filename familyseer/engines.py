# SPDX-License-Identifier: Apache-2.0
"""Which tuner the installed TVM has, and the switch that makes it know familyseer's policies."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any, Literal

from familyseer import plugin
from familyseer.errors import EnvironmentFailure

__all__ = ["Engine", "engine", "register", "unregister"]

Engine = Literal["meta_schedule", "ansor"]
"""The subpackage that works on the installed TVM."""


def engine() -> Engine:
    """Return the engine for the installed TVM.

    Raises
    ------
    EnvironmentFailure
        TVM cannot be imported, or has no tuner that familyseer knows.
    """
    try:
        tvm = importlib.import_module("tvm")
    except (ImportError, OSError, RuntimeError) as err:
        reason = (str(err).strip().splitlines() or [type(err).__name__])[0]
        raise EnvironmentFailure(
            f"familyseer needs Apache TVM with a tuner, but `import tvm` failed: {reason}. Try: pip install apache-tvm"
        ) from err
    if _has("tvm.s_tir.meta_schedule"):
        return "meta_schedule"
    if plugin.has_own_auto_scheduler():
        return "ansor"
    version = getattr(tvm, "__version__", "of unknown version")
    raise EnvironmentFailure(
        f"familyseer needs a TVM with a tuner: apache-tvm 0.26 or 0.27, or TVM 0.8 to 0.19 with tvm.auto_scheduler; "
        f"the installed TVM {version} has neither. Is it a runtime only?"
    )


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, AttributeError, ValueError):  # its parent is missing or broken
        return False


def register() -> None:
    """Let the installed TVM's own API understand familyseer's policy names; harmless when called again.

    Where TVM has ``tvm.auto_scheduler``, its `TaskScheduler` takes ``search_policy="sketch.xgb.family_op"`` from now on.
    Where it has none any more, ``from tvm import auto_scheduler`` gives familyseer's.
    """
    _switch().register()


def unregister() -> None:
    """Undo `register`."""
    _switch().unregister()


def _switch() -> Any:
    return importlib.import_module("familyseer.ansor.registration") if engine() == "ansor" else plugin
