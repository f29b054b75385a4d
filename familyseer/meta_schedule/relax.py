# SPDX-License-Identifier: Apache-2.0
"""From a Relax network to its tasks, and back to a network compiled with the best schedules."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import IRModule, relax
from tvm.s_tir import dlight
from tvm.s_tir import meta_schedule as ms
from tvm.target import Target

from familyseer.errors import EnvironmentFailure, InvalidInputError, UnsupportedError
from familyseer.meta_schedule.database import LoadReport, load_database
from familyseer.meta_schedule.lowering import legalize_and_fuse
from familyseer.meta_schedule.search_task import HardwareParams, SearchTask
from familyseer.meta_schedule.space import Evolution, ScheduleSpace
from familyseer.meta_schedule.target import resolve_target
from familyseer.meta_schedule.traces import TVM_ERRORS, first_line
from familyseer.meta_schedule.workload import blocks_of, normalize, workload_key
from familyseer.operators import core_operator

__all__ = [
    "ApplyHistoryBest",
    "Extraction",
    "Kernel",
    "compile_network",
    "extract",
    "extract_tasks",
    "is_auto_scheduler_enabled",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """The tasks of a network.

    Parameters
    ----------
    tasks
        What can be tuned, by name.
    weights
        How often the network calls each.
    left_out
        Names of kernels with nothing to tune, and why.
    """

    tasks: list[SearchTask]
    weights: list[int]
    left_out: dict[str, str]


def extract(mod: IRModule, params: Mapping[str, Any] | None, target: Any) -> Extraction:
    """Find the tasks of a network and say what was left out.

    Parameters
    ----------
    mod
        A module whose Relax function ``main`` has static shapes.
    params
        Weights by name, bound as constants; None leaves them parameters.
    target
        The target, see `familyseer.meta_schedule.target.resolve_target`.
    """
    resolved = resolve_target(target)
    fused = legalize_and_fuse(mod, params)
    found = sorted(ms.relax_integration.extract_tasks(fused, resolved), key=lambda task: str(task.task_name))
    tasks, weights, left_out = [], [], {}
    for extracted in found:
        name = str(extracted.task_name)
        reason = _why_untunable(extracted, resolved)
        if reason:
            left_out[name] = reason
        else:
            tasks.append(SearchTask(func=extracted.dispatched[0], target=resolved, desc=name))
            weights.append(int(extracted.weight))
    for name, reason in left_out.items():
        logger.info("Kernel %s is left out: %s", name, reason)
    return Extraction(tasks=tasks, weights=weights, left_out=left_out)


def _why_untunable(extracted: Any, target: Target) -> str:
    try:
        mod = normalize(extracted.dispatched[0])
        space = ScheduleSpace(mod, target, seed=1, evolution=Evolution(population=2, generations=0))
    except InvalidInputError as err:
        return str(err)
    except (RuntimeError, ValueError, TypeError) as err:  # TVM's rules cannot schedule it: no reason to lose the rest
        return f"TVM has no schedules for it ({str(err).strip().splitlines()[-1]})"
    return "" if space.has_choices else "it has only one schedule"


def extract_tasks(
    mod: IRModule,
    params: Mapping[str, Any] | None,
    target: Any,
    target_host: Any = None,
    hardware_params: HardwareParams | None = None,
    include_simple_tasks: bool = True,
    dump_workload_to_dag_log: str | None = None,
    opt_level: int = 3,
    other_targets: Any = None,
) -> tuple[list[SearchTask], list[int]]:
    """Return the tasks of a Relax network and how often it calls each.

    Kernels with nothing to tune are left out and named in the log of `familyseer`; `extract` returns them too.

    Parameters
    ----------
    mod, params, target, target_host, hardware_params
        As for `extract` and `SearchTask`.
    include_simple_tasks
        Whether element-wise kernels are tasks. True, unlike in TVM 0.19: there an untuned one had a parallel schedule
        from TOPI, here it would run as a plain loop.
    dump_workload_to_dag_log, opt_level, other_targets
        Refused where they are not at their defaults.
    """
    if dump_workload_to_dag_log is not None or other_targets is not None or opt_level != 3:
        raise UnsupportedError(
            "`dump_workload_to_dag_log`, `opt_level` and `other_targets` must be left at their defaults on this engine; "
            "lower the module as you like before you pass it"
        )
    if hardware_params is not None:
        target = hardware_params.complete(target)
    resolved = resolve_target(target)
    if target_host is not None:
        resolved = resolved.with_host(resolve_target(target_host))
    found = extract(mod, params, resolved)
    pairs = [
        (task, weight)
        for task, weight in zip(found.tasks, found.weights, strict=True)
        if include_simple_tasks or task.task.operator != "elementwise"
    ]
    return [task for task, _ in pairs], [weight for _, weight in pairs]


def compile_network(
    mod: IRModule, params: Mapping[str, Any] | None, target: Any, database: ms.database.Database | None = None
) -> Any:
    """Compile a network, with the schedules of a database where it has them.

    Returns
    -------
    A `tvm.relax.VMExecutable`. Without a database this is the untuned network.

    Raises
    ------
    EnvironmentFailure
        TVM or the target's compiler fails.
    """
    return _compile(legalize_and_fuse(mod, params), resolve_target(target), database)


def _compile(fused: IRModule, target: Target, database: ms.database.Database | None) -> Any:
    with ExitStack() as scopes:
        scopes.enter_context(target)
        if database is not None:
            scopes.enter_context(database)
            fused = relax.transform.MetaScheduleApplyDatabase()(fused)
        fused = default_schedule(fused, target)
        try:
            return tvm.compile(fused, target=target, relax_pipeline=relax.get_pipeline("default_build"))
        except TVM_ERRORS as err:
            raise EnvironmentFailure(f"the network cannot be compiled for {target}: {first_line(err)}") from err


def default_schedule(mod: IRModule, target: Target) -> IRModule:
    """Bind what has no schedule to the threads of a GPU, where it could not be compiled otherwise; a CPU needs nothing."""
    if "gpu" not in target.keys:
        return mod
    gpu = dlight.gpu
    rules = (gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback())
    with target:
        return dlight.ApplyDefaultSchedule(*rules)(mod.clone())  # it writes into what it is given


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel of a network and the record that serves it.

    Parameters
    ----------
    name, key
        Of the kernel.
    latency
        Seconds, as recorded; None when the log has no valid record for this target that beats no schedule at all.
    operator
        Kind of its heaviest block, as in `familyseer.task.Task`.
    unbeaten
        Whether it was tuned in vain: untuned it is faster than every record.
    """

    name: str
    key: str
    latency: float | None
    operator: str = "other"
    unbeaten: bool = False


