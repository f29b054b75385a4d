# SPDX-License-Identifier: Apache-2.0
"""Measure the latency of a loaded module: arguments, and how many runs make a trustworthy number."""

from __future__ import annotations

import functools
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from familyseer.meta_schedule.options import non_negative, positive_int

__all__ = ["EvaluatorSettings", "allocate", "arguments_for", "evaluator_settings", "repeat_costs", "time_module"]

_CPU = 1  # DLPack's device type
_SLOW_KERNEL_SECONDS = 2e-3
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
    """

    number: int = 3
    repeat: int = 1
    min_repeat_ms: float = 100
    flush_cache: bool = False
    cooldown_s: float = 0.0

    def __post_init__(self) -> None:
        positive_int("number", self.number)
        positive_int("repeat", self.repeat)
        non_negative("min_repeat_ms", self.min_repeat_ms)
        non_negative("cooldown_interval", self.cooldown_s)


def evaluator_settings(
    number: int, repeat: int, min_repeat_ms: float, cooldown_interval: float, flush_cache: bool
) -> EvaluatorSettings:
    """Return the settings that Ansor's runner options mean."""
    return EvaluatorSettings(
        number=1 if flush_cache else number,
        repeat=repeat,
        min_repeat_ms=0 if flush_cache else min_repeat_ms,
        flush_cache=bool(flush_cache),
        cooldown_s=cooldown_interval,
    )


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


def time_module(module: Any, device: Any, args: Sequence[Any], settings: EvaluatorSettings) -> list[float]:
    """Return the latencies of `module`'s entry function in seconds, one per repeat."""
    evaluator = functools.partial(module.time_evaluator, module.entry_name, device)
    device.sync()
    if device.dlpack_device_type() != _CPU or settings.flush_cache:
        flush = "cache_flush_cpu_non_first_arg" if settings.flush_cache else ""
        timed = evaluator(settings.number, settings.repeat, min_repeat_ms=settings.min_repeat_ms, f_preproc=flush)
        return [float(cost) for cost in timed(*args).results]
    kernel = module[module.entry_name]
    slow = _call_many(kernel, args, 1) > _SLOW_KERNEL_SECONDS  # also the warm-up

    def run(count: int) -> float:
        nonlocal slow
        if not slow:
            return float(evaluator(count, 1)(*args).mean * count)
        # Called from here the evaluator's own warm-up is saved, and a microsecond of overhead is below 0.1 %.
        seconds = _call_many(kernel, args, count)
        slow = seconds > count * _SLOW_KERNEL_SECONDS
        return seconds

    return repeat_costs(run, settings)


def _call_many(kernel: Callable[..., Any], args: Sequence[Any], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        kernel(*args)
    return time.perf_counter() - started


def repeat_costs(run: Callable[[int], float], settings: EvaluatorSettings) -> list[float]:
    """Return seconds per run, one for each repeat of at least `number` runs and `min_repeat_ms`.

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
    costs = []
    for _ in range(settings.repeat):
        runs, seconds = settings.number, run(settings.number)
        while seconds < settings.min_repeat_ms / 1e3:
            missing = (settings.min_repeat_ms / 1e3 - seconds) / max(seconds / runs, 1e-9)
            more = min(100 * runs, max(1, ceil(1.01 * missing)))
            runs, seconds = runs + more, seconds + run(more)
        costs.append(seconds / runs)
    return costs
