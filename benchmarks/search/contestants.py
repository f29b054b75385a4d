# SPDX-License-Identifier: Apache-2.0
"""The contestants by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from benchmarks.search.job import Contestant
from familyseer.errors import InvalidInputError
from familyseer.families.keys import POLICY_NAMES

if TYPE_CHECKING:
    from benchmarks.search.ours import Ours

__all__ = ["BASELINE", "NAMES", "check", "ours", "parse", "trials_of"]

BASELINE = "stock"
_MORE_TRIALS = 4


def _stock() -> Contestant:
    from benchmarks.search.stock import Stock

    return Stock()


def _published() -> Contestant:
    from benchmarks.search.published import Published

    return Published()


def _diffusion() -> Contestant:
    from benchmarks.search.diffusion import Diffusion

    return Diffusion()


_OTHERS: Mapping[str, Callable[[], Contestant]] = {
    BASELINE: _stock,
    "familyseer_published": _published,
    "bayesian_code_diffusion": _diffusion,
}

NAMES = (*_OTHERS, *POLICY_NAMES)
"""All contestants; each of our learnt policies can be followed by ``:`` and ablations, joined by ``+``."""


def check(name: str) -> None:
    """Raise `InvalidInputError` unless `name` is a contestant's, possibly with ablations."""
    base, _, flags = name.partition(":")
    if base not in NAMES or (flags and base in _OTHERS):
        from benchmarks.search.ours import FLAGS

        raise InvalidInputError(
            f"a contestant must be one of {', '.join(NAMES)}, the learnt policies optionally with ablations such as "
            f"'sketch.xgb:pack_sum+stock_builder' (of {', '.join(FLAGS)}); got {name!r}"
        )
    if flags:
        parse(name)


def trials_of(name: str, trials: int) -> int:
    """Return how many trials a contestant has where the others have `trials`.

    Examples
    --------
    >>> trials_of("stock", 288), trials_of("sketch.xgb.family_op:more_trials", 288)
    (288, 1152)
    """
    return trials * (_MORE_TRIALS if "more_trials" in name.partition(":")[2].split("+") else 1)


def parse(name: str) -> Contestant:
    """Make the contestant of this name."""
    return _OTHERS[name]() if name in _OTHERS else ours(name)


def ours(name: str) -> Ours:
    """Make the contestant of this name, which must be one of our policies, possibly with ablations."""
    from benchmarks.search.ours import Ours

    policy, _, flags = name.partition(":")
    return Ours(policy, frozenset(flags.split("+")) if flags else frozenset())
