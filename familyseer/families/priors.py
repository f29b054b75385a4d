# SPDX-License-Identifier: Apache-2.0
"""Priors: the task of each family that its relatives can learn most from."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, log2

from familyseer.families.partition import Partition
from familyseer.task import Task, TaskKey

__all__ = ["priors", "shape_distance"]

_UNLIKE = 20.0  # distance of shapes with different numbers of loops: a million times larger


def priors(tasks: Sequence[Task], partition: Partition) -> tuple[TaskKey, ...]:
    """Return the most central task of each family, which is to be tuned first; large families come first.

    Central is the task with the lowest mean `shape_distance` to the family, the first of equals.

    Examples
    --------
    >>> tasks = [Task(key=str(n), name="", operator="dense", shape=(n, 8)) for n in (1, 64, 8)]
    >>> priors(tasks, Partition.from_labels({"1": "d", "64": "d", "8": "d"}))
    ('8',)
    """
    by_key = {task.key: task for task in tasks}
    families = sorted((members for _, members in partition.families), key=len, reverse=True)
    return tuple(_central([by_key[key] for key in members]).key for members in families)


def shape_distance(one: Task, other: Task) -> float:
    """Return how different two tasks' shapes are: the norm of the binary logarithms of the ratios of their extents.

    Examples
    --------
    >>> shape_distance(*(Task(key="k", name="", shape=shape) for shape in [(2, 8), (8, 8)]))
    2.0
    """
    if len(one.shape) != len(other.shape):
        return _UNLIKE
    return hypot(*(log2(mine / theirs) for mine, theirs in zip(one.shape, other.shape, strict=True)))


def _central(members: Sequence[Task]) -> Task:
    return min(members, key=lambda task: round(sum(shape_distance(task, other) for other in members), 9))
