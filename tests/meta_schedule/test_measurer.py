# SPDX-License-Identifier: Apache-2.0
"""A batch of candidates is measured, and whatever one of them does costs that candidate only."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
import tvm
from hypothesis import given
from hypothesis import strategies as st
from tvm import te

from familyseer.errors import EnvironmentFailure, InvalidInputError, UnsupportedError
from familyseer.measure import MeasureErrorNo
from familyseer.meta_schedule import timing
from familyseer.meta_schedule.builder import LocalBuilder, build_candidate, links_here
from familyseer.meta_schedule.failures import first_lines
from familyseer.meta_schedule.measurer import ProgramMeasurer
from familyseer.meta_schedule.runner import LocalRunner, concurrent_builds, visible_devices
from familyseer.meta_schedule.target import resolve_target
from familyseer.meta_schedule.timing import EvaluatorSettings, Rivals, repeat_costs, time_among
from tests.meta_schedule.measuring import (
    ABORT,
    EXIT,
    HANG,
    SEGFAULT,
    TARGET,
    all_gone,
    killed_second,
    matmul,
    misbehave,
    raising,
    raising_second,
    request,
    requests,
    sleepy_end,
    sleepy_second,
    slow_second,
    wait_until,
)

OK = MeasureErrorNo.NO_ERROR
CUDA = tvm.target.Target({"kind": "cuda", "arch": "sm_70", "host": {"kind": "llvm"}})


def measurer(runner_timeout=30.0, run_threads=0, repeat=1, **builder):
    """Return a measurer that runs briefly."""
    builder = {"timeout": 60, "n_parallel": 2, **builder}
    runner = LocalRunner(timeout=runner_timeout, number=1, repeat=repeat, min_repeat_ms=1, max_threads=run_threads)
    return ProgramMeasurer(LocalBuilder(**builder), runner)


class TestSuccess:
    """What a batch without accidents gives."""

    def test_measures_a_batch(self):
        """Every candidate gets latencies that a 64-cubed matmul can have, and the time it took."""
        with measurer(repeat=3) as subject:
            results = subject.measure(requests(4))

            assert [(r.error_no, len(r.costs)) for r in results] == [(OK, 3)] * 4
            assert all(1e-6 < cost < 0.05 for r in results for cost in r.costs)
            assert all(r.build_seconds > 0 and r.run_seconds > 0 for r in results)
            assert subject.seconds.build > 0 < subject.seconds.run

    def test_empty_batch(self):
        """A batch without candidates gives none and takes no time."""
        with measurer() as subject:
            assert subject.measure([]) == []
            assert subject.seconds.build == subject.seconds.run == 0

    def test_reports_each_result_at_once_in_time_order(self):
        """`on_result` hears of each candidate once, with what is returned, in the order of the time stamps."""
        heard = []
        with measurer() as subject:
            results = subject.measure(requests(4), lambda i, r: heard.append((i, r, time.time())))

        assert sorted(i for i, _, _ in heard) == [0, 1, 2, 3]
        assert all(results[i] is r for i, r, _ in heard)
        assert all(abs(at - r.timestamp) < 0.5 for _, r, at in heard)
        assert heard == sorted(heard, key=lambda entry: entry[1].timestamp)

    def test_flushes_the_cache(self):
        """With the cache flushed a candidate is still measured, `repeat` times."""
        runner = LocalRunner(number=9, repeat=4, enable_cpu_cache_flush=True)
        assert (runner.settings.number, runner.settings.min_repeat_ms) == (1, 0)
        with ProgramMeasurer(LocalBuilder(n_parallel=1), runner) as subject:
            assert len(subject.measure(requests(1))[0].costs) == 4

    def test_agrees_with_the_evaluator_of_tvm(self, tmp_path):
        """Our way of timing gives the latency that TVM's evaluator gives, within the noise of a busy machine."""
        mod = matmul(160)
        path = build_candidate(tvm.ir.save_json(mod), str(TARGET), str(tmp_path / "a.so"), None)
        args = [tvm.runtime.tensor(np.ones((160, 160), "float32")) for _ in range(3)]
        module = tvm.runtime.load_module(path)
        with ProgramMeasurer(LocalBuilder(n_parallel=1), LocalRunner(min_repeat_ms=50, repeat=5)) as subject:
            ours = min(subject.measure([request(mod)])[0].costs)
        theirs = min(module.time_evaluator("main", tvm.cpu(), number=3, repeat=5, min_repeat_ms=50)(*args).results)

        assert theirs / 2 < ours < theirs * 2

    @pytest.mark.parametrize("name", ["exp", "tanh", "erf", "log", "sigmoid", "sqrt", "cos"])
    def test_links_math_functions(self, tmp_path, name):
        """What is linked without the compiler driver loads and computes right, also with functions of libm."""
        path = str(tmp_path / "kernel.so")
        build_candidate(tvm.ir.save_json(matmul(8, getattr(te, name))), str(TARGET), path, None)
        ones = np.full((8, 8), 0.25, "float32")
        out = tvm.runtime.tensor(np.zeros((8, 8), "float32"))
        tvm.runtime.load_module(path)["main"](tvm.runtime.tensor(ones), tvm.runtime.tensor(ones), out)
        expected = {"exp": 1.64872, "tanh": 0.462117, "erf": 0.5205, "log": -0.693147, "sigmoid": 0.622459}
        expected |= {"sqrt": 0.707107, "cos": 0.877583}  # at 8 · 0.25² = 0.5

        np.testing.assert_allclose(out.numpy(), expected[name], rtol=1e-4)


