# SPDX-License-Identifier: Apache-2.0
"""TVM's options of a run, which also say into which logs it writes: TVM keeps that to itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tvm import auto_scheduler

__all__ = ["RecordToFile", "TuningOptions", "written_logs"]


class RecordToFile(auto_scheduler.RecordToFile):  # type: ignore[misc]  # tvm is not typed
    """`tvm.auto_scheduler.RecordToFile` that knows its file."""

    def __init__(self, filename: str | os.PathLike[str]) -> None:
        super().__init__(os.fspath(filename))
        self.filename = os.fspath(filename)


class TuningOptions(auto_scheduler.TuningOptions):  # type: ignore[misc]  # tvm is not typed
    """`tvm.auto_scheduler.TuningOptions` that knows the files of its callbacks."""

    def __init__(
        self,
        num_measure_trials: int = 0,
        early_stopping: int | None = None,
        num_measures_per_round: int = 64,
        verbose: int = 1,
        builder: Any = "local",
        runner: Any = "local",
        measure_callbacks: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(
            num_measure_trials, early_stopping, num_measures_per_round, verbose, builder, runner, measure_callbacks
        )
        self.log_files = [given.filename for given in measure_callbacks or () if isinstance(given, RecordToFile)]


def written_logs(tune_option: Any) -> list[str]:
    """Return the logs that a run is known to write; those of TVM's own `RecordToFile` are not known."""
    return list(getattr(tune_option, "log_files", ()))
