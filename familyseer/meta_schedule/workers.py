# SPDX-License-Identifier: Apache-2.0
"""Isolated worker processes that cost milliseconds: a template process imports tvm once and forks them on request.

The template is started with a plain command line, so a user's script needs no ``if __name__ == "__main__"`` guard.
Each worker is given one end of a socket and answers requests on it; the other end stays with the caller, who may kill
the worker at any moment and ask for another.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import wait as wait_ready
from typing import IO, Any, NamedTuple

from familyseer.errors import EnvironmentFailure, UnsupportedError
from familyseer.meta_schedule.failures import first_lines
from familyseer.meta_schedule.fork_server import receive_message, send_message

__all__ = ["Call", "Reply", "Template", "Worker", "shared_template", "stop_shared_template"]

logger = logging.getLogger(__name__)

_START_SECONDS = 180.0  # importing tvm takes 2 s of CPU on a free machine
_MAX_STARTS = 3
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # Where PyTorch is installed, `import tvm` would have it look for a GPU, and after that no forked process can use one.
    "TVM_FFI_DISABLE_TORCH_C_DLPACK": "1",
}
# The parent's sys.path comes along because a script may have extended it.
_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]);"
    "from familyseer.meta_schedule.fork_server import serve_forks; serve_forks(int(sys.argv[1]))"
)


class Call(NamedTuple):
    """A module-level function and its plain arguments: what a worker is asked to do."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()


class Reply(NamedTuple):
    """What a worker answers: the value, or the text of the exception that its function raised."""

    ok: bool
    value: Any
    rss_bytes: int


class Worker:
    """The caller's end of one forked process.

    Parameters
    ----------
    template
        The template that forked it, which alone can learn how it ended.
    pid
        Its process id, which is also its process group.
    sock
        Requests go in and replies come out here.
    stderr
        The file that its standard error goes to.
    """

    def __init__(self, template: Template, pid: int, sock: socket.socket, stderr: IO[bytes]) -> None:
        self.template = template
        self.pid = pid
        self.sock = sock
        self._stderr = stderr
        self._generation = template.generation

    @property
    def orphaned(self) -> bool:
        """Whether the template process that forked it is gone, which ends the worker too."""
        return not self.template.alive or self.template.generation != self._generation

    @property
    def silent(self) -> bool:
        """Whether there is nothing to receive; an idle worker that is not silent is dead."""
        return not wait_ready([self.sock], timeout=0)

    def send(self, call: Call) -> None:
        """Ask for `call`; OSError when the worker is dead."""
        self._stderr.truncate(0)
        send_message(self.sock, call)

    def receive(self) -> Reply:
        """Wait for the reply; EOFError or OSError when the worker died."""
        return Reply(*receive_message(self.sock))

    def ask(self, call: Call, *, timeout: float) -> Reply:
        """Send and wait; a worker that stays silent for `timeout` seconds is killed and raises EnvironmentFailure."""
        self.sock.settimeout(timeout)
        try:
            self.send(call)
            reply = self.receive()
        except (OSError, EOFError) as err:
            raise EnvironmentFailure(f"a worker process did not answer: {self.kill()}") from err
        self.sock.settimeout(None)
        return reply

    def kill(self) -> str:
        """Kill the process and its children, and say how it had ended if it was dead already."""
        if self._stderr.closed:
            return ""
        self.sock.close()
        code = None if self.orphaned else self.template.end(self.pid)
        if code is None:
            _kill_group(self.pid)
        with self._stderr:
            self._stderr.seek(0, os.SEEK_END)
            self._stderr.seek(max(0, self._stderr.tell() - 4096))
            printed = self._stderr.read().decode(errors="replace").strip()
        return first_lines(f"{_ending(code)}\n{printed}".strip())


def _kill_group(pid: int) -> None:
    # Only while `pid` still leads a group of its own: a process id that was given away again must not be hit.
    with contextlib.suppress(OSError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)


def _ending(code: int | None) -> str:
    if code is None:
        return "worker process is gone"
    if code >= 0:
        return f"worker process exited with status {code}"
    name = signal.Signals(-code).name
    hint = " (out of memory, or killed from outside)" if name == "SIGKILL" else ""
    return f"worker process was killed by {name}{hint}"


