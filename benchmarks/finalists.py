# SPDX-License-Identifier: Apache-2.0
"""Find out whether timing finalists again, together, finds faster schedules than trusting the first timings.

``python -m benchmarks.finalists resnet18.json --out benchmarks/results/finalists.json``

Reads logs of `familyseer tune`. Where several candidates of a task were within 5 % (`--rivals`), they are timed as at the end
of a tuning run, and again for three times as long: the latter is what counts, for the first's choice and for the second's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum
from pathlib import Path
from statistics import median

from benchmarks.command import exit_status, require_file
from benchmarks.logs import read_best
from benchmarks.machine import describe
from familyseer import auto_scheduler
from familyseer.errors import InvalidInputError
from familyseer.ledger import whole_number
from familyseer.meta_schedule.finalists import RIVALS, finalists_of, time_finalists
from familyseer.records import MeasureRecord

_JUDGES = 3  # timings like that of the finalists which judge it


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """One task whose best was in dispute.

    Parameters
    ----------
    log, task, weight
        Where it comes from.
    finalists
        How many candidates.
    first, chosen, best
        Latencies in seconds, as judged: of what the first timings had for the best, of what the finalists' timings have,
        and of the fastest in hindsight.
    """

    log: str
    task: str
    weight: float
    finalists: int
    first: float
    chosen: float
    best: float


def disputes(log: Path, seed: int, most: int, within: float) -> tuple[list[Dispute], float]:
    """Return the disputes of one log, and the seconds that settling them took."""
    tasks, ranking = read_best(log, most)
    rivals = finalists_of(ranking, [info for _, info in tasks.values()], most, within)
    runner = auto_scheduler.LocalRunner(min_repeat_ms=100)
    with auto_scheduler.ProgramMeasurer(auto_scheduler.LocalBuilder(), runner, verbose=0) as measurer:
        started = time.perf_counter()
        settled = time_finalists(tasks, rivals, measurer, seed=seed)
        took = time.perf_counter() - started
        judged = [time_finalists(tasks, rivals, measurer, seed=seed + 1 + i) for i in range(_JUDGES)]
    found = []
    for key, records in settled.items():
        truth = _truth([timing[key] for timing in judged])
        if records and rivals[key][0].trace in truth and records[0].trace in truth:
            found.append(
                Dispute(
                    log=log.name,
                    task=tasks[key][1].name,
                    weight=tasks[key][1].weight,
                    finalists=len(rivals[key]),
                    first=truth[rivals[key][0].trace],
                    chosen=truth[records[0].trace],
                    best=min(truth.values()),
                )
            )
    return found, took


def _truth(timings: Sequence[Sequence[MeasureRecord]]) -> Mapping[str, float]:
    """Return the median of all passes of each trace that never failed."""
    costs: dict[str, list[float]] = {}
    for records in timings:
        for record in records:
            costs.setdefault(record.trace, []).extend(record.result.costs)
    return {trace: median(found) for trace, found in costs.items() if len(found) == max(map(len, costs.values()))}


def show(found: Sequence[Dispute], seconds: Mapping[str, float]) -> str:
    """Return a table with a line per log: what the finalists' timings gained, and what was to gain."""
    lines = [
        "| log | tasks in dispute | seconds | gain of timing again | gain of knowing | worst task |",
        "|---|---|---|---|---|---|",
    ]
    for log, took in seconds.items():
        mine = [dispute for dispute in found if dispute.log == log]
        if mine:
            first, chosen, best = (
                fsum(dispute.weight * getattr(dispute, name) for dispute in mine)
                for name in ("first", "chosen", "best")
            )
            worst = min(dispute.first / dispute.chosen for dispute in mine)
            lines.append(
                f"| {log} | {len(mine)} | {took:.0f} | {first / chosen - 1:+.1%} | {first / best - 1:+.1%} | {worst - 1:+.1%} |"
            )
    return "\n".join(lines)


def run(options: argparse.Namespace) -> None:
    """Time, show and write."""
    require_file("--out", options.out)
    whole_number("--most", options.most, at_least=2)
    if not options.rivals >= 1:
        raise InvalidInputError(f"`--rivals` must be a number ≥ 1; got {options.rivals}")
    found: list[Dispute] = []
    seconds: dict[str, float] = {}
    for log in options.logs:
        mine, seconds[log.name] = disputes(log, options.seed, options.most, options.rivals)
        found += mine
    print(show(found, seconds))
    raw = {"machine": describe(), "seconds": seconds, "disputes": [asdict(dispute) for dispute in found]}
    options.out.write_text(json.dumps(raw) + "\n")


def main() -> int:
    """Run the command line; 2 when it was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.finalists",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "logs", type=Path, nargs="+", help="logs of `familyseer tune`, or of --records, of this machine"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the orders (default 0)")
    parser.add_argument("--most", type=int, default=3, help="finalists of a task (default 3, as in tuning)")
    parser.add_argument(
        "--rivals",
        type=float,
        default=RIVALS,
        help="times the fastest one's latency, at most (default 1.05, as in tuning)",
    )
    parser.add_argument("--out", type=Path, required=True, help="figures as JSON")
    options = parser.parse_args()
    return exit_status(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
