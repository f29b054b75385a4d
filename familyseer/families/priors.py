# SPDX-License-Identifier: Apache-2.0
"""Priors: the task of each family that its relatives can learn most from."""

from __future__ import annotations

from collections.abc import Sequence
from math import dist, log2

from familyseer.families.partition import Partition
from familyseer.task import Task, TaskKey

__all__ = ["priors"]

_UNLIKE = 20.0  # distance of shapes with different numbers of loops: a million times larger


def priors(tasks: Sequence[Task], partition: Partition) -> tuple[TaskKey, ...]:
    """Return the most central task of each family, which is to be tuned first; large families come first.

    Central is the task with the lowest mean distance of shapes to the family, the first of equals: the Euclidean norm of
    the binary logarithms of the ratios of their loops' extents.

    Examples
    --------
    >>> tasks = [Task(key=str(n), name="", operator="dense", shape=(n, 8)) for n in (1, 64, 8)]
    >>> priors(tasks, Partition.from_labels({"1": "d", "64": "d", "8": "d"}))
    ('8',)
    """
    shapes = {task.key: [log2(extent) for extent in task.shape] for task in tasks}
    families = sorted((members for _, members in partition.families), key=len, reverse=True)
    return tuple(_central(members, shapes) for members in families)


def _central(members: Sequence[TaskKey], shapes: dict[TaskKey, list[float]]) -> TaskKey:
    def away(one: TaskKey) -> float:
        return sum(
            dist(shapes[one], shapes[other]) if len(shapes[one]) == len(shapes[other]) else _UNLIKE for other in members
        )

    return min(members, key=lambda key: round(away(key), 9))
