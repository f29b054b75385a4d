# SPDX-License-Identifier: Apache-2.0
"""The switch that lets TVM's own ``auto_scheduler.TaskScheduler`` understand family policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm.auto_scheduler import task_scheduler

from familyseer.ansor.describe import describe
from familyseer.ansor.policies import family_name, make_policies, restore
from familyseer.ansor.records import Log, read_log

__all__ = ["register", "unregister"]

_TVMS_OWN = task_scheduler.make_search_policies


def register() -> None:
    """Let ``TaskScheduler.tune(..., search_policy="sketch.xgb.family_op")`` of TVM work; it changes nothing else."""
    task_scheduler.make_search_policies = _make_search_policies


def unregister() -> None:
    """Give TVM its function back."""
    task_scheduler.make_search_policies = _TVMS_OWN


def _make_search_policies(
    search_policy: Any,
    search_policy_params: Mapping[str, Any] | None,
    tasks: Sequence[Any],
    num_measures_per_round: int,
    verbose: int,
    load_model_file: str | None = None,
    load_log_file: str | None = None,
    adaptive_training: bool = False,
) -> Any:
    """Make family policies, or what TVM makes of any other name."""
    name = family_name(search_policy)
    if name is None:
        return _TVMS_OWN(
            search_policy,
            search_policy_params,
            tasks,
            num_measures_per_round,
            verbose,
            load_model_file,
            load_log_file,
            adaptive_training,
        )
    described = [describe(task) for task in tasks]
    log = read_log(load_log_file, tasks) if load_log_file else Log(states=(), set_aside={})
    policies = make_policies(
        name,
        tasks,
        described,
        params=search_policy_params,
        verbose=verbose,
        log=log,
        model_file=load_model_file,
    )
    restore(policies, log.rounds(num_measures_per_round), tasks)
    return list(policies.search)
