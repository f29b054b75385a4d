# SPDX-License-Identifier: Apache-2.0
"""What kind of computation a workload is, told from its loops and the indices of what it reads, never from its name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["REDUCTION", "TRANSCENDENTAL", "Block", "core_operator", "shape_of", "structure_hash"]

REDUCTION = 2
"""What TVM calls the kind of a reduced loop, ``IterVar.CommReduce``."""

TRANSCENDENTAL = ("exp", "erf", "tanh", "sigmoid", "log", "pow", "fast_exp")
"""Functions that a softmax, among others, calls."""


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


def structure_hash(text: str) -> str:
    """Hash a computation's text with every number abstracted: equal for the same operations on other shapes."""
    return hashlib.sha256(re.sub(r"\d+", "#", text).encode()).hexdigest()[:16]


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
