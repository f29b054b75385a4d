# SPDX-License-Identifier: Apache-2.0
"""Why the candidates of a task failed, and what to try."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.report.rows import ranked
from familyseer.report.text import FAILURE_WORDS

__all__ = ["failure_diagnosis"]

_HINTS: tuple[tuple[str, str], ...] = (
    (r"num-cores", 'Give the target its number of cores, e.g. {"kind": "llvm", "num-cores": 8}.'),
    (
        r"^RUN_TIMEOUT",
        "Raise the runner's timeout (LocalRunner(timeout=...)), or lower its `repeat` and `min_repeat_ms`.",
    ),
    (r"^BUILD_TIMEOUT", "Raise the builder's timeout (LocalBuilder(timeout=...)), or lower its `n_parallel`."),
    (
        r"(compiler|g\+\+|gcc|clang|nvcc)\b.*(not found|no such file|cannot find)|command not found",
        "Install the compiler (g++ for CPUs, the CUDA toolkit's nvcc for GPUs) and see that it is on PATH.",
    ),
    (
        r"no kernel image|NO_BINARY|unsupported gpu arch|\bsm_\d+",
        "Set the target's `arch` to that of the GPU, e.g. sm_90.",
    ),
    (
        r"no cuda-capable device|CUDA_ERROR_NO_DEVICE|DeviceAPI \w+ is not enabled",
        "The device is not visible to TVM here.",
    ),
    (r"illegal instruction|SIGILL", "The target's `mcpu` has instructions that this CPU lacks; set it to this CPU's."),
    (
        r"out of memory|OUT_OF_MEMORY|bad_alloc|MemoryError|cannot allocate|SIGKILL",
        "Memory ran out: lower the builder's `n_parallel`, or free memory on the device.",
    ),
    (
        r"too many resources|too much shared data|shared memory",
        "The target promises more threads or shared memory than the GPU has; check its limits.",
    ),
    (r"^INSTANTIATION_ERROR", "The schedules do not fit this workload: was the log made by another version of TVM?"),
    (r"^WRONG_ANSWER", "The compiled code computes something else: do not use it, and report it with the log."),
)
_DEFAULT_HINT = "Compile the untuned task first: if that fails as well, the model, target or compiler is at fault."
_SHOWN_MESSAGES = 3
_SHOWN_LINES = 3


def failure_diagnosis(name: str, results: Iterable[MeasureResult]) -> str:
    """Explain on one screen why a task has no valid record: counts by class, first distinct messages, what to try.

    Parameters
    ----------
    name
        The task's name.
    results
        What measuring its candidates gave; valid ones are counted and otherwise left out.
    """
    results = list(results)
    failed = [result for result in results if not result.costs]
    if not failed:
        return f"Task {name!r}: none of {len(results)} candidates failed."
    counts = ranked(Counter(result.error_no for result in failed))
    what = "every candidate" if len(failed) == len(results) else f"{len(failed)} candidates"
    lines = [f"Task {name!r}: {what} of {len(results)} failed.", ""]
    lines += [f"{count:>6}  {FAILURE_WORDS[error_no]} ({error_no.name})" for error_no, count in counts]
    lines += ["", "First messages:", *_first_messages(failed), "", "What to try:"]
    lines += [f"- {hint}" for hint in _hints(failed)]
    return "\n".join(lines)


def _first_messages(failed: Sequence[MeasureResult]) -> list[str]:
    """Return the first messages that differ in more than their numbers."""
    distinct: dict[tuple[MeasureErrorNo, str], str] = {}
    for result in failed:
        shape = re.sub(r"0x[0-9a-f]+|\d+", "#", result.error_msg)
        distinct.setdefault((result.error_no, shape), result.error_msg)
    lines = []
    for (error_no, _), message in list(distinct.items())[:_SHOWN_MESSAGES]:
        text = [line.strip() for line in message.splitlines() if line.strip()] or ["(no message)"]
        lines += [f"  {error_no.name}: {_cut(text[0])}", *(f"    {_cut(line)}" for line in text[1:_SHOWN_LINES])]
    if len(distinct) > _SHOWN_MESSAGES:
        lines.append(f"  ... and {len(distinct) - _SHOWN_MESSAGES} other messages")
    return lines


def _cut(text: str, width: int = 100) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _hints(failed: Sequence[MeasureResult]) -> list[str]:
    texts = {f"{result.error_no.name}: {result.error_msg}" for result in failed}
    found = [hint for pattern, hint in _HINTS if any(re.search(pattern, text, re.IGNORECASE) for text in texts)]
    return found or [_DEFAULT_HINT]
