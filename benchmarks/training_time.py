# SPDX-License-Identifier: Apache-2.0
"""Find out what a family policy's model costs per round as measurements grow to 20,000.

``python -m benchmarks.training_time --out benchmarks/results/training-time.json``

Programs are drawn again and again from a recorded table, their latencies with some noise, in rounds of 64 of one task after
another. What is timed is all that a round asks of the model beside the search: the predictions for the log, learning, and
the families.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean

import numpy as np

from benchmarks.command import exit_status, require_file
from benchmarks.machine import describe
from benchmarks.table import RANDOM_PROGRAMS, MeasuredTask, load_table
from familyseer.cost_model import XGBCostModel
from familyseer.families.learner import family_model
from familyseer.ledger import whole_number

PER_ROUND = 64
_WINDOWS = (0, 1000, 3000, 6000, 10000, 20000)


def seconds_per_round(tasks: Sequence[MeasuredTask], trials: int, seed: int = 0) -> list[float]:
    """Return the seconds of each round."""
    rng = np.random.default_rng(seed)
    model = family_model(
        [measured.task for measured in tasks], "sketch.xgb.family_op", partial(XGBCostModel, seed=seed), seed=seed
    )
    spent = []
    for number in range(trials // PER_ROUND):
        measured = tasks[number % len(tasks)]
        chosen = rng.integers(0, len(measured.seconds), PER_ROUND)
        features, costs = measured.features[chosen], measured.seconds[chosen] * rng.lognormal(0, 0.02, PER_ROUND)
        started = time.perf_counter()
        model.predictions(measured.task.key, features)
        model.update(measured.task.key, features, costs)
        spent.append(time.perf_counter() - started)
    return spent


def show(spent: Sequence[float]) -> str:
    """Return the mean seconds of a round, by how many programs had been measured."""
    lines = ["| programs | mean seconds of a round | longest |", "|---|---|---|"]
    for start, end in pairwise(_WINDOWS):
        part = spent[start // PER_ROUND : end // PER_ROUND]
        if part:
            lines.append(f"| {start} to {end} | {mean(part):.2f} | {max(part):.2f} |")
    return "\n".join(lines)


def run(options: argparse.Namespace) -> None:
    """Time, show and write."""
    whole_number("--trials", options.trials, at_least=PER_ROUND)
    require_file("--out", options.out)
    spent = seconds_per_round(load_table(options.table), options.trials)
    print(show(spent))
    options.out.write_text(json.dumps({"machine": describe(), "seconds": [round(s, 4) for s in spent]}) + "\n")


def main() -> int:
    """Run the command line; 2 when it was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_time",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", type=Path, default=RANDOM_PROGRAMS, help="default: 18 operators on two x86 cores")
    parser.add_argument("--trials", type=int, default=20000, help="programs measured in all (default 20000)")
    parser.add_argument("--out", type=Path, required=True, help="figures as JSON")
    options = parser.parse_args()
    return exit_status(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