class TestFailures:
    """A failure is a result with its class and reason, and its neighbours are measured."""

    @pytest.mark.parametrize(
        ("build_func", "limits", "error_no", "text"),
        [
            (sleepy_second, {"timeout": 3}, MeasureErrorNo.BUILD_TIMEOUT, "took longer than 3 s and was killed"),
            (killed_second, {}, MeasureErrorNo.COMPILE_HOST, "killed by SIGKILL (out of memory"),
            (misbehave(SEGFAULT), {}, MeasureErrorNo.RUNTIME_DEVICE, "killed by SIGSEGV"),
            (misbehave(ABORT), {}, MeasureErrorNo.RUNTIME_DEVICE, "killed by SIGABRT\nthe kernel gave up"),
            (misbehave(EXIT), {}, MeasureErrorNo.RUNTIME_DEVICE, "exited with status 7"),
            (misbehave(HANG), {"runner_timeout": 2}, MeasureErrorNo.RUN_TIMEOUT, "took longer than 2 s"),
        ],
        ids=["slow-build", "killed-build", "segfault", "abort", "exit", "hang"],
    )
    def test_costs_one_candidate(self, build_func, limits, error_no, text):
        """The second of four candidates fails with its class and reason; the others succeed."""
        with measurer(build_func=build_func, **limits) as subject:
            results = subject.measure(requests(4))

        assert [r.error_no for r in results] == [OK, error_no, OK, OK]
        assert text in results[1].error_msg

    def test_a_batch_does_not_wait_for_a_straggler(self):
        """A build that takes 3 s and many times as long as the others is given up, unless the user is patient."""
        with measurer(build_func=sleepy_second) as subject:
            started = time.monotonic()
            results = subject.measure(requests(4))
            assert [r.error_no for r in results] == [OK, MeasureErrorNo.BUILD_TIMEOUT, OK, OK]
            assert 3 <= results[1].build_seconds < 30 > time.monotonic() - started
        with measurer(build_func=slow_second, patience=float("inf")) as subject:
            assert [r.error_no for r in subject.measure(requests(4))] == [OK] * 4

    def test_a_straggler_does_not_excuse_the_next(self):
        """Only builds that got through tell how long the last may take."""
        with measurer(build_func=sleepy_end, n_parallel=1, timeout=6, patience=2) as subject:
            results = subject.measure(requests(4))
        assert [r.error_no for r in results] == [OK, OK, MeasureErrorNo.BUILD_TIMEOUT, MeasureErrorNo.BUILD_TIMEOUT]
        assert results[2].build_seconds >= 6 > results[3].build_seconds >= 3

    @pytest.mark.parametrize(("others", "expected"), [([], 15), ([0.1, 0.25], 3), ([0.1, 1.0], 8), ([3.0], 15)])
    def test_how_long_a_straggler_may_take(self, others, expected):
        """At least 3 s and eight times the slowest other build, never more than the limit; no limit without others."""
        assert LocalBuilder().straggler_timeout(others) == expected
        assert LocalBuilder(patience=float("inf")).straggler_timeout(others or [1.0]) == 15

    def test_build_exception(self):
        """An exception in the build is told in its first lines, without the C++ frames."""
        with measurer(build_func=raising_second) as subject:
            good, bad = subject.measure(requests(2))

        assert (good.error_no, bad.error_no) == (OK, MeasureErrorNo.COMPILE_HOST)
        assert bad.error_msg == "RuntimeError: no linker today\nreally"

    def test_nothing_can_be_built(self):
        """Where not even an addition can be built candidates are not to blame; their results are told all the same."""
        told = []
        with (
            measurer(build_func=raising) as subject,
            pytest.raises(
                EnvironmentFailure, match=r"nothing can be built for .*, not even an addition: .*no linker today"
            ),
        ):
            subject.measure(requests(2), lambda _, result: told.append(result.error_no))

        assert told == [MeasureErrorNo.COMPILE_HOST] * 2

    def test_wrong_arguments(self):
        """A kernel that refuses its arguments is a run-time failure with the kernel's own words."""
        good = request(matmul(64))
        bad = type(good)(task_key="t", mod=matmul(32), target=TARGET, args_info=good.args_info)
        with measurer() as subject:
            results = subject.measure([bad, good])

        assert [r.error_no for r in results] == [MeasureErrorNo.RUNTIME_DEVICE, OK]
        assert "on argument #0 when calling" in results[0].error_msg

    def test_unbuildable_module(self):
        """A module that TVM cannot lower is a failed build with TVM's words."""
        mod = tvm.IRModule({"main": matmul()["main"].without_attr("global_symbol")})
        with measurer() as subject:
            results = subject.measure([request(mod), *requests(1)])

        assert [r.error_no for r in results] == [MeasureErrorNo.COMPILE_HOST, OK]
        assert results[0].error_msg

    def test_interrupt_keeps_what_was_measured(self):
        """Ctrl-C in mid-batch leaves no worker, and what was measured had been reported."""
        heard = []

        def interrupt(index, result):
            heard.append(result)
            if len(heard) == 2:
                raise KeyboardInterrupt

        with measurer() as subject:
            subject.measure(requests(1))
            pids = [pid for pools in subject._pools.values() for pool in pools for pid in pool.pids]
            with pytest.raises(KeyboardInterrupt):
                subject.measure(requests(4), interrupt)

            assert len(heard) == 2
            assert pids
            assert wait_until(lambda: all_gone(pids))
            assert subject.measure(requests(1))[0].error_no == OK


