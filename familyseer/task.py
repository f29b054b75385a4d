# SPDX-License-Identifier: Apache-2.0
"""A tuning task as the method sees it: names and numbers, no TVM object inside."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from familyseer.errors import InvalidInputError

__all__ = ["Task", "TaskKey"]

TaskKey = str
"""Identity of a workload: hexadecimal structural hash of its IRModule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One subgraph to tune.

    Parameters
    ----------
    key
        Identity of the workload; equal for equal computations of equal shapes.
    name
        What a person calls it, e.g. ``"fused_conv2d_add_relu"``. Never parsed.
    weight
        How often the network calls it; the objective is the weighted sum of latencies.
    flops
        Floating-point operations of one call; 0 when unknown.
    target
        The compilation target as canonical JSON.
    operator
        Kind of the heaviest block: ``"conv2d"``, ``"depthwise_conv2d"``, ``"winograd"``, ``"dense"``, ``"batch_matmul"``,
        ``"reduction"``, ``"softmax"``, ``"elementwise"`` …
    structure
        Hash of the computation with its shapes abstracted: equal for the same sequence of operations.
    shape
        Extents of the heaviest block's loops, spatial ones before reductions; empty when unknown.
    """

    key: TaskKey
    name: str
    weight: float = 1.0
    flops: float = 0.0
    target: str = ""
    operator: str = "other"
    structure: str = ""
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.key:
            raise InvalidInputError("`key` must be a non-empty string; got ''")
        if not (isfinite(self.weight) and self.weight >= 0):
            raise InvalidInputError(f"`weight` of task {self.name!r} must be a number ≥ 0; got {self.weight!r}")
