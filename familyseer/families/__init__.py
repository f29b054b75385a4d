# SPDX-License-Identifier: Apache-2.0
"""Families: partitions of the tasks into relatives, and the policy names that choose one."""

from __future__ import annotations

from familyseer.families.keys import DEFAULT_POLICY, POLICY_NAMES, FamilyKind, PolicyName, partition_tasks
from familyseer.families.partition import Partition

__all__ = ["DEFAULT_POLICY", "POLICY_NAMES", "FamilyKind", "Partition", "PolicyName", "partition_tasks"]
