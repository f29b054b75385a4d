# SPDX-License-Identifier: Apache-2.0
"""Ansor's tasks as the method sees them: kind, shape and structure are read from tensor expressions, not from names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import auto_scheduler, te, tir

from familyseer.operators import REDUCTION, TRANSCENDENTAL, Block, core_operator, shape_of, structure_hash
from familyseer.task import Task

__all__ = ["blocks_of", "describe"]

_UNROLLED = "auto_scheduler_simplify_const_tensor_indices"  # which topi gives to winograd's transformations


def describe(task: auto_scheduler.SearchTask, weight: float = 1.0) -> Task:
    """Describe a task; its key is TVM's workload key."""
    blocks = blocks_of(task.compute_dag)
    return Task(
        key=str(task.workload_key),
        name=str(task.desc or task.workload_key),
        weight=weight,
        flops=float(task.compute_dag.flop_ct),
        target=str(task.target),
        operator=core_operator(blocks),
        structure=structure_hash(str(task.compute_dag)),
        shape=shape_of(blocks),
    )


def blocks_of(dag: auto_scheduler.ComputeDAG) -> list[Block]:
    """Describe the stages that compute something, in order of computation."""
    return [_describe(op) for op in dag.ops if isinstance(op, te.ComputeOp)]


def _describe(op: te.ComputeOp) -> Block:
    loads, calls = _read(op.body)
    axes = [*op.axis, *op.reduce_axis]
    extents = {str(axis.var.name): (int(axis.iter_type), _extent(axis)) for axis in axes}
    return Block(
        name=str(op.name),
        spatial={name: extent for name, (kind, extent) in extents.items() if kind != REDUCTION},
        reduction={name: extent for name, (kind, extent) in extents.items() if kind == REDUCTION},
        reads=tuple(tuple(_variables(index) & extents.keys() for index in load.indices) for load in loads),
        transcendental=bool(calls & set(TRANSCENDENTAL)),
        rule="winograd" if "winograd" in str(op.tag) or _UNROLLED in op.attrs else "",
    )


def _read(body: Sequence[Any]) -> tuple[list[Any], set[str]]:
    """Return the tensors that are read and the functions that are called; the sum of a reduction is no read."""
    loads: list[Any] = []
    calls: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, tir.ProducerLoad):
            loads.append(node)
        elif isinstance(node, tir.Call):
            calls.add(str(getattr(node.op, "name", "")).removeprefix("tir."))

    for expression in body:
        for part in expression.source if isinstance(expression, tir.Reduce) else [expression]:
            tir.stmt_functor.post_order_visit(tir.Evaluate(part), visit)
    unique = {(str(load.producer), str(load.indices)): load for load in loads}
    return list(unique.values()), calls


def _variables(index: Any) -> frozenset[str]:
    found: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, tir.Var):
            found.add(str(node.name))

    tir.stmt_functor.post_order_visit(tir.Evaluate(index), visit)
    return frozenset(found)


def _extent(axis: Any) -> int:
    extent = axis.dom.extent
    return int(extent) if isinstance(extent, tir.IntImm) else 1
