# SPDX-License-Identifier: Apache-2.0
"""The names of ``tvm.auto_scheduler`` (TVM 0.8 to 0.19) on MetaSchedule, the tuner that today's TVM has."""

from __future__ import annotations

from typing import NoReturn

from familyseer.errors import UnsupportedError
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.meta_schedule.builder import LocalBuilder
from familyseer.meta_schedule.callbacks import LogEstimatedLatency, PrintTableInfo, TaskSchedulerCallback
from familyseer.meta_schedule.cost_model import RandomModel, XGBModel
from familyseer.meta_schedule.family_policy import FamilySketchPolicy
from familyseer.meta_schedule.measure_record import (
    MeasureCallback,
    MeasureInput,
    RecordReader,
    RecordToFile,
    State,
    load_best_record,
    load_records,
    save_records,
)
from familyseer.meta_schedule.measurer import ProgramMeasurer
from familyseer.meta_schedule.relax import ApplyHistoryBest, extract_tasks, is_auto_scheduler_enabled
from familyseer.meta_schedule.rpc import LocalRPCMeasureContext, RPCRunner
from familyseer.meta_schedule.runner import LocalRunner
from familyseer.meta_schedule.search_policy import (
    PreloadMeasuredStates,
    SearchPolicy,
    SketchPolicy,
)
from familyseer.meta_schedule.search_task import (
    HardwareParams,
    SearchTask,
    create_task,
    make_workload_key,
    register_workload,
)
from familyseer.meta_schedule.task_scheduler import TaskScheduler
from familyseer.meta_schedule.tuning_options import TuningOptions

__all__ = [
    "ApplyHistoryBest",
    "FamilySketchPolicy",
    "HardwareParams",
    "LocalBuilder",
    "LocalRPCMeasureContext",
    "LocalRunner",
    "LogEstimatedLatency",
    "MeasureCallback",
    "MeasureErrorNo",
    "MeasureInput",
    "MeasureResult",
    "PreloadMeasuredStates",
    "PrintTableInfo",
    "ProgramMeasurer",
    "RPCRunner",
    "RandomModel",
    "RecordReader",
    "RecordToFile",
    "SearchPolicy",
    "SearchTask",
    "SketchPolicy",
    "State",
    "TaskScheduler",
    "TaskSchedulerCallback",
    "TuningOptions",
    "XGBModel",
    "create_task",
    "extract_tasks",
    "is_auto_scheduler_enabled",
    "load_best_record",
    "load_records",
    "make_workload_key",
    "register_workload",
    "save_records",
]

_WRITE_IT = "write the schedule with tvm.s_tir.Schedule, or let the rules of tvm.s_tir.meta_schedule make it"
_INSTEAD = {
    "ApplyHistoryBestOrSample": "use ApplyHistoryBest",
    "ComputeDAG": "pass the PrimFunc or IRModule to SearchTask as `func`",
    "DispatchContext": "use ApplyHistoryBest",
    "EmptyPolicy": "use SketchPolicy with a RandomModel",
    "LayoutRewriteOption": "mark weights with the block attribute layout_free_placeholders in te",
    "PreloadCustomSketchRule": "write a schedule rule for tvm.s_tir.meta_schedule",
    "auto_schedule": "use task.tune(tuning_options) and task.apply_best(log_file)",
    "get_shape_from_rewritten_layout": _WRITE_IT,
    "register_task_input_check_func": "measure with your own runner (a subclass of LocalRunner)",
    "remove_index_check": _WRITE_IT,
    "rewrite_compute_body": _WRITE_IT,
    "rewrite_tensor_shape": _WRITE_IT,
}


def __getattr__(name: str) -> NoReturn:
    """Say what to use in place of a name of TVM's that this engine cannot have."""
    if name in _INSTEAD:
        raise UnsupportedError(f"`{name}` does not exist on the MetaSchedule engine; {_INSTEAD[name]}.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