class TestResources:
    """Nothing is left and nothing grows."""

    def test_close_leaves_nothing(self):
        """After `close` no worker runs and no artefact is left."""
        with measurer() as subject:
            subject.measure(requests(2))
            pids = [pid for pools in subject._pools.values() for pool in pools for pid in pool.pids]
            folder = subject._folder.path
            assert [name for name in os.listdir(folder) if name.endswith(".so")] == []

        assert len(pids) == 3
        assert all_gone(pids)
        assert not os.path.exists(folder)

    def test_recycles_build_workers(self):
        """A build worker is replaced after `recycle_after` candidates and the batch goes on."""
        with measurer(n_parallel=1, recycle_after=2) as subject:
            seen = []
            for _ in range(5):
                assert subject.measure(requests(1))[0].error_no == OK
                seen.append(tuple(subject._pools[str(TARGET)][0].pids))

        assert [len(pids) for pids in seen] == [1, 0, 1, 0, 1]
        assert len({pids for pids in seen if pids}) == 3

    def test_recycles_a_worker_that_grew(self):
        """A worker above its memory limit is replaced once its candidate is done."""
        with measurer(n_parallel=1, max_memory_gb=0.01) as subject:
            assert subject.measure(requests(1))[0].error_no == OK
            assert subject._pools[str(TARGET)][0].pids == []

    def test_memory_stays_flat(self):
        """The caller's memory and that of its run worker do not grow with the number of candidates."""
        with measurer(n_parallel=2) as subject:
            subject.measure(requests(10, 16))
            processes = [psutil.Process(), psutil.Process(subject._pools[str(TARGET)][1].pids[0])]
            before = [process.memory_info().rss for process in processes]
            subject.measure(requests(50, 16))
            growth = [process.memory_info().rss - rss for process, rss in zip(processes, before, strict=True)]

        assert max(growth) < 16 << 20

    def test_caps_the_threads(self):
        """A kernel runs on the target's `num-cores` threads, or on `max_threads` when that is given."""
        assert LocalRunner()._threads(str(TARGET)) == 1
        assert LocalRunner(max_threads=3)._threads(str(TARGET)) == 3


