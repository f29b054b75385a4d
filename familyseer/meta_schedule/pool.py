# SPDX-License-Identifier: Apache-2.0
"""A pool of worker processes: every job has a time limit, and whatever it does costs that job alone."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from multiprocessing.connection import wait as wait_ready
from typing import Any

from familyseer.errors import EnvironmentFailure
from familyseer.meta_schedule.workers import Call, Template, Worker, shared_template

__all__ = ["Ending", "Outcome", "WorkerPool", "next_outcomes"]

logger = logging.getLogger(__name__)

_CHECK_SECONDS = 60.0
_CHECKS_BEFORE_QUARANTINE = 2


class Ending(Enum):
    """How a job ended."""

    DONE = "done"
    RAISED = "raised"
    TIMED_OUT = "timed out"
    DIED = "died"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of one job.

    Parameters
    ----------
    ending
        How it ended.
    value
        What the function returned, when it is `Ending.DONE`.
    text
        First lines of the failure otherwise.
    seconds
        Wall time since the worker was given the job.
    """

    ending: Ending
    value: Any = None
    text: str = ""
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class _Job:
    ident: int
    call: Call
    orphaned: bool = False


@dataclass(slots=True, kw_only=True)
class _Slot:
    environment: Mapping[str, str]
    worker: Worker | None = None
    job: _Job | None = None
    started: float = 0.0
    served: int = 0
    quarantined: bool = False


