# SPDX-License-Identifier: Apache-2.0
"""Targets: complete what a user left out, refuse what TVM cannot tune for, and write them canonically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import psutil
import tvm
from tvm.target import Target

from familyseer.errors import InvalidInputError

__all__ = ["host_target", "parse_target", "resolve_target", "target_json"]

_ADVICE = (
    'Give a dict such as {"kind": "llvm", "mcpu": "znver4", "num-cores": 8}, a tag such as "nvidia/nvidia-a100", '
    'or "llvm" for this machine.'
)


def host_target() -> Target:
    """Describe the CPU of this machine: its LLVM name and its number of physical cores."""
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return Target({"kind": "llvm", "mcpu": str(tvm.target.codegen.llvm_get_system_cpu()), "num-cores": cores})


def resolve_target(target: Target | str | Mapping[str, Any] | None) -> Target:
    """Turn what a user calls a target into one that can be tuned for.

    Parameters
    ----------
    target
        A `tvm.target.Target`, a dict, a tag, the string ``"llvm"`` (this machine) or ``"cuda"``; None means the current
        target scope if there is one, else this machine.

    Raises
    ------
    InvalidInputError
        When TVM cannot parse it, or a CPU target lacks ``num-cores``.
    """
    if target is None:
        target = Target.current(allow_none=True)
    if target is None or target == "llvm":
        return host_target()
    resolved = target if isinstance(target, Target) else parse_target(target)
    if resolved.kind.name in ("llvm", "c") and "num-cores" not in resolved.attrs:
        described = {**_plain(resolved.export()), "num-cores": psutil.cpu_count(logical=False) or 1}
        described = {key: value for key, value in described.items() if key not in ("tag", "keys")}
        raise InvalidInputError(
            f"`target` must say how many cores it has (num-cores); got {target!s}. For this machine write Target({described!r})."
        )
    return resolved


def parse_target(target: str | Mapping[str, Any]) -> Target:
    """Parse without completing anything."""
    if not isinstance(target, (str, Mapping)):
        raise InvalidInputError(f"`target` must be a Target, a dict or a string; got {target!r}. {_ADVICE}")
    try:
        return Target(dict(target) if isinstance(target, Mapping) else target)
    except (ValueError, TypeError, RuntimeError) as err:
        first = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
        raise InvalidInputError(
            f"`target` must be one that TVM can parse; got {target!r} ({first}). {_ADVICE}"
        ) from err


def target_json(target: Target) -> str:
    """Write a target as canonical JSON: sorted keys, no tag, so that equal targets give equal text."""
    described = _plain(target.export())
    described.pop("tag", None)
    return json.dumps(described, sort_keys=True)


def _plain(value: Any) -> Any:
    """Turn TVM containers into plain ones."""
    if isinstance(value, Mapping) or hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (str, bool, int, float)):
        return str(value) if isinstance(value, str) else value
    return [_plain(item) for item in value]
