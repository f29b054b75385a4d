# SPDX-License-Identifier: Apache-2.0
"""What a workload is: its key, its blocks and its structure, read from TensorIR and never from its name."""

from __future__ import annotations

import re
from typing import Any

import tvm_ffi
from tvm import IRModule
from tvm.s_tir import Schedule
from tvm.s_tir.analysis import estimate_tir_flops
from tvm.tirx import IntImm, PrimFunc
from tvm.tirx.analysis import undefined_vars

from familyseer.errors import InvalidInputError
from familyseer.operators import REDUCTION, TRANSCENDENTAL, Block, structure_hash

__all__ = ["blocks_of", "flops_of", "normalize", "structure_of", "workload_key"]

_CALLS = re.compile(rf"\bT\.({'|'.join(TRANSCENDENTAL)})")


def normalize(mod: IRModule | PrimFunc) -> IRModule:
    """Return an IRModule whose only function is called ``main``; refuse anything else."""
    if isinstance(mod, PrimFunc):
        if mod.attrs is None or "global_symbol" not in mod.attrs:
            mod = mod.with_attr("global_symbol", "main")
        mod = IRModule({"main": mod.with_attr("tirx.noalias", True)})
    if not isinstance(mod, IRModule):
        raise InvalidInputError(f"a workload must be a PrimFunc or an IRModule; got {type(mod).__name__}")
    names = [var.name_hint for var in mod.get_global_vars()]
    if len(names) != 1 or not isinstance(mod[names[0]], PrimFunc):
        raise InvalidInputError(
            f"a workload must be an IRModule with exactly one PrimFunc; got {sorted(names)}. "
            "For a whole network use auto_scheduler.extract_tasks(mod, params, target)."
        )
    mod = mod if names == ["main"] else IRModule({"main": mod[names[0]]})
    _refuse_dynamic_shapes(mod["main"], names[0])
    return mod


def _refuse_dynamic_shapes(func: PrimFunc, name: str) -> None:
    for param in func.params:
        shape = getattr(param.ty, "shape", ())  # a scalar parameter has none
        if not all(isinstance(extent, IntImm) for extent in shape):
            raise InvalidInputError(
                f"the shapes of workload {name!r} must be known before tuning; got {[str(e) for e in shape]}. "
                "Bind its symbolic dimensions first, e.g. with relax.transform.BindSymbolicVars."
            )


def workload_key(mod: IRModule) -> str:
    """Return the structural hash of a normalized workload as 16 hexadecimal digits."""
    return f"{tvm_ffi.structural_hash(mod) & 0xFFFFFFFFFFFFFFFF:016x}"


def structure_of(mod: IRModule) -> str:
    """Hash the computation with every number abstracted, see `familyseer.operators.structure_hash`."""
    return structure_hash(str(mod["main"].script(show_meta=False)))


def flops_of(mod: IRModule) -> float:
    """Return TVM's estimate of the floating-point operations of one call, 0 where it has none."""
    try:
        return float(estimate_tir_flops(mod))
    except (RuntimeError, ValueError, TypeError):  # an intrinsic that the estimator does not know
        return 0.0


def blocks_of(mod: IRModule) -> list[Block]:
    """Describe the leaf blocks of a normalized workload, in order of computation."""
    schedule = Schedule(mod)
    return [_describe(schedule.get(block)) for block in schedule.get_child_blocks(schedule.get_sblock("root"))]


def _describe(block: Any) -> Block:
    extents = {str(v.var.name): (int(v.iter_type), int(v.dom.extent)) for v in block.iter_vars}
    body = str(block.body)
    return Block(
        name=str(block.name_hint),
        spatial={name: extent for name, (kind, extent) in extents.items() if kind != REDUCTION},
        reduction={name: extent for name, (kind, extent) in extents.items() if kind == REDUCTION},
        reads=tuple(
            tuple(frozenset(str(var.name) for var in undefined_vars(dim.min)) for dim in region.region)
            for region in block.reads
        ),
        transcendental=bool(_CALLS.search(body)),
        rule=str(block.annotations.get("schedule_rule", "")),
    )
