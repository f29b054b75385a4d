# SPDX-License-Identifier: Apache-2.0
"""Watch a long tuning run: resident memory of the tuner, and the share of time outside search, build, run and train.

``python -m benchmarks.endurance --trials 2000 --out benchmarks/results/endurance.json``

Six operators are tuned with ``sketch.xgb.family_op`` and a small population, timing each candidate for 10 ms.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.machine import describe
from benchmarks.workloads import OPERATORS
from familyseer import auto_scheduler
from familyseer.ledger import PHASES


class Watch(auto_scheduler.TaskSchedulerCallback):
    """Notes trials and resident memory after each round."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []

    def post_tune(self, task_scheduler: Any, task_id: int) -> None:
        """Take a reading in MiB."""
        self.points.append((task_scheduler.ct, psutil.Process().memory_info().rss / 2**20))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--only", default="", help="tune only operators whose name contains this")
    options = parser.parse_args()
    tasks = [
        auto_scheduler.SearchTask(func=make(), target="llvm", desc=name)
        for name, make in OPERATORS.items()
        if options.only in name
    ]
    watch = Watch()
    with TemporaryDirectory() as folder:
        tune_option = auto_scheduler.TuningOptions(
            options.trials,
            num_measures_per_round=32,
            runner=auto_scheduler.LocalRunner(min_repeat_ms=10),
            measure_callbacks=[auto_scheduler.RecordToFile(Path(folder) / "log.json")],
            verbose=0,
        )
        scheduler = auto_scheduler.TaskScheduler(tasks, callbacks=[watch])
        summary = scheduler.tune(
            tune_option,
            "sketch.xgb.family_op",
            {"evolutionary_search_population": 64, "evolutionary_search_num_iters": 2},
            adaptive_training=True,
        )
    snapshot = scheduler.ledger.snapshot()
    phases = {phase: snapshot.phase_seconds(phase) for phase in PHASES}
    document = {
        "machine": describe(),
        "trials": summary.trials,
        "seconds": summary.seconds,
        "phases": phases,
        "other_share": phases["other"] / sum(phases.values()),
        "resident_mib": watch.points,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    marks = [point for point in watch.points if point[0] >= 200]
    print(f"{summary.trials} trials in {summary.seconds:.0f} s; outside the phases {document['other_share']:.2%}")
    print(f"resident: {marks[0][1]:.0f} MiB after {marks[0][0]} trials, {marks[-1][1]:.0f} MiB after {marks[-1][0]}")


if __name__ == "__main__":
    main()
