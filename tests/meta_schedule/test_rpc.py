# SPDX-License-Identifier: Apache-2.0
"""Candidates are measured through an RPC tracker, and an unusable one is named with what to do."""

from __future__ import annotations

import socket

import pytest

from familyseer.errors import EnvironmentFailure, InvalidInputError
from familyseer.measure import MeasureErrorNo
from familyseer.meta_schedule.builder import LocalBuilder
from familyseer.meta_schedule.measurer import ProgramMeasurer
from familyseer.meta_schedule.rpc import LocalRPCMeasureContext, RPCRunner, Tracker
from familyseer.meta_schedule.timing import EvaluatorSettings
from tests.meta_schedule.measuring import HANG, SEGFAULT, all_gone, misbehave, requests, wait_until

OK = MeasureErrorNo.NO_ERROR


@pytest.fixture(scope="module")
def context():
    """Return a tracker and server on loopback that serve all tests of this file."""
    with LocalRPCMeasureContext(number=1, repeat=2, timeout=3) as made:
        yield made


@pytest.fixture
def unused_port():
    """Return a port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_measures_through_the_tracker(context):
    """A batch is built here and timed by the server."""
    with ProgramMeasurer(LocalBuilder(n_parallel=2), context.runner) as subject:
        results = subject.measure(requests(3))

    assert [(r.error_no, len(r.costs)) for r in results] == [(OK, 2)] * 3
    assert all(1e-6 < cost < 0.05 for r in results for cost in r.costs)


@pytest.mark.parametrize(
    ("body", "error_no"),
    [(HANG, MeasureErrorNo.RUN_TIMEOUT), (SEGFAULT, MeasureErrorNo.RUNTIME_DEVICE)],
    ids=["hang", "segfault"],
)
def test_a_bad_kernel_costs_one_candidate(context, body, error_no):
    """A kernel that hangs or crashes on the server fails alone: the server is there for the next."""
    with ProgramMeasurer(LocalBuilder(n_parallel=2, build_func=misbehave(body)), context.runner) as subject:
        results = subject.measure(requests(3))

    assert [r.error_no for r in results] == [OK, error_no, OK], [r.error_msg for r in results]
    assert results[1].error_msg


def test_builds_overlap_only_with_a_remote_device(context, monkeypatch):
    """Building beside timing is fine unless the device is this machine."""
    assert context.runner.spare_builders(4, "{}") == 0
    remote = Tracker(key="board", host="board.example", port=9190)
    monkeypatch.setattr(context.runner, "tracker", remote)
    assert context.runner.spare_builders(4, "{}") == 4


def test_no_tracker(unused_port):
    """A tracker that is not there is named with host, port, key and the command that starts one."""
    with pytest.raises(EnvironmentFailure) as caught:
        RPCRunner("board", "127.0.0.1", unused_port)

    text = str(caught.value)
    assert f"RPC tracker 127.0.0.1:{unused_port} (device key 'board'): it cannot be reached" in text
    assert f"python -m tvm.exec.rpc_tracker --host 0.0.0.0 --port {unused_port}" in text


def test_not_a_tracker():
    """Something else that listens on the port is told apart from a tracker."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        from threading import Thread

        def answer():
            connection, _ = server.accept()
            connection.sendall(b"HTTP/1.1 400\r\n")
            connection.close()

        thread = Thread(target=answer)
        thread.start()
        with pytest.raises(EnvironmentFailure, match="what answers there is not an RPC tracker"):
            RPCRunner("board", "127.0.0.1", port)
        thread.join()


def test_no_server(context):
    """A key without a server is named with the command that starts one."""
    with pytest.raises(EnvironmentFailure) as caught:
        RPCRunner("board", "127.0.0.1", context.tracker.port)

    assert "no server is registered under key 'board'" in str(caught.value)
    assert f"python -m tvm.exec.rpc_server --tracker 127.0.0.1:{context.tracker.port} --key board" in str(caught.value)


def test_a_server_that_goes_ends_the_run():
    """When no candidate of a batch could run because the server is gone, the run ends with a clear error."""
    heard = []
    with LocalRPCMeasureContext(timeout=1) as context:
        server = context._workers[1]
        with ProgramMeasurer(LocalBuilder(n_parallel=1), context.runner) as subject:
            server.kill()
            with pytest.raises(EnvironmentFailure, match="no server is registered"):
                subject.measure(requests(1), lambda i, r: heard.append(r))

    assert [r.costs for r in heard] == [()]


def test_context_leaves_nothing():
    """Tracker and server end with the context, and when it is deleted."""
    context = LocalRPCMeasureContext()
    pids = [worker.pid for worker in context._workers]
    assert not all_gone(pids)
    del context

    assert len(pids) == 2
    assert wait_until(lambda: all_gone(pids))


def test_listens_on_loopback_only(context):
    """Nobody outside this machine can reach the tracker or the server."""
    import psutil

    addresses = {
        connection.laddr.ip
        for worker in context._workers
        for connection in psutil.Process(worker.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_context_has_the_defaults_of_ansor(context):
    """The context's runner does not stretch repeats unless it is told to."""
    assert context.runner.settings == EvaluatorSettings(number=1, repeat=2, min_repeat_ms=0, patience=1.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "127.0.0.1", 9190), r"`key` must be a non-empty string; got ''"),
        (("k", None, 9190), r"`host` must be a non-empty string; got None"),
        (("k", "127.0.0.1", "9190"), r"`port` must be an integer ≥ 1; got '9190'"),
        (("k", "127.0.0.1", 99999), r"`port` must be an integer from 1 to 65535; got 99999"),
        (("k", "127.0.0.1", 9190, -1), r"`priority` must be an integer ≥ 0; got -1"),
        (("k", "127.0.0.1", 9190, 1, 0), r"`n_parallel` must be an integer ≥ 1; got 0"),
    ],
)
def test_refuses(arguments, message):
    """A bad option is named with its requirement and value, before anything is contacted."""
    with pytest.raises(InvalidInputError, match=message):
        RPCRunner(*arguments)
