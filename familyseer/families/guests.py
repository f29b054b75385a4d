# SPDX-License-Identifier: Apache-2.0
"""Guests: tasks of earlier runs that teach the families of this one, and are not tuned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from familyseer.families.keys import FamilyKind, partition_tasks
from familyseer.families.partition import Partition
from familyseer.families.priors import shape_distance
from familyseer.task import Task, TaskKey

__all__ = ["guest_labels", "nearest"]

_PER_TASK = 3  # guests that a task asks for


def guest_labels(
    guests: Sequence[Task], tasks: Sequence[Task], partition: Partition, kind: FamilyKind
) -> dict[TaskKey, str]:
    """Return the family that each guest joins: the one with most tasks of its kind, or one of its own.

    Parameters
    ----------
    guests, tasks
        Of earlier runs, and of this one; no key is in both.
    partition
        The present families of `tasks`.
    kind
        What makes tasks of a kind before any is measured, see `partition_tasks`; the operator where nothing does.

    Examples
    --------
    >>> conv, dense, old = (Task(key=k, name="", operator=o) for k, o in [("1", "conv"), ("2", "dense"), ("3", "conv")])
    >>> guest_labels([old], [conv, dense], Partition.from_labels({"1": "a", "2": "b"}), "op")
    {'3': 'a'}
    """
    if not guests:
        return {}
    like = partition_tasks("op" if kind == "accuracy" else kind, [*tasks, *guests])
    labels, joined = partition.labels(), {}
    for guest in guests:
        mates = Counter(labels[key] for key in like.members(like.family_of(guest.key)) if key in labels)
        joined[guest.key] = mates.most_common(1)[0][0] if mates else f"guest {like.family_of(guest.key)}"
    return joined


def nearest(guests: Sequence[Task], tasks: Sequence[Task]) -> set[TaskKey]:
    """Return the guests worth having: for each task the three of its operator with the nearest shapes.

    Examples
    --------
    >>> old = [Task(key=str(n), name="", operator="dense", shape=(n,)) for n in (1, 2, 4, 64)]
    >>> sorted(nearest(old, [Task(key="new", name="", operator="dense", shape=(3,))]))
    ['1', '2', '4']
    """
    found: set[TaskKey] = set()
    for task in tasks:
        mates = sorted(
            (guest for guest in guests if guest.operator == task.operator),
            key=lambda guest: (shape_distance(guest, task), guest.key),
        )
        found.update(guest.key for guest in mates[:_PER_TASK])
    return found
