# SPDX-License-Identifier: Apache-2.0
"""How well each cost model ranks programs that it has not seen, and how long it trains.

``python -m benchmarks.cost_model [--seeds 3] [--out FILE.json]``

Ranking: one model over all 18 tasks learns half of each task's 128 random programs and ranks the other half.
Figures are means over the tasks; ± is the standard deviation over the random splits.

Choosing: 18 searches proposed 256 programs each, in two rounds. A model learns what was measured before a round and
chooses 16 or 32 among the programs proposed in it or later, by `acquisition`, as a search does. The figure is
the best latency there is over the best chosen, geometric mean over searches, rounds and seeds.

Training times are CPU seconds of the one thread that a model uses by default. Takes about three minutes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import geometric_mean, mean, median, pstdev
from typing import Any

import numpy as np

from benchmarks.machine import describe
from benchmarks.ranking import ranking_metrics
from benchmarks.table import RANDOM_PROGRAMS, load_table
from familyseer.cost_model import CostModel, PackSumXGBModel, RandomCostModel, XGBCostModel
from familyseer.features import FeatureSet
from familyseer.metrics import peak_at_k

SEARCHES = RANDOM_PROGRAMS.with_name("search-programs-x86.npz")
TRAINED_ON = 64
CHOSEN = (16, 32)
TIMED_SIZES = (500, 2_000, 20_000)

MODELS: dict[str, Callable[[int], CostModel]] = {
    "XGBCostModel": lambda seed: XGBCostModel(seed=seed),
    "XGBCostModel, optimism=0": lambda seed: XGBCostModel(seed=seed, optimism=0),
    "XGBCostModel, one booster": lambda seed: XGBCostModel(seed=seed, members=1, rounds=500),
    "PackSumXGBModel (TVM's)": lambda seed: PackSumXGBModel(),
    "RandomCostModel": lambda seed: RandomCostModel(seed=seed),
}

Tasks = dict[str, tuple[FeatureSet, np.ndarray]]


def judge(model: CostModel, tasks: Tasks, seed: int) -> dict[str, float]:
    """Train on a random half of every task, return the mean metrics on the other halves."""
    rng = np.random.default_rng(seed)
    held_out = {}
    for name, (features, seconds) in tasks.items():
        order = rng.permutation(len(features))
        model.update(name, features[order[:TRAINED_ON]], seconds[order[:TRAINED_ON]])
        held_out[name] = order[TRAINED_ON:]
    judged = [
        ranking_metrics(tasks[name][1][index], model.predict(name, tasks[name][0][index]))
        for name, index in held_out.items()
    ]
    return {metric: mean(values[metric] for values in judged) for metric in judged[0]}


def choose(make_model: Callable[[int], CostModel], seeds: int) -> dict[str, float]:
    """Return how close the best of a model's choices comes to the best that searches proposed."""
    peaks: dict[int, list[float]] = {count: [] for count in CHOSEN}
    with np.load(SEARCHES, allow_pickle=False) as data:
        for name in sorted({name.split("/")[0] for name in data.files}):
            features = FeatureSet(rows=data[f"{name}/rows"], counts=data[f"{name}/counts"])
            seconds, rounds = data[f"{name}/seconds"], data[f"{name}/round"]
            for number in range(1, rounds.max() + 1):
                known, proposed = rounds < number, rounds >= number
                for seed in range(seeds):
                    model = make_model(seed)
                    model.update(name, features[known], seconds[known])
                    scores = model.acquisition(name, features[proposed])
                    for count in CHOSEN:
                        peaks[count].append(peak_at_k(seconds[proposed], scores, k=count))
    return {str(count): geometric_mean(values) for count, values in peaks.items()}


def training_seconds(tasks: Tasks, size: int) -> float:
    """Return the median CPU seconds of three trainings on `size` programs: the tasks' own, with noise."""
    rng = np.random.default_rng(0)
    model = XGBCostModel(min_samples=size, adaptive_training=False)
    share = -(-size // len(tasks))
    for name, (features, seconds) in tasks.items():
        index = rng.integers(0, len(features), share)
        drawn = features[index]
        shaken = drawn.rows * rng.normal(1, 0.01, drawn.rows.shape)
        noisy = FeatureSet(rows=shaken.astype(np.float32), counts=drawn.counts)
        model.update(name, noisy, seconds[index] * rng.lognormal(0, 0.05, share))
    features, seconds = tasks[min(tasks)]
    times = []
    for _ in range(3):  # `share` rounds up: by now there are enough, so each update trains once
        start = time.process_time()
        model.update(min(tasks), features[:1], seconds[:1])
        times.append(time.process_time() - start)
    return median(times)


def run(seeds: int) -> dict[str, Any]:
    tasks = {measured.task.name: (measured.features, measured.seconds) for measured in load_table()}
    ranking = {}
    for name, make_model in MODELS.items():
        runs = [judge(make_model(seed), tasks, seed) for seed in range(seeds)]
        ranking[name] = {
            metric: {"mean": mean(values), "std": pstdev(values), "seeds": values}
            for metric in runs[0]
            for values in [[result[metric] for result in runs]]
        }
    choosing = {name: choose(make_model, seeds) for name, make_model in MODELS.items()}
    timing = {str(size): training_seconds(tasks, size) for size in TIMED_SIZES}
    return {"ranking": ranking, "choosing": choosing, "training_cpu_seconds": timing}


def show(result: dict[str, Any]) -> None:
    metrics = ["pairwise_accuracy", "top_8_recall", "peak_at_1", "peak_at_8"]
    print(f"{'model':28s}" + "".join(f"{metric:>19s}" for metric in metrics))
    for name, figures in result["ranking"].items():
        cells = [f"{figures[metric]['mean']:.3f} ± {figures[metric]['std']:.3f}" for metric in metrics]
        print(f"{name:28s}" + "".join(f"{cell:>19s}" for cell in cells))
    print(f"{'model':28s}" + "".join(f"{f'best of {count} chosen':>19s}" for count in CHOSEN))
    for name, figures in result["choosing"].items():
        print(f"{name:28s}" + "".join(f"{value:19.3f}" for value in figures.values()))
    times = result["training_cpu_seconds"].items()
    print("training: " + ", ".join(f"{seconds:.2f} s on {size} programs" for size, seconds in times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="number of random splits (default 3)")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    arguments = parser.parse_args()
    result = {"machine": describe(), **run(arguments.seeds)}
    show(result)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
