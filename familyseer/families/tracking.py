# SPDX-License-Identifier: Apache-2.0
"""Which tasks are families, decided anew as measurements arrive."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from familyseer.families.alignment import alignment
from familyseer.families.clustering import FamilyClustering
from familyseer.families.cross_accuracy import CrossAccuracy
from familyseer.families.keys import PolicyName, partition_tasks
from familyseer.families.partition import Partition
from familyseer.features import FeatureSet
from familyseer.task import Task, TaskKey

__all__ = ["Evidence", "FamilyTracker", "PartitionChange"]

logger = logging.getLogger(__name__)

_UNMEASURED = "unmeasured"
_PATIENCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionChange:
    """A new partition and what led to it.

    Parameters
    ----------
    partition
        The families from now on.
    reason
        Which tasks moved where, in one sentence.
    """

    partition: Partition
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What is known of the n tasks that have enough measurements.

    Parameters
    ----------
    keys
        The tasks.
    accuracy, alignment
        (n, n) each.
    programs
        (n,) programs that they were made of.
    """

    keys: tuple[TaskKey, ...]
    accuracy: NDArray[np.float64]
    alignment: NDArray[np.float64]
    programs: NDArray[np.int64]


class FamilyTracker:
    """Start from what is known of tasks before any is measured, and follow cross-accuracy as soon as there is some.

    A task with too few measurements stays with those of its operator (policy ``family_op``), or with the other tasks
    that have too few (``family_accuracy``). The other policies' families never change.

    Parameters
    ----------
    tasks
        All tasks, with different keys.
    policy
        A policy's name.
    accuracy
        Cross-accuracy of these tasks.
    clustering
        Forms families; None: `FamilyClustering` with its defaults and `HYSTERESIS`.
    seed
        Of `familyseer.families.alignment`.
    """

    HYSTERESIS = 0.05

    def __init__(
        self,
        tasks: Sequence[Task],
        policy: PolicyName | str,
        accuracy: CrossAccuracy,
        clustering: FamilyClustering | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.tasks = tuple(tasks)
        self.kind = (policy if isinstance(policy, PolicyName) else PolicyName.parse(policy)).family
        self._tasks = {task.key: task for task in tasks}
        self._follows = self.kind in ("op", "accuracy")
        by_operator = self.kind == "op"
        self._prior = partition_tasks("op", tasks).labels() if by_operator else dict.fromkeys(self._tasks, _UNMEASURED)
        self.partition = partition_tasks(policy, tasks)
        self.accuracy = accuracy
        self.clustering = clustering or FamilyClustering(hysteresis=self.HYSTERESIS)
        self._news, self._seed = 0, seed
        self._placed: frozenset[TaskKey] = frozenset()

    def learn(self, key: TaskKey, features: FeatureSet, costs: NDArray[np.float64]) -> bool:
        """Take note of measurements; return whether it is time to decide: an eighth of the tasks tells something new."""
        if not self._follows:
            return False
        self._news += self.accuracy.add(key, features, costs)
        if _PATIENCE * self._news < len(self._tasks):
            return False
        self._news = 0
        return True

    def adopt(self, partition: Partition) -> None:
        """Take over a partition that was decided before; raises `InvalidInputError` unless it has exactly the tasks."""
        partition.require(self._tasks)
        self.partition = partition

    def evidence(self) -> Evidence:
        """Return what is known by now."""
        matrix = self.accuracy.matrix()
        known = np.flatnonzero(np.isfinite(np.diag(matrix)))
        keys = tuple(self.accuracy.keys[index] for index in known.tolist())
        programs = [self.accuracy.programs(key) for key in keys]
        return Evidence(
            keys=keys,
            accuracy=matrix[np.ix_(known, known)],
            alignment=alignment(programs, seed=self._seed),
            programs=np.array([len(costs) for _, costs in programs], dtype=np.int64),
        )

    def decide(self) -> PartitionChange | None:
        """Form families of what is known, and return how they differ from the present ones."""
        known = self.evidence()
        if not known.keys:
            return None
        labels = self.cluster(known, [self._present(key) for key in known.keys])
        self.skip()
        found = self._named(self._completed(dict(zip(known.keys, labels.tolist(), strict=True))))
        if _sets(found) == _sets(self.partition):
            return None
        change = PartitionChange(partition=found, reason=self._reason(found))
        logger.info("Families: %s", change.reason)
        self.partition = found
        return change

    def skip(self) -> None:
        """Take note that a decision was made now; a resumed run knows what came of it (see `adopt`)."""
        self._placed = self.accuracy.judged

    def _present(self, key: TaskKey) -> int:
        """Return the number of the family that a task is in; -1 where it only waits for its first decision."""
        if self._prior[key] == _UNMEASURED and key not in self._placed:
            return -1
        return self.partition.names.index(self.partition.family_of(key))

    def cluster(self, known: Evidence, present: Sequence[int] | None = None) -> NDArray[np.int64]:
        """Return the family (n,) of each known task; `clustering` keeps how they were found."""
        fitted = self.clustering.fit(
            known.accuracy, alignment=known.alignment, programs=known.programs, present=present
        )
        return np.asarray(fitted.labels_)

    def _completed(self, family_of: Mapping[TaskKey, int]) -> list[list[TaskKey]]:
        """Put tasks without a measured family to those of the same prior, and return the groups in order of the tasks."""
        groups: dict[object, list[TaskKey]] = {}
        for key in self._tasks:
            groups.setdefault(family_of[key] if key in family_of else self._home(key, family_of), []).append(key)
        return list(groups.values())

    def _home(self, key: TaskKey, family_of: Mapping[TaskKey, int]) -> object:
        """Return the family that has most tasks of the same prior, the first of equals; without any, the prior."""
        prior = self._prior[key]
        if prior == _UNMEASURED:
            return prior
        mates = Counter(family_of[other] for other in self._tasks if other in family_of and self._prior[other] == prior)
        return mates.most_common(1)[0][0] if mates else prior

    def _named(self, groups: Sequence[Sequence[TaskKey]]) -> Partition:
        """Name families by the operators of their tasks, and number those that would be called alike."""
        names = ["+".join(sorted({self._tasks[key].operator or "other" for key in group})) for group in groups]
        seen: Counter[str] = Counter()
        labels: dict[TaskKey, str] = {}
        for name, group in zip(names, groups, strict=True):
            seen[name] += 1
            label = f"{name} {seen[name]}" if names.count(name) > 1 else name
            labels |= dict.fromkeys(group, label)
        return Partition.from_labels(labels)

    def _reason(self, found: Partition) -> str:
        """Say which tasks have other companions than before."""
        moved = []
        for key, task in self._tasks.items():
            old, new = (set(p.members(p.family_of(key))) for p in (self.partition, found))
            if old != new:
                joined, left = (self._names(part) for part in (new - old, old - new))
                parts = ([f"with {joined}"] if joined else []) + ([f"without {left}"] if left else [])
                moved.append(f"{task.name or key} is now {' and '.join(parts)}")
        return f"by cross-accuracy {'; '.join(moved)}"

    def _names(self, keys: set[TaskKey]) -> str:
        return ", ".join(sorted(self._tasks[key].name or key for key in keys))


def _sets(partition: Partition) -> set[frozenset[TaskKey]]:
    return {frozenset(members) for _, members in partition.families}
