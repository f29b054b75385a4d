# SPDX-License-Identifier: Apache-2.0
"""Build and time a batch of candidates; whatever one of them does becomes its result and never an exception."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from familyseer.errors import EnvironmentFailure, InvalidInputError
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.meta_schedule.builder import ArtefactFolder, LocalBuilder
from familyseer.meta_schedule.pool import Ending, Outcome, WorkerPool, next_outcomes
from familyseer.meta_schedule.runner import ProgramRunner, device_kind
from familyseer.meta_schedule.timing import Rivals
from familyseer.task import TaskKey

__all__ = ["MeasureRequest", "PhaseSeconds", "ProgramMeasurer"]

logger = logging.getLogger(__name__)

_DEVICE_COMPILERS = ("nvcc", "NVRTC", "ptxas", "cuda_runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRequest:
    """One candidate to measure.

    Parameters
    ----------
    task_key
        The task that it belongs to.
    mod
        The scheduled IRModule.
    target
        The tvm Target to build for.
    args_info
        What `ArgInfo.as_json` gives for each argument of the scheduled module (not of the task's: layout rewriting
        changes shapes).
    best
        Lowest latency of the task so far in seconds, infinite when there is none: candidates far slower than that, or than
        one timed since, are timed more briefly. None: timed in full, whatever others of the task did.
    """

    task_key: TaskKey
    mod: Any
    target: Any
    args_info: Sequence[Any]
    best: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSeconds:
    """Wall time of a batch as its caller saw it: while anything was timed it is `run`, otherwise `build`."""

    build: float = 0.0
    run: float = 0.0


ResultCallback = Callable[[int, MeasureResult], None]


class ProgramMeasurer:
    """Build and time candidates.

    Its workers live from the first batch to `close`, so use it in a ``with`` block. Not thread-safe.

    Parameters
    ----------
    builder
        How candidates are compiled.
    runner
        Where they are timed.
    callbacks
        Kept for search policies, which tell them of each result: they know what was proposed, the measurer does not.
    verbose
        0 is silent; 1 logs a line per batch.

    Attributes
    ----------
    seconds
        Where the wall time of the last batch went.
    """

    def __init__(
        self,
        builder: LocalBuilder,
        runner: ProgramRunner,
        callbacks: Sequence[Any] = (),
        verbose: int = 1,
    ) -> None:
        if not isinstance(builder, LocalBuilder):
            raise InvalidInputError(f"`builder` must be a LocalBuilder; got {builder!r}")
        if not isinstance(runner, ProgramRunner):
            raise InvalidInputError(f"`runner` must be a LocalRunner or an RPCRunner; got {runner!r}")
        self.builder = builder
        self.runner = runner
        self.callbacks = tuple(callbacks)
        self.verbose = verbose
        self.seconds = PhaseSeconds()
        self._pools: dict[str, tuple[WorkerPool, WorkerPool]] = {}
        self._folder = ArtefactFolder()

    def __enter__(self) -> ProgramMeasurer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers and delete all artefacts."""
        self._kill_workers()
        self._folder.close()

    def _kill_workers(self) -> None:
        while self._pools:
            for pool in self._pools.popitem()[1]:
                pool.close()

    def measure(
        self, requests: Sequence[MeasureRequest], on_result: ResultCallback | None = None
    ) -> list[MeasureResult]:
        """Build and time every request.

        Parameters
        ----------
        requests
            The candidates, all for one target.
        on_result
            Called with index and result of each candidate as soon as it is known, in the order in which they end.

        Returns
        -------
        list of MeasureResult
            In the order of `requests`.

        Raises
        ------
        EnvironmentFailure
            No worker can be started, nothing can be built, no device works, or the RPC tracker is gone. What was measured
            until then has been given to `on_result`.
        """
        if not requests:
            self.seconds = PhaseSeconds()
            return []
        target = str(requests[0].target)
        if any(str(request.target) != target for request in requests):
            raise InvalidInputError("`requests` must be for one target; got several")
        batch = _Batch(requests=requests, target=target, on_result=on_result)
        try:
            self._measure(batch)
        except BaseException:
            self._kill_workers()
            raise
        finally:
            self.seconds = PhaseSeconds(build=batch.build_wall, run=batch.run_wall)
        results = [batch.results[i] for i in range(len(requests))]
        self._report(requests, results)
        if not batch.built:
            self._check_builder(target)
        if batch.timed and all(not batch.results[i].costs for i in batch.timed):
            self.runner.check()
        return results

    def _measure(self, batch: _Batch) -> None:
        build, run = self._pools_for(batch.target)
        spare = self.runner.spare_builders(self.builder.n_parallel, batch.target)
        for index, request in enumerate(batch.requests):
            path = batch.paths[index] = self._folder.next_path(self.builder, batch.target)
            build.submit(index, self.builder.call(_mod_json(request.mod), batch.target, path))
        while build.unfinished or run.unfinished:
            timing = run.unfinished > 0 and (spare > 0 or not build.unfinished)
            limits = (spare if timing else None, None if timing else 0)
            waiting = build.unfinished <= self.builder.n_parallel and not (timing and spare)
            build.timeout = self.builder.straggler_timeout(batch.built) if waiting else self.builder.timeout
            started = time.perf_counter()
            outcomes = next_outcomes((build, run), limits)
            batch.charge(time.perf_counter() - started, timing=timing)
            for pool, index, outcome in outcomes:
                if pool is run:
                    batch.end_run(index, outcome)
                elif batch.end_build(index, outcome):
                    request = batch.requests[index]
                    rivals = None if request.best is None else Rivals(request.task_key, request.best)
                    call = self.runner.call(batch.paths[index], request.args_info, batch.target, rivals)
                    run.submit(index, call)

    def _check_builder(self, target: str) -> None:
        """Raise EnvironmentFailure when nothing can be built at all."""
        pool, _ = self._pools_for(target)
        path = self._folder.next_path(self.builder, target)
        pool.timeout = self.builder.timeout
        pool.submit(0, self.builder.probe(target, path))
        outcomes = []
        while pool.unfinished:
            outcomes += [outcome for _, _, outcome in next_outcomes((pool,), (None,))]
        ArtefactFolder.delete(path)
        if outcomes[0].ending is not Ending.DONE:
            raise EnvironmentFailure(f"nothing can be built for {target}, not even an addition: {outcomes[0].text}")

    def _pools_for(self, target: str) -> tuple[WorkerPool, WorkerPool]:
        if target not in self._pools:
            self._kill_workers()
            build = self.builder.make_pool(target)
            try:
                self._pools[target] = (build, self.runner.make_pool(target))
            except BaseException:
                build.close()
                raise
        return self._pools[target]

    def _report(self, requests: Sequence[MeasureRequest], results: Sequence[MeasureResult]) -> None:
        if self.verbose:
            failed = sum(not result.costs for result in results)
            logger.info(
                "measured %d candidates (%d failed): build %.1f s, run %.1f s",
                len(results),
                failed,
                self.seconds.build,
                self.seconds.run,
            )


