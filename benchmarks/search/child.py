# SPDX-License-Identifier: Apache-2.0
"""One contestant in a process of its own: it works only while it has the turn."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.search.job import PHASES, Job, Round, prepare

__all__ = ["Reporter", "serve"]


class Reporter:
    """Keeps the clock of a contestant, which stands still while others have the turn.

    Parameters
    ----------
    send
        Takes each `Round`.
    wait
        Returns when it is this contestant's turn again.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, send: Callable[[Round], None], wait: Callable[[], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._send, self._wait, self._clock = send, wait, clock
        self._best: dict[int, float] = {}
        self._started = clock()

    def __call__(
        self, task: int, phases: Mapping[str, float], costs: Sequence[float | None], trace_of: Callable[[int], str]
    ) -> None:
        """Tell of a round and wait."""
        valid = [(cost, i) for i, cost in enumerate(costs) if cost is not None]
        best, position = min(valid, default=(float("inf"), -1))
        better = best < self._best.get(task, float("inf"))
        if better:
            self._best[task] = best
        self._tell(task, phases, list(costs), trace_of(position) if better else None)

    def choose(self, task: int, phases: Mapping[str, float], trace: str) -> None:
        """Tell of a round without trials and wait."""
        self._tell(task, phases, [], trace)

    def _tell(
        self, task: int, phases: Mapping[str, float], latencies: Sequence[float | None], schedule: str | None
    ) -> None:
        stopped = self._clock()
        total = stopped - self._started
        seconds: dict[str, float] = {phase: phases.get(phase, 0.0) for phase in PHASES}
        seconds["other"] = total - sum(seconds.values())
        self._send(Round(task=task, seconds=seconds, latencies=latencies, schedule=schedule))
        self._wait()
        self._started += self._clock() - stopped


def serve(connection: Connection, job: Job, contestant: str, log: str, environment: Mapping[str, str]) -> None:
    """Prepare, then tune when told to; this is what a child process runs."""
    _redirect(log)
    _end_with_parent()
    os.environ.update(environment)
    try:
        from benchmarks.search.contestants import parse

        work, tuner = prepare(job), parse(contestant)
        connection.send(("ready", len(work.tasks)))
        connection.recv()
        tuner.tune(work, Reporter(lambda made: connection.send(("round", asdict(made))), connection.recv))
        connection.send(("done", None))
    except BaseException:
        connection.send(("failed", traceback.format_exc()))


def _end_with_parent() -> None:
    """End this process when its parent is gone, however that ended: nobody else would stop it."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _redirect(log: str) -> Any:
    """Let everything that this process and its children print go to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
