# SPDX-License-Identifier: Apache-2.0
"""Compare schedulers and cost models on a recorded table, in seconds and without a device.

``python -m benchmarks.replay [--table FILE.npz] [--trials 576] [--per-round 8] [--seeds 3]``

The space of each task is the programs that the table has of it. In a round the model ranks those not yet measured, all
but a few of the best are "measured" by looking them up, and the model learns. So nothing is sampled or evolved, and the
best there is to find is known: the figures say how many trials a combination needs to come within 10, 5, 2 and 0 % of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.command import exit_status, require_file
from benchmarks.curves import SLACKS
from benchmarks.machine import describe
from benchmarks.table import RANDOM_PROGRAMS, MeasuredTask, load_table
from familyseer.cost_model import CostModel, PackSumXGBModel, RandomCostModel, XGBCostModel
from familyseer.families.keys import DEFAULT_POLICY, PolicyName
from familyseer.families.learner import family_model
from familyseer.ledger import whole_number
from familyseer.measure import INVALID_COST, MeasureErrorNo, MeasureResult
from familyseer.schedulers import GradientScheduler, RoundRobinScheduler, TaskScheduler, make_scheduler
from familyseer.schedulers.base import weighted_sum
from familyseer.task import Task
from familyseer.tuner import RoundOutcome, Tuner

RANDOM_SHARE = 0.05

MakeModel = Callable[[Sequence[Task], int], CostModel]
MakeScheduler = Callable[[Sequence[Task], int], TaskScheduler]


def _family(policy: str) -> MakeModel:
    return lambda tasks, seed: family_model(tasks, policy, partial(XGBCostModel, seed=seed), seed=seed)


MODELS: Mapping[str, MakeModel] = {
    "random": lambda tasks, seed: RandomCostModel(seed=seed),
    "shared": lambda tasks, seed: XGBCostModel(seed=seed),
    "family_op": _family("sketch.xgb.family_op"),
    "family_accuracy": _family("sketch.xgb.family_accuracy"),
    "family_ind": _family("sketch.xgb.family_ind"),
    "shared, TVM's objective": lambda tasks, seed: PackSumXGBModel(),
}

SCHEDULERS: Mapping[str, MakeScheduler] = {
    "gradient": lambda tasks, seed: GradientScheduler(
        weighted_sum([task.weight for task in tasks]), rng=np.random.default_rng(seed)
    ),
    "family gradient": lambda tasks, seed: make_scheduler(
        "gradient",
        weighted_sum([task.weight for task in tasks]),
        policy=PolicyName.parse(DEFAULT_POLICY),
        tasks=tasks,
        rng=np.random.default_rng(seed),
    ),
    "round-robin": lambda tasks, seed: RoundRobinScheduler(),
}


class Replay:
    """A tuning run whose measurements are looked up.

    Parameters
    ----------
    table
        What was measured.
    model, scheduler
        New ones.
    trials, per_round
        The budget, and the most trials of a round.
    seed
        Of the first round of each task and of the random share of the others.
    """

    def __init__(
        self,
        table: Sequence[MeasuredTask],
        model: CostModel,
        scheduler: TaskScheduler,
        *,
        trials: int,
        per_round: int,
        seed: int = 0,
    ) -> None:
        self._table, self._model = table, model
        self._rng = np.random.default_rng(seed)
        self._left = [np.arange(len(measured.seconds)) for measured in table]
        self._weights = np.array([measured.task.weight for measured in table])
        self.scores: list[tuple[int, float]] = []
        self.tuner = Tuner(
            [measured.task for measured in table],
            self._round,
            scheduler,
            num_measure_trials=trials,
            num_measures_per_round=per_round,
            after_round=lambda index, outcome: self.scores.append((self.tuner.trials, self.tuner.score)),
        )

    @property
    def optimum(self) -> float:
        """The lowest weighted latency that the table has."""
        return float(self._weights @ [measured.seconds.min() for measured in self._table])

    def _round(self, index: int, count: int) -> RoundOutcome:
        measured, left = self._table[index], self._left[index]
        key = measured.task.key
        order = self._rng.permutation(len(left))
        if self._model.is_trained(key):
            ranked = np.argsort(-self._model.acquisition(key, measured.features[left]), kind="stable")
            best = ranked[: count - int(np.ceil(RANDOM_SHARE * count))]
            order = np.concatenate([best, order[~np.isin(order, best)]])
        chosen, self._left[index] = left[order[:count]], np.sort(left[order[count:]])
        if not len(chosen):
            return RoundOutcome(exhausted=True)
        self._model.update(key, measured.features[chosen], measured.seconds[chosen])
        results = [_result(float(seconds)) for seconds in measured.seconds[chosen]]
        return RoundOutcome(results=results, exhausted=not len(self._left[index]))


def _result(seconds: float) -> MeasureResult:
    if seconds < INVALID_COST:
        return MeasureResult(costs=(seconds,))
    return MeasureResult(error_no=MeasureErrorNo.UNKNOWN_ERROR, error_msg="failed when the table was made")


def trials_within(scores: Sequence[tuple[int, float]], goal: float) -> float:
    """Return the trials after which the score was first at or below `goal`; infinite when it never was.

    Examples
    --------
    >>> trials_within([(8, 3.0), (16, 2.0)], 2.0), trials_within([(8, 3.0)], 2.0)
    (16.0, inf)
    """
    return next((float(trials) for trials, score in scores if score <= goal), float("inf"))


def compare(table: Sequence[MeasuredTask], *, trials: int, per_round: int, seeds: int) -> list[dict[str, Any]]:
    """Replay every scheduler with every model, and every seed."""
    tasks, found = [measured.task for measured in table], []
    for scheduler_name, new_scheduler in SCHEDULERS.items():
        for model_name, make_model in MODELS.items():
            runs, started = [], time.perf_counter()
            for seed in range(seeds):
                replay = Replay(
                    table,
                    make_model(tasks, seed),
                    new_scheduler(tasks, seed),
                    trials=trials,
                    per_round=per_round,
                    seed=seed,
                )
                replay.tuner.run()
                runs.append(
                    {
                        "within": [trials_within(replay.scores, replay.optimum * (1 + slack)) for slack in SLACKS],
                        "final": replay.tuner.score / replay.optimum,
                    }
                )
            seconds = (time.perf_counter() - started) / seeds
            found.append({"scheduler": scheduler_name, "model": model_name, "seconds": seconds, "runs": runs})
    return found


def show(found: Sequence[Mapping[str, Any]]) -> str:
    """Return medians over the seeds as Markdown."""
    lines = [
        f"| scheduler | model | {' | '.join(f'trials to +{slack:.0%}' for slack in SLACKS)} | final / best | seconds |",
        f"|{'---|' * (4 + len(SLACKS))}",
    ]
    for entry in found:
        within = [median(run["within"][i] for run in entry["runs"]) for i in range(len(SLACKS))]
        cells = ["never" if trials == float("inf") else f"{trials:.0f}" for trials in within]
        final = median(run["final"] for run in entry["runs"])
        lines.append(
            f"| {entry['scheduler']} | {entry['model']} | {' | '.join(cells)} | {final:.3f} | {entry['seconds']:.1f} |"
        )
    return "\n".join(lines)


def run(options: argparse.Namespace) -> None:
    """Compare, show and write."""
    whole_number("--seeds", options.seeds, at_least=1)
    if options.out:
        require_file("--out", options.out)
    found = compare(load_table(options.table), trials=options.trials, per_round=options.per_round, seeds=options.seeds)
    print(show(found))
    if options.out:
        options.out.write_text(json.dumps({"machine": describe(), "replays": found}, indent=1) + "\n")


def main() -> int:
    """Run the command line; 2 when it was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=RANDOM_PROGRAMS, help="default: 18 operators on two x86 cores")
    parser.add_argument("--trials", type=int, default=576, help="default 576, a quarter of the default table")
    parser.add_argument("--per-round", type=int, default=8, help="trials of a round (default 8)")
    parser.add_argument("--seeds", type=int, default=3, help="default 3")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    options = parser.parse_args()
    return exit_status(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
