# SPDX-License-Identifier: Apache-2.0
"""What makes ``from tvm import auto_scheduler`` work again: TVM runs `register` as it is imported.

Nothing of familyseer's engine is loaded until someone asks for that module, and a TVM that has its own keeps it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["has_own_auto_scheduler", "register", "unregister"]

_NAME = "tvm.auto_scheduler"
_OURS = "familyseer.auto_scheduler"


class _AliasFinder(MetaPathFinder):
    """Finds ``tvm.auto_scheduler`` after every other finder has failed to."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(_NAME, _AliasLoader()) if fullname == _NAME else None


class _AliasLoader(Loader):
    """Loads familyseer's module and leaves its identity alone."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(_OURS)
        self._spec, self._loader, self._package = module.__spec__, module.__loader__, module.__package__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__, module.__loader__, module.__package__ = self._spec, self._loader, self._package
        sys.modules[_NAME] = module


def register() -> None:
    """Offer ``tvm.auto_scheduler``; harmless when called again."""
    if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        sys.meta_path.append(_AliasFinder())


def unregister() -> None:
    """Offer it no more; who has imported it keeps it."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _AliasFinder)]
    module = sys.modules.get(_NAME)
    if module is not None and module is sys.modules.get(_OURS):
        del sys.modules[_NAME]


def has_own_auto_scheduler() -> bool:
    """Return whether the installed TVM has the module itself."""
    finders = [finder for finder in sys.meta_path if not isinstance(finder, _AliasFinder)]
    package = importlib.import_module("tvm")
    return any(
        finder.find_spec(_NAME, package.__path__) is not None for finder in finders if hasattr(finder, "find_spec")
    )
