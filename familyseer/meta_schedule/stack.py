# SPDX-License-Identifier: Apache-2.0
"""Call a function with the C stack at several places: kernels that keep vectors there are fast at some and slow at others.

TVM's LLVM code generator aligns what a kernel keeps on the stack to 16 bytes, so that vectors of 32 or 64 bytes cross cache
lines or not as the caller's frame happens to lie. Where it lies differs from process to process (the system places stacks
at random), stays for the life of a process, and decides over a factor of up to 1.5: a search in a lucky process finds what
is slow in most others. What a user can expect is the mean over all places.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from math import fsum
from typing import TypeVar

__all__ = ["call_at", "places", "spread", "stack_pointer", "turns"]

Result = TypeVar("Result")

_PLACES = 8
_ALIGNMENT, _LINE, _PAGE = 16, 64, 4096  # bytes: what the ABI promises, a cache line, where addresses alias
_MOST_PADDING = 100
_RSP = 160  # offset of the stack pointer in glibc's ucontext_t on x86-64


def stack_pointer() -> int | None:
    """Return where the C stack of this thread ends at present; None where it cannot be told."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    try:
        getcontext = ctypes.CDLL(None).getcontext
    except AttributeError:  # a C library without it
        return None
    context = ctypes.create_string_buffer(4096)
    getcontext(context)
    return ctypes.c_uint64.from_buffer(context, _RSP).value


@cache
def places() -> tuple[int, ...]:
    """Return what to give to `call_at` for 8 places, spread over a page, that have each alignment of a cache line twice.

    One place where the stack cannot be told; other processors keep it aligned to their vectors.
    """
    reached: dict[int, int] = {}
    for padding in range(_MOST_PADDING):
        pointer = call_at(padding, stack_pointer)
        if pointer is None:
            return (0,)
        reached[padding] = pointer
    found: list[int] = []
    for number in range(_PLACES):
        alignment = number * _ALIGNMENT % _LINE
        wanted = reached[0] - number * _PAGE // _PLACES
        found.append(
            min(
                (padding for padding, pointer in reached.items() if pointer % _LINE == alignment),
                key=lambda padding: abs(reached[padding] - wanted),
            )
        )
    return tuple(found)


def call_at(place: int, function: Callable[[], Result]) -> Result:
    """Return ``function()``, called with the C stack moved down by so many arguments; it may raise."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def callback(*_: int) -> None:
        try:
            results.append(function())
        except BaseException as err:  # ctypes would print and forget it
            errors.append(err)

    ctypes.CFUNCTYPE(None, *[ctypes.c_long] * place)(callback)(*[0] * place)
    if errors:
        raise errors[0]
    return results[0]


def turns(runs: int, first: int) -> Iterator[tuple[int, int]]:
    """Share `runs` evenly among the places, beginning at turn number `first`; yield place and runs where there are any.

    Examples
    --------
    With 8 places, 11 runs are 2 each at three of them and 1 each at the others.
    """
    all_places = places()
    whole, rest = divmod(runs, len(all_places))
    for offset in range(len(all_places)):
        count = whole + (offset < rest)
        if count:
            yield all_places[(first + offset) % len(all_places)], count


def spread(run: Callable[[int], float]) -> Callable[[int], float]:
    """Return what shares runs among all places, also over several calls, where `run` has them all from one.

    Both take a number of runs and return the seconds that they took together.
    """
    done = 0

    def run_spread(runs: int) -> float:
        nonlocal done
        seconds = fsum(call_at(place, partial(run, count)) for place, count in turns(runs, done))
        done += runs
        return seconds

    return run_spread