class Template:
    """The process that workers are forked from; it is started at once and imports in the background.

    It ends when `close` is called or when the process that made it is gone, however that ended, and takes its
    workers along. A template that dies is restarted twice; after that `fork` raises EnvironmentFailure.

    Attributes
    ----------
    generation
        How often it has been started.
    """

    def __init__(self) -> None:
        if not hasattr(os, "fork") or not hasattr(socket, "send_fds"):
            raise UnsupportedError("measuring needs Linux or macOS; use an RPC tracker from one of them")
        self._lock = threading.Lock()
        self.generation = 0
        self._closed = False
        self._start()

    def _start(self) -> None:
        self.generation += 1
        ours, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 (closed by _stop)
        command = [sys.executable, "-c", _BOOTSTRAP, str(theirs.fileno()), json.dumps(sys.path)]
        with theirs:
            self._process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=os.environ | _ENVIRONMENT,
                start_new_session=True,
            )
        ours.settimeout(_START_SECONDS)
        self._control = ours

    @property
    def pid(self) -> int:
        """Process id of the template itself."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the template runs."""
        return not self._closed and self._process.poll() is None

    def fork(self, environment: Mapping[str, str], *, imports: tuple[str, ...] = ()) -> Worker:
        """Fork a worker that has `environment` on top of ours, importing `imports` in the template first.

        Raises
        ------
        EnvironmentFailure
            The template cannot be started, or dies again and again.
        """
        while True:
            ours, theirs = socket.socketpair()
            stderr = tempfile.TemporaryFile("a+b")  # noqa: SIM115 (the Worker closes it)
            message = ("fork", dict(environment), imports)
            with theirs:
                try:
                    answer = self._request(message, (theirs.fileno(), stderr.fileno()))
                except (OSError, EOFError) as err:
                    ours.close()
                    stderr.close()
                    self._restart(err)
                    continue
            if isinstance(answer, str):
                raise EnvironmentFailure(f"a worker process could not be made: {answer}")
            return Worker(self, answer, ours, stderr)

    def end(self, pid: int) -> int | None:
        """Kill worker `pid` with its children; its exit code (negative: signal) or None when that is unknown."""
        try:
            code: int | None = self._request(("end", pid))
        except (OSError, EOFError):
            return None
        return code

    def _request(self, message: object, fds: tuple[int, ...] = ()) -> Any:
        with self._lock:
            send_message(self._control, message, fds)
            return receive_message(self._control)

    def _restart(self, cause: Exception) -> None:
        if self._closed:
            raise EnvironmentFailure("the worker processes have been shut down") from cause
        printed = self._stop()
        if self.generation >= _MAX_STARTS:
            raise EnvironmentFailure(
                f"the process that worker processes are forked from died {self.generation} times. It printed:\n{printed}"
            ) from cause
        logger.warning("the template process died and is restarted; it printed: %s", printed)
        self._start()

    def _stop(self) -> str:
        if self._log.closed:
            return ""
        self._control.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._log:
            self._log.seek(0)
            return self._log.read()[-4096:].decode(errors="replace").strip()

    def close(self) -> None:
        """End the template and every worker that it has forked."""
        if not self._closed:
            self._closed = True
            if self._process.poll() is None:
                # SIGTERM ends it even while it is importing; its handler takes the workers along.
                self._process.terminate()
            self._stop()


_shared: Template | None = None
_shared_lock = threading.Lock()


def shared_template() -> Template:
    """Return this process's template; it is started on the first call and ends with the process."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = Template()
        return _shared


@atexit.register
def stop_shared_template() -> None:
    """End this process's template and its workers; the next `shared_template` starts another."""
    global _shared
    with _shared_lock:
        template, _shared = _shared, None
    if template is not None:
        template.close()


def _forget_template() -> None:
    """Leave the template to the process that made it: a forked child must neither use nor end it."""
    global _shared, _shared_lock
    _shared, _shared_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_template)
