# SPDX-License-Identifier: Apache-2.0
"""Rebuild workloads and records from their text, and commit them to a database."""

from __future__ import annotations

import logging

import tvm
from tvm import IRModule
from tvm.s_tir import meta_schedule as ms
from tvm.target import Target

from familyseer.errors import InvalidInputError
from familyseer.meta_schedule.traces import TVM_ERRORS, first_line, rebuild_schedule
from familyseer.records import MeasureRecord, WorkloadRecord

__all__ = ["commit_record", "load_module"]

logger = logging.getLogger(__name__)


def load_module(workload: WorkloadRecord) -> IRModule | None:
    """Rebuild a workload; None, with a warning, where this TVM cannot."""
    try:
        mod = tvm.ir.load_json(workload.workload)
    except TVM_ERRORS as err:
        logger.warning("the workload of task %s cannot be rebuilt: %s", workload.task.name, first_line(err))
        return None
    return mod if isinstance(mod, IRModule) else None


def commit_record(database: ms.database.Database, mod: IRModule, record: MeasureRecord, target: Target) -> bool:
    """Commit a record if its trace applies to `mod`; whether it did."""
    try:
        schedule = rebuild_schedule(mod, record.trace)
    except InvalidInputError as err:
        logger.warning("a record of task %s is set aside: %s", record.task, err)
        return False
    database.commit_tuning_record(
        ms.database.TuningRecord(
            schedule.trace,
            database.commit_workload(mod),
            [record.cost],
            target,
            ms.arg_info.ArgInfo.from_entry_func(schedule.mod, remove_preproc=True),
        )
    )
    return True
