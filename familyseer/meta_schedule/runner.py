# SPDX-License-Identifier: Apache-2.0
"""Time built candidates on this machine in persistent worker processes."""

from __future__ import annotations

import functools
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from familyseer.errors import EnvironmentFailure, UnsupportedError
from familyseer.meta_schedule.options import non_negative_int, positive, positive_int
from familyseer.meta_schedule.pool import WorkerPool
from familyseer.meta_schedule.target import usable_cores
from familyseer.meta_schedule.timing import (
    EvaluatorSettings,
    Rivals,
    arguments_for,
    evaluator_settings,
    time_among,
    time_module,
)
from familyseer.meta_schedule.workers import Call, shared_template

__all__ = ["LocalRunner", "ProgramRunner", "concurrent_builds"]

_MAX_RSS_BYTES = 8 << 30


class ProgramRunner(ABC):
    """Where candidates are timed: what the measurer needs to know of it."""

    timeout: float
    settings: EvaluatorSettings

    @abstractmethod
    def make_pool(self, target: str) -> WorkerPool:
        """Return fresh workers that run what was built for `target` (JSON)."""

    @abstractmethod
    def call(self, path: str, args_info: Sequence[Any], target: str, rivals: Rivals | None) -> Call:
        """Return the request that times the artefact `path`; its value is the list of latencies in seconds.

        Without `rivals` it is timed in full, however slow.
        """

    @abstractmethod
    def spare_builders(self, n_parallel: int, target: str) -> int:
        """Return how many builds may go on while a candidate is timed without disturbing it."""

    def check(self) -> None:  # noqa: B027 (there is nothing to check on this machine)
        """Raise EnvironmentFailure when nothing can be run at all; called after a batch of which nothing ran."""


class LocalRunner(ProgramRunner):
    """Time candidates on this machine: one persistent worker process for the processor, or one per visible GPU.

    Parameters
    ----------
    timeout
        Seconds that loading and timing one candidate may take.
    number
        Runs that one repeat averages, at least.
    repeat
        Number of latencies to measure; one run before them is a warm-up.
    min_repeat_ms
        A repeat goes on until its runs took this long together.
    cooldown_interval
        Seconds to sleep between two candidates.
    enable_cpu_cache_flush
        Flush the processor's caches before each run; sets ``number=1`` and ``min_repeat_ms=0``, as Ansor does.
    device
        Index of the device. With 0, a GPU target uses every visible GPU; otherwise this one only.
    max_threads
        Threads that a kernel may use; 0 means the target's ``num-cores``.
    recycle_after
        Candidates after which a worker process is replaced.
    patience
        A candidate slower than this many times the best one of its task is not timed on after 10 ms, nor repeated;
        ``float("inf")`` times all alike.

    Raises
    ------
    InvalidInputError
        An option is not what it must be.
    """

    def __init__(
        self,
        timeout: float = 10,
        number: int = 3,
        repeat: int = 1,
        min_repeat_ms: float = 100,
        cooldown_interval: float = 0.0,
        enable_cpu_cache_flush: bool = False,
        device: int = 0,
        *,
        max_threads: int = 0,
        recycle_after: int = 2000,
        patience: float = 1.3,
    ) -> None:
        self.timeout = positive("timeout", timeout)
        self.settings = evaluator_settings(
            number, repeat, min_repeat_ms, cooldown_interval, enable_cpu_cache_flush, patience
        )
        self.device = non_negative_int("device", device)
        self.max_threads = non_negative_int("max_threads", max_threads)
        self.recycle_after = positive_int("recycle_after", recycle_after)
        shared_template()  # starts importing in the background

    def make_pool(self, target: str) -> WorkerPool:
        """Return one worker for a processor, one per GPU otherwise; EnvironmentFailure when there is no such device."""
        kind = device_kind(target)
        threads = {"TVM_NUM_THREADS": str(self._threads(target))}
        if kind == "cpu":
            environments, check = [threads], None
        elif kind == "cuda":
            environments = [{**threads, "CUDA_VISIBLE_DEVICES": name} for name in self._visible_gpus()]
            check = Call(check_device, (kind,))
        else:
            raise UnsupportedError(
                f"a local runner times targets llvm and cuda; got device kind {kind!r}. Use RPCRunner on that device."
            )
        return WorkerPool(
            environments,
            timeout=self.timeout + self.settings.cooldown_s,
            recycle_after=self.recycle_after,
            max_rss_bytes=_MAX_RSS_BYTES,
            check=check,
        )

    def _threads(self, target: str) -> int:
        return self.max_threads or _num_cores(target)

    def _visible_gpus(self) -> list[str]:
        names = visible_devices(os.environ, count_devices("cuda"))
        if self.device:
            names = names[self.device : self.device + 1]
        if not names:
            raise EnvironmentFailure(
                f"no CUDA device {self.device} is visible. Check `nvidia-smi` and CUDA_VISIBLE_DEVICES, or measure "
                "on another machine with RPCRunner."
            )
        return names

    def call(self, path: str, args_info: Sequence[Any], target: str, rivals: Rivals | None) -> Call:
        """Return the request that times the artefact `path`."""
        return Call(run_candidate, (path, json.dumps(args_info), device_kind(target), self.settings, rivals))

    def spare_builders(self, n_parallel: int, target: str) -> int:
        """Return how many builds may go on meanwhile: see `concurrent_builds`."""
        busy = self._threads(target) if device_kind(target) == "cpu" else 1
        return concurrent_builds(n_parallel=n_parallel, cores=usable_cores(), busy_cores=busy)


