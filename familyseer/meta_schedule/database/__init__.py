# SPDX-License-Identifier: Apache-2.0
"""Carry records between familyseer's log and MetaSchedule's databases."""

from __future__ import annotations

from familyseer.meta_schedule.database.exchange import IMPORTED, export_database, import_database
from familyseer.meta_schedule.database.load import LoadReport, load_database

__all__ = ["IMPORTED", "LoadReport", "export_database", "import_database", "load_database"]