class ApplyHistoryBest:
    """Compile networks with the best records of a log.

    Parameters
    ----------
    records
        A log file.
    n_lines
        Not on this engine: the whole log counts.
    include_compatible
        Refused when True: records of another target are never applied.

    Examples
    --------
    ``ApplyHistoryBest("tuning.json").compile(mod, params, target)`` returns the executable; `kernels` then says which
    kernels had a record. As a context manager, with a target, it serves TVM's own pass
    ``relax.transform.MetaScheduleApplyDatabase``.
    """

    def __init__(
        self,
        records: str | os.PathLike[str],
        n_lines: int | None = None,
        include_compatible: bool = False,
        *,
        target: Any = None,
    ) -> None:
        if n_lines is not None or include_compatible:
            raise UnsupportedError("`n_lines` and `include_compatible` must be left at their defaults on this engine")
        self.path = os.fspath(records)
        self.kernels: Sequence[Kernel] = ()
        self.report = LoadReport()
        self._target = target
        self._scopes = ExitStack()

    @property
    def missing(self) -> list[str]:
        """Names of the kernels of the last compiled network that stay untuned, having no record that beats it."""
        return [kernel.name for kernel in self.kernels if kernel.latency is None]

    def compile(self, mod: IRModule, params: Mapping[str, Any] | None = None, target: Any = None) -> Any:
        """Compile a Relax network with the best record of each of its kernels.

        Parameters
        ----------
        mod, params
            As for `extract_tasks`.
        target
            None: the one given to the constructor, else this machine.
        """
        resolved = resolve_target(target if target is not None else self._target)
        database, self.report = load_database(self.path, resolved)
        fused = legalize_and_fuse(mod, params)
        self.kernels = _kernels(fused, database, {task.key for task in self.report.unbeaten})
        self._warn()
        return _compile(fused, resolved, database)

    def _warn(self) -> None:
        """Name the kernels without a record; those that only move or map elements may have had nothing to tune."""
        bare = [kernel for kernel in self.kernels if kernel.latency is None and not kernel.unbeaten]
        heavy = [kernel.name for kernel in bare if kernel.operator != "elementwise"]
        if heavy:
            logger.warning("No valid record in %s for %s: untuned", self.path, ", ".join(heavy))
        logger.info("No record in %s for %d element-wise kernels", self.path, len(bare) - len(heavy))

    def __enter__(self) -> ApplyHistoryBest:
        database, self.report = load_database(self.path, resolve_target(self._target))
        self._scopes.enter_context(database)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._scopes.close()


def is_auto_scheduler_enabled() -> bool:
    """Return whether TVM consults records as it compiles: inside an `ApplyHistoryBest` scope."""
    return ms.database.Database.current() is not None


def _kernels(fused: IRModule, database: ms.database.Database, unbeaten: Set[str]) -> list[Kernel]:
    latencies = {
        workload_key(record.workload.mod): float(record.run_secs[0]) for record in database.get_all_tuning_records()
    }
    kernels = []
    for variable, function in fused.functions_items():
        if isinstance(function, tvm.tirx.PrimFunc):
            mod = normalize(function)
            key = workload_key(mod)
            kernels.append(
                Kernel(
                    name=str(variable.name_hint),
                    key=key,
                    latency=latencies.get(key),
                    operator=core_operator(blocks_of(mod)),
                    unbeaten=key in unbeaten,
                )
            )
    return sorted(kernels, key=lambda kernel: kernel.name)
