# SPDX-License-Identifier: Apache-2.0
"""What the tasks of a run share: a cost model, what relatives found, and what earlier runs left."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from familyseer.cost_model import CostModel, ModelBank
from familyseer.errors import ModelFileError, StoreError
from familyseer.families.learner import FamilyModel
from familyseer.families.memory import Memory
from familyseer.meta_schedule.seeds import SeedSource
from familyseer.meta_schedule.transfer import TransferSeeds
from familyseer.metrics import Confidence
from familyseer.task import Task, TaskKey
from familyseer.transfer import DonorPool, Experience

__all__ = ["Knowledge"]

logger = logging.getLogger(__name__)


class Knowledge:
    """Where the policies of a run learn from one another, and what outlives it.

    Parameters
    ----------
    model
        The cost model that all tasks share; None where each policy brought its own.
    seeds
        Where candidates other than sampled ones come from; None: from the best schedules of relatives.
    memory
        Of earlier runs; None: there is none.
    model_file
        Where the model is saved, and loaded from (see `load`).
    """

    def __init__(
        self,
        model: CostModel | None = None,
        *,
        seeds: SeedSource | None = None,
        memory: Memory | None = None,
        model_file: Path | None = None,
    ) -> None:
        self.model = model
        self.seeds: SeedSource = seeds or TransferSeeds(self._relatives)
        self._memory, self._file = memory, model_file

    @property
    def guests(self) -> tuple[Task, ...]:
        """Tasks of earlier runs that the model learns from."""
        return self._memory.guests if self._memory else ()

    def load(self) -> None:
        """Start from the model file, if it exists; for a run that has measured nothing yet, or it would learn that twice."""
        if self.model is not None and self._file is not None and self._file.exists():
            self.model.load(self._file)

    def learn_from_guests(self) -> None:
        """Learn what earlier runs left in memory."""
        if self._memory and isinstance(self.model, FamilyModel):
            self._memory.teach(self.model, self._donors, self._experience)

    def forget_guests(self) -> None:
        """Take nothing from earlier runs any more."""
        guests = [guest.key for guest in self.guests]
        self._donors.forget(guests)
        self._experience.forget(guests)

    def keep(self) -> None:
        """Leave to later runs what was learnt; what cannot be written now costs nothing that the log does not have."""
        try:
            if self._file is not None and self.model is not None:
                self.model.save(self._file)
            if self._memory and isinstance(self.model, ModelBank):
                self._memory.keep(self.model, self._donors, self._experience)
        except (ModelFileError, StoreError) as err:
            logger.warning("Not all that was learnt is kept for later runs, but the log has all of it: %s", err)

    def confidence(self, key: TaskKey) -> Confidence:
        """Return how well the shared model has ranked what it chose for a task."""
        return self.model.confidence(key) if self.model else Confidence()

    @property
    def _donors(self) -> DonorPool:
        return self.seeds.pool if isinstance(self.seeds, TransferSeeds) else DonorPool()

    @property
    def _experience(self) -> Experience:
        return self.seeds.experience if isinstance(self.seeds, TransferSeeds) else Experience()

    def _relatives(self, key: TaskKey) -> Collection[TaskKey]:
        return self.model.relatives(key) if isinstance(self.model, ModelBank) else ()
