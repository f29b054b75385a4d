# SPDX-License-Identifier: Apache-2.0
"""Targets: complete what a user left out, refuse what TVM cannot tune for, and write them canonically."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import psutil
import tvm
from tvm.target import Target

from familyseer.errors import InvalidInputError

__all__ = ["as_target", "host_target", "parse_target", "resolve_target", "target_json", "usable_cores"]

_LIMITS = ("max_threads_per_block", "max_shared_memory_per_block")  # what MetaSchedule's rules for GPUs read

_ADVICE = (
    'Give a dict such as {"kind": "llvm", "mcpu": "znver4", "num-cores": 8}, a tag such as "nvidia/nvidia-a100", '
    'or "llvm" for this machine.'
)


def host_target() -> Target:
    """Describe the CPU of this machine: its LLVM name and its number of physical cores."""
    cpu = str(tvm.target.codegen.llvm_get_system_cpu())
    return Target({"kind": "llvm", "mcpu": cpu, "num-cores": usable_cores()})


def usable_cores() -> int:
    """Return the number of physical cores that this process may use; a hyperthread's sibling is not a free core."""
    logical = psutil.cpu_count(logical=True) or 1
    physical = psutil.cpu_count(logical=False) or logical
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical  # macOS has none
    return max(1, min(physical, allowed * physical // logical))


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
        When TVM cannot parse it, a CPU target lacks ``num-cores``, or a GPU target lacks limits which no visible device
        tells.
    """
    resolved = as_target(target)
    kind = str(resolved.kind.name)
    if kind == "c":
        raise InvalidInputError(f"`target` must be of a kind that MetaSchedule tunes for; got {resolved!s}. {_ADVICE}")
    if kind == "llvm":
        _check_cores(resolved)
    return _with_limits(resolved) if "gpu" in resolved.keys else resolved


def as_target(target: Target | str | Mapping[str, Any] | None) -> Target:
    """Parse what a user calls a target; None and ``"llvm"`` as `resolve_target` says, nothing else completed."""
    if target is None:
        target = Target.current(allow_none=True)
    if isinstance(target, Target):
        return target
    return host_target() if target is None or target == "llvm" else parse_target(target)


def _check_cores(resolved: Target) -> None:
    cores = resolved.attrs.get("num-cores")
    if cores is not None and int(cores) < 1:
        raise InvalidInputError(f"`target` must have at least one core (num-cores); got {resolved!s}")
    if cores is None:
        described = {**json.loads(target_json(resolved)), "num-cores": usable_cores()}
        described.pop("keys", None)
        raise InvalidInputError(
            f"`target` must say how many cores it has (num-cores); got {resolved!s}. For this machine write Target({described!r})."
        )


def _with_limits(resolved: Target) -> Target:
    """Fill in the limits of a GPU that the target leaves out, from the device of this machine."""
    missing = [name for name in _LIMITS if name not in resolved.attrs]
    if not missing:
        return resolved
    device = tvm.runtime.device(str(resolved.kind.name))
    if not device.exist:
        raise InvalidInputError(
            f"`target` must have {' and '.join(missing)} where no such device is visible; got {resolved!s}. "
            'Add them to it as a dict, or name the device by its tag, such as "nvidia/nvidia-a100".'
        )
    described = {**json.loads(target_json(resolved)), **{name: int(getattr(device, name)) for name in missing}}
    return Target(described)


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
    """Write a target as canonical JSON: sorted keys, no tags, so that equal targets give equal text."""
    return json.dumps(_plain(target.export()), sort_keys=True)


def _plain(value: Any) -> Any:
    """Turn TVM containers into plain ones, without tags: they name a target, or its host, but do not change it."""
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items() if key != "tag"}
    if isinstance(value, (str, bool, int, float)):
        return str(value) if isinstance(value, str) else value
    return [_plain(item) for item in value]