@dataclass(slots=True, kw_only=True)
class _Batch:
    """One call of `measure`: what is known so far of each candidate."""

    requests: Sequence[MeasureRequest]
    target: str
    on_result: ResultCallback | None
    paths: dict[int, str] = field(default_factory=dict)
    build_seconds: dict[int, float] = field(default_factory=dict)
    built: list[float] = field(default_factory=list)
    results: dict[int, MeasureResult] = field(default_factory=dict)
    timed: list[int] = field(default_factory=list)
    build_wall: float = 0.0
    run_wall: float = 0.0

    def charge(self, seconds: float, *, timing: bool) -> None:
        if timing:
            self.run_wall += seconds
        else:
            self.build_wall += seconds

    def end_build(self, index: int, outcome: Outcome) -> bool:
        """Take the outcome of a build and return whether the candidate is now to be run."""
        self.build_seconds[index] = outcome.seconds
        if outcome.ending is Ending.DONE:
            self.built.append(outcome.seconds)
            return True
        self._finish(index, _failed(_build_error(outcome, self.target), outcome))
        return False

    def end_run(self, index: int, outcome: Outcome) -> None:
        self.timed.append(index)
        if outcome.ending is Ending.DONE and outcome.value and all(cost > 0 for cost in outcome.value):
            result = MeasureResult(costs=tuple(outcome.value))
        elif outcome.ending is Ending.DONE:
            bad = replace(outcome, text=f"the measured latencies are not positive: {outcome.value!r}")
            result = _failed(MeasureErrorNo.UNKNOWN_ERROR, bad)
        else:
            result = _failed(_run_error(outcome), outcome)
        self._finish(index, replace(result, run_seconds=outcome.seconds))

    def _finish(self, index: int, result: MeasureResult) -> None:
        ArtefactFolder.delete(self.paths[index])
        result = replace(result, build_seconds=self.build_seconds[index], timestamp=time.time())
        self.results[index] = result
        if self.on_result is not None:
            self.on_result(index, result)


def _mod_json(mod: Any) -> str:
    import tvm

    return str(tvm.ir.save_json(mod))


def _failed(error_no: MeasureErrorNo, outcome: Outcome) -> MeasureResult:
    return MeasureResult(error_no=error_no, error_msg=outcome.text or "no reason is known")


def _build_error(outcome: Outcome, target: str) -> MeasureErrorNo:
    if outcome.ending is Ending.TIMED_OUT:
        return MeasureErrorNo.BUILD_TIMEOUT
    on_device = device_kind(target) != "cpu" and any(name in outcome.text for name in _DEVICE_COMPILERS)
    return MeasureErrorNo.COMPILE_DEVICE if on_device else MeasureErrorNo.COMPILE_HOST


def _run_error(outcome: Outcome) -> MeasureErrorNo:
    late = outcome.ending is Ending.TIMED_OUT or outcome.text.startswith("TimeoutError:")
    return MeasureErrorNo.RUN_TIMEOUT if late else MeasureErrorNo.RUNTIME_DEVICE