class TestSchedule:
    """When builds may go on beside timing, and how long a kernel is run."""

    @pytest.mark.parametrize(
        ("n_parallel", "cores", "busy", "expected"),
        [(2, 2, 2, 0), (2, 2, 1, 1), (16, 16, 4, 12), (8, 8, 6, 0), (2, 8, 6, 2), (1, 1, 1, 0), (4, 2, 8, 0)],
    )
    def test_concurrent_builds(self, n_parallel, cores, busy, expected):
        """Builds overlap with timing only on cores that the kernel leaves free, if those are worth it."""
        assert concurrent_builds(n_parallel=n_parallel, cores=cores, busy_cores=busy) == expected

    def test_overlaps_on_free_cores(self):
        """With a core to spare, the first candidate is timed before the last one is built."""
        with measurer(n_parallel=1, build_func=slow_build) as subject:
            subject.runner.spare_builders = lambda n_parallel, target: 1
            results = subject.measure(requests(3))

        assert results[0].timestamp < results[2].timestamp - 0.5
        assert [r.error_no for r in results] == [OK] * 3

    def test_builds_all_first_otherwise(self):
        """With no core to spare, nothing is timed while a build is under way."""
        with measurer(n_parallel=1, build_func=slow_build) as subject:
            subject.runner.spare_builders = lambda n_parallel, target: 0
            results = subject.measure(requests(3))

        assert results[2].timestamp - results[0].timestamp < 0.5

    @given(
        latency=st.floats(1e-7, 0.5),
        number=st.integers(1, 10),
        repeat=st.integers(1, 3),
        min_ms=st.floats(0, 300),
        noise=st.lists(st.floats(0.5, 2.0), min_size=1, max_size=8),
    )
    def test_repeat_is_long_enough_and_not_much_longer(self, latency, number, repeat, min_ms, noise):
        """A repeat has `number` runs and lasts `min_repeat_ms`; the cost is the mean over all of its runs."""
        calls = []

        def run(count):
            seconds = count * latency * noise[len(calls) % len(noise)]
            calls.append((count, seconds))
            return seconds

        settings = EvaluatorSettings(number=number, repeat=1, min_repeat_ms=min_ms)
        (cost,) = repeat_costs(run, settings)
        runs, seconds = sum(n for n, _ in calls), sum(s for _, s in calls)

        assert cost == pytest.approx(seconds / runs)
        assert runs >= number
        assert seconds >= min_ms / 1e3
        assert seconds <= max(number * latency * 2, 5 * min_ms / 1e3 + 3 * latency)
        assert len(repeat_costs(run, EvaluatorSettings(number=1, repeat=repeat, min_repeat_ms=min_ms))) == repeat

    def test_repeat_counts_its_first_runs(self):
        """Three runs of 24 ms leave 28 ms to go: two more, five in all."""
        calls = []
        settings = EvaluatorSettings(number=3, repeat=1, min_repeat_ms=100)
        repeat_costs(lambda n: (calls.append(n), n * 0.024)[1], settings)

        assert calls == [3, 2]

    @pytest.mark.parametrize(
        ("latency", "limit", "calls", "costs"),
        [
            (0.024, 0.020, [1], [0.024]),
            (0.024, 0.025, [1, 4, 1, 4], [0.024, 0.024]),
            (0.001, 0.0009, [1, 10], [0.001]),
            (0.001, 0.0011, [1, 10, 90, 1, 10, 90], [0.001, 0.001]),
        ],
    )
    def test_a_hopeless_candidate_is_not_timed_on(self, latency, limit, calls, costs):
        """Above the limit after 10 ms, or after one run that took longer, it is neither timed on nor repeated."""
        made = []
        settings = EvaluatorSettings(number=3, repeat=2, min_repeat_ms=100)
        found = repeat_costs(lambda n: (made.append(n), n * latency)[1], settings, limit)

        assert made == calls
        assert found == pytest.approx(costs)

    def test_candidates_of_one_task_are_told_of_each_other(self, monkeypatch):
        """The best that was sent or seen counts, for each task by itself; without rivals nothing is remembered."""
        monkeypatch.setattr(timing, "_bests", {})
        told = []

        def timed(rivals, *costs):
            assert time_among(rivals, lambda best: (told.append(best), list(costs))[1]) == list(costs)

        infinite = float("inf")
        timed(Rivals("a", infinite), 3.0, 4.0, 5.0)
        timed(Rivals("a", infinite), 9.0)
        timed(Rivals("b", infinite), 7.0)
        timed(Rivals("a", 2.0), 1.0)
        timed(Rivals("a", 2.0), 2.0)
        timed(None, 0.5)
        timed(Rivals("a", infinite), 2.0)

        assert told == [infinite, 4.0, infinite, 2.0, 1.0, infinite, 1.0]

    def test_who_is_far_slower_than_the_best_is_timed_briefly(self):
        """A hundredth of the time, and still a latency; patience without limit times it like any other."""
        slow = replace(request(matmul()), best=1e-9)
        seconds = {}
        for patience in (1.3, float("inf")):
            runner = LocalRunner(number=1, repeat=5, min_repeat_ms=200, patience=patience)
            with ProgramMeasurer(LocalBuilder(), runner, verbose=0) as measurer:
                (result,) = measurer.measure([slow])
                seconds[patience] = result.run_seconds
                assert len(result.costs) == (1 if patience == 1.3 else 5)
        assert seconds[1.3] < 0.5 < 1 <= seconds[float("inf")]

    @pytest.mark.parametrize(("best", "repeats"), [(1e-9, 1), (float("inf"), 2)])
    def test_tvms_evaluator_is_told_whole_milliseconds(self, best, repeats):
        """It takes nothing else; GPUs, other devices and flushed caches are timed by it, in full and briefly."""
        module = tvm.compile(matmul(8), target=TARGET).mod
        arguments = [tvm.runtime.tensor(np.ones((8, 8), "float32")) for _ in request(matmul(8)).args_info]
        settings = EvaluatorSettings(number=1, repeat=2, min_repeat_ms=20.5, flush_cache=True, patience=2)

        assert len(timing.time_module(module, tvm.cpu(), arguments, settings, best)) == repeats


