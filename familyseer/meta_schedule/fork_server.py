# SPDX-License-Identifier: Apache-2.0
"""The template process: it imports tvm once, then forks worker processes on request, and this is what they run."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping
from typing import Any, NoReturn

import psutil

from familyseer.meta_schedule.failures import failure_text
from familyseer.meta_schedule.parsing import import_parsed

__all__ = ["receive_message", "send_message", "serve_forks"]

_PARENT_POLL_SECONDS = 1.0
_LENGTH = struct.Struct("<Q")
_PR_SET_PDEATHSIG = 1
_PRELOADED = ("tvm", "tvm.s_tir.transform", *(f"familyseer.meta_schedule.{m}" for m in ("builder", "runner", "rpc")))


def send_message(sock: socket.socket, message: object, fds: tuple[int, ...] = ()) -> None:
    """Send one length-prefixed pickle, and file descriptors along with its first bytes."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    if fds:
        socket.send_fds(sock, [_LENGTH.pack(len(data))], list(fds))
    else:
        sock.sendall(_LENGTH.pack(len(data)))
    sock.sendall(data)


def receive_bytes(sock: socket.socket, size: int) -> bytes:
    """Receive exactly `size` bytes; EOFError when the other side is gone."""
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(min(size - len(data), 1 << 20))
        if not chunk:
            raise EOFError("the other side closed the connection")
        data += chunk
    return bytes(data)


def receive_pickle(sock: socket.socket) -> bytes:
    """Receive one length-prefixed pickle without opening it."""
    return receive_bytes(sock, _LENGTH.unpack(receive_bytes(sock, _LENGTH.size))[0])


def receive_message(sock: socket.socket) -> Any:
    """Receive one length-prefixed pickle; EOFError when the other side is gone."""
    return pickle.loads(receive_pickle(sock))


def serve_forks(descriptor: int) -> NoReturn:
    """Be the template: fork a worker for each request until the caller is gone."""
    children: set[int] = set()
    signal.signal(signal.SIGTERM, lambda *_: _end_template(children))
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    parent = os.getppid()
    for module in _PRELOADED:
        importlib.import_module(module)
    _settle()
    try:
        while os.getppid() == parent:
            if select.select([control], [], [], _PARENT_POLL_SECONDS)[0]:
                _serve_one(control, children)
    except (EOFError, OSError):
        pass
    _end_template(children)


def _settle() -> None:
    gc.collect()
    gc.freeze()  # what was imported lives for ever: no collection in a worker looks at it again


def _serve_one(control: socket.socket, children: set[int]) -> None:
    head, fds, _, _ = socket.recv_fds(control, _LENGTH.size, 2)
    if not head:
        raise EOFError
    head += receive_bytes(control, _LENGTH.size - len(head))
    kind, *details = pickle.loads(receive_bytes(control, _LENGTH.unpack(head)[0]))
    if kind == "end":
        send_message(control, _end_child(details[0], children))
        return
    environment, imports = details
    try:
        for module in imports:
            if module not in sys.modules:
                import_parsed(module)
                _settle()
        pid = os.fork()
    except Exception as err:
        send_message(control, failure_text(err))
        return
    if pid == 0:
        control.close()
        _become_worker(fds, environment)
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)
    for fd in fds:
        os.close(fd)
    children.add(pid)
    send_message(control, pid)


def _end_child(pid: int, children: set[int]) -> int | None:
    if pid not in children:
        return None
    children.discard(pid)
    # A worker whose socket closed because it is dying must keep its own cause of death.
    deadline = time.monotonic() + 0.05
    ended, status = os.waitpid(pid, os.WNOHANG)
    while not ended and time.monotonic() < deadline:
        time.sleep(0.001)
        ended, status = os.waitpid(pid, os.WNOHANG)
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    if not ended:
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _end_template(children: set[int]) -> NoReturn:
    for pid in children:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    os._exit(0)


def _become_worker(fds: list[int], environment: Mapping[str, str]) -> NoReturn:
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(fds[1], 2)
    os.close(devnull)
    os.close(fds[1])
    os.environ.pop("OMP_NUM_THREADS", None)
    os.environ.update(environment)
    with contextlib.suppress(OSError, EOFError):
        _answer(socket.socket(fileno=fds[0]))
    os._exit(0)


def _answer(sock: socket.socket) -> None:
    process = psutil.Process()
    while True:
        request = receive_pickle(sock)
        try:
            function, args = pickle.loads(request)
            reply = (True, function(*args))
        except BaseException as err:
            reply = (False, failure_text(err))
        send_message(sock, (*reply, process.memory_info().rss))
