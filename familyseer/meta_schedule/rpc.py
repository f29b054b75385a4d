# SPDX-License-Identifier: Apache-2.0
"""Time candidates on another machine that TVM's RPC tracker lends, or on this one behind a tracker of our own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any, NoReturn

from familyseer.errors import EnvironmentFailure, InvalidInputError
from familyseer.meta_schedule.options import non_negative_int, positive, positive_int
from familyseer.meta_schedule.pool import WorkerPool
from familyseer.meta_schedule.runner import ProgramRunner, device_kind
from familyseer.meta_schedule.timing import (
    EvaluatorSettings,
    Rivals,
    allocate,
    evaluator_settings,
    time_among,
    time_module,
)
from familyseer.meta_schedule.workers import Call, Worker, shared_template

__all__ = ["LocalRPCMeasureContext", "RPCRunner", "Tracker"]

_TRACKER_SECONDS = 10.0
_REGISTER_SECONDS = 30.0
_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """Address of an RPC tracker and the key of the devices wanted from it."""

    key: str
    host: str
    port: int

    def __post_init__(self) -> None:
        if not (isinstance(self.key, str) and self.key):
            raise InvalidInputError(f"`key` must be a non-empty string; got {self.key!r}")
        if not (isinstance(self.host, str) and self.host):
            raise InvalidInputError(f"`host` must be a non-empty string; got {self.host!r}")
        if positive_int("port", self.port) > 65535:
            raise InvalidInputError(f"`port` must be an integer from 1 to 65535; got {self.port!r}")

    def servers(self) -> int:
        """Return how many servers are registered under the key.

        Raises
        ------
        EnvironmentFailure
            No tracker answers at this address.
        """
        from tvm.rpc import base

        magic = struct.pack("<i", base.RPC_TRACKER_MAGIC)
        try:
            with socket.create_connection((self.host, self.port), timeout=_TRACKER_SECONDS) as sock:
                sock.sendall(magic)
                if base.recvall(sock, 4) != magic:
                    self._fail("what answers there is not an RPC tracker")
                base.sendjson(sock, [base.TrackerCode.SUMMARY])
                summary = base.recvjson(sock)[1]
        except (OSError, ValueError) as err:
            self._fail(f"it cannot be reached ({err})", err)
        names = [str(info.get("key", "")).split(":", 1)[-1] for info in summary["server_info"]]
        return names.count(self.key)

    def require_server(self) -> None:
        """Raise EnvironmentFailure unless a server is registered under the key."""
        if self.servers() == 0:
            raise EnvironmentFailure(
                f"no server is registered under key {self.key!r} at the RPC tracker {self.host}:{self.port}. Start one "
                f"on the device: python -m tvm.exec.rpc_server --tracker {self.host}:{self.port} --key {self.key}"
            )

    def _fail(self, what: str, cause: Exception | None = None) -> NoReturn:
        raise EnvironmentFailure(
            f"RPC tracker {self.host}:{self.port} (device key {self.key!r}): {what}. Start one: "
            f"python -m tvm.exec.rpc_tracker --host 0.0.0.0 --port {self.port}, or ask it for its state: "
            f"python -m tvm.exec.query_rpc_tracker --host {self.host} --port {self.port}"
        ) from cause


class RPCRunner(ProgramRunner):
    """Time candidates on devices that an RPC tracker lends.

    Candidates are built here, uploaded and timed there; each session runs in a worker process of this machine, so
    that a connection that hangs costs one candidate.

    Parameters
    ----------
    key
        Name under which the devices are registered at the tracker.
    host, port
        Address of the tracker.
    priority
        Priority of the requests, larger is more urgent.
    n_parallel
        Devices to use at a time.
    timeout
        Seconds that one candidate's session may take; the wait for a free device may take as long again.
    number, repeat, min_repeat_ms, cooldown_interval, enable_cpu_cache_flush, patience
        As for `LocalRunner`.
    device
        Index of the device on the remote machine.

    Raises
    ------
    InvalidInputError
        An option is not what it must be.
    EnvironmentFailure
        The tracker cannot be reached, or has no server under `key`.
    """

    def __init__(
        self,
        key: str,
        host: str,
        port: int,
        priority: int = 1,
        n_parallel: int = 1,
        timeout: float = 10,
        number: int = 3,
        repeat: int = 1,
        min_repeat_ms: float = 100,
        cooldown_interval: float = 0.0,
        enable_cpu_cache_flush: bool = False,
        device: int = 0,
        *,
        patience: float = 1.3,
    ) -> None:
        self.tracker = Tracker(key=key, host=host, port=port)
        self.priority = non_negative_int("priority", priority)
        self.n_parallel = positive_int("n_parallel", n_parallel)
        self.timeout = positive("timeout", timeout)
        self.settings = evaluator_settings(
            number, repeat, min_repeat_ms, cooldown_interval, enable_cpu_cache_flush, patience
        )
        self.device = non_negative_int("device", device)
        self.check()
        shared_template()  # starts importing in the background

    def check(self) -> None:
        """Raise EnvironmentFailure unless the tracker has a server under the key."""
        self.tracker.require_server()

    def make_pool(self, target: str) -> WorkerPool:
        """Return workers that each hold one session at a time."""
        patience = 2 * self.timeout + _GRACE_SECONDS + self.settings.cooldown_s
        return WorkerPool([{}] * self.n_parallel, timeout=patience, recycle_after=200)

    def call(self, path: str, args_info: Sequence[Any], target: str, rivals: Rivals | None) -> Call:
        """Return the request that uploads the artefact `path` and times it."""
        where = (self.tracker, self.priority, self.timeout, device_kind(target), self.device)
        return Call(run_remotely, (path, json.dumps(args_info), where, self.settings, rivals))

    def spare_builders(self, n_parallel: int, target: str) -> int:
        """Return `n_parallel`, unless the device is this machine: building disturbs only kernels that run here."""
        here = self.tracker.host in ("localhost", "127.0.0.1", "::1", socket.gethostname())
        return 0 if here else n_parallel


def run_remotely(
    path: str,
    args_info: str,
    where: tuple[Tracker, int, float, str, int],
    settings: EvaluatorSettings,
    rivals: Rivals | None,
) -> list[float]:
    """Upload the artefact `path`, time it and delete it there; this runs in a worker process."""
    from tvm.rpc import connect_tracker

    tracker, priority, timeout, kind, index = where
    time.sleep(settings.cooldown_s)
    session = connect_tracker(tracker.host, tracker.port).request(
        tracker.key, priority=priority, session_timeout=timeout
    )
    started = time.monotonic()
    name = os.path.basename(path)
    try:
        session.upload(path, name)
        device = session.device(kind, index)
        fill = session.get_function("tvm.contrib.random.random_fill_for_measure")
        args = [allocate(spec, device, fill) for spec in json.loads(args_info)]
        module = session.load_module(name)
        costs = time_among(rivals, lambda best: time_module(module, device, args, settings, best))
    except Exception as err:
        if time.monotonic() - started >= 0.95 * timeout:
            raise TimeoutError(f"the session on the device took longer than {timeout:g} s") from err
        raise
    with contextlib.suppress(Exception):
        for leftover in (name, f"{name}.so"):
            session.remove(leftover)
    return costs


class LocalRPCMeasureContext:
    """A tracker and a server on 127.0.0.1, and a runner that uses them.

    They end with ``close``, at the end of a ``with`` block, when the object is deleted, or with the process.

    Parameters
    ----------
    priority, n_parallel, timeout, number, repeat, min_repeat_ms, cooldown_interval, enable_cpu_cache_flush, device, patience
        As for `RPCRunner`.

    Attributes
    ----------
    runner
        The `RPCRunner`.
    """

    def __init__(
        self,
        priority: int = 1,
        n_parallel: int = 1,
        timeout: float = 10,
        number: int = 3,
        repeat: int = 1,
        min_repeat_ms: float = 0,
        cooldown_interval: float = 0.0,
        enable_cpu_cache_flush: bool = False,
        device: int = 0,
        *,
        patience: float = 1.3,
    ) -> None:
        self._workers: list[Worker] = []
        try:
            port = self._serve(Call(start_tracker))
            self.tracker = Tracker(key=f"$local$device${port}", host="127.0.0.1", port=port)
            self._serve(Call(start_server, (self.tracker,)))
            self._await_server()
            options = (priority, n_parallel, timeout, number, repeat, min_repeat_ms, cooldown_interval)
            self.runner = RPCRunner(
                self.tracker.key, "127.0.0.1", port, *options, enable_cpu_cache_flush, device, patience=patience
            )
        except BaseException:
            self.close()
            raise

    def _serve(self, call: Call) -> int:
        worker = shared_template().fork({})
        self._workers.append(worker)
        reply = worker.ask(call, timeout=_REGISTER_SECONDS)
        if not reply.ok:
            raise EnvironmentFailure(f"the local RPC tracker or server did not start: {reply.value}")
        return int(reply.value)

    def _await_server(self) -> None:
        deadline = time.monotonic() + _REGISTER_SECONDS
        while self.tracker.servers() == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.tracker.require_server()

    def close(self) -> None:
        """Stop the server and the tracker."""
        while self._workers:
            self._workers.pop().kill()

    def __enter__(self) -> LocalRPCMeasureContext:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


def start_tracker() -> int:
    """Start a tracker in this worker process and return its port."""
    from tvm.rpc.tracker import PopenTrackerServerState

    PopenTrackerServerState.current = PopenTrackerServerState("127.0.0.1", 9000, 10000, silent=True)
    return int(PopenTrackerServerState.current.port)


def start_server(tracker: Tracker) -> int:
    """Start a server in this worker process, registered at `tracker`, and return its port."""
    ports: SimpleQueue[int] = SimpleQueue()
    Thread(target=_keep_serving, args=(tracker, ports), daemon=True).start()
    return ports.get(timeout=_REGISTER_SECONDS)


def _keep_serving(tracker: Tracker, ports: SimpleQueue[int]) -> None:
    from tvm.rpc.server import PopenRPCServerState

    home = os.getcwd()
    while True:
        address = (tracker.host, tracker.port)
        server = PopenRPCServerState("127.0.0.1", 9000, 10000, tracker_addr=address, key=tracker.key, silent=True)
        ports.put(int(server.port))
        # TVM's server ends with the first session that crashes, and leaves this process in that session's folder.
        server.thread.join()
        server.sock.close()
        os.chdir(home)