def slow_build(output, objects, **options):
    """Take half a second more than need be."""
    from tvm.support import cc

    time.sleep(0.5)
    cc.create_shared(output, objects, **options)


class TestOptions:
    """Arguments are Ansor's, and are checked."""

    @pytest.mark.parametrize(
        ("cls", "options", "message"),
        [
            (LocalBuilder, {"timeout": 0}, r"`timeout` must be a number > 0; got 0"),
            (LocalBuilder, {"n_parallel": 1.5}, r"`n_parallel` must be an integer ≥ 1; got 1.5"),
            (LocalBuilder, {"recycle_after": 0}, r"`recycle_after` must be an integer ≥ 1; got 0"),
            (LocalRunner, {"number": 0}, r"`number` must be an integer ≥ 1; got 0"),
            (LocalRunner, {"repeat": True}, r"`repeat` must be an integer ≥ 1; got True"),
            (LocalRunner, {"min_repeat_ms": -1}, r"`min_repeat_ms` must be a number ≥ 0; got -1"),
            (LocalRunner, {"cooldown_interval": "x"}, r"`cooldown_interval` must be a number ≥ 0; got 'x'"),
            (LocalRunner, {"device": -1}, r"`device` must be an integer ≥ 0; got -1"),
            (LocalRunner, {"patience": 0.5}, r"`patience` must be a number ≥ 1, inf for no limit; got 0.5"),
            (LocalRunner, {"timeout": float("nan")}, r"`timeout` must be a number > 0; got nan"),
        ],
    )
    def test_refuses(self, cls, options, message):
        """A bad option is named with its requirement and value."""
        with pytest.raises(InvalidInputError, match=message):
            cls(**options)

    def test_defaults_are_those_of_ansor(self):
        """Arguments in order, with Ansor's defaults."""
        builder, runner = LocalBuilder(7, 3, "default"), LocalRunner(5, 4, 2, 50, 0.5, False, 0)
        assert (builder.timeout, builder.n_parallel) == (7, 3)
        assert (LocalBuilder().timeout, LocalBuilder().n_parallel) == (15, os.cpu_count())
        assert (LocalRunner().timeout, LocalRunner().settings) == (10, EvaluatorSettings(patience=1.3))
        assert runner.settings == EvaluatorSettings(number=4, repeat=2, min_repeat_ms=50, cooldown_s=0.5, patience=1.3)

    @pytest.mark.parametrize("build_func", ["no such", 3])
    def test_refuses_a_build_function_by_name(self, build_func):
        """A name is refused with what to pass instead."""
        with pytest.raises(UnsupportedError, match="Pass the function itself"):
            LocalBuilder(build_func=build_func)

    def test_refuses_a_build_function_that_cannot_travel(self):
        """A callable that holds a lock or a file cannot go to a worker process."""
        import threading

        lock = threading.Lock()
        with pytest.raises(UnsupportedError, match="must survive cloudpickle"):
            LocalBuilder(build_func=lambda *args, **options: lock)

    def test_refuses_two_targets_in_a_batch(self):
        """A batch is for one target."""
        other = tvm.target.Target({"kind": "llvm", "num-cores": 3})
        with measurer() as subject, pytest.raises(InvalidInputError, match="must be for one target"):
            subject.measure([*requests(1), request(matmul(), other)])

    @pytest.mark.parametrize("parts", [("builder", 3, None), ("runner", None, 3)])
    def test_refuses_other_parts(self, parts):
        """Builder and runner must be ours."""
        name, builder, runner = parts
        with pytest.raises(InvalidInputError, match=f"`{name}` must be a Local"):
            ProgramMeasurer(builder or LocalBuilder(), runner or LocalRunner())


