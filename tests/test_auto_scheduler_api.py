# SPDX-License-Identifier: Apache-2.0
"""Scripts for ``tvm.auto_scheduler`` of TVM 0.19 run: names, order and defaults of arguments are the same.

The tables are written by hand from TVM 0.19.0. Known differences, each on purpose: `extract_tasks` includes simple tasks,
since nothing schedules them here otherwise; `TuningOptions` refuses its default of 0 trials; `LocalBuilder` has other workers.
"""

from __future__ import annotations

import inspect

import pytest

from familyseer import auto_scheduler
from familyseer.errors import UnsupportedError

REQUIRED = inspect.Parameter.empty

MEASURING = {
    "number": 3,
    "repeat": 1,
    "min_repeat_ms": 100,
    "cooldown_interval": 0.0,
    "enable_cpu_cache_flush": False,
    "device": 0,
}

CONSTRUCTORS = {
    "HardwareParams": {
        "num_cores": None,
        "vector_unit_bytes": None,
        "cache_line_bytes": None,
        "max_shared_memory_per_block": None,
        "max_local_memory_per_block": None,
        "max_threads_per_block": None,
        "max_vthread_extent": None,
        "warp_size": None,
        "target": None,
        "target_host": None,
    },
    "SearchTask": {
        "func": None,
        "args": None,
        "compute_dag": None,
        "workload_key": None,
        "target": None,
        "target_host": None,
        "hardware_params": None,
        "layout_rewrite_option": None,
        "task_inputs": None,
        "task_inputs_overwrite": False,
        "task_inputs_save_to_file": False,
        "desc": "",
    },
    "TaskScheduler": {
        "tasks": REQUIRED,
        "task_weights": None,
        "objective_func": None,
        "strategy": "gradient",
        "load_model_file": None,
        "load_log_file": None,
        "alpha": 0.2,
        "beta": 2,
        "gamma": 0.5,
        "backward_window_size": 3,
        "callbacks": None,
    },
    "TuningOptions": {
        "num_measure_trials": 0,
        "early_stopping": None,
        "num_measures_per_round": 64,
        "verbose": 1,
        "builder": "local",
        "runner": "local",
        "measure_callbacks": None,
    },
    "LocalRunner": {"timeout": 10, **MEASURING},
    "RPCRunner": {
        "key": REQUIRED,
        "host": REQUIRED,
        "port": REQUIRED,
        "priority": 1,
        "n_parallel": 1,
        "timeout": 10,
        **MEASURING,
    },
    "LocalRPCMeasureContext": {"priority": 1, "n_parallel": 1, "timeout": 10, **MEASURING, "min_repeat_ms": 0},
    "RecordToFile": {"filename": REQUIRED},
    "RecordReader": {"filename": REQUIRED},
    "XGBModel": {
        "verbose_eval": 25,
        "num_warmup_sample": 100,
        "seed": None,
        "model_file": None,
        "adaptive_training": False,
    },
    "PreloadMeasuredStates": {"filename": REQUIRED},
    "LogEstimatedLatency": {"log_file": REQUIRED},
    "MeasureInput": {"task": REQUIRED, "state": REQUIRED},
}

FUNCTIONS = {
    "register_workload": {"func_name": REQUIRED, "f": None, "override": False},
    "create_task": {
        "func": REQUIRED,
        "args": REQUIRED,
        "target": REQUIRED,
        "target_host": None,
        "hardware_params": None,
    },
    "load_records": {"filename": REQUIRED},
    "save_records": {"filename": REQUIRED, "inputs": REQUIRED, "results": REQUIRED},
    "load_best_record": {
        "filename": REQUIRED,
        "workload_key": None,
        "target": None,
        "include_compatible": False,
    },
    "extract_tasks": {
        "mod": REQUIRED,
        "params": REQUIRED,
        "target": REQUIRED,
        "target_host": None,
        "hardware_params": None,
        "include_simple_tasks": True,  # False in TVM
        "dump_workload_to_dag_log": None,
        "opt_level": 3,
        "other_targets": None,
    },
    "is_auto_scheduler_enabled": {},
}

METHODS = {
    "SearchTask.tune": {"tuning_options": REQUIRED, "search_policy": None, "adaptive_training": False},
    "SearchTask.apply_best": {"log_file": REQUIRED, "include_compatible": False, "layout_rewrite_option": None},
    "SearchTask.print_best": {"log_file": REQUIRED, "print_mode": "schedule"},
    "TaskScheduler.tune": {
        "tune_option": REQUIRED,
        "search_policy": "default",
        "search_policy_params": None,
        "adaptive_training": False,
        "per_task_early_stopping": None,
    },
    "SketchPolicy.continue_search_one_round": {"num_measure": REQUIRED, "measurer": REQUIRED},
    "SketchPolicy.generate_sketches": {"print_for_debug": False},
    "SketchPolicy.sample_initial_population": {},
    "SketchPolicy.evolutionary_search": {"init_populations": REQUIRED, "out_size": REQUIRED},
    "RecordReader.read_lines": {"max_lines": None, "skip_lines": 0},
    "XGBModel.update": {"inputs": REQUIRED, "results": REQUIRED},
    "XGBModel.predict": {"task": REQUIRED, "states": REQUIRED},
    "XGBModel.predict_stages": {"task": REQUIRED, "states": REQUIRED},
    "XGBModel.update_from_file": {"file_name": REQUIRED, "n_lines": None},
    "XGBModel.save": {"file_name": REQUIRED},
    "XGBModel.load": {"file_name": REQUIRED},
    "TaskSchedulerCallback.pre_tune": {"task_scheduler": REQUIRED, "task_id": REQUIRED},
    "TaskSchedulerCallback.post_tune": {"task_scheduler": REQUIRED, "task_id": REQUIRED},
}

