# SPDX-License-Identifier: Apache-2.0
"""Families from cross-accuracy and alignment, as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import AgglomerativeClustering

from familyseer.errors import InvalidInputError

__all__ = ["FamilyClustering"]

Matrix = NDArray[np.float64]

_FULL = 64  # programs of a task from which on its cross-accuracy has its full weight


class FamilyClustering(ClusterMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """Group tasks that teach the same, so that their models rank each other's programs better than those of others.

    The similarity of two tasks is their alignment plus `accuracy_weight` times their interaction:

    - *interaction*: the cross-accuracy that remains when the effects of its row (some models rank everything well), and
      of its column (some tasks are easy to rank), are taken away; made symmetric. It counts n/64 for n < 64
      programs, since its noise grows as they become fewer.
    - *alignment*: see `familyseer.families.alignment`.

    ``python -m benchmarks.families`` measures these choices against each other.

    Parameters
    ----------
    distance_threshold
        Families are merged while 1 minus the mean similarity of their tasks is below this.
    accuracy_weight
        Weight of the interaction.
    symmetrisation
        How the interactions of i on j and of j on i become one: ``"mean"``, ``"min"`` or ``"max"``.
    linkage
        How the distance of two families follows from that of their tasks, see `AgglomerativeClustering`.
    hysteresis
        By how much two tasks of one present family count as nearer, and those of different ones as farther apart, so
        that families change for a reason and not by noise.

    Attributes
    ----------
    labels_
        (t,) family of each task, numbered by first occurrence.
    distances_
        (t, t) distances, without hysteresis.
    children_, merges_
        (t − 1, 2) and (t − 1,): what is merged at which distance, as in `AgglomerativeClustering`; for a dendrogram.

    Examples
    --------
    >>> accuracy = [[0.9, 0.8, 0.5], [0.85, 0.9, 0.5], [0.5, 0.5, 0.7]]
    >>> aligned = [[1.0, 0.6, 0.1], [0.6, 1.0, 0.1], [0.1, 0.1, 1.0]]
    >>> FamilyClustering().fit(accuracy, alignment=aligned, programs=[64, 64, 64]).labels_.tolist()
    [0, 0, 1]
    """

    def __init__(
        self,
        *,
        distance_threshold: float = 0.8,
        accuracy_weight: float = 3.0,
        symmetrisation: Literal["mean", "min", "max"] = "mean",
        linkage: Literal["average", "complete", "single"] = "average",
        hysteresis: float = 0.0,
    ) -> None:
        self.distance_threshold = distance_threshold
        self.accuracy_weight = accuracy_weight
        self.symmetrisation = symmetrisation
        self.linkage = linkage
        self.hysteresis = hysteresis

    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        alignment: ArrayLike,
        programs: ArrayLike,
        present: ArrayLike | None = None,
    ) -> FamilyClustering:
        """Form families.

        Parameters
        ----------
        X
            (t, t) cross-accuracy A, from 0 to 1, t ≥ 1.
        y
            Ignored; it is there because scikit-learn passes it.
        alignment
            (t, t), symmetric.
        programs
            (t,) programs of each task that both were made of.
        present
            (t,) labels of the present families, for `hysteresis`, negative for a task that is in none; None: there are none.
        """
        accuracy = _checked("X", X, 0, 1)
        aligned = _checked("alignment", alignment, -1, 1)
        sizes = np.asarray(programs, dtype=np.float64)
        if aligned.shape != accuracy.shape or sizes.shape != accuracy.shape[:1]:
            raise InvalidInputError(
                f"`alignment` and `programs` must be of the {len(accuracy)} tasks of `X`; got shapes {aligned.shape!r} "
                f"and {sizes.shape!r}"
            )
        self.distances_ = self._distances(accuracy, aligned, sizes)
        if len(accuracy) == 1:
            self.labels_ = np.zeros(1, dtype=np.int64)
            self.children_, self.merges_ = np.zeros((0, 2), dtype=np.int64), np.zeros(0)
            return self
        found = AgglomerativeClustering(
            n_clusters=None,
            distance_threshold=self.distance_threshold,
            metric="precomputed",
            linkage=self.linkage,
            compute_full_tree=True,
        ).fit(self._biased(present))
        self.labels_ = _by_first_occurrence(found.labels_)
        self.children_, self.merges_ = found.children_, found.distances_
        return self

    def _distances(self, accuracy: Matrix, aligned: Matrix, sizes: Matrix) -> Matrix:
        weight = self.accuracy_weight * np.minimum(1, np.minimum.outer(sizes, sizes) / _FULL)
        similarity = aligned + weight * self._symmetric(_interaction(accuracy))
        distances = np.maximum(1 - similarity, 0)
        np.fill_diagonal(distances, 0)
        return np.asarray(distances)

    def _symmetric(self, matrix: Matrix) -> Matrix:
        both = {
            "mean": (matrix + matrix.T) / 2,
            "min": np.minimum(matrix, matrix.T),
            "max": np.maximum(matrix, matrix.T),
        }
        if self.symmetrisation not in both:
            raise InvalidInputError(f"`symmetrisation` must be mean, min or max; got {self.symmetrisation!r}")
        return np.asarray(both[self.symmetrisation])

    def _biased(self, present: ArrayLike | None) -> Matrix:
        if present is None:
            return self.distances_
        labels = np.asarray(present)
        together = labels[:, None] == labels[None, :]
        bias = np.where(together, -self.hysteresis, self.hysteresis)
        bias[(labels[:, None] < 0) | (labels[None, :] < 0)] = 0
        biased = np.maximum(self.distances_ + bias, 0)
        np.fill_diagonal(biased, 0)
        return np.asarray(biased)


def _interaction(accuracy: Matrix) -> Matrix:
    """Return what rows and columns of a table without its diagonal do not explain, by least squares.

    With fewer than three tasks they explain everything.
    """
    n = len(accuracy)
    if n < 3:
        return np.zeros((n, n))
    table = accuracy - np.diag(np.diag(accuracy))
    mean = table.sum() / (n * (n - 1))
    rows, columns = table.sum(axis=1) - (n - 1) * mean, table.sum(axis=0) - (n - 1) * mean
    # Row i lacks column i, and column i row i: the normal equations tie the effects of a task to each other.
    of_rows = ((n - 1) * rows + columns) / (n * (n - 2))
    of_columns = ((n - 1) * columns + rows) / (n * (n - 2))
    return np.asarray(accuracy - mean - of_rows[:, None] - of_columns[None, :])


def _checked(name: str, values: ArrayLike, least: float, most: float) -> Matrix:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise InvalidInputError(f"`{name}` must be a square matrix of at least one task; got {matrix.shape!r}")
    if not (np.isfinite(matrix).all() and (matrix >= least).all() and (matrix <= most).all()):
        raise InvalidInputError(
            f"`{name}` must be numbers from {least} to {most}; leave out tasks with too few programs"
        )
    return matrix


def _by_first_occurrence(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    number: dict[int, int] = {}
    return np.array([number.setdefault(int(label), len(number)) for label in labels], dtype=np.int64)
