# SPDX-License-Identifier: Apache-2.0
"""Compare cost models by what a search finds with them: our model against TVM's XGBModel, everything else equal.

``python -m benchmarks.search_quality --out benchmarks/results/quality.json``

For each operator and seed both searches start from the same measured first round; their further rounds alternate, and
their best candidates are timed again together at the end. Only these last figures are compared.
Results are written after each pair, and a second call goes on from there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm.s_tir import meta_schedule as ms

from benchmarks import raw
from benchmarks.command import exit_status, require_file
from benchmarks.machine import describe, machine_of, with_contributor
from benchmarks.workloads import OPERATORS
from familyseer import auto_scheduler
from familyseer.cost_model import CostModel, XGBCostModel
from familyseer.features import FeatureSet
from familyseer.meta_schedule.search_policy import measure_request
from familyseer.records import MeasureRecord, RecordLog, WorkloadRecord

MODELS = ("familyseer", "tvm")
SETTINGS = {"rounds": 3, "per_round": 64, "population": 256, "generations": 3, "min_repeat_ms": 30}


class TVMModel(CostModel):
    """TVM's own XGBModel behind our interface, trained from the first round on instead of after 100 samples."""

    def __init__(self, seed: int) -> None:
        config = ms.cost_model.xgb_model.XGBConfig(seed=seed)
        self._model = ms.cost_model.XGBModel(config=config, num_warmup_samples=0, verbose_eval=0)
        self._parts: list[tuple[FeatureSet, NDArray[np.float64]]] = []

    def is_trained(self, task_key: str) -> bool:
        """Return whether there is a booster."""
        return self._model.booster is not None

    def save(self, path: Any) -> None:
        """Write TVM's file."""
        self._model.save(str(path))

    def load(self, path: Any) -> None:
        """Read TVM's file."""
        self._model.load(str(path))

    def _update(self, task_key: str, features: FeatureSet, costs: NDArray[np.float64]) -> None:
        self._parts.append((features, costs))
        seconds = np.concatenate([part for _, part in self._parts])
        rows = [row for part, _ in self._parts for row in _arrays(part)]
        self._model._train(xs=rows, ys=seconds.min() / seconds)

    def _predict(self, task_key: str, features: FeatureSet) -> NDArray[np.float64]:
        return np.asarray(self._model._predict(xs=_arrays(features)), dtype=np.float64)


def _arrays(features: FeatureSet) -> list[NDArray[np.float32]]:
    return np.split(features.rows, np.cumsum(features.counts)[:-1])


def make_model(name: str, seed: int) -> CostModel:
    return XGBCostModel(seed=seed, adaptive_training=False) if name == "familyseer" else TVMModel(seed)


def search(operator: str, seed: int, settings: dict[str, int], target: Any, folder: Path | None) -> dict[str, Any]:
    """Run both searches of one operator and seed; return latencies in seconds and where time went."""
    task = auto_scheduler.SearchTask(func=OPERATORS[operator](), target=target, desc=operator)
    records: list[MeasureRecord] = []
    builder, runner = auto_scheduler.LocalBuilder(), auto_scheduler.LocalRunner(min_repeat_ms=settings["min_repeat_ms"])
    per_round = settings["per_round"]
    params = {
        "evolutionary_search_population": settings["population"],
        "evolutionary_search_num_iters": settings["generations"],
    }
    with auto_scheduler.ProgramMeasurer(builder, runner, [collect(records)], verbose=0) as measurer:
        auto_scheduler.SketchPolicy(task, seed=seed).continue_search_one_round(per_round, measurer)
        first = list(records)
        policies = {
            name: auto_scheduler.SketchPolicy(task, make_model(name, seed), params, seed=seed) for name in MODELS
        }
        found = {name: list(first) for name in MODELS}
        for policy in policies.values():
            policy.restore(first)
        for number in range(1, settings["rounds"]):
            for name in MODELS if number % 2 else reversed(MODELS):
                records.clear()
                policies[name].continue_search_one_round(per_round, measurer)
                found[name] += records
    if folder is not None:
        keep(folder / f"{operator}-{seed}.json", task, first, found)
    return {
        "operator": operator,
        "seed": seed,
        "trials": {name: len(found[name]) for name in MODELS},
        "searched": {name: min(record.cost for record in found[name]) for name in MODELS},
        "remeasured": remeasure(task, found),
        "seconds": {name: policy.ledger.snapshot().total_seconds for name, policy in policies.items()},
    }


