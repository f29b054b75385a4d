# SPDX-License-Identifier: Apache-2.0
"""Find out how much the place of the stack decides over latencies, and whether timing at several places is free of it.

``python -m benchmarks.stack resnet18.json --out benchmarks/results/stack.json``

Reads a log of `familyseer tune`. The best schedule of every task is compiled once. Each of several processes, whose stacks
the system places at random, then times them all: as TVM does, from wherever its stack happens to lie, and as
familyseer does, at several places.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import fsum
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.command import exit_status, require_file
from benchmarks.machine import describe
from familyseer.ledger import whole_number

_MIN_REPEAT_MS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A compiled schedule: the task's name and weight, where the library is, and `ArgInfo` of its arguments as JSON."""

    name: str
    weight: float
    library: str
    args_info: str


def compile_best(log: Path, folder: Path) -> list[Kernel]:
    """Compile the best schedule of every task in a log."""
    import tvm

    from benchmarks.logs import read_best
    from familyseer.meta_schedule.builder import build_candidate
    from familyseer.meta_schedule.search_policy import measure_request
    from familyseer.meta_schedule.traces import rebuild_schedule

    tasks, ranking = read_best(log, 1)
    best = ranking.best()
    found: list[Kernel] = []
    for task, info in tasks.values():
        if info.key not in best:
            continue
        request = measure_request(info.key, task, rebuild_schedule(task.mod, best[info.key].trace))
        library = folder / f"{len(found)}.so"
        build_candidate(tvm.ir.save_json(request.mod), str(request.target), str(library), None)
        found.append(
            Kernel(name=info.name, weight=info.weight, library=str(library), args_info=json.dumps(request.args_info))
        )
    return found


def time_kernels(kernels: Sequence[Kernel]) -> list[tuple[float, float]]:
    """Return the latencies in seconds of each kernel in this process: from where the stack lies, and over several places."""
    import tvm

    from familyseer.meta_schedule.timing import EvaluatorSettings, arguments_for, time_module

    device = tvm.cpu()
    settings = EvaluatorSettings(number=3, repeat=1, min_repeat_ms=_MIN_REPEAT_MS)
    found = []
    for kernel in kernels:
        module: Any = tvm.runtime.load_module(kernel.library)
        args = arguments_for(kernel.args_info, "cpu", device)
        timed = module.time_evaluator(module.entry_name, device, number=3, repeat=1, min_repeat_ms=_MIN_REPEAT_MS)
        found.append((float(timed(*args).mean), time_module(module, device, args, settings)[0]))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Latencies of one kernel in seconds, one per process: as TVM times, and over several places."""

    name: str
    weight: float
    once: Sequence[float]
    places: Sequence[float]


def show(spreads: Sequence[Spread]) -> str:
    """Return a table: what processes differ by, slowest over fastest."""
    lines = ["| task | slowest over fastest process, timed as TVM does | at several places |", "|---|---|---|"]
    lines += [f"| {s.name} | {max(s.once) / min(s.once):.2f} | {max(s.places) / min(s.places):.2f} |" for s in spreads]
    totals = [_ratio(spreads, kind) for kind in ("once", "places")]
    lines.append(f"| all, weighted | {totals[0]:.2f} | {totals[1]:.2f} |")
    medians = [median(max(getattr(s, kind)) / min(getattr(s, kind)) for s in spreads) for kind in ("once", "places")]
    lines.append(f"| median | {medians[0]:.2f} | {medians[1]:.2f} |")
    return "\n".join(lines)


def _ratio(spreads: Sequence[Spread], kind: str) -> float:
    totals = [
        fsum(s.weight * cost for s, cost in zip(spreads, row, strict=True))
        for row in zip(*(getattr(s, kind) for s in spreads), strict=True)
    ]
    return max(totals) / min(totals)


def run(options: argparse.Namespace) -> None:
    """Compile, time, show and write."""
    whole_number("--processes", options.processes, at_least=2)
    require_file("--out", options.out)
    os.environ.setdefault("TVM_NUM_THREADS", str(psutil.cpu_count(logical=False)))
    with TemporaryDirectory(prefix="benchmark-") as folder:
        kernels = compile_best(options.log, Path(folder))
        rows = []
        for _ in range(options.processes):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows.append(pool.apply(time_kernels, (kernels,)))
    spreads = [
        Spread(name=kernel.name, weight=kernel.weight, once=[x for x, _ in found], places=[x for _, x in found])
        for kernel, found in zip(kernels, zip(*rows, strict=True), strict=True)
    ]
    print(show(spreads))
    raw = {"machine": describe(), "log": options.log.name, "spreads": [asdict(spread) for spread in spreads]}
    options.out.write_text(json.dumps(raw) + "\n")


def main() -> int:
    """Run the command line; 2 when it was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path, help="log of `familyseer tune`")
    parser.add_argument("--processes", type=int, default=8, help="default 8")
    parser.add_argument("--out", type=Path, required=True, help="raw results, JSON")
    options = parser.parse_args()
    return exit_status(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
