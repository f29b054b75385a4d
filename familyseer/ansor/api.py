# SPDX-License-Identifier: Apache-2.0
"""The names of ``tvm.auto_scheduler`` with familyseer's in their place."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tvm import auto_scheduler as _tvms_own

from familyseer.ansor.family_policy import FamilySketchPolicy
from familyseer.ansor.options import RecordToFile, TuningOptions
from familyseer.ansor.task_scheduler import TaskScheduler

_OURS = {
    "FamilySketchPolicy": FamilySketchPolicy,
    "RecordToFile": RecordToFile,
    "TaskScheduler": TaskScheduler,
    "TuningOptions": TuningOptions,
}
_NAMES = {
    name: value
    for name, value in vars(_tvms_own).items()
    if not name.startswith("_") and not isinstance(value, ModuleType)
} | _OURS

__all__ = sorted(_NAMES)
globals().update(_NAMES)


def __getattr__(name: str) -> Any:
    """Look up TVM's modules, such as ``feature``."""
    return getattr(_tvms_own, name)
