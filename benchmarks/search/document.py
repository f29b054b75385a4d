# SPDX-License-Identifier: Apache-2.0
"""The raw results on disk: written after every block, and refused where they do not belong together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import raw
from benchmarks.machine import machine_of, with_contributor
from familyseer.errors import InvalidInputError

__all__ = ["FORMAT", "is_timed", "load", "resume"]

FORMAT = "familyseer-search-benchmark"
_VERSION = 1
_BLOCK = ("network", "batch", "seed", "trials", "tasks", "runs", "schedules")


def load(path: Path) -> dict[str, Any]:
    """Read results; anything else raises `InvalidInputError`."""
    document = raw.load(path, "benchmarks.search", {})
    if document.get("format") != FORMAT or document.get("version") != _VERSION:
        raise InvalidInputError(f"{path} must be results of `python -m benchmarks.search`, version {_VERSION}")
    if not _is_whole(document):
        raise InvalidInputError(
            f"{path} must be whole results of `python -m benchmarks.search`, with machine, settings and blocks; it is "
            "damaged"
        )
    return document


def _is_whole(document: Mapping[str, Any]) -> bool:
    machine, commands, settings, blocks = (document.get(name) for name in ("machine", "commands", "settings", "blocks"))
    return (
        isinstance(machine, dict)
        and all(isinstance(machine.get(name), str) for name in ("commit", "command"))
        and all(name in machine for name in machine_of(machine))
        and isinstance(commands, list)
        and isinstance(settings, dict)
        and isinstance(blocks, list)
        and all(isinstance(block, dict) and all(name in block for name in _BLOCK) for block in blocks)
    )


def is_timed(block: Mapping[str, Any]) -> bool:
    """Return whether the schedules that the block's contestants found have been timed together."""
    return block["schedules"] is not None


def resume(path: Path, machine: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results in `path` to go on from, or an empty document; refuse those of other machines or settings.

    The present commit and command are added to those that the document names.
    """
    fresh = {
        "format": FORMAT,
        "version": _VERSION,
        "machine": dict(machine),
        "commands": [machine["command"]],
        "settings": dict(settings),
        "blocks": [],
    }
    if not path.exists():
        return fresh
    document = load(path)
    raw.require_equal(path, "machine", machine_of(document["machine"]), machine_of(machine))
    raw.require_equal(path, "setting", document["settings"], json.loads(json.dumps(settings)))
    return with_contributor(document, machine)
