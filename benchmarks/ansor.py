# SPDX-License-Identifier: Apache-2.0
"""What family policies find on TVM's own auto_scheduler (TVM 0.16), against TVM's ``sketch.xgb``, at equal measurements.

Six tasks of two families: three 3 × 3 convolutions of ResNet and three matrix products of BERT. Needs the environment of
``.ci/run-ansor`` and gcc. Runs are written as they end; the same command goes on after the last one.

    .venv-ansor/bin/python -m benchmarks.ansor --seeds 3 --trials 192 --out benchmarks/results/ansor.json
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tvm
from tvm import auto_scheduler as tvms_own
from tvm import te, topi
from tvm.auto_scheduler.measure import MeasureInput
from tvm.auto_scheduler.measure_record import load_record_from_string

from benchmarks.command import exit_status
from benchmarks.host_c import TARGET, hardware
from familyseer import auto_scheduler
from familyseer.errors import InvalidInputError
from familyseer.files import write_atomically

STOCK = "tvm"
NAMES = (STOCK, "sketch.xgb.family_op", "sketch.xgb.family_op:no_transfer")
FLAGS = {
    "no_transfer": "no tile sizes of relatives, and no search among tile sizes",
    "large_population": "TVM's four generations of 2048 candidates instead of one of 128",
    "ansor_gradient": "TVM's scheduler: no priors, rounds of equal size, gain per round",
}
_PASSES = 3
_GOALS = (1.10, 1.05, 1.02, 1.00)


@auto_scheduler.register_workload
def conv2d_relu(size: int, channels: int, filters: int) -> list[Any]:
    """Return a 3 × 3 convolution with relu, NCHW."""
    a = te.placeholder((1, channels, size, size), name="A")
    b = te.placeholder((filters, channels, 3, 3), name="B")
    return [a, b, topi.nn.relu(topi.nn.conv2d_nchw(a, b, 1, 1, 1))]


@auto_scheduler.register_workload
def matmul_bias(n: int, m: int, k: int) -> list[Any]:
    """Return a matrix product with bias."""
    a, b, bias = te.placeholder((n, k), name="A"), te.placeholder((k, m), name="B"), te.placeholder((m,), name="C")
    r = te.reduce_axis((0, k), name="r")
    product = te.compute((n, m), lambda i, j: te.sum(a[i, r] * b[r, j], axis=r), name="D")
    return [a, b, bias, te.compute((n, m), lambda i, j: product[i, j] + bias[j], name="E")]


WORKLOADS = [(conv2d_relu, (56, 64, 64)), (conv2d_relu, (28, 128, 128)), (conv2d_relu, (14, 256, 256))]
WORKLOADS += [(matmul_bias, (128, 768, 768)), (matmul_bias, (128, 3072, 768)), (matmul_bias, (128, 768, 3072))]


def make_tasks() -> list[Any]:
    """Return the six tasks."""
    return [
        tvms_own.SearchTask(
            func=func, args=args, target=TARGET, hardware_params=hardware(), desc=f"{func.__name__}{args}"
        )
        for func, args in WORKLOADS
    ]


def tune(name: str, seed: int, trials: int, per_round: int, log: Path) -> dict[str, Any]:
    """Tune with one contestant; return what it took."""
    random.seed(seed)  # TVM draws the seeds of its search from Python's state
    np.random.seed(seed)
    policy, _, text = name.partition(":")
    flags = frozenset(text.split("+")) if text else frozenset()
    options = tvms_own.TuningOptions(
        trials,
        num_measures_per_round=per_round,
        verbose=0,
        runner=tvms_own.LocalRunner(number=3, repeat=1, min_repeat_ms=50),
        measure_callbacks=[tvms_own.RecordToFile(str(log))],
    )
    start = time.perf_counter()
    if name == STOCK:
        tvms_own.TaskScheduler(make_tasks(), callbacks=[]).tune(options, "sketch.xgb")
        return {"seconds": time.perf_counter() - start}
    scheduler = auto_scheduler.TaskScheduler(
        make_tasks(),
        strategy="ansor" if "ansor_gradient" in flags else "gradient",
        callbacks=[],
        seed=seed,
        transfer="no_transfer" not in flags,
    )
    large = {"evolutionary_search_population": 2048, "evolutionary_search_num_iters": 4}
    params = large if "large_population" in flags else None
    scheduler.tune(options, policy, search_policy_params=params)
    snapshot = scheduler.ledger.snapshot()
    phases = {phase: snapshot.phase_seconds(phase) for phase in ("search", "train", "families", "other")}
    return {"seconds": time.perf_counter() - start, "phases": phases}


def incumbents(log: Path, tasks: Sequence[Any]) -> list[dict[str, Any]]:
    """Return, for each trial that improved its task by its own measure, its number, task and line."""
    index_of = {task.workload_key: index for index, task in enumerate(tasks)}
    best: dict[int, float] = {}
    found = []
    for trial, line in enumerate(log.read_text().splitlines(), start=1):
        record = json.loads(line)
        index, (costs, error, *_) = index_of[record["i"][0][0]], record["r"]
        if error == 0 and np.mean(costs) < best.get(index, np.inf):
            best[index] = float(np.mean(costs))
            found.append({"trial": trial, "task": index, "line": line})
    return found


def time_together(tasks: Sequence[Any], lines: Sequence[tuple[int, str]]) -> list[float]:
    """Time schedules of all contestants together, in shuffled order; return their median latencies in seconds."""
    inputs = []
    for index, line in lines:
        given, _ = load_record_from_string(line)
        inputs.append(MeasureInput(tasks[index], tasks[index].compute_dag.infer_bound_from_state(given.state)))
    timings: list[list[float]] = [[] for _ in lines]
    runner = tvms_own.LocalRunner(number=3, repeat=3, min_repeat_ms=100)
    for number in range(_PASSES):
        order = np.random.default_rng(number).permutation(len(lines)).tolist()
        shuffled = [inputs[i] for i in order]
        results = runner.run(shuffled, tvms_own.LocalBuilder().build(shuffled, verbose=0), verbose=0)
        for i, result in zip(order, results, strict=True):
            timings[i] += [float(cost) for cost in result.costs] if int(result.error_no) == 0 else []
    return [median(costs) if costs else float("inf") for costs in timings]


def run_seed(seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Let all contestants tune, then time what they found."""
    tasks, runs = make_tasks(), {}
    with TemporaryDirectory(prefix="benchmark-") as folder:
        names = options.contestants
        for place in range(len(names)):
            name = names[(place + seed) % len(names)]
            log = Path(folder) / f"{place}.json"
            runs[name] = tune(name, seed, options.trials, options.per_round, log)
            runs[name]["incumbents"] = incumbents(log, tasks)
            print(f"seed {seed}: {name} took {runs[name]['seconds']:.0f} s", flush=True)
    lines = sorted({(found["task"], found["line"]) for run in runs.values() for found in run["incumbents"]})
    timed = dict(zip(lines, time_together(tasks, lines), strict=True))
    for run in runs.values():
        for found in run["incumbents"]:
            found["seconds"] = timed[found["task"], found.pop("line")]
    return {"seed": seed, "runs": runs}


