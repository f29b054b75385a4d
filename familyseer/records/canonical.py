# SPDX-License-Identifier: Apache-2.0
"""Canonical texts of opaque JSON: equal traces and equal targets have equal texts."""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from familyseer.errors import InvalidInputError

__all__ = ["canonical_json", "canonical_target", "parse_json", "same_target", "trace_digest"]


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text, refusing the NaN and Infinity that Python's parser lets through.

    Raises
    ------
    InvalidInputError
        It is not JSON; the message says where it goes wrong.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        raise InvalidInputError(f"not JSON: {err}") from err


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def canonical_json(value: Any) -> str:
    """Return the shortest JSON text of `value`, with sorted keys: equal values give equal texts.

    Raises
    ------
    InvalidInputError
        `value` is not JSON, or holds NaN or an infinity, which JSON cannot express.
    """
    try:
        return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as err:
        raise InvalidInputError(f"`value` must be JSON with finite numbers; {err}") from err


def trace_digest(trace: Any) -> str:
    """Return 32 hexadecimal digits that are equal for equal traces.

    Parameters
    ----------
    trace
        A `MeasureRecord.trace`, that is canonical JSON text, or the JSON value itself.

    Examples
    --------
    >>> trace_digest('[["Split"],[4]]') == trace_digest([["Split"], [4]])
    True
    """
    text = trace if isinstance(trace, str) else canonical_json(trace)
    return blake2b(text.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=256)  # a log repeats its one target on every line
def canonical_target(target: str) -> str:
    """Return the target's JSON with sorted keys and without tags, which name a target but do not change it.

    Raises
    ------
    InvalidInputError
        `target` is not a JSON object.

    Examples
    --------
    >>> canonical_target('{"tag": "raspberry-pi", "num-cores": 4, "kind": "llvm"}')
    '{"kind":"llvm","num-cores":4}'
    """
    try:
        parsed = parse_json(target)
    except InvalidInputError as err:
        raise InvalidInputError(f"`target` must be a JSON object; got {target!r}") from err
    if not isinstance(parsed, dict):
        raise InvalidInputError(f"`target` must be a JSON object; got {target!r}")
    return canonical_json(_untagged(parsed))


def _untagged(value: Any) -> Any:
    if isinstance(value, dict):  # a target's host is a target of its own
        return {key: _untagged(inner) for key, inner in value.items() if key != "tag"}
    return value


def same_target(a_json: str, b_json: str) -> bool:
    """Whether two targets, as JSON, are the same but for tags and the order of keys.

    Raises
    ------
    InvalidInputError
        One of them is not a JSON object.
    """
    return canonical_target(a_json) == canonical_target(b_json)
