# SPDX-License-Identifier: Apache-2.0
"""Measure the latency of a loaded module: arguments, and how many runs make a trustworthy number."""

from __future__ import annotations

import functools
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf, prod
from statistics import median
from typing import Any

from familyseer.meta_schedule.options import factor, non_negative, positive_int
from familyseer.meta_schedule.stack import spread

__all__ = [
    "EvaluatorSettings",
    "Rivals",
    "allocate",
    "arguments_for",
    "evaluator_settings",
    "repeat_costs",
    "time_among",
    "time_module",
]

_CPU = 1  # DLPack's device type
_SLOW_KERNEL_SECONDS = 5e-4
_PROBE_MS = 10.0
_ARGUMENT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorSettings:
    """How long and how often a candidate is run.

    Parameters
    ----------
    number
        Runs of one repeat, at least.
    repeat
        Latencies to measure.
    min_repeat_ms
        Duration of one repeat, at least.
    flush_cache
        Whether to flush the processor's caches, all but the first argument, before every repeat.
    cooldown_s
        Seconds to sleep before a candidate is run.
    patience
        A candidate slower than this many times the best one of its task is not timed on once that is clear: after
        10 ms, or after one run that took longer. Infinite: every candidate is timed alike.
    """

    number: int = 3
    repeat: int = 1
    min_repeat_ms: float = 100
    flush_cache: bool = False
    cooldown_s: float = 0.0
    patience: float = inf

    def __post_init__(self) -> None:
        positive_int("number", self.number)
        positive_int("repeat", self.repeat)
        non_negative("min_repeat_ms", self.min_repeat_ms)
        non_negative("cooldown_interval", self.cooldown_s)
        factor("patience", self.patience)


def evaluator_settings(
    number: int, repeat: int, min_repeat_ms: float, cooldown_interval: float, flush_cache: bool, patience: float = inf
) -> EvaluatorSettings:
    """Return the settings that Ansor's runner options mean."""
    return EvaluatorSettings(
        number=1 if flush_cache else number,
        repeat=repeat,
        min_repeat_ms=0 if flush_cache else min_repeat_ms,
        flush_cache=bool(flush_cache),
        cooldown_s=cooldown_interval,
        patience=patience,
    )


@dataclass(frozen=True, slots=True)
class Rivals:
    """What a candidate is up against: the task that it belongs to, and the task's lowest latency so far in seconds."""

    task: str
    best: float


_bests: dict[str, float] = {}


def time_among(rivals: Rivals | None, time_it: Callable[[float], list[float]]) -> list[float]:
    """Time a candidate with the lowest latency of its task that this process has seen or been told; infinite for no rivals.

    Candidates of one batch are sent before the first of them is timed, so their sender cannot know.
    """
    if rivals is None:
        return time_it(inf)
    best = min(rivals.best, _bests.get(rivals.task, inf))
    costs = time_it(best)
    _bests[rivals.task] = min(best, median(costs))
    return costs


_arguments: OrderedDict[tuple[str, str], tuple[int, list[Any]]] = OrderedDict()


def arguments_for(args_info: str, kind: str, device: Any) -> list[Any]:
    """Return random-filled arguments, the same ones for the same shapes, as long as memory for them lasts."""
    import tvm

    key = (args_info, kind)
    if key not in _arguments:
        specs = json.loads(args_info)
        fill = tvm.get_global_func("tvm.contrib.random.random_fill_for_measure")
        _arguments[key] = sum(_bytes_of(spec) for spec in specs), [allocate(spec, device, fill) for spec in specs]
    _arguments.move_to_end(key)
    while len(_arguments) > 1 and sum(size for size, _ in _arguments.values()) > _ARGUMENT_BYTES:
        _arguments.popitem(last=False)
    return _arguments[key][1]


def _bytes_of(spec: Sequence[Any]) -> int:
    return int(prod(spec[2])) * 8


