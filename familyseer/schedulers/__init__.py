# SPDX-License-Identifier: Apache-2.0
"""Schedulers: which task gets the next round of measurements."""

from __future__ import annotations

from familyseer.schedulers.base import Objective, TaskScheduler, TaskState, similarity_label, weighted_sum
from familyseer.schedulers.family_gradient import FamilyGradientScheduler
from familyseer.schedulers.gradient import GradientScheduler
from familyseer.schedulers.named import STRATEGIES, make_scheduler
from familyseer.schedulers.round_robin import RoundRobinScheduler

__all__ = [
    "STRATEGIES",
    "FamilyGradientScheduler",
    "GradientScheduler",
    "Objective",
    "RoundRobinScheduler",
    "TaskScheduler",
    "TaskState",
    "make_scheduler",
    "similarity_label",
    "weighted_sum",
]