def keep(path: Path, task: Any, first: list[MeasureRecord], found: dict[str, list[MeasureRecord]]) -> None:
    """Write all measurements as a log whose policy names say which model's search proposed each."""
    path.unlink(missing_ok=True)
    with RecordLog(path) as log:
        log.add_workload(WorkloadRecord(task=task.task, workload=str(tvm.ir.save_json(task.mod))))
        for record in first:
            log.append(replace(record, policy="first"))
        for name in MODELS:
            for record in found[name][len(first) :]:
                log.append(replace(record, policy=name))


def collect(records: list[MeasureRecord]) -> Any:
    def callback(policy: Any, inputs: Any, results: Any) -> None:
        for given, result in zip(inputs, results, strict=True):
            info = policy.described
            records.append(
                MeasureRecord(
                    task=info.key, target=info.target, trace=given.state.trace, result=result, round=policy.round
                )
            )

    return callback


def remeasure(task: Any, found: dict[str, list[MeasureRecord]], top: int = 3, times: int = 3) -> dict[str, float]:
    """Time the best candidates of both searches again, in turn; return the lowest median of each."""
    builder, runner = auto_scheduler.LocalBuilder(), auto_scheduler.LocalRunner(repeat=5, min_repeat_ms=200)
    finalists = [
        (name, record.trace) for name in MODELS for record in sorted(found[name], key=lambda record: record.cost)[:top]
    ]
    costs: dict[tuple[str, str], list[float]] = {finalist: [] for finalist in finalists}
    with auto_scheduler.ProgramMeasurer(builder, runner, verbose=0) as measurer:
        for _ in range(times):
            states = [auto_scheduler.State(task, trace) for _, trace in finalists]
            requests = [measure_request(task.workload_key, task, state.schedule) for state in states]
            for finalist, result in zip(finalists, measurer.measure(requests), strict=True):
                costs[finalist] += result.costs
    return {
        name: min(float(np.median(values)) for (owner, _), values in costs.items() if owner == name and values)
        for name in MODELS
    }


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the geometric mean of TVM's latency over ours: above 1, ours found faster programs."""
    ratios = {
        (run["operator"], run["seed"]): run["remeasured"]["tvm"] / run["remeasured"]["familyseer"] for run in runs
    }
    seeds = sorted({seed for _, seed in ratios})
    return {
        "geometric_mean": geometric_mean(ratios.values()),
        "by_seed": {str(s): geometric_mean(r for (_, seed), r in ratios.items() if seed == s) for s in seeds},
        "by_operator": {
            name: geometric_mean(r for (operator, _), r in ratios.items() if operator == name)
            for name in OPERATORS
            if any(operator == name for operator, _ in ratios)
        },
    }


def resume(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the results in `path` to go on from, or an empty document; refuse those of other machines or settings."""
    present = describe()
    if not path.exists():
        return {"machine": present, "commands": [present["command"]], "settings": settings, "runs": []}
    document = raw.load(path, "benchmarks.search_quality", {"machine": dict, "settings": dict, "runs": list})
    raw.require_equal(path, "machine", machine_of(document["machine"]), machine_of(present))
    raw.require_equal(path, "setting", document["settings"], settings)
    return with_contributor(document, present)


def run() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--records", type=Path, default=None, help="folder for logs of all measurements")
    for name, default in SETTINGS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--operators", nargs="*", default=list(OPERATORS), choices=list(OPERATORS))
    options = parser.parse_args()
    require_file("--out", options.out)
    settings = {name: getattr(options, name) for name in SETTINGS}
    document = resume(options.out, settings)
    done = {(run["operator"], run["seed"]) for run in document["runs"]}
    wanted = [(operator, seed) for seed in range(options.seeds) for operator in options.operators]
    for operator, seed in [pair for pair in wanted if pair not in done]:
        start = time.perf_counter()
        found = search(operator, seed, settings, "llvm", options.records)
        document["runs"].append(found)
        raw.write(options.out, document | {"summary": summarise(document["runs"])})
        ours, theirs = (found["remeasured"][name] * 1e3 for name in MODELS)
        print(
            f"{operator} seed {seed}: familyseer {ours:.4f} ms, TVM {theirs:.4f} ms ({time.perf_counter() - start:.0f} s)",
            flush=True,
        )
    print(json.dumps(summarise(document["runs"]), indent=1))


if __name__ == "__main__":
    sys.exit(exit_status(run))
