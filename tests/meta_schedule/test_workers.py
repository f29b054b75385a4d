# SPDX-License-Identifier: Apache-2.0
"""Worker processes are cheap, isolated, and never outlive their purpose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from familyseer.errors import EnvironmentFailure
from familyseer.meta_schedule import workers
from familyseer.meta_schedule.pool import Ending, WorkerPool, next_outcomes
from familyseer.meta_schedule.workers import Call, Template, shared_template, stop_shared_template
from tests.meta_schedule.measuring import all_gone, wait_until


@pytest.fixture
def worker():
    """Return a worker that is killed at the end."""
    made = shared_template().fork({"FAMILYSEER_TEST": "yes"})
    yield made
    made.kill()


def drain(pool, limit=None):
    """Return all outcomes by number."""
    outcomes = {}
    while pool.unfinished:
        outcomes.update({ident: outcome for _, ident, outcome in next_outcomes([pool], [limit])})
    return outcomes


def sleep_then(seconds, value):
    """Return `value` late."""
    time.sleep(seconds)
    return value


def fail_on_bad_device():
    """Be the check of a device that works only when its variable says so."""
    if os.environ["DEVICE"] == "bad":
        raise RuntimeError("device is broken")


def spawn_child():
    """Start a process of our own and return its id."""
    return subprocess.Popen(["sleep", "600"]).pid


def modules_like(prefix):
    """Return the names of loaded modules that begin with `prefix`."""
    return [name for name in sys.modules if name.startswith(prefix)]


_TORCH = """
import pathlib

class Tensor:
    __dlpack_c_exchange_api__ = None

class cuda:
    class Stream:
        pass

    @staticmethod
    def is_available():
        pathlib.Path(__file__).with_name("asked").touch()
        return False

def __getattr__(name):  # data types
    if name.startswith("__"):
        raise AttributeError(name)
    return object()
"""


class TestWorker:
    """One forked process."""

    def test_answers(self, worker):
        """A function's value comes back, and so does an exception's text."""
        assert worker.ask(Call(os.getpid), timeout=30).value == worker.pid
        reply = worker.ask(Call(os.stat, ("/no such file",)), timeout=30)
        assert not reply.ok
        assert reply.value.startswith("FileNotFoundError: [Errno 2]")

    def test_has_its_environment(self, worker):
        """The worker sees the variables that it was given and none that steered the template's import."""
        assert worker.ask(Call(os.getenv, ("FAMILYSEER_TEST",)), timeout=30).value == "yes"
        assert worker.ask(Call(os.getenv, ("OMP_NUM_THREADS",)), timeout=30).value == os.getenv("OMP_NUM_THREADS")

    def test_has_tvm_already(self, worker):
        """What was imported once is there in a fresh worker."""
        assert worker.ask(Call(eval, ("'tvm' in __import__('sys').modules",)), timeout=30).value

    def test_takes_its_children_along(self, worker):
        """Killing a worker kills the processes that it started."""
        child = worker.ask(Call(spawn_child), timeout=30).value
        assert not all_gone([child])
        worker.kill()

        assert wait_until(lambda: all_gone([child, worker.pid]))

    def test_silence_is_an_environment_failure(self, worker):
        """`ask` does not wait for ever."""
        with pytest.raises(EnvironmentFailure, match="did not answer"):
            worker.ask(Call(time.sleep, (60,)), timeout=0.2)

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_holds_no_stray_descriptors(self, worker):
        """A worker forked later holds no end of an earlier one's socket."""
        second = shared_template().fork({})
        second.ask(Call(len, ("a",)), timeout=30)
        sockets = [link for link in Path(f"/proc/{second.pid}/fd").iterdir() if "socket" in os.readlink(link)]
        second.kill()

        assert len(sockets) == 1


class TestPool:
    """Many jobs, few workers."""

    def test_shares_the_work(self):
        """All jobs are done, by all workers."""
        pool = WorkerPool([{}, {}], timeout=30)
        for ident in range(6):
            pool.submit(ident, Call(sleep_then, (0.05, ident * 10)))
        outcomes = drain(pool)
        pids = pool.pids
        pool.close()

        assert {i: o.value for i, o in outcomes.items()} == {0: 0, 1: 10, 2: 20, 3: 30, 4: 40, 5: 50}
        assert len(pids) == 2
        assert all_gone(pids)

    def test_isolates_each_job(self):
        """A job that raises, hangs, is killed or exits costs itself only."""
        pool = WorkerPool([{}], timeout=1.0)
        pool.submit(0, Call(os.stat, ("/no such file",)))
        pool.submit(1, Call(time.sleep, (60,)))
        pool.submit(2, Call(os._exit, (3,)))
        pool.submit(3, Call(signal.raise_signal, (signal.SIGBUS,)))
        pool.submit(4, Call(len, ("abc",)))
        outcomes = drain(pool)
        pool.close()

        assert [outcomes[i].ending for i in range(5)] == [
            Ending.RAISED,
            Ending.TIMED_OUT,
            Ending.DIED,
            Ending.DIED,
            Ending.DONE,
        ]
        assert outcomes[2].text == "worker process exited with status 3"
        assert outcomes[3].text == "worker process was killed by SIGBUS"
        assert outcomes[4].value == 3

    def test_survives_a_worker_killed_while_idle(self):
        """A worker that died between two jobs is noticed and replaced before it is given the next one."""
        pool = WorkerPool([{}], timeout=30)
        pool.submit(0, Call(len, ("a",)))
        drain(pool)
        os.kill(pool.pids[0], signal.SIGKILL)
        time.sleep(0.1)
        pool.submit(1, Call(len, ("ab",)))
        outcomes = drain(pool)
        pool.close()

        assert outcomes[1].value == 2

    def test_quarantines_a_broken_device(self):
        """A device that fails its check is left out and the others do the work."""
        pool = WorkerPool([{"DEVICE": "bad"}, {"DEVICE": "good"}], timeout=30, check=Call(fail_on_bad_device))
        for ident in range(3):
            pool.submit(ident, Call(os.getenv, ("DEVICE",)))
        outcomes = drain(pool)
        pool.close()

        assert [outcomes[i].value for i in range(3)] == ["good"] * 3

    def test_no_working_device(self):
        """When every device is broken the run cannot go on."""
        pool = WorkerPool([{"DEVICE": "bad"}], timeout=30, check=Call(fail_on_bad_device))
        pool.submit(0, Call(len, ("a",)))
        with pytest.raises(EnvironmentFailure, match="none of the workers' devices works"):
            drain(pool)
        pool.close()