def allocate(spec: Sequence[Any], device: Any, fill: Callable[[Any], None]) -> Any:
    """Return a tensor on `device` as `spec` (kind, type, shape) says, filled at random by `fill`."""
    import tvm

    _, dtype, shape = spec
    tensor = tvm.runtime.empty(tuple(shape), dtype, device)
    fill(tensor)
    return tensor


def time_module(
    module: Any, device: Any, args: Sequence[Any], settings: EvaluatorSettings, best: float = inf
) -> list[float]:
    """Return the latencies of `module`'s entry function in seconds, one per repeat.

    On this machine's processor each is the mean over several places of the stack (see `familyseer.meta_schedule.stack`).
    `best` is the lowest latency of the task so far: a candidate that is too slow beside it (`patience`) has fewer repeats.
    """
    limit = best * settings.patience
    evaluator = functools.partial(module.time_evaluator, module.entry_name, device)
    device.sync()
    if device.dlpack_device_type() != _CPU or settings.flush_cache:
        flush = "cache_flush_cpu_non_first_arg" if settings.flush_cache else ""

        def timed(number: int, repeat: int, min_repeat_ms: float) -> list[float]:
            chosen = evaluator(number, repeat, min_repeat_ms=ceil(min_repeat_ms), f_preproc=flush)
            return [float(cost) for cost in chosen(*args).results]

        if limit < inf:
            probe = timed(1, 1, min(_PROBE_MS, settings.min_repeat_ms))
            if probe[0] > limit:
                return probe
        return timed(settings.number, settings.repeat, settings.min_repeat_ms)
    kernel = module[module.entry_name]
    slow = _call_many(kernel, args, 1) > _SLOW_KERNEL_SECONDS  # also the warm-up

    def run(count: int) -> float:
        nonlocal slow
        if not slow:
            return float(evaluator(count, 1)(*args).mean * count)
        # Called from here the evaluator's own warm-up is saved, and a microsecond of overhead is at most 0.2 %.
        seconds = _call_many(kernel, args, count)
        slow = seconds > count * _SLOW_KERNEL_SECONDS
        return seconds

    return repeat_costs(spread(run), settings, limit)


def _call_many(kernel: Callable[..., Any], args: Sequence[Any], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        kernel(*args)
    return time.perf_counter() - started


def repeat_costs(run: Callable[[int], float], settings: EvaluatorSettings, limit: float = inf) -> list[float]:
    """Return seconds per run, one for each repeat of at least `number` runs and `min_repeat_ms`.

    Timing ends as soon as a run takes more than `limit` seconds on the average of 10 ms.

    Like TVM's evaluator, except that runs which turn out to have been too few are counted and topped up, not thrown
    away: a repeat that falls short by 1 % costs TVM another 162 % of its time.

    Parameters
    ----------
    run
        Runs the kernel as many times as it is told and returns the seconds that they took together.

    Examples
    --------
    >>> repeat_costs(lambda n: n * 0.25, EvaluatorSettings(number=3, repeat=2, min_repeat_ms=1000))
    [0.25, 0.25]
    """
    costs: list[float] = []
    while len(costs) < settings.repeat:
        runs = 1 if limit < inf else settings.number
        seconds = run(runs)
        if limit < inf:
            runs, seconds = _topped_up(
                run, runs, seconds, at_least=1, goal=min(_PROBE_MS, settings.min_repeat_ms) / 1e3
            )
            if seconds / runs > limit:
                return [*costs, seconds / runs]
        runs, seconds = _topped_up(run, runs, seconds, at_least=settings.number, goal=settings.min_repeat_ms / 1e3)
        costs.append(seconds / runs)
    return costs


def _topped_up(
    run: Callable[[int], float], runs: int, seconds: float, *, at_least: int, goal: float
) -> tuple[int, float]:
    """Run on until there are enough runs and they took long enough; return both."""
    while runs < at_least or seconds < goal:
        missing = max(at_least - runs, ceil(1.01 * (goal - seconds) / max(seconds / runs, 1e-9)))
        more = min(100 * runs, max(1, missing))
        runs, seconds = runs + more, seconds + run(more)
    return runs, seconds