ABSENT = {
    "ApplyHistoryBestOrSample": "ApplyHistoryBest",
    "ComputeDAG": "SearchTask",
    "DispatchContext": "ApplyHistoryBest",
    "EmptyPolicy": "SketchPolicy",
    "LayoutRewriteOption": "layout_free_placeholders",
    "PreloadCustomSketchRule": "schedule rule",
    "auto_schedule": "task.tune",
    "get_shape_from_rewritten_layout": "tvm.s_tir.Schedule",
    "register_task_input_check_func": "LocalRunner",
    "remove_index_check": "tvm.s_tir.Schedule",
    "rewrite_compute_body": "tvm.s_tir.Schedule",
    "rewrite_tensor_shape": "tvm.s_tir.Schedule",
}


def parameters(function, *, method: bool = False) -> list[inspect.Parameter]:
    """Return the parameters of a function, without ``self``."""
    return list(inspect.signature(function).parameters.values())[1 if method else 0 :]


def positional(found: list[inspect.Parameter]) -> list[tuple[str, object]]:
    """Return names and defaults of those that TVM's scripts may give by position, in order."""
    return [(p.name, p.default) for p in found if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]


def added(found: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """Return those beyond TVM's."""
    return [p for p in found if p.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD]


@pytest.mark.parametrize(("name", "expected"), CONSTRUCTORS.items(), ids=CONSTRUCTORS)
def test_constructors_are_those_of_tvm(name, expected):
    """Each class of TVM's is made with the same arguments."""
    found = parameters(getattr(auto_scheduler, name))

    assert positional(found) == list(expected.items())
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is not REQUIRED for p in added(found))


@pytest.mark.parametrize(("name", "expected"), FUNCTIONS.items(), ids=FUNCTIONS)
def test_functions_are_those_of_tvm(name, expected):
    """Each function of TVM's takes the same arguments."""
    found = parameters(getattr(auto_scheduler, name))

    assert positional(found) == list(expected.items())
    assert added(found) == []


@pytest.mark.parametrize(("path", "expected"), METHODS.items(), ids=METHODS)
def test_methods_are_those_of_tvm(path, expected):
    """Each method of TVM's takes the same arguments."""
    owner, name = path.split(".")
    found = parameters(getattr(getattr(auto_scheduler, owner), name), method=True)

    assert positional(found) == list(expected.items())
    assert added(found) == []


def test_local_builder_is_that_of_tvm():
    """TVM's default for `n_parallel` is the number of its machine's cores."""
    found = dict(positional(parameters(auto_scheduler.LocalBuilder)))

    assert list(found) == ["timeout", "n_parallel", "build_func"]
    assert found["timeout"] == 15
    assert found["build_func"] == "default"


def test_sketch_policy_is_that_of_tvm():
    """TVM's default model is a RandomModel."""
    found = dict(positional(parameters(auto_scheduler.SketchPolicy)))

    assert list(found) == ["task", "program_cost_model", "params", "seed", "verbose", "init_search_callbacks"]
    assert [found[name] for name in ("params", "seed", "verbose", "init_search_callbacks")] == [None, None, 1, None]


@pytest.mark.parametrize("name", auto_scheduler.__all__)
def test_every_promised_name_is_there(name):
    """`__all__` holds nothing that is missing."""
    assert getattr(auto_scheduler, name) is not None


@pytest.mark.parametrize(("name", "instead"), ABSENT.items(), ids=ABSENT)
def test_names_that_cannot_be_there_say_what_to_use(name, instead):
    """Every other name of TVM's own ``__init__`` raises an error that helps."""
    with pytest.raises(UnsupportedError, match=f"`{name}` does not exist on the MetaSchedule engine; .*{instead}"):
        getattr(auto_scheduler, name)


def test_from_import_of_such_a_name_says_what_to_use():
    """An import statement gives the same error, not an ImportError without a reason."""
    with pytest.raises(UnsupportedError, match="use ApplyHistoryBest"):
        from familyseer.auto_scheduler import ApplyHistoryBestOrSample  # noqa: F401


def test_unknown_names_are_attribute_errors():
    """`hasattr` works."""
    assert not hasattr(auto_scheduler, "Nonsense")
