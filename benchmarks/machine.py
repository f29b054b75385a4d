# SPDX-License-Identifier: Apache-2.0
"""What a result must say of where it comes from."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import psutil

__all__ = ["describe"]


def describe() -> dict[str, Any]:
    """Return CPU, versions, commit and command; nothing that names the machine."""
    import tvm

    return {
        "cpu": str(tvm.target.codegen.llvm_get_system_cpu()),
        "cores": psutil.cpu_count(logical=False),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("apache-tvm", "apache-tvm-ffi", "xgboost", "numpy")},
        "commit": _commit(),
        "command": " ".join(["python -m", *_command()]),
    }


def _command() -> list[str]:
    spec = sys.modules["__main__"].__spec__
    return [spec.name.removesuffix(".__main__") if spec else "?", *sys.argv[1:]]


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
