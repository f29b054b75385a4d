# SPDX-License-Identifier: Apache-2.0
"""Imports modules that parse TVMScript ten times as fast as Python would.

For each function that it parses, TVM looks at the whole stack with `inspect`, which for every frame without a source file goes
through all modules there are. ``tvm.s_tir.tensor_intrin``, which every search asks for, has hundreds of functions: a minute,
where many modules are loaded.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["TENSOR_INTRINSICS", "import_parsed"]

TENSOR_INTRINSICS = "tvm.s_tir.tensor_intrin"
"""What MetaSchedule imports before its first search."""

_NO_FILES = {
    "<frozen importlib._bootstrap>",
    "<frozen importlib._bootstrap_external>",
    "<ast>",
}  # the last is TVM's parser


def import_parsed(module: str) -> None:
    """Import a module, of those that parse TVMScript; nothing where it is loaded."""
    if module not in sys.modules:
        with _frames_without_files_known():
            importlib.import_module(module)


@contextmanager
def _frames_without_files_known() -> Iterator[None]:
    """Let `inspect` find at once the module of code that comes from no file, instead of searching in vain."""
    known: dict[str, str] = getattr(inspect, "modulesbyfile", {})
    frame, names = inspect.currentframe(), set(_NO_FILES)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<"):
            names.add(frame.f_code.co_filename)
        frame = frame.f_back
    added = names - known.keys()
    known.update(dict.fromkeys(added, "importlib"))
    try:
        yield
    finally:
        for name in added:
            known.pop(name, None)