def curve(run: dict[str, Any], trials: int, tasks: int) -> list[float]:
    """Return the sum of the tasks' latencies after each trial; infinite while one has none."""
    best = [float("inf")] * tasks
    sums = []
    found = iter([*run["incumbents"], {"trial": trials + 1}])
    following = next(found)
    for trial in range(1, trials + 1):
        while following["trial"] == trial:
            best[following["task"]] = following["seconds"]
            following = next(found)
        sums.append(sum(best))
    return sums


def report(document: dict[str, Any]) -> str:
    """Return the table."""
    trials, tasks = document["settings"]["trials"], len(WORKLOADS)
    rows = [
        f"{len(document['blocks'])} seeds, {trials} trials of {tasks} tasks; medians of the seeds (least to most)",
        "",
        "| contestant | final latency, TVM's over its own | trials to TVM's final latency + 10, 5, 2, 0 %, ratio | "
        "seconds | outside TVM and training | training |",
        "|---|---|---|---|---|---|",
    ]
    for name in document["settings"]["contestants"]:
        final, ratios, seconds, outside, training = [], [], [], [], []
        for block in document["blocks"]:
            stock, own = (curve(block["runs"][who], trials, tasks) for who in (STOCK, name))
            final.append(stock[-1] / own[-1])
            ratios.append([_first(stock, goal * stock[-1]) / _first(own, goal * stock[-1]) for goal in _GOALS])
            run = block["runs"][name]
            seconds.append(run["seconds"])
            phases = run.get("phases")
            if phases:
                outside.append(100 * (phases["families"] + phases["other"]) / run["seconds"])
                training.append(100 * phases["train"] / run["seconds"])
        rows.append(
            f"| `{name}` | {_spread(final)} | {', '.join(_spread([r[i] for r in ratios]) for i in range(len(_GOALS)))} | "
            f"{median(seconds):.0f} | {_spread(outside)} % | {_spread(training)} % |"
        )
    return "\n".join(rows) + "\n"


def _first(sums: Sequence[float], goal: float) -> float:
    return next((i for i, value in enumerate(sums, start=1) if value <= goal), float("inf"))


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "-"


def describe() -> dict[str, Any]:
    """Return what the figures depend on; nothing that names the machine."""
    flags = subprocess.run(["gcc", "-march=native", "-Q", "--help=target"], capture_output=True, text=True, check=True)
    cpu = next(line.split()[-1] for line in flags.stdout.splitlines() if line.strip().startswith("-march="))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cpu": cpu,
        "python": sys.version.split()[0],
        "tvm": tvm.__version__,
        "commit": commit.stdout.strip() or "unknown",
    }


def _check(names: Sequence[str]) -> None:
    flags = {flag for name in names for flag in name.partition(":")[2].split("+")} - {""}
    if STOCK not in names or flags - FLAGS.keys():
        raise InvalidInputError(
            f"`--contestants` must have {STOCK}, and ablations among {', '.join(FLAGS)}; got {' '.join(names)}"
        )


def run() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ansor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=192)
    parser.add_argument("--per-round", type=int, default=16)
    parser.add_argument(
        "--contestants", nargs="+", default=list(NAMES), metavar="NAME",
        help=f"{STOCK} and policies, with ablations such as sketch.xgb.family_op:no_transfer (of {', '.join(FLAGS)})",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    _check(options.contestants)
    settings = {"trials": options.trials, "per_round": options.per_round, "contestants": options.contestants}
    document = {"machine": describe(), "settings": settings, "blocks": []}
    if options.out.exists():
        document = json.loads(options.out.read_text())
        if document["settings"] != settings or document["machine"]["cpu"] != describe()["cpu"]:
            raise InvalidInputError(
                f"{options.out} was made with other settings or on another machine. Give --out a new file."
            )
    for seed in range(len(document["blocks"]), options.seeds):
        document["blocks"].append(run_seed(seed, options))
        write_atomically(options.out, (json.dumps(document, separators=(",", ":")) + "\n").encode())
    text = report(document)
    write_atomically(options.out.with_suffix(".md"), text.encode())
    print(text)


if __name__ == "__main__":
    sys.exit(exit_status(run))
