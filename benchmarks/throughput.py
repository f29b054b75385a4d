# SPDX-License-Identifier: Apache-2.0
"""How many candidates a second are measured, by stock MetaSchedule and by familyseer, side by side in one run.

``python -m benchmarks.throughput [--quick] [--out FILE.json]``

Both get the same candidates (drawn by the evolutionary search with random scores and a fixed seed) in the same batches, and
the same evaluator settings and number of threads. Stock is ``ms.builder.LocalBuilder()`` and ``ms.runner.LocalRunner()``
at their defaults, with their default evaluator settings (number=3, repeat=1, min_repeat_ms=100).
For each repetition one batch after another is measured by both, who goes first alternates.
What happens once per process (importing tvm, starting the first worker) is charged to neither and reported apart.
Then both learn these measurements and propose the next batch, once: the seconds of training and search in a round.
Results are written after each workload, and a second call goes on from there. The full run takes about an hour on two cores.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

# Both sides get all cores; TVM's default, which stock's runner takes, is half of the logical processors.
os.environ.setdefault("TVM_NUM_THREADS", str(psutil.cpu_count(logical=False)))

import tvm
from tvm import te, topi
from tvm.s_tir.meta_schedule.arg_info import ArgInfo

from benchmarks import raw
from benchmarks.command import exit_status
from benchmarks.machine import describe, machine_of
from benchmarks.search_time import OurRounds, StockRounds
from benchmarks.stock_measurer import StockMeasurer
from familyseer import networks
from familyseer.meta_schedule.builder import LocalBuilder
from familyseer.meta_schedule.measurer import MeasureRequest, ProgramMeasurer
from familyseer.meta_schedule.relax import extract
from familyseer.meta_schedule.runner import LocalRunner
from familyseer.meta_schedule.space import Evolution, ScheduleSpace
from familyseer.meta_schedule.target import host_target
from familyseer.meta_schedule.workload import normalize

logger = logging.getLogger(__name__)

SEED = 7
Measure = Callable[["Batch"], "Outcome"]
SIDES = ("stock", "ours")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Schedules of one workload, and what is needed to measure them."""

    mod: tvm.IRModule
    schedules: list[tvm.s_tir.Schedule]
    requests: list[MeasureRequest]

    @classmethod
    def of(cls, mod: tvm.IRModule, schedules: Sequence[tvm.s_tir.Schedule], target: tvm.target.Target) -> Batch:
        """Make a batch."""
        requests = [_request(schedule.mod, target) for schedule in schedules]
        return cls(mod=mod, schedules=list(schedules), requests=requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one side made of a batch: wall seconds, and a latency (NaN when it failed) per candidate."""

    build_seconds: float
    run_seconds: float
    latencies: list[float]

    def __str__(self) -> str:
        failed = int(np.isnan(self.latencies).sum())
        return f"build {self.build_seconds:.1f} s, run {self.run_seconds:.1f} s, {failed} failed"


def matmul() -> tvm.IRModule:
    a, b = te.placeholder((128, 768), name="A"), te.placeholder((768, 768), name="B")
    return normalize(te.create_prim_func([a, b, topi.nn.matmul(a, b)]))


def conv2d() -> tvm.IRModule:
    data, weight = te.placeholder((1, 64, 56, 56), name="data"), te.placeholder((64, 64, 3, 3), name="weight")
    return normalize(te.create_prim_func([data, weight, topi.nn.conv2d(data, weight, 1, 1, 1)]))


def network_tasks(target: tvm.target.Target) -> list[tvm.IRModule]:
    network = networks.build("resnet18")
    return [task.mod for task in extract(network.mod, network.params, target).tasks]


def draw(mod: tvm.IRModule, target: tvm.target.Target, batches: int, count: int) -> list[Batch]:
    """Return batches of `count` schedules of `mod`, some sampled, some mutated, as a search with random scores has them."""
    rng, total = np.random.default_rng(SEED), batches * count
    space = ScheduleSpace(mod, target, seed=SEED, evolution=Evolution(population=max(32, 2 * total), generations=2))
    start = space.sample(max(32, 2 * total))
    evolved = space.evolve(start, total, lambda features: rng.random(len(features)))
    chosen = rng.permutation(np.array([*evolved, *start][:total], dtype=object))
    return [Batch.of(mod, list(chosen[i : i + count]), target) for i in range(0, len(chosen), count)]


def _request(mod: tvm.IRModule, target: tvm.target.Target) -> MeasureRequest:
    args_info = [info.as_json() for info in ArgInfo.from_entry_func(mod, remove_preproc=True)]
    return MeasureRequest(task_key="benchmark", mod=mod, target=target, args_info=args_info)


class Side:
    """One of the two measurers, and how long it takes."""

    def __init__(self, measurer: ProgramMeasurer | StockMeasurer) -> None:
        self.measurer = measurer

    def __call__(self, batch: Batch) -> Outcome:
        """Measure a batch."""
        started = time.perf_counter()
        results = self.measurer.measure(batch.requests)
        total = time.perf_counter() - started
        build = self.measurer.seconds.build
        latencies = [result.cost if result.costs else float("nan") for result in results]
        return Outcome(build_seconds=build, run_seconds=total - build, latencies=latencies)


def our_measurer(min_repeat_ms: int) -> ProgramMeasurer:
    """Return familyseer's measurer with default options."""
    runner = LocalRunner(number=3, repeat=1, min_repeat_ms=min_repeat_ms)
    return ProgramMeasurer(LocalBuilder(), runner, verbose=0)


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    made = make()
    return made, time.perf_counter() - started


def measure_workload(batches: Sequence[Batch], sides: dict[str, Measure], repetitions: int) -> list[dict[str, Any]]:
    """Return one entry per repetition: for each side its seconds and rate, and how their latencies compare."""
    entries = []
    for repetition in range(repetitions):
        order = list(sides) if repetition % 2 else list(sides)[::-1]
        outcomes: dict[str, list[Outcome]] = {name: [] for name in sides}
        for batch in batches:
            for name in order:
                outcomes[name].append(sides[name](batch))
                logger.info("%s: %d candidates, %s", name, len(batch.requests), outcomes[name][-1])
        entry: dict[str, Any] = {name: summarize(found) for name, found in outcomes.items()}
        entry["ratio"] = entry["ours"]["per_second"] / entry["stock"]["per_second"]
        entry["latency_ours_over_stock"] = latency_ratio(outcomes["ours"], outcomes["stock"])
        entries.append(entry)
    return entries


def split_rounds(batches: Sequence[Batch], entry: dict[str, Any], target: tvm.target.Target) -> dict[str, Any]:
    """Return seconds of search and training of both sides, batch by batch, given what the first repetition measured."""
    rounds: dict[str, StockRounds | OurRounds] = {"stock": StockRounds(target, SEED), "ours": OurRounds(target, SEED)}
    totals = {side: {"search": 0.0, "train": 0.0, "proposed": 0} for side in SIDES}
    done = 0
    for batch in batches:
        latencies = entry["ours"]["latencies"][done : done + len(batch.schedules)]
        done += len(batch.schedules)
        for side in SIDES:
            found = rounds[side].seconds(batch.mod, batch.schedules, latencies, len(batch.schedules))
            logger.info("%s: %s", side, found)
            for key, value in found.items():
                totals[side][key] += value
    return totals


def summarize(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    build, run = sum(o.build_seconds for o in outcomes), sum(o.run_seconds for o in outcomes)
    latencies = [latency for outcome in outcomes for latency in outcome.latencies]
    return {
        "candidates": len(latencies),
        "failed": int(np.isnan(latencies).sum()),
        "build_seconds": build,
        "run_seconds": run,
        "per_second": len(latencies) / (build + run),
        "latencies": latencies,
    }


def latency_ratio(ours: Sequence[Outcome], stock: Sequence[Outcome]) -> dict[str, float]:
    """Return quartiles of our latency over stock's, over the candidates that both measured."""
    pairs = np.array([[o for b in side for o in b.latencies] for side in (ours, stock)])
    ratios = (pairs[0] / pairs[1])[~np.isnan(pairs).any(axis=0)]
    quartiles = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist() if len(ratios) else [float("nan")] * 3
    return dict(zip(("q25", "median", "q75"), quartiles, strict=True))


def environment() -> dict[str, Any]:
    return {"machine": describe(), "target": str(host_target()), "load_average_before": os.getloadavg()}


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table: medians over the repetitions, spread as (least to most)."""
    lines = [
        "| workload | batches | side | search s | build s | run s | train s | failed | candidates/s, build + run | all four |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    notes = [""]
    for name, workload in result["workloads"].items():
        entries, split = workload["repetitions"], workload["search_and_train"]
        rates = {}
        for side in SIDES:
            build, run, rate = (
                median(entry[side][key] for entry in entries) for key in ("build_seconds", "run_seconds", "per_second")
            )
            search, train = split[side]["search"], split[side]["train"]
            failed = max(entry[side]["failed"] for entry in entries)
            rates[side] = entries[0][side]["candidates"] / (search + build + run + train)
            lines.append(
                f"| {name} | {workload['batches']} of {workload['batch']} | {side} | {search:.1f} | {build:.1f} "
                f"| {run:.1f} | {train:.1f} | {failed} | {rate:.2f} | {rates[side]:.2f} |"
            )
        ratios = [entry["ratio"] for entry in entries]
        latency = median(entry["latency_ours_over_stock"]["median"] for entry in entries)
        notes.append(
            f"- {name}: **{median(ratios):.2f}** times the candidates a second of build and run "
            f"({min(ratios):.2f} to {max(ratios):.2f}), {rates['ours'] / rates['stock']:.2f} times those of whole rounds; "
            f"latencies are {latency:.3f} of stock's (median over candidates)"
        )
    return "\n".join(lines + notes)


def run() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="small batches, one repetition, three tasks of the network"
    )
    parser.add_argument("--repetitions", type=int, help="of each workload (default 2; 1 with --quick)")
    parser.add_argument("--batch", type=int, help="candidates per batch (default 64; 16 with --quick)")
    parser.add_argument(
        "--network-batch", type=int, help="candidates per task of the network (default 64; 4 with --quick)"
    )
    parser.add_argument(
        "--min-repeat-ms", type=int, default=100, help="of both sides' evaluators (default 100, stock's)"
    )
    parser.add_argument("--only", choices=["matmul", "conv2d", "resnet18"], help="one workload")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON and, beside it, the table as .md")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("tvm").setLevel(logging.WARNING)
    batch = arguments.batch or (16 if arguments.quick else 64)
    share = arguments.network_batch or (4 if arguments.quick else 64)
    repetitions = arguments.repetitions or (1 if arguments.quick else 2)
    names = [name for name in ("matmul", "conv2d", "resnet18") if arguments.only in (None, name)]
    result = _earlier(arguments.out) or {**environment(), "workloads": {}}
    target = host_target()
    ours, our_start = timed(lambda: Side(our_measurer(arguments.min_repeat_ms)))
    stock, stock_start = timed(lambda: Side(StockMeasurer(arguments.min_repeat_ms)))
    first = draw(matmul(), target, 1, 1)[0]
    _, first_seconds = timed(lambda: ours(first))
    result["start_seconds"] = {"stock": stock_start, "ours": our_start, "first candidate of ours": first_seconds}
    with ours.measurer:
        for name in [name for name in names if name not in result["workloads"]]:
            found = _batches(name, target, share if name == "resnet18" else batch, quick=arguments.quick)
            entries = measure_workload(found, {"stock": stock, "ours": ours}, repetitions)
            result["workloads"][name] = {
                "batch": len(found[0].requests),
                "batches": len(found),
                "repetitions": entries,
                "search_and_train": split_rounds(found, entries[0], target),
            }
            if arguments.out:
                raw.write(arguments.out, result)
                arguments.out.with_suffix(".md").write_text(table(result) + "\n")
    print(table(result))


def _earlier(out: Path | None) -> dict[str, Any] | None:
    """Return what an interrupted run on this machine wrote, on which this one builds."""
    if out is None or not out.exists():
        return None
    document = raw.load(out, "benchmarks.throughput", {"machine": dict, "workloads": dict})
    raw.require_equal(out, "machine", machine_of(document["machine"]), machine_of(describe()))
    return document


def _batches(name: str, target: tvm.target.Target, count: int, *, quick: bool) -> list[Batch]:
    if name != "resnet18":
        return draw({"matmul": matmul, "conv2d": conv2d}[name](), target, 2, count)
    mods = network_tasks(target)
    return [draw(mod, target, 1, count)[0] for mod in (mods[:: len(mods) // 3][:3] if quick else mods)]


if __name__ == "__main__":
    sys.exit(exit_status(run))
