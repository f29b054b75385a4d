# SPDX-License-Identifier: Apache-2.0
"""What measuring one candidate gives: latencies or a failure with its reason, never both.

The numbers of `MeasureErrorNo` are those of ``tvm.auto_scheduler`` 0.8–0.19, so that scripts which look at ``error_no`` keep working.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from statistics import median

from familyseer.errors import InvalidInputError

__all__ = ["INVALID_COST", "MeasureErrorNo", "MeasureResult"]

INVALID_COST = 1e10
"""Latency in seconds that stands for "no valid measurement", as in TVM."""


class MeasureErrorNo(IntEnum):
    """Class of a failure; `NO_ERROR` for a valid measurement."""

    NO_ERROR = 0
    INSTANTIATION_ERROR = 1  # the schedule trace does not apply to the workload
    COMPILE_HOST = 2  # TVM or the host compiler refused it, or the build worker died
    COMPILE_DEVICE = 3  # the device compiler (nvcc) refused it
    RUNTIME_DEVICE = 4  # the kernel raised or crashed its worker
    WRONG_ANSWER = 5
    BUILD_TIMEOUT = 6
    RUN_TIMEOUT = 7
    UNKNOWN_ERROR = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureResult:
    """The outcome of one candidate.

    Parameters
    ----------
    costs
        Latencies in seconds, one per repeat; empty when it failed.
    error_no
        Class of the failure.
    error_msg
        First lines of the failure's text; empty when it succeeded.
    build_seconds, run_seconds
        Wall time that building and running took (the run includes loading and warm-up).
    timestamp
        Unix time at which the measurement ended.
    """

    costs: tuple[float, ...] = ()
    error_no: MeasureErrorNo = MeasureErrorNo.NO_ERROR
    error_msg: str = ""
    build_seconds: float = 0.0
    run_seconds: float = 0.0
    timestamp: float = 0.0

    def __post_init__(self) -> None:
        if bool(self.costs) == (self.error_no != MeasureErrorNo.NO_ERROR):
            raise InvalidInputError(
                f"a measurement must have either costs or an error; got costs={self.costs!r}, error_no={self.error_no!r}"
            )

    @property
    def cost(self) -> float:
        """Median latency in seconds; `INVALID_COST` when it failed."""
        return median(self.costs) if self.costs else INVALID_COST

    @property
    def all_cost(self) -> float:
        """Seconds that building and running took together."""
        return self.build_seconds + self.run_seconds