def concurrent_builds(*, n_parallel: int, cores: int, busy_cores: int) -> int:
    """Return how many of `n_parallel` builds may go on beside a timed kernel on `busy_cores` of `cores` cores.

    Zero means that the whole batch is built before the first candidate is run. That is also the answer when the spare
    cores are less than half of the builders: then building at full width first is quicker.

    Examples
    --------
    >>> concurrent_builds(n_parallel=2, cores=2, busy_cores=2)
    0
    >>> concurrent_builds(n_parallel=16, cores=16, busy_cores=4)
    12
    """
    spare = min(n_parallel, max(0, cores - busy_cores))
    return spare if 2 * spare >= n_parallel else 0


@functools.lru_cache(maxsize=64)
def device_kind(target: str) -> str:
    """Return the kind of device that `target` (JSON) runs on: ``"cpu"``, ``"cuda"`` or another kind's name."""
    import tvm

    kind = str(tvm.target.Target(target).kind.name)
    return "cpu" if kind in ("llvm", "c") else kind


@functools.lru_cache(maxsize=64)
def _num_cores(target: str) -> int:
    import tvm

    value = tvm.target.Target(target)
    return (
        int((value.host or value).attrs.get("num-cores", 0)) or int(value.attrs.get("num-cores", 0)) or usable_cores()
    )


def visible_devices(environment: Mapping[str, str], count: int) -> list[str]:
    """Return the names by which CUDA_VISIBLE_DEVICES can select each of the `count` visible devices."""
    named = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(i) for i in range(count)])[:count]


def count_devices(kind: str) -> int:
    """Return the number of visible devices, asked in a worker: a driver that is loaded here could not be forked."""
    worker = shared_template().fork({})
    try:
        return int(worker.ask(Call(devices_here, (kind,)), timeout=60).value)
    finally:
        worker.kill()


def devices_here(kind: str) -> int:
    """Count the devices of `kind`; this runs in a worker process."""
    import tvm

    count = 0
    while tvm.runtime.device(kind, count).exist:
        count += 1
    return count


def check_device(kind: str) -> None:
    """Touch the first device of `kind` and wait for it; this runs in a worker process."""
    import numpy as np
    import tvm

    device = tvm.runtime.device(kind, 0)
    tvm.runtime.tensor(np.ones(16, "float32"), device).numpy()
    device.sync()


def run_candidate(
    path: str, args_info: str, kind: str, settings: EvaluatorSettings, rivals: Rivals | None
) -> list[float]:
    """Load the artefact `path` and time it; this runs in a worker process."""
    import tvm

    time.sleep(settings.cooldown_s)
    module = tvm.runtime.load_module(path)
    device = tvm.runtime.device(kind, 0)
    args = arguments_for(args_info, kind, device)
    return time_among(rivals, lambda best: time_module(module, device, args, settings, best))
