# SPDX-License-Identifier: Apache-2.0
"""`SearchTask` and the registry of workloads, as ``tvm.auto_scheduler`` has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import tvm
from tvm import IRModule, te
from tvm.target import Target
from tvm.tirx import PrimFunc

from familyseer.errors import InvalidInputError, UnsupportedError
from familyseer.ledger import whole_number
from familyseer.meta_schedule.target import as_target, resolve_target, target_json
from familyseer.meta_schedule.workload import blocks_of, flops_of, normalize, structure_of, workload_key
from familyseer.operators import core_operator, shape_of
from familyseer.task import Task

__all__ = ["HardwareParams", "SearchTask", "create_task", "make_workload_key", "register_workload"]

_REGISTRY: dict[str, Callable[..., Any]] = {}


def register_workload(
    func_name: str | Callable[..., Any], f: Callable[..., Any] | None = None, override: bool = False
) -> Any:
    """Register a function that returns te tensors under its name; usable as a decorator.

    Parameters
    ----------
    func_name
        The name, or the function itself when used as ``@register_workload``.
    f
        The function; None makes this a decorator.
    override
        Whether to replace a function registered before.
    """
    if callable(func_name):
        f, func_name = func_name, func_name.__name__
    if not isinstance(func_name, str):
        raise InvalidInputError(f"`func_name` must be a function or its name; got {func_name!r}")

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if func_name in _REGISTRY and not override:
            raise InvalidInputError(
                f"`func_name` must be new; got {func_name!r}, which is registered. Pass override=True to replace it."
            )
        _REGISTRY[func_name] = function
        return function

    return register(f) if f is not None else register


def make_workload_key(func: str | Callable[..., Any], args: Sequence[Any] = ()) -> str:
    """Write a registered function and its arguments as one string."""
    name = func if isinstance(func, str) else getattr(func, "__name__", func)
    if not isinstance(name, str) or name not in _REGISTRY:
        raise InvalidInputError(
            f"`func` must be registered with @auto_scheduler.register_workload; got {name!r}, known are {sorted(_REGISTRY)}"
        )
    try:
        return json.dumps([name, *args])
    except TypeError as err:
        raise InvalidInputError(f"`args` must be a sequence of numbers, strings and lists; got {args!r}") from err


def _call_of(key: str) -> tuple[str, list[Any]]:
    """Read what `make_workload_key` wrote."""
    try:
        name, *args = json.loads(key)
    except (ValueError, TypeError) as err:
        raise InvalidInputError(
            f"`workload_key` must be a JSON list of a registered function and its arguments; got {key!r}"
        ) from err
    make_workload_key(name, args)
    return name, args


def _mod_of_workload_key(key: str) -> IRModule:
    name, args = _call_of(key)
    tensors = _REGISTRY[name](*[tuple(a) if isinstance(a, list) else a for a in args])
    # A te.Tensor has __getitem__ and no end: as a sequence it would never stop.
    given = [tensors] if isinstance(tensors, te.Tensor) else tensors
    if not isinstance(given, (list, tuple)) or not all(isinstance(tensor, te.Tensor) for tensor in given):
        raise InvalidInputError(f"workload {name!r} must return a list of te tensors; got {type(tensors).__name__}")
    return normalize(te.create_prim_func(list(given)))


class HardwareParams:
    """The limits of a device, where the target does not say them.

    Only what MetaSchedule's rules read has a meaning on this engine; a value given here completes the target.

    Parameters
    ----------
    num_cores
        Cores of a CPU (``num-cores``).
    max_shared_memory_per_block, max_threads_per_block
        Limits of a GPU.
    warp_size
        Threads of a warp (``thread_warp_size``).
    vector_unit_bytes, cache_line_bytes, max_local_memory_per_block, max_vthread_extent
        Fixed by MetaSchedule's rules for the target kind: giving one raises `UnsupportedError`.
    target
        Where to take what is None from; without it, the task's own target says it.
    target_host
        Not on this engine: give it to `SearchTask`.
    """

    _ATTRS = {  # noqa: RUF012 - a constant
        "num_cores": "num-cores",
        "max_shared_memory_per_block": "max_shared_memory_per_block",
        "max_threads_per_block": "max_threads_per_block",
        "warp_size": "thread_warp_size",
    }

    def __init__(
        self,
        num_cores: int | None = None,
        vector_unit_bytes: int | None = None,
        cache_line_bytes: int | None = None,
        max_shared_memory_per_block: int | None = None,
        max_local_memory_per_block: int | None = None,
        max_threads_per_block: int | None = None,
        max_vthread_extent: int | None = None,
        warp_size: int | None = None,
        target: Any = None,
        target_host: Any = None,
    ) -> None:
        fixed = {
            "vector_unit_bytes": vector_unit_bytes,
            "cache_line_bytes": cache_line_bytes,
            "max_local_memory_per_block": max_local_memory_per_block,
            "max_vthread_extent": max_vthread_extent,
        }
        given = [name for name, value in fixed.items() if value is not None]
        if given:
            raise UnsupportedError(
                f"MetaSchedule fixes {', '.join(given)} in its rules for each target kind. "
                "Leave them out; name the CPU or GPU in the target (mcpu, arch) instead."
            )
        if target_host is not None:
            raise UnsupportedError("`target_host` says nothing of a device's limits; give it to SearchTask instead.")
        self.num_cores = _optional("num_cores", num_cores)
        self.max_shared_memory_per_block = _optional("max_shared_memory_per_block", max_shared_memory_per_block)
        self.max_threads_per_block = _optional("max_threads_per_block", max_threads_per_block)
        self.warp_size = _optional("warp_size", warp_size)
        self.target = None if target is None else as_target(target)

    def complete(self, target: Any) -> dict[str, Any]:
        """Return the description of `target`, as `resolve_target` takes it, with these values filled in."""
        described = {k: v for k, v in json.loads(target_json(as_target(target))).items() if k != "keys"}
        known = {} if self.target is None else self.target.attrs
        defaults = {attr: int(known[attr]) for attr in self._ATTRS.values() if attr in known}
        mine = {attr: getattr(self, name) for name, attr in self._ATTRS.items() if getattr(self, name) is not None}
        return {**defaults, **described, **mine}


def _optional(name: str, value: int | None) -> int | None:
    return None if value is None else whole_number(name, value, at_least=1)


class SearchTask:
    """One computation to tune for one target.

    Parameters
    ----------
    func
        A function registered with `register_workload` or its name; here also a `PrimFunc` or an `IRModule` with one.
    args
        Arguments of the function.
    compute_dag
        Has no counterpart in TensorIR: pass the PrimFunc as `func`.
    workload_key
        What `make_workload_key` returned, in place of `func` and `args`; not together with them.
    target, target_host
        The target; ``"llvm"`` and None mean the CPU of this machine.
    hardware_params
        Limits that the target does not say.
    layout_rewrite_option, task_inputs, task_inputs_overwrite, task_inputs_save_to_file
        Not on this engine: a value other than the default raises `UnsupportedError`.
    desc
        What a person calls it.
    """

    def __init__(
        self,
        func: str | Callable[..., Any] | PrimFunc | IRModule | None = None,
        args: Sequence[Any] | None = None,
        compute_dag: Any = None,
        workload_key: str | None = None,
        target: Any = None,
        target_host: Any = None,
        hardware_params: HardwareParams | None = None,
        layout_rewrite_option: Any = None,
        task_inputs: Any = None,
        task_inputs_overwrite: bool = False,
        task_inputs_save_to_file: bool = False,
        desc: str = "",
    ) -> None:
        _refuse(
            compute_dag=compute_dag,
            layout_rewrite_option=layout_rewrite_option,
            task_inputs=task_inputs,
            task_inputs_overwrite=task_inputs_overwrite or None,
            task_inputs_save_to_file=task_inputs_save_to_file or None,
        )
        name, self.mod = _resolve_workload(func, args, workload_key)
        if hardware_params is not None:
            if not isinstance(hardware_params, HardwareParams):
                raise InvalidInputError(f"`hardware_params` must be HardwareParams; got {hardware_params!r}")
            target = hardware_params.complete(target)
        resolved = resolve_target(target)
        self.target: Target = resolved.with_host(resolve_target(target_host)) if target_host is not None else resolved
        self.hardware_params = hardware_params
        self.desc = desc or name

    @property
    def workload_key(self) -> str:
        """Identity of the workload: the structural hash of its module."""
        return self.task.key

    @cached_property
    def task(self) -> Task:
        """What the method sees of this task."""
        blocks = blocks_of(self.mod)
        return Task(
            key=workload_key(self.mod),
            name=self.desc,
            flops=flops_of(self.mod),
            target=target_json(self.target),
            operator=core_operator(blocks),
            structure=structure_of(self.mod),
            shape=shape_of(blocks),
        )

    def __repr__(self) -> str:
        return f"SearchTask({self.desc!r}, workload_key={self.workload_key!r}, target={self.target.kind.name!r})"

    def tune(self, tuning_options: Any, search_policy: Any = None, adaptive_training: bool = False) -> None:
        """Tune this task alone: `SketchPolicy` with an `XGBModel` unless another policy is given."""
        from familyseer.meta_schedule.task_scheduler import TaskScheduler

        scheduler = TaskScheduler([self], callbacks=[])
        policy = "sketch.xgb" if search_policy is None else [search_policy]
        scheduler.tune(tuning_options, policy, adaptive_training=adaptive_training)

    def apply_best(self, log_file: str, include_compatible: bool = False, layout_rewrite_option: Any = None) -> Any:
        """Return the best recorded schedule of this task as a `tvm.s_tir.Schedule`; ``tvm.compile(sch.mod)`` builds it.

        TVM 0.19 returned a te schedule and its tensors, which no longer exist.
        """
        from familyseer.meta_schedule.measure_record import load_best_record

        _refuse(layout_rewrite_option=layout_rewrite_option, include_compatible=include_compatible or None)
        found, _ = load_best_record(log_file, self.workload_key, self.target)
        if found is None:
            raise InvalidInputError(
                f"`log_file` must hold a valid schedule of {self.desc!r} for {self.target!s}; {log_file!r} holds none. Tune the task first."
            )
        return found.state.schedule

    def print_best(self, log_file: str, print_mode: str = "schedule") -> str:
        """Return the best schedule as Python code (``"schedule"``) or as device source (``"cuda"``)."""
        if print_mode not in ("schedule", "cuda"):
            raise InvalidInputError(f"`print_mode` must be 'schedule' or 'cuda'; got {print_mode!r}")
        if print_mode == "cuda" and self.target.kind.name != "cuda":
            raise InvalidInputError(f"`print_mode` must be 'schedule' for {self.target.kind.name}; got 'cuda'")
        schedule = self.apply_best(log_file)
        if print_mode == "schedule":
            return str(schedule.trace)
        return str(tvm.compile(schedule.mod, target=self.target).mod.imports[0].inspect_source())


def create_task(func: Any, args: Any, target: Any, target_host: Any = None, hardware_params: Any = None) -> SearchTask:
    """Create a task; the old name of `SearchTask`."""
    return SearchTask(func=func, args=args, target=target, target_host=target_host, hardware_params=hardware_params)


_INSTEAD = {
    "compute_dag": "pass the PrimFunc or IRModule as `func`",
    "layout_rewrite_option": "mark weights with the block attribute layout_free_placeholders in te, which MetaSchedule honours",
    **dict.fromkeys(
        ("task_inputs", "task_inputs_overwrite", "task_inputs_save_to_file"),
        "measure with your own runner (a subclass of LocalRunner): candidates are timed on random data here",
    ),
    "include_compatible": "import the other log's records with familyseer.meta_schedule.database",
}


def _refuse(**options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise UnsupportedError(f"`{name}` does not exist on the MetaSchedule engine; {_INSTEAD[name]}.")


def _resolve_workload(func: Any, args: Sequence[Any] | None, key: str | None) -> tuple[str, IRModule]:
    """Return what to call a workload and its normalized module."""
    if key is not None:
        if func is not None or args:
            raise InvalidInputError("`workload_key` must be given alone; got `func` or `args` too")
        return _call_of(key)[0], _mod_of_workload_key(key)
    if isinstance(func, (PrimFunc, IRModule)):
        if args:
            raise InvalidInputError(f"`args` must be empty when `func` is a module; got {args!r}")
        mod = normalize(func)
        return str((mod["main"].attrs or {}).get("global_symbol", "main")), mod
    if func is not None:
        written = make_workload_key(func, args or ())
        return _call_of(written)[0], _mod_of_workload_key(written)
    raise InvalidInputError(
        "`func` must be a registered workload, a PrimFunc or an IRModule (or give `workload_key`); got None"
    )