class WorkerPool:
    """Persistent workers that take jobs from one queue, so that a fast one does more.

    A worker that dies or exceeds the limit is replaced; a job is never tried twice, unless it was lost because the
    template died. Not thread-safe.

    Parameters
    ----------
    environments
        One mapping of environment variables per worker.
    timeout
        Seconds that a job may take; may be changed at any time, also for jobs under way.
    recycle_after
        Jobs after which a worker is replaced by a fresh one.
    max_rss_bytes
        Resident memory above which a worker is replaced once its job is done.
    imports
        Modules that the workers need beyond tvm itself.
    check
        Asked of every fresh worker. One that fails it twice is never used again (a broken device); when none is
        left, EnvironmentFailure is raised.
    """

    def __init__(
        self,
        environments: Sequence[Mapping[str, str]],
        *,
        timeout: float,
        recycle_after: int = 200,
        max_rss_bytes: int = 4 << 30,
        imports: tuple[str, ...] = (),
        check: Call | None = None,
    ) -> None:
        self._template: Template = shared_template()
        self._slots = [_Slot(environment=environment) for environment in environments]
        self._queue: deque[_Job] = deque()
        self.timeout = timeout
        self._recycle_after = recycle_after
        self._max_rss_bytes = max_rss_bytes
        self._imports = imports
        self._check = check

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that live now."""
        return [slot.worker.pid for slot in self._slots if slot.worker is not None]

    @property
    def unfinished(self) -> int:
        """Number of jobs that wait or run."""
        return len(self._queue) + sum(slot.job is not None for slot in self._slots)

    def submit(self, ident: int, call: Call) -> None:
        """Queue `call` under the caller's own number `ident`."""
        self._queue.append(_Job(ident=ident, call=call))

    def start_jobs(self, limit: int | None = None) -> list[tuple[int, Outcome]]:
        """Give queued jobs to idle workers, at most `limit` at a time; return those that died on the spot."""
        failed: list[tuple[int, Outcome]] = []
        usable = [slot for slot in self._slots if not slot.quarantined]
        for slot in usable[:limit]:
            while slot.job is None and not slot.quarantined and self._queue:
                failed += self._start_next(slot)
        if self._queue and all(slot.quarantined for slot in self._slots):
            raise EnvironmentFailure("none of the workers' devices works; see the log for what each of them said")
        return failed

    def _start_next(self, slot: _Slot) -> list[tuple[int, Outcome]]:
        if slot.worker is not None and not slot.worker.silent:
            self._end_worker(slot)
        worker = slot.worker or self._spawn(slot)
        if worker is None:
            return []
        job = slot.job = self._queue.popleft()
        slot.started = time.monotonic()
        worker.sock.settimeout(self.timeout)
        try:
            worker.send(job.call)
        except OSError:
            return self._bury(slot, Ending.DIED)
        return []

    def _spawn(self, slot: _Slot) -> Worker | None:
        for _ in range(_CHECKS_BEFORE_QUARANTINE):
            slot.worker, slot.served = self._template.fork(slot.environment, imports=self._imports), 0
            if self._check is None or self._passes(slot.worker, self._check):
                return slot.worker
            slot.worker = None
        slot.quarantined = True
        return None

    def _passes(self, worker: Worker, check: Call) -> bool:
        try:
            reply = worker.ask(check, timeout=_CHECK_SECONDS)
        except EnvironmentFailure as err:
            logger.warning("a worker failed its check: %s", err)
            return False
        if not reply.ok:
            logger.warning("a worker failed its check: %s", reply.value)
            worker.kill()
        return reply.ok

    def waiting_on(self) -> dict[Any, float]:
        """Map the socket of every busy worker to the moment (monotonic clock) at which its time is up."""
        return {
            slot.worker.sock: slot.started + self.timeout
            for slot in self._slots
            if slot.worker is not None and slot.job is not None
        }

    def collect(self, ready: Sequence[Any]) -> list[tuple[int, Outcome]]:
        """Return the outcomes of workers whose sockets are `ready` or whose time is up."""
        outcomes: list[tuple[int, Outcome]] = []
        now = time.monotonic()
        for slot in self._slots:
            if slot.worker is None or slot.job is None:
                continue
            if slot.worker.sock in ready:
                outcomes += self._take_reply(slot, slot.worker)
            elif now >= slot.started + self.timeout:
                outcomes += self._bury(slot, Ending.TIMED_OUT)
        return outcomes

    def _take_reply(self, slot: _Slot, worker: Worker) -> list[tuple[int, Outcome]]:
        try:
            reply = worker.receive()
        except (OSError, EOFError):
            return self._bury(slot, Ending.DIED)
        seconds = time.monotonic() - slot.started
        assert slot.job is not None
        ident, slot.job = slot.job.ident, None
        slot.served += 1
        if slot.served >= self._recycle_after or reply.rss_bytes > self._max_rss_bytes:
            self._end_worker(slot)
        if reply.ok:
            return [(ident, Outcome(ending=Ending.DONE, value=reply.value, seconds=seconds))]
        return [(ident, Outcome(ending=Ending.RAISED, text=reply.value, seconds=seconds))]

    def _end_worker(self, slot: _Slot) -> str:
        worker, slot.worker = slot.worker, None
        return worker.kill() if worker is not None else ""

    def _bury(self, slot: _Slot, ending: Ending) -> list[tuple[int, Outcome]]:
        assert slot.job is not None
        job, slot.job = slot.job, None
        seconds = time.monotonic() - slot.started
        orphaned = slot.worker is not None and slot.worker.orphaned
        text = self._end_worker(slot)
        if ending is Ending.DIED and orphaned and not job.orphaned:
            job.orphaned = True
            self._queue.appendleft(job)
            return []
        if ending is Ending.TIMED_OUT:
            text = f"took longer than {self.timeout:g} s and was killed"
        return [(job.ident, Outcome(ending=ending, text=text, seconds=seconds))]

    def kill(self) -> None:
        """Forget all jobs and end all workers; the next job starts new ones."""
        self._queue.clear()
        for slot in self._slots:
            slot.job = None
            self._end_worker(slot)

    close = kill


def next_outcomes(pools: Sequence[WorkerPool], limits: Sequence[int | None]) -> list[tuple[WorkerPool, int, Outcome]]:
    """Start what can be started in each pool, at most `limits` jobs in it, and wait until at least one job ends.

    Returns an empty list only when no pool has anything under way.
    """
    while True:
        outcomes = [
            (pool, *o) for pool, limit in zip(pools, limits, strict=True) if limit != 0 for o in pool.start_jobs(limit)
        ]
        deadlines = {sock: deadline for pool in pools for sock, deadline in pool.waiting_on().items()}
        if outcomes or not deadlines:
            return outcomes
        ready = wait_ready(list(deadlines), timeout=max(0.0, min(deadlines.values()) - time.monotonic()))
        outcomes = [(pool, *outcome) for pool in pools for outcome in pool.collect(ready)]
        if outcomes:
            return outcomes
