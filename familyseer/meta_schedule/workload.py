# SPDX-License-Identifier: Apache-2.0
"""What a workload is: its key, its core operator and its structure, read from TensorIR and never from its name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import IRModule
from tvm.s_tir import Schedule
from tvm.s_tir.analysis import estimate_tir_flops
from tvm.tirx import IntImm, PrimFunc
from tvm.tirx.analysis import undefined_vars

from familyseer.errors import InvalidInputError

__all__ = ["Block", "blocks_of", "core_operator", "flops_of", "normalize", "shape_of", "structure_of", "workload_key"]

_REDUCTION = 2  # tvm.tirx.IterVar.CommReduce


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One computation of a workload, as far as its operator is concerned.

    Parameters
    ----------
    name
        TVM's name of the block; for people only.
    spatial, reduction
        Extent of each loop, by variable name.
    reads
        Per tensor read, per dimension, the names of the loop variables in its index.
    transcendental
        Whether the body calls ``exp``, ``erf``, ``tanh`` and the like.
    rule
        TVM's ``schedule_rule`` annotation, which marks winograd and pooling.
    """

    name: str
    spatial: dict[str, int]
    reduction: dict[str, int]
    reads: tuple[tuple[frozenset[str], ...], ...]
    transcendental: bool
    rule: str

    @property
    def work(self) -> int:
        """Number of iterations."""
        total = 1
        for extent in (*self.spatial.values(), *self.reduction.values()):
            total *= extent
        return total


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
    """Hash the computation with every number abstracted: equal for the same operations on other shapes."""
    abstract = re.sub(r"\d+", "#", str(mod["main"].script(show_meta=False)))
    return hashlib.sha256(abstract.encode()).hexdigest()[:16]


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
        spatial={name: extent for name, (kind, extent) in extents.items() if kind != _REDUCTION},
        reduction={name: extent for name, (kind, extent) in extents.items() if kind == _REDUCTION},
        reads=tuple(
            tuple(frozenset(str(var.name) for var in undefined_vars(dim.min)) for dim in region.region)
            for region in block.reads
        ),
        transcendental=bool(re.search(r"\bT\.(exp|erf|tanh|sigmoid|log|pow|fast_exp)", body)),
        rule=str(block.annotations.get("schedule_rule", "")),
    )


def core_operator(blocks: Sequence[Block]) -> str:
    """Name the kind of the heaviest block: what decides how a fused subgraph is best scheduled.

    Examples are ``conv2d``, ``depthwise_conv2d``, ``winograd``, ``dense``, ``batch_matmul``, ``pool``, ``softmax``,
    ``reduction`` and ``elementwise``. FamilySeer's released code took the second word of a display name instead.
    """
    if not blocks:
        return "other"
    if any("winograd" in block.rule or "inverse" in block.rule for block in blocks):
        return "winograd"
    heaviest = _heaviest(blocks)
    reductions = [block for block in blocks if block.reduction]
    if not reductions:
        return "elementwise"
    if _is_product(heaviest):
        return _product_kind(heaviest)
    if len(reductions) > 1 and any(block.transcendental for block in blocks):
        return "softmax"
    return "pool" if _window_dims(heaviest) else "reduction"


def shape_of(blocks: Sequence[Block]) -> tuple[int, ...]:
    """Return the extents of the heaviest block's loops, spatial ones before reductions."""
    if not blocks:
        return ()
    heaviest = _heaviest(blocks)
    return (*heaviest.spatial.values(), *heaviest.reduction.values())


def _heaviest(blocks: Sequence[Block]) -> Block:
    """Return the block with most work, products before others."""
    return max(blocks, key=lambda block: (len(block.reads) > 1 and bool(block.reduction), block.work))


def _is_product(block: Block) -> bool:
    """Whether it sums products of two tensors: both depend on a reduced and at least one on a spatial variable."""
    reduced = set(block.reduction)
    return sum(bool(_variables([dims]) & reduced) for dims in block.reads) >= 2


def _window_dims(block: Block) -> list[frozenset[str]]:
    """Return the indices that slide: a reduced variable added to a spatial one that no other tensor is indexed by."""
    reduced, found = set(block.reduction), []
    for position, dims in enumerate(block.reads):
        elsewhere = _variables(other for k, other in enumerate(block.reads) if k != position)
        found += [dim for dim in dims if dim & reduced and (dim & set(block.spatial)) - elsewhere]
    return found


def _variables(reads: Iterable[tuple[frozenset[str], ...]]) -> frozenset[str]:
    return frozenset().union(*(dim for dims in reads for dim in dims))


def _product_kind(block: Block) -> str:
    windows = _window_dims(block)
    common = _variables(block.reads[:1]) & _variables(block.reads[1:2])
    shared = {name for name in common if block.spatial.get(name, 1) > 1}
    if not windows:
        return "batch_matmul" if shared else "dense"
    kind = f"conv{len(windows)}d"
    if not shared:
        return kind
    channels = {name for name in common if block.reduction.get(name, 1) > 1}
    return f"depthwise_{kind}" if channels <= frozenset().union(*windows) else f"group_{kind}"
