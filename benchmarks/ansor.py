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

from benchmarks import raw
from benchmarks.command import exit_status, require_file
from benchmarks.host_c import TARGET, hardware
from benchmarks.machine import command, commit, today, with_contributor
from familyseer import auto_scheduler
from familyseer.ansor.task_scheduler import TaskScheduler
from familyseer.errors import InvalidInputError
from familyseer.families.keys import POLICY_NAMES
from familyseer.files import write_atomically
from familyseer.ledger import whole_number

STOCK = "tvm"
NAMES = (STOCK, "sketch.xgb.family_op", "sketch.xgb.family_op:no_transfer")
FLAGS = {
    "no_transfer": "no tile sizes of relatives, and no search among tile sizes",
    "own_best": "a task's own best counts as good as it gets, whatever relatives show",
    "no_copies": "no place in a round for copies of what faster relatives did",
    "no_vectors": "no place in a round for inner tiles that are new to the task",
    "large_population": "TVM's four generations of 2048 candidates instead of one of 128",
    "ansor_gradient": "TVM's scheduler: no priors, rounds of equal size, gain per round",
}
_PASSES = 3
_GOALS = (1.10, 1.05, 1.02, 1.00)
_PARTS = {"machine": dict, "commands": list, "settings": dict, "blocks": list}
_COMPARED = ("cpu", "python", "tvm")


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
    scheduler = TaskScheduler(
        make_tasks(),
        strategy="ansor" if "ansor_gradient" in flags else "gradient",
        callbacks=[],
        seed=seed,
        transfer="no_transfer" not in flags,
    )
    large = {"evolutionary_search_population": 2048, "evolutionary_search_num_iters": 4}
    params = large if "large_population" in flags else {}
    params |= {"copy_share": 0} if "no_copies" in flags else {}
    params |= {"vector_share": 0} if "no_vectors" in flags else {}
    params |= {"relative_weight": 0} if "own_best" in flags else {}
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


def time_together(tasks: Sequence[Any], lines: Sequence[tuple[int, str]]) -> list[float | None]:
    """Time schedules of all contestants together, in shuffled order.

    Returns
    -------
    list
        Their median latencies in seconds, None for one that failed every time.
    """
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
    return [median(costs) if costs else None for costs in timings]


def run_seed(seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Let all contestants tune, then time what they found."""
    tasks, runs = make_tasks(), {}
    tuned = {"date": today(), "commit": commit()}
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
    return {"seed": seed, "tuned": tuned, "runs": runs}


def curve(run: dict[str, Any], trials: int, tasks: int) -> list[float]:
    """Return the sum of the tasks' latencies after each trial; infinite while one has none.

    A schedule that failed when all were timed together is passed over: the one before it counts on.
    """
    best = [float("inf")] * tasks
    sums = []
    found = iter([*run["incumbents"], {"trial": trials + 1}])
    following = next(found)
    for trial in range(1, trials + 1):
        while following["trial"] == trial:
            if following["seconds"] is not None:
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
            if stock[-1] == float("inf"):
                raise InvalidInputError(
                    f"{STOCK} must have a schedule of every task that could be timed, to be compared with; seed "
                    f"{block['seed']} has none of one. Give more --trials and a new --out."
                )
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
    found = [entry for block in document["blocks"] for run in block["runs"].values() for entry in run["incumbents"]]
    failed = sum(entry["seconds"] is None for entry in found)
    if failed:
        rows += [
            "",
            f"{failed} of {len(found)} schedules failed when all were timed together; their contestants' previous ones count.",
        ]
    return "\n".join(rows) + "\n"


def _first(sums: Sequence[float], goal: float) -> float:
    return next((i for i, value in enumerate(sums, start=1) if value <= goal), float("inf"))


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "-"


def describe() -> dict[str, Any]:
    """Return what the figures depend on; nothing that names the machine."""
    flags = subprocess.run(["gcc", "-march=native", "-Q", "--help=target"], capture_output=True, text=True, check=True)
    cpu = next(line.split()[-1] for line in flags.stdout.splitlines() if line.strip().startswith("-march="))
    return {
        "cpu": cpu,
        "python": sys.version.split()[0],
        "tvm": tvm.__version__,
        "commit": commit(),
        "command": command(),
    }


def _check(options: argparse.Namespace) -> None:
    names = options.contestants
    if STOCK not in names or len(set(names)) != len(names) or not all(map(_is_contestant, names)):
        raise InvalidInputError(
            f"`--contestants` must have {STOCK}, and policies among {', '.join(POLICY_NAMES)}, optionally with ablations "
            f"among {', '.join(FLAGS)}, each once; got {' '.join(names)}"
        )
    whole_number("--seeds", options.seeds, at_least=1)
    whole_number("--per-round", options.per_round, at_least=1)
    whole_number("--trials", options.trials, at_least=len(WORKLOADS) * options.per_round)
    require_file("--out", options.out)


def _is_contestant(name: str) -> bool:
    policy, ablated, flags = name.partition(":")
    return name == STOCK or (policy in POLICY_NAMES and (not ablated or set(flags.split("+")) <= FLAGS.keys()))


def resume(path: Path, machine: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the results in `path` to go on from, or an empty document; refuse those of other machines or settings.

    The present command and commit are added to those that the document names.
    """
    if not path.exists():
        return {"machine": machine, "commands": [machine["command"]], "settings": settings, "blocks": []}
    document = raw.load(path, "benchmarks.ansor", _PARTS)
    if not all(isinstance(block, dict) and {"seed", "runs"} <= block.keys() for block in document["blocks"]):
        raise InvalidInputError(f"{path} must be results of `python -m benchmarks.ansor`; a block of it is damaged")
    theirs, ours = ({name: of.get(name) for name in _COMPARED} for of in (document["machine"], machine))
    raw.require_equal(path, "machine", theirs, ours)
    raw.require_equal(path, "setting", document["settings"], settings)
    return with_contributor(document, machine)


def run() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ansor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, … (default 3)")
    parser.add_argument("--trials", type=int, default=192, help="of each contestant, one round per task at least")
    parser.add_argument("--per-round", type=int, default=16, help="trials of a round (default 16)")
    parser.add_argument(
        "--contestants", nargs="+", default=list(NAMES), metavar="NAME",
        help=f"{STOCK} and policies, with ablations such as sketch.xgb.family_op:no_transfer (of {', '.join(FLAGS)})",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="raw results, JSON; the table beside it as .md")
    options = parser.parse_args()
    _check(options)
    settings = {"trials": options.trials, "per_round": options.per_round, "contestants": options.contestants}
    document = resume(options.out, describe(), settings)
    for seed in range(len(document["blocks"]), options.seeds):
        document["blocks"].append(run_seed(seed, options))
        raw.write(options.out, document)
    text = report(document)
    write_atomically(options.out.with_suffix(".md"), text.encode())
    print(text)


if __name__ == "__main__":
    sys.exit(exit_status(run))
