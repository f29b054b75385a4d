# SPDX-License-Identifier: Apache-2.0
"""What a cost model sees of programs: one row of features per buffer store, gathered into one row per program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from familyseer.errors import InvalidInputError

__all__ = ["FeatureSet"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureSet:
    """Per-store features of n programs.

    A program without stores is allowed and has count 0.
    Infinite values are stored as NaN, which the models take for "missing".

    Parameters
    ----------
    rows
        (r, d), the stores of the first program, then those of the second, …; kept as float32.
    counts
        (n,), stores per program; they sum to r.

    Examples
    --------
    >>> features = FeatureSet.from_arrays([[[1.0, 0.0], [4.0, 2.0]], [[3.0, 5.0]]])
    >>> len(features), features.width
    (2, 2)
    >>> features.gathered().tolist()
    [[5.0, 2.0, 4.0, 2.0, 4.0, 2.0, 2.0], [3.0, 5.0, 3.0, 5.0, 3.0, 5.0, 1.0]]
    """

    rows: NDArray[np.float32]
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        rows, counts = _as_float32(self.rows), np.asarray(self.counts)
        if rows.ndim != 2:
            raise InvalidInputError(f"`rows` must be a matrix of stores by features; got shape {rows.shape!r}")
        if counts.ndim != 1 or not (counts.dtype.kind in "iu" or counts.size == 0) or np.any(counts < 0):
            raise InvalidInputError(f"`counts` must be a vector of whole numbers ≥ 0; got {self.counts!r}")
        if counts.sum() != len(rows):
            raise InvalidInputError(f"`counts` must sum to the {len(rows)} rows; got a sum of {counts.sum()}")
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "counts", counts.astype(np.int64))

    @classmethod
    def from_arrays(cls, arrays: Iterable[ArrayLike]) -> FeatureSet:
        """Join one (r_i, d) array per program; arrays without elements are programs without stores.

        Raises
        ------
        InvalidInputError
            When an array is not a matrix, or their widths differ.
        """
        matrices = [np.asarray(array, dtype=np.float32) for array in arrays]
        filled = [matrix for matrix in matrices if matrix.size]
        if any(matrix.ndim != 2 for matrix in filled):
            raise InvalidInputError(f"`arrays` must be matrices; got shapes {sorted({m.shape for m in filled})}")
        counts = np.array([len(matrix) if matrix.size else 0 for matrix in matrices], dtype=np.int64)
        return cls(rows=_stack(filled), counts=counts)

    @classmethod
    def concat(cls, parts: Sequence[FeatureSet]) -> FeatureSet:
        """Join the programs of `parts` in order; parts without rows may have any width."""
        counts = [part.counts for part in parts]
        return cls(
            rows=_stack([part.rows for part in parts if len(part.rows)]),
            counts=np.concatenate(counts) if counts else np.zeros(0, dtype=np.int64),
        )

    @property
    def width(self) -> int:
        """Features per store, d; 0 when there is no row to tell."""
        return int(self.rows.shape[1])

    @property
    def program_ids(self) -> NDArray[np.int64]:
        """(r,), the program that each row belongs to."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        return f"FeatureSet({len(self)} programs, {len(self.rows)} stores, width {self.width})"

    def __getitem__(self, index: Sequence[int] | NDArray[Any] | slice) -> FeatureSet:
        """Return the programs at `index` (indices, a mask or a slice), in that order."""
        chosen = np.arange(len(self))[_as_index(index)]
        counts = self.counts[chosen]
        starts = np.cumsum(self.counts) - self.counts
        # Row numbers of each chosen program: its start, plus 0, 1, … within it.
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return FeatureSet(rows=self.rows[np.repeat(starts[chosen], counts) + within], counts=counts)

    def gathered(self) -> NDArray[np.float32]:
        """Return one row per program: sum, maximum and heaviest of its stores, and their number.

        The heaviest store is the one whose features sum to most, the first of equals.
        TVM's features are logarithms of amounts of work and memory, so that sum is a measure of size.

        Returns
        -------
        (n, 3 d + 1); zeros for a program without stores.
        """
        width = self.width
        gathered = np.zeros((len(self), 3 * width + 1), dtype=np.float32)
        gathered[:, -1] = self.counts
        filled = self.counts > 0
        if not filled.any():
            return gathered
        starts = (np.cumsum(self.counts) - self.counts)[filled]
        heaviest_first = np.lexsort((-np.nansum(self.rows, axis=1), self.program_ids))
        gathered[filled, :width] = np.add.reduceat(self.rows, starts)
        gathered[filled, width : 2 * width] = np.fmax.reduceat(self.rows, starts)
        gathered[filled, 2 * width : 3 * width] = self.rows[heaviest_first[starts]]
        return gathered


def _as_float32(rows: ArrayLike) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what overflows becomes infinite, hence missing
        converted = np.asarray(rows, dtype=np.float32)
    return np.where(np.isinf(converted), np.float32(np.nan), converted) if np.isinf(converted).any() else converted


def _as_index(index: Sequence[int] | NDArray[Any] | slice) -> NDArray[Any] | slice:
    if isinstance(index, slice):
        return index
    array = np.asarray(index)
    return array.astype(np.int64) if array.size == 0 else array


def _stack(matrices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Join matrices of equal width; without any, a (0, 0) matrix."""
    widths = sorted({matrix.shape[1] for matrix in matrices})
    if len(widths) > 1:
        raise InvalidInputError(f"all programs must have features of one length; got lengths {widths}")
    return np.concatenate(matrices) if matrices else np.zeros((0, 0), dtype=np.float32)
