# SPDX-License-Identifier: Apache-2.0
"""Go on where a log of TVM's ends: with family policies, and with TVM's own loop."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from familyseer.ansor.journal import History, Journal, journal_of, read_history, target_text
from familyseer.ansor.policies import Policies
from familyseer.ansor.records import Log, Round, mend, read_log, tvms_line
from familyseer.errors import InvalidInputError
from familyseer.families.partition import Partition
from familyseer.measure import MeasureResult
from familyseer.records import FamiliesRecord
from familyseer.task import TaskKey

__all__ = ["going_on", "open_journal", "read_sound", "restore"]

logger = logging.getLogger(__name__)

Outcome = tuple[int, list[MeasureResult]]
"""Index of a task, and what a round of it gave."""


def read_sound(log_file: str | os.PathLike[str] | None, tasks: Sequence[Any]) -> Log:
    """Read what a log holds of tasks, and end its last line; no file is an empty log."""
    if log_file is None:
        return Log(states=(), set_aside={})
    mend(log_file)
    return read_log(log_file, tasks)


@contextmanager
def going_on(scheduler: Any, log: Log) -> Iterator[None]:
    """Let the loop of a `tvm.auto_scheduler.TaskScheduler` go on where a log ends, for the length of the ``with`` block.

    TVM fails at the first line that it cannot read, and spends its budget anew. Here it reads a copy that holds nothing but
    records of its tasks; these count towards the budget, and no round exceeds it.
    """
    file, restore_status, tune_task = scheduler.load_log_file, scheduler._restore_status, scheduler._tune_task

    def restore_and_count(log_file: str, num_measures_per_round: int) -> None:
        restore_status(log_file, num_measures_per_round)
        scheduler.ct = len(log.states)

    def tune_within_budget(index: int) -> None:
        whole, left = scheduler.num_measures_per_round, int(scheduler.tune_option.num_measure_trials) - scheduler.ct
        scheduler.num_measures_per_round = min(whole, left)
        try:
            if left > 0:
                tune_task(index)
        finally:
            scheduler.num_measures_per_round = whole

    with TemporaryDirectory(prefix="familyseer-") as folder:
        copy = Path(folder) / "log.json"
        copy.write_text("".join(f"{tvms_line(state)}\n" for state in log.states), encoding="utf-8")
        scheduler.load_log_file = str(copy) if log.states else None
        scheduler._restore_status, scheduler._tune_task = restore_and_count, tune_within_budget
        try:
            yield
        finally:
            scheduler.load_log_file = file
            del scheduler._restore_status, scheduler._tune_task


def open_journal(
    load_log_file: str | os.PathLike[str] | None, written: Sequence[str], *, target: str, policy: str
) -> Journal:
    """Return the journal of the log that a run writes; it writes nothing where no log is known to have the run's lines alone.

    Parameters
    ----------
    load_log_file
        The log that the run goes on from.
    written
        Those that it is known to write; none: that one.
    target, policy
        As for `Journal`.
    """
    if load_log_file is None:
        files = [Path(file) for file in written if not Path(file).exists() or not Path(file).stat().st_size]
    else:
        files = [Path(load_log_file)]
        if written and files[0].resolve() not in [Path(file).resolve() for file in written]:
            files = []
    return Journal(files[0] if files else None, target=target, policy=policy)


def restore(
    policies: Policies, log: Log, tasks: Sequence[Any], size: int, log_file: str | os.PathLike[str] | None
) -> list[Outcome]:
    """Let policies become what they were when the run that wrote a log was interrupted, and return the log's rounds.

    Families are those that its journal has; where the present policy has none there, they are decided anew.

    Parameters
    ----------
    policies
        New ones.
    log
        What `log_file` holds of `tasks`.
    size
        Of a round, where the journal does not say where rounds ended.
    """
    history = read_history(journal_of(log_file), target_text(tasks[0].target)) if log_file is not None else History()
    keys = [str(task.workload_key) for task in tasks]
    rounds = log.rounds(size, {index: history.ends.get(key, frozenset()) for index, key in enumerate(keys)})
    policies.journal.open()
    _replay(policies, rounds, tasks, history, _of_tasks(history.changes(policies.name), keys))
    return [(index, [state.result for state in states]) for index, states in rounds]


_Changes = Mapping[tuple[TaskKey, int], FamiliesRecord]


def _of_tasks(changes: _Changes | None, keys: Sequence[TaskKey]) -> _Changes | None:
    """Return changes of the partition if they are of these tasks, no more and no fewer."""
    try:
        for change in (changes or {}).values():
            Partition(families=change.families).require(keys)
    except InvalidInputError as err:
        logger.warning("the families in the log's journal are left out: %s", err)
        return None
    return changes


def _replay(
    policies: Policies, rounds: Sequence[Round], tasks: Sequence[Any], history: History, changes: _Changes | None
) -> None:
    """Let model, families and donors learn rounds.

    Families are decided anew where `changes` is None, and after a round that was cut short before that was done.
    """
    numbers, trials = Counter[TaskKey](), Counter[TaskKey]()
    for index, states in rounds:
        task, given, results = tasks[index], [state.state for state in states], [state.result for state in states]
        key = str(task.workload_key)
        ends, change = history.ends.get(key, frozenset()), (changes or {}).get((key, numbers[key]))
        trials[key] += len(states)
        numbers[key] += 1
        policies.journal.begin(key)
        if change is not None:
            policies.model.recall(task, given, results)
            policies.learner.adopt(Partition(families=change.families))
        elif changes is not None and trials[key] in ends:
            policies.model.recall(task, given, results)
        else:
            policies.model.learn(task, given, results)
        if policies.seeds is not None:
            with policies.model.ledger.phase("other", key):
                policies.seeds.learn(task, given, results)
        policies.journal.end(len(states), known=ends if changes is not None else ())