class TestTargets:
    """Other devices and architectures."""

    def test_foreign_code_is_not_linked_here(self):
        """Code for another architecture travels as an archive of objects that the device's side links."""
        foreign = '{"kind": "llvm", "mtriple": "riscv64-linux-gnu"}'
        assert not links_here(foreign)
        assert links_here(str(TARGET))
        assert LocalBuilder().file_name(5, foreign) == "5.tar"
        assert LocalBuilder().file_name(5, str(TARGET)) == "5.so"

    @pytest.mark.parametrize(
        ("environment", "expected"),
        [({}, ["0", "1"]), ({"CUDA_VISIBLE_DEVICES": "3, GPU-x"}, ["3", "GPU-x"]), ({"CUDA_VISIBLE_DEVICES": ""}, [])],
    )
    def test_visible_devices(self, environment, expected):
        """Each GPU is named as CUDA_VISIBLE_DEVICES can name it."""
        count = len(expected)
        assert visible_devices(environment, count) == expected

    @pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
    def test_builds_for_cuda(self, tmp_path):
        """A kernel for CUDA is built, GPU or not; where CUDA's run-time library is missing, that is its source, linked."""
        path = build_candidate(cuda_kernel(), str(CUDA), str(tmp_path / "kernel.so"), None)

        assert os.path.getsize(path) > 1000

    def test_cuda_without_a_gpu(self):
        """Timing for CUDA on a machine without a GPU is refused with what to do."""
        if tvm.cuda().exist:
            pytest.skip("there is a GPU")
        with pytest.raises(EnvironmentFailure, match="no CUDA device 0 is visible"):
            LocalRunner().make_pool(str(CUDA))

    @pytest.mark.gpu
    def test_runs_on_cuda(self):
        """A kernel for CUDA is timed on the GPU."""
        if shutil.which("nvcc") is None or not tvm.cuda().exist:
            pytest.skip("needs nvcc and a CUDA device")
        mod = tvm.ir.load_json(cuda_kernel())
        with measurer() as subject:
            (result,) = subject.measure([request(mod, resolve_target("cuda"))])

        assert result.error_no == OK

    @pytest.mark.gpu
    def test_builds_for_the_target_and_not_for_the_gpu_at_hand(self):
        """A kernel for Blackwell is built anywhere, and does not run on another GPU."""
        if shutil.which("nvcc") is None or not tvm.cuda().exist or tvm.cuda().compute_version.startswith("10"):
            pytest.skip("needs nvcc and a CUDA device that is no Blackwell")
        target = resolve_target({"kind": "cuda", "arch": "sm_100"})
        with measurer() as subject:
            (result,) = subject.measure([request(tvm.ir.load_json(cuda_kernel()), target)])

        assert result.error_no == MeasureErrorNo.RUNTIME_DEVICE


def cuda_kernel() -> str:
    """Return a scheduled addition for a GPU."""
    from tvm import s_tir

    a = te.placeholder((1024,), name="A")
    b = te.compute((1024,), lambda i: a[i] + 1.0, name="B")
    schedule = s_tir.Schedule(te.create_prim_func([a, b]).with_attr("global_symbol", "main"))
    (loop,) = schedule.get_loops(schedule.get_sblock("B"))
    block, thread = schedule.split(loop, [None, 128])
    schedule.bind(block, "blockIdx.x")
    schedule.bind(thread, "threadIdx.x")
    return tvm.ir.save_json(schedule.mod)


def test_first_lines_cuts_noise():
    """C++ frames and long tails are cut, the message stays."""
    text = "Traceback (most recent call last):\n  3: tvm::x()\n        at /a.cc:1\nInternalError: boom\n\n" + "x\n" * 99
    assert first_lines(text).splitlines() == ["InternalError: boom", *["x"] * 14]
