# SPDX-License-Identifier: Apache-2.0
"""What a result must say of where it comes from."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

__all__ = ["command", "commit", "describe", "machine_of", "today", "with_contributor"]

_COMPARED = ("cpu", "cores", "python", "versions")
_STAND_INS = {"xgboost": "xgboost-cpu"}  # distributions of the same code


def describe() -> dict[str, Any]:
    """Return CPU, GPU if there is one, versions, commit and command; nothing that names the machine."""
    import tvm

    return {
        "cpu": str(tvm.target.codegen.llvm_get_system_cpu()),
        "cores": psutil.cpu_count(logical=False),
        **_gpu(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("apache-tvm", "apache-tvm-ffi", "xgboost", "numpy")},
        "commit": commit(),
        "command": command(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return version(_STAND_INS[name])


def _gpu() -> dict[str, str]:
    """Return the model of the first GPU, if there is one, asked without loading its driver into this process."""
    if shutil.which("nvidia-smi") is None:
        return {}
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
    return {"gpu": names[0].strip()} if names else {}


def machine_of(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return, of what `describe` returned, that which must be equal for measurements to be compared."""
    compared = (*_COMPARED, "gpu") if "gpu" in described else _COMPARED
    return {name: described.get(name) for name in compared}


def with_contributor(document: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Return results to go on from, with the commit and command of `present` added to those that they name.

    Results of one command may name it with their machine alone.

    Examples
    --------
    >>> there = {"machine": {"commit": "abc"}, "commands": ["python -m x"]}
    >>> with_contributor(there, {"commit": "def", "command": "python -m y"})
    {'machine': {'commit': 'abc, def'}, 'commands': ['python -m x', 'python -m y']}
    """
    commits = dict.fromkeys([*document["machine"]["commit"].split(", "), present["commit"]])
    earlier = document["commands"] if "commands" in document else [document["machine"]["command"]]
    commands = dict.fromkeys([*earlier, present["command"]])
    return {
        **document,
        "machine": document["machine"] | {"commit": ", ".join(commits)},
        "commands": list(commands),
    }


def command() -> str:
    """Return the command line that this process was started with; of a file elsewhere only its name."""
    spec = sys.modules["__main__"].__spec__
    given = [Path(argument).name if Path(argument).is_absolute() else argument for argument in sys.argv[1:]]
    return " ".join(["python -m", spec.name.removesuffix(".__main__") if spec else "?", *given])


def commit(root: Path = Path(__file__).parent.parent) -> str:
    """Return the commit of the repository at `root`, with ``-dirty`` where its code was changed since."""
    name = _git(root, "rev-parse", "--short", "HEAD")
    if not name:
        return "unknown"
    data = [f":(exclude)benchmarks/{folder}" for folder in ("data", "results")]
    changes = _git(root, "status", "--porcelain", "--", "familyseer", "benchmarks", *data)
    return f"{name}-dirty" if changes else name


def today() -> str:
    """Return the date, as 2026-01-31, UTC."""
    return datetime.now(timezone.utc).date().isoformat()


def _git(root: Path, *arguments: str) -> str:
    try:
        found = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git
        return ""
    return found.stdout.strip()
