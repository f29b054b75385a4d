# SPDX-License-Identifier: Apache-2.0
"""The API of ``tvm.auto_scheduler`` on whichever tuner the installed TVM has.

``from familyseer import auto_scheduler``, or ``from tvm import auto_scheduler`` where familyseer is installed.
On TVM 0.26 and 0.27 it is `familyseer.meta_schedule.api`, on TVM 0.8 to 0.19 `familyseer.ansor.api`.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from familyseer.engines import engine

if TYPE_CHECKING:
    from familyseer.meta_schedule.api import *  # noqa: F403


_api: ModuleType = importlib.import_module(f"familyseer.{engine()}.api")

__all__ = list(_api.__all__)
globals().update({name: getattr(_api, name) for name in __all__})


def __getattr__(name: str) -> Any:
    """Look up what the engine has beside its public names, or let it say why it has not."""
    return getattr(_api, name)
