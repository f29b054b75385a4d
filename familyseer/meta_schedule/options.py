# SPDX-License-Identifier: Apache-2.0
"""Checks of measurement options, with one wording for all of them."""

from __future__ import annotations

from math import isfinite

from familyseer.errors import InvalidInputError

__all__ = ["non_negative", "non_negative_int", "positive", "positive_int"]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def positive(name: str, value: float) -> float:
    """Return `value`, which must be a number > 0."""
    if not (_is_number(value) and value > 0):
        raise InvalidInputError(f"`{name}` must be a number > 0; got {value!r}")
    return value


def factor(name: str, value: float) -> float:
    """Return `value`, which must be a number ≥ 1 or infinite."""
    if not value >= 1:
        raise InvalidInputError(f"`{name}` must be a number ≥ 1, inf for no limit; got {value!r}")
    return value


def non_negative(name: str, value: float) -> float:
    """Return `value`, which must be a number ≥ 0."""
    if not (_is_number(value) and value >= 0):
        raise InvalidInputError(f"`{name}` must be a number ≥ 0; got {value!r}")
    return value


def positive_int(name: str, value: int) -> int:
    """Return `value`, which must be an integer ≥ 1."""
    if not (_is_number(value) and isinstance(value, int) and value >= 1):
        raise InvalidInputError(f"`{name}` must be an integer ≥ 1; got {value!r}")
    return value


def non_negative_int(name: str, value: int) -> int:
    """Return `value`, which must be an integer ≥ 0."""
    if not (_is_number(value) and isinstance(value, int) and value >= 0):
        raise InvalidInputError(f"`{name}` must be an integer ≥ 0; got {value!r}")
    return value
