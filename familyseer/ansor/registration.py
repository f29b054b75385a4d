# SPDX-License-Identifier: Apache-2.0
"""The switch that lets TVM's own ``auto_scheduler.TaskScheduler`` understand family policies."""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Any

from tvm import auto_scheduler

from familyseer.ansor.describe import describe
from familyseer.ansor.journal import target_text
from familyseer.ansor.options import written_logs
from familyseer.ansor.policies import family_name, make_policies
from familyseer.ansor.resume import going_on, open_journal, read_sound, restore
from familyseer.families.keys import PolicyName
from familyseer.ledger import Budget

__all__ = ["register", "unregister"]

_TVMS_OWN = auto_scheduler.TaskScheduler.tune


def register() -> None:
    """Let ``TaskScheduler.tune(..., search_policy="sketch.xgb.family_op")`` of TVM work; it changes nothing else."""
    auto_scheduler.TaskScheduler.tune = _tune


def unregister() -> None:
    """Give TVM its function back."""
    auto_scheduler.TaskScheduler.tune = _TVMS_OWN


@wraps(_TVMS_OWN)
def _tune(
    scheduler: Any,
    tune_option: Any,
    search_policy: Any = "default",
    search_policy_params: Mapping[str, Any] | None = None,
    *args: Any,
    **options: Any,
) -> None:
    name = family_name(search_policy)
    if name is None:
        _TVMS_OWN(scheduler, tune_option, search_policy, search_policy_params, *args, **options)
    else:
        _tune_families(scheduler, tune_option, name, search_policy_params, *args, **options)


def _tune_families(
    scheduler: Any, tune_option: Any, name: PolicyName, params: Mapping[str, Any] | None, *args: Any, **options: Any
) -> None:
    """Let TVM's loop run with family policies, from where its log ends."""
    tasks, file = scheduler.tasks, scheduler.load_log_file
    size = Budget(int(tune_option.num_measure_trials)).round_size(len(tasks), int(tune_option.num_measures_per_round))
    log = read_sound(file, tasks)
    policies = make_policies(
        name,
        tasks,
        [describe(task) for task in tasks],
        params=params,
        verbose=int(tune_option.verbose),
        log=log,
        model_file=scheduler.load_model_file,
        journal=open_journal(file, written_logs(tune_option), target=target_text(tasks[0].target), policy=str(name)),
    )
    restore(policies, log, tasks, size, file)
    with going_on(scheduler, log):
        _TVMS_OWN(scheduler, tune_option, list(policies.search), None, *args, **options)
