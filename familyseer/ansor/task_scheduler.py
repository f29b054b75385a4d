# SPDX-License-Identifier: Apache-2.0
"""TVM's task scheduler, which understands family policies."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from tvm import auto_scheduler
from tvm.auto_scheduler.measure import ProgramMeasurer

from familyseer.ansor.describe import describe
from familyseer.ansor.journal import target_text
from familyseer.ansor.options import written_logs
from familyseer.ansor.policies import Policies, family_name, make_policies
from familyseer.ansor.results import result_of
from familyseer.ansor.resume import going_on, open_journal, read_sound, restore
from familyseer.errors import InvalidInputError
from familyseer.families.keys import PolicyName
from familyseer.families.partition import Partition
from familyseer.ledger import Ledger
from familyseer.measure import MeasureResult
from familyseer.schedulers import TaskScheduler as Strategy
from familyseer.schedulers import make_scheduler
from familyseer.schedulers.base import Objective, weighted_sum
from familyseer.tuner import RoundOutcome, Tuner, TuningSummary

__all__ = ["TaskScheduler"]


class TaskScheduler(auto_scheduler.TaskScheduler):  # type: ignore[misc]  # tvm is not typed
    """`tvm.auto_scheduler.TaskScheduler` whose `tune` takes family policies too; everything else is as TVM has it.

    Parameters
    ----------
    tasks, task_weights, objective_func, alpha, beta, gamma, backward_window_size, callbacks
        As in TVM.
    strategy
        ``"gradient"``, ``"round-robin"``, or ``"ansor"``: TVM's gradient for family policies, too
        (see `familyseer.schedulers.make_scheduler`).
    load_model_file
        For family policies a folder with a file per family, written at the end; else as in TVM.
    load_log_file
        A log of TVM's. Family policies count its measurements towards the budget, repeat none of them, and set aside what
        is of another task or target, or damaged.
    seed
        Of family policies (not in TVM, which draws one).
    transfer
        Whether family policies let tasks start from the tile sizes of their relatives (not in TVM).

    Raises
    ------
    InvalidInputError
        An argument is not as above.
    """

    def __init__(
        self,
        tasks: Sequence[Any],
        task_weights: Sequence[float] | None = None,
        objective_func: Callable[[list[float]], object] | None = None,
        strategy: str = "gradient",
        load_model_file: str | os.PathLike[str] | None = None,
        load_log_file: str | os.PathLike[str] | None = None,
        alpha: float = 0.2,
        beta: float = 2,
        gamma: float = 0.5,
        backward_window_size: int = 3,
        callbacks: Sequence[Any] | None = None,
        *,
        seed: int = 0,
        transfer: bool = True,
    ) -> None:
        if not len(tasks):
            raise InvalidInputError("`tasks` must hold at least one task; got 0. The network may have nothing to tune.")
        weights = [1.0] * len(tasks) if task_weights is None else [float(weight) for weight in task_weights]
        if len(weights) != len(tasks):
            raise InvalidInputError(f"`task_weights` must hold one weight per task ({len(tasks)}); got {len(weights)}")
        self._objective = Objective(objective_func) if objective_func else weighted_sum(weights)
        self._objective.check(len(tasks))
        self._strategy, self.seed, self.transfer = strategy, seed, transfer
        self.alpha, self.beta, self.gamma, self.backward_window_size = alpha, beta, gamma, backward_window_size
        self._make_scheduler()  # wrong parameters fail here, and not in TVM's assertions
        super().__init__(
            list(tasks),
            weights,
            objective_func,
            "gradient" if strategy == "ansor" else strategy,
            None if load_model_file is None else os.fspath(load_model_file),
            None if load_log_file is None else os.fspath(load_log_file),
            alpha,
            beta,
            gamma,
            backward_window_size,
            callbacks,
        )
        self.described = tuple(describe(task, weight) for task, weight in zip(tasks, weights, strict=True))
        self.ledger = Ledger()
        self._policies: Policies | None = None
        self._tuner: Tuner | None = None

    @property
    def partition(self) -> Partition | None:
        """The present families; None before a family policy has begun."""
        return self._policies.learner.partition if self._policies else None

    def tune(
        self,
        tune_option: Any,
        search_policy: Any = "default",
        search_policy_params: Mapping[str, Any] | None = None,
        adaptive_training: bool = False,
        per_task_early_stopping: int | None = None,
    ) -> TuningSummary | None:
        """Tune all tasks; with a family policy as familyseer does, with any other as TVM does.

        Parameters
        ----------
        tune_option, search_policy_params, per_task_early_stopping
            As in TVM.
        search_policy
            A name of `familyseer.families.keys.POLICY_NAMES`, ``"default"``, or TVM's policies, one per task.
        adaptive_training
            As in TVM; the models of family policies always train adaptively.

        Returns
        -------
        TuningSummary
            Why it ended and what it took; None where TVM's own loop ran, which returns nothing.
        """
        if isinstance(search_policy, str):
            PolicyName.parse(search_policy)
        name = family_name(search_policy)
        if name is None:
            with going_on(self, read_sound(self.load_log_file, self.tasks)) if self.load_log_file else nullcontext():
                super().tune(
                    tune_option, search_policy, search_policy_params, adaptive_training, per_task_early_stopping
                )
            return None
        return self._tune_families(tune_option, name, search_policy_params, per_task_early_stopping)

    def _tune_families(
        self, tune_option: Any, name: PolicyName, params: Mapping[str, Any] | None, patience: int | None
    ) -> TuningSummary:
        self.tune_option, self.tic, self.ledger, self._policies = tune_option, time.time(), Ledger(), None
        self._tuner = tuner = self._make_tuner(tune_option, name, patience)
        self.num_measures_per_round = tuner.num_measures_per_round
        try:
            self._restore(name, params)
            self._show()
            return tuner.run()
        finally:
            if self.load_model_file is not None and self._policies is not None:
                self._policies.learner.save(self.load_model_file)

    def _restore(self, name: PolicyName, params: Mapping[str, Any] | None) -> None:
        """Make the parts of the run, and let them go on where the log ends."""
        assert self._tuner is not None
        option, target = self.tune_option, target_text(self.tasks[0].target)
        log = read_sound(self.load_log_file, self.tasks)
        self._policies = make_policies(
            name,
            self.tasks,
            self.described,
            params=params,
            verbose=int(option.verbose),
            seed=self.seed,
            transfer=self.transfer,
            log=log,
            model_file=self.load_model_file,
            ledger=self.ledger,
            journal=open_journal(self.load_log_file, written_logs(option), target=target, policy=str(name)),
        )
        self.search_policies = list(self._policies.search)
        self.measurer = ProgramMeasurer(option.builder, option.runner, option.measure_callbacks, option.verbose)
        self._tuner.restore(restore(self._policies, log, self.tasks, self.num_measures_per_round, self.load_log_file))

    def _make_tuner(self, tune_option: Any, name: PolicyName, patience: int | None) -> Tuner:
        return Tuner(
            self.described,
            self._run_round,
            self._make_scheduler(name),
            num_measure_trials=int(tune_option.num_measure_trials),
            num_measures_per_round=int(tune_option.num_measures_per_round),
            objective=self._objective,
            early_stopping=int(tune_option.early_stopping),
            per_task_early_stopping=patience,
            effort=_one_trial,
            before_round=self._before_round,
            after_round=self._after_round,
            confidence=lambda index: self._learner.confidence(self.described[index].key),
            ledger=self.ledger,
        )

    def _make_scheduler(self, name: PolicyName | None = None) -> Strategy:
        return make_scheduler(
            self._strategy,
            self._objective,
            policy=name,
            tasks=self.described if name else (),
            alpha=self.alpha,
            beta=self.beta,
            gamma=self.gamma,
            backward_window_size=self.backward_window_size,
            rng=np.random.default_rng(self.seed),
        )

    @property
    def _learner(self) -> Any:
        assert self._policies is not None
        return self._policies.learner

    def _run_round(self, index: int, num_measure: int) -> RoundOutcome:
        with self.ledger.phase("search", self.described[index].key):  # TVM's own loop: search, build and run in one
            inputs, results = self.search_policies[index].continue_search_one_round(num_measure, self.measurer)
        return RoundOutcome(results=[result_of(result) for result in results], exhausted=not len(inputs))

    def _before_round(self, index: int) -> None:
        for callback in self.callbacks:
            callback.pre_tune(self, index)

    def _after_round(self, index: int, outcome: RoundOutcome) -> None:
        self._show()
        for callback in self.callbacks:
            callback.post_tune(self, index)

    def _show(self) -> None:
        """Let TVM's attributes, which callbacks look at, say how far the run is."""
        assert self._tuner is not None
        states = self._tuner.states
        self.task_cts = [state.rounds for state in states]
        self.task_best_cts = [state.best_round for state in states]
        self.task_costs_history = [list(state.history) for state in states]
        self.best_costs = np.array([state.best_cost for state in states])
        self.cur_score = self._compute_score(self.best_costs)
        self.ct, self.best_ct, self.best_score = self._tuner.trials, self._tuner.best_trial, self.cur_score
        self.dead_tasks = set(self._tuner.retired)


def _one_trial(result: MeasureResult) -> float:
    """Return what a candidate costs: TVM times slow ones in full, so by seconds bad luck would look like high cost."""
    return 1.0
