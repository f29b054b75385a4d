# SPDX-License-Identifier: Apache-2.0
"""`TuningOptions` as ``tvm.auto_scheduler`` has them."""

from __future__ import annotations

from collections.abc import Sequence

from familyseer.errors import InvalidInputError
from familyseer.ledger import Budget, share, whole_number
from familyseer.meta_schedule.builder import LocalBuilder
from familyseer.meta_schedule.measure_record import MeasureCallback
from familyseer.meta_schedule.runner import LocalRunner, ProgramRunner

__all__ = ["TuningOptions"]


class TuningOptions:
    """How much to measure, and with what.

    Parameters
    ----------
    num_measure_trials
        Candidates to measure in all, at least 1. (TVM took 0 for "search without measuring", which has no use here.)
    early_stopping
        Stop when nothing improved in so many trials; None: never.
    num_measures_per_round
        Candidates of one round.
    verbose
        0 for silence.
    builder
        ``"local"`` or a `LocalBuilder`.
    runner
        ``"local"``, a `LocalRunner` or an `RPCRunner`.
    measure_callbacks
        For instance ``[RecordToFile("tuning.json")]``; None: nothing is recorded.
    finalists
        When tuning ends, so many of each task's fastest candidates at most are timed again, together, where they are within
        5 % of each other: the fastest of many single timings is a lucky one (not in TVM). 0 or 1: none.
    min_gain
        Stop when as many trials again are expected to lower the objective by a smaller share than this, see
        `familyseer.tuner.Tuner` (not in TVM). 0: never.
    """

    def __init__(
        self,
        num_measure_trials: int = 0,
        early_stopping: int | None = None,
        num_measures_per_round: int = 64,
        verbose: int = 1,
        builder: LocalBuilder | str = "local",
        runner: ProgramRunner | str = "local",
        measure_callbacks: Sequence[MeasureCallback] | None = None,
        *,
        finalists: int = 3,
        min_gain: float = 0.0,
    ) -> None:
        self.num_measure_trials = Budget(num_measure_trials).max_trials
        self.early_stopping = (
            -1 if early_stopping is None else whole_number("early_stopping", early_stopping, at_least=-1)
        )
        self.num_measures_per_round = whole_number("num_measures_per_round", num_measures_per_round, at_least=1)
        self.verbose = whole_number("verbose", verbose, at_least=0)
        chosen_builder = LocalBuilder() if builder == "local" else builder
        chosen_runner = LocalRunner() if runner == "local" else runner
        if not isinstance(chosen_builder, LocalBuilder):
            raise InvalidInputError(f"`builder` must be 'local' or a LocalBuilder; got {builder!r}")
        if not isinstance(chosen_runner, ProgramRunner):
            raise InvalidInputError(f"`runner` must be 'local', a LocalRunner or an RPCRunner; got {runner!r}")
        self.builder, self.runner = chosen_builder, chosen_runner
        self.measure_callbacks = _callbacks(measure_callbacks)
        self.finalists = whole_number("finalists", finalists, at_least=0)
        self.min_gain = share("min_gain", min_gain)


def _callbacks(given: Sequence[MeasureCallback] | None) -> tuple[MeasureCallback, ...]:
    callbacks = tuple(given) if isinstance(given, Sequence) else () if given is None else (given,)
    strange = [callback for callback in callbacks if not callable(callback) or isinstance(callback, type)]
    if strange or isinstance(given, MeasureCallback):
        raise InvalidInputError(
            f"`measure_callbacks` must be a list such as [RecordToFile('tuning.json')]; got {given!r}"
        )
    return callbacks