class TestTemplate:
    """The process that workers come from."""

    def test_fork_is_cheap(self):
        """A worker after the first costs milliseconds, not an import of tvm."""
        shared_template().fork({}).kill()
        started = time.monotonic()
        for _ in range(5):
            worker = shared_template().fork({})
            assert worker.ask(Call(len, ("ab",)), timeout=30).value == 2
            worker.kill()

        assert time.monotonic() - started < 5.0

    def test_a_dead_template_is_replaced_and_loses_no_job(self):
        """Jobs that were lost because the template died are done by the workers of the next one."""
        stop_shared_template()
        pool = WorkerPool([{}, {}], timeout=120)
        pool.submit(0, Call(sleep_then, (1.0, "late")))
        pool.start_jobs()
        os.kill(shared_template().pid, signal.SIGKILL)
        pool.submit(1, Call(len, ("ab",)))
        outcomes = drain(pool)
        pool.close()
        stop_shared_template()

        assert (outcomes[0].value, outcomes[1].value) == ("late", 2)

    def test_gives_up_on_a_template_that_always_dies(self, monkeypatch):
        """After three deaths the error has the text of what the template printed."""
        monkeypatch.setattr(workers, "_BOOTSTRAP", "import sys; sys.exit('no tvm in here')")
        template = Template()
        with pytest.raises(EnvironmentFailure, match=r"died 3 times. It printed:\nno tvm in here"):
            template.fork({})
        template.close()

    def test_close_ends_everything(self):
        """After `close` neither the template nor a worker runs, busy or not."""
        template = Template()
        busy = template.fork({})
        busy.send(Call(time.sleep, (600,)))
        pids = [template.pid, busy.pid]
        template.close()

        assert wait_until(lambda: all_gone(pids))
        with pytest.raises(EnvironmentFailure, match="have been shut down"):
            template.fork({})

    def test_close_does_not_wait_for_the_import(self):
        """A template that is still importing ends at once."""
        template = Template()
        started = time.monotonic()
        template.close()

        assert time.monotonic() - started < 2.0
        assert all_gone([template.pid])

    def test_leaves_the_gpu_to_its_workers(self, tmp_path, monkeypatch):
        """PyTorch is not asked for a GPU in the template: CUDA does not work in a process forked after that."""
        package = tmp_path / "torch"
        package.mkdir()
        (package / "version.py").touch()
        (package / "__init__.py").write_text(_TORCH)
        monkeypatch.syspath_prepend(str(tmp_path))
        template = Template()
        imported = template.fork({}).ask(Call(modules_like, ("torch",)), timeout=60).value
        template.close()

        assert "torch" in imported
        assert not (package / "asked").exists()

    def test_nothing_survives_a_killed_caller(self, tmp_path):
        """When the caller is killed with SIGKILL its template and workers, hanging ones too, end by themselves."""
        script = tmp_path / "script.py"
        script.write_text(
            "import os, sys, time\n"
            "from familyseer.meta_schedule.workers import Call, shared_template\n"
            "workers = [shared_template().fork({}) for _ in range(2)]\n"
            "workers[1].send(Call(time.sleep, (600,)))\n"
            "print(shared_template().pid, *[w.pid for w in workers], flush=True)\n"
            "time.sleep(600)\n"
        )
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment) as process:
            pids = [int(pid) for pid in process.stdout.readline().split()]
            assert len(pids) == 3
            assert not all_gone(pids[:1])
            process.kill()

        assert wait_until(lambda: all_gone(pids))

    def test_a_script_needs_no_main_guard_and_leaves_nothing(self, tmp_path):
        """A plain script may fork workers at its top level; at its end nothing is left."""
        script = tmp_path / "script.py"
        script.write_text(
            "from familyseer.meta_schedule.workers import Call, shared_template\n"
            "worker = shared_template().fork({})\n"
            "print(shared_template().pid, worker.pid, worker.ask(Call(len, ('abc',)), timeout=60).value)\n"
        )
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, env=environment, check=True
        )
        template, worker, value = map(int, done.stdout.split())

        assert value == 3
        assert all_gone([template, worker])
        assert done.stderr == ""

    def test_a_forked_caller_leaves_the_template_alone(self):
        """A child of the caller neither ends the caller's template when it exits nor uses it."""
        template = shared_template()
        child = os.fork()
        if child == 0:
            stop_shared_template()
            os._exit(0)
        os.waitpid(child, 0)

        assert psutil.pid_exists(template.pid)
        assert template.alive
