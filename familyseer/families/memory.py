# SPDX-License-Identifier: Apache-2.0
"""Memory between networks: what a store gives to a run at its start, and takes from it at its end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from familyseer.cost_model import ModelBank
from familyseer.families.guests import nearest
from familyseer.families.learner import FamilyModel
from familyseer.measure import INVALID_COST
from familyseer.store import Store, StoredTask
from familyseer.task import Task, TaskKey
from familyseer.transfer import DonorPool, Experience

__all__ = ["Memory"]


class Memory:
    """The tasks of earlier runs that have something to say to those of this one.

    They are guests in its families: their measurements teach the models, their best schedules are donors, none is tuned. A
    task that was tuned before is its own best guest. What they say is tried, never trusted: a schedule is ranked with the
    others, and counts once it has been measured here.

    Parameters
    ----------
    store
        Where they are kept.
    tasks
        Those of this run.
    measured
        Those of them that this run's log knows already: what the store has of them may come from that very log.
    """

    def __init__(self, store: Store, tasks: Sequence[Task], measured: Collection[TaskKey] = ()) -> None:
        self._store, self._tasks = store, tuple(tasks)
        known = [stored for stored in store.read() if stored.task.key not in measured]
        wanted = nearest([stored.task for stored in known], tasks)
        self._known = {f"guest:{stored.task.key}": stored for stored in known if stored.task.key in wanted}

    @property
    def guests(self) -> tuple[Task, ...]:
        """The guests under keys that no task of a run has."""
        return tuple(replace(stored.task, key=key) for key, stored in self._known.items())

    def teach(self, model: FamilyModel, pool: DonorPool, experience: Experience) -> None:
        """Let models learn what was measured of the guests, and pool and experience have their schedules."""
        model.learn_guests([(key, stored.features, stored.costs) for key, stored in self._known.items()])
        for key, stored in self._known.items():
            if stored.donors:
                pool.add(key, stored.donors)
            for tried in stored.tried:
                experience.add(key, tried)

    def keep(self, model: ModelBank, pool: DonorPool, experience: Experience) -> None:
        """Store what this run measured, for the next one.

        Raises
        ------
        StoreError
            When it cannot be written.
        """
        donors = pool.best()
        self._store.write(
            [
                StoredTask(
                    task=task,
                    donors=tuple(donors.get(task.key, ())),
                    features=known[0],
                    costs=_finite(known[1]),
                    tried=experience.of(task.key),
                )
                for task in self._tasks
                if (known := model.learnt(task.key)) is not None
            ]
        )


def _finite(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return latencies as a store has them: a failed program's is `INVALID_COST`, where a model has infinity."""
    return np.where(np.isfinite(costs), costs, INVALID_COST)
