# SPDX-License-Identifier: Apache-2.0
"""Find out how well a bank of models predicts the programs that searches meet, and whether its families help.

``python -m benchmarks.bank --logs RUN.log … --out benchmarks/results/bank.json``
``python -m benchmarks.bank --tables benchmarks/data/programs-*.npz --out benchmarks/results/bank.json``

A log is that of a tuning run; its programs are kept as a table in ``benchmarks/data/programs-NAME.npz``, which is enough to
make the study again. Runs are written as they are studied; the same command, or one that names more of them after those, goes
on after the last. Two questions, per run:

- *next round*: every round of the run, in its order, is predicted by models that have learnt the rounds before it. First
  rounds of tasks are left out.
- *new task*: all rounds of a task are predicted by models that have learnt those of all other tasks.

Models: TVM's objective and ours, shared by all tasks; and banks (`familyseer.cost_model.ModelBank`) with families of
``sketch.xgb.family_op`` (cross-accuracy, operators for tasks without measurements), of operators only, and random ones of the
same sizes. Of a bank, *served* is what it answers with; *family* is its family's model, whether that serves or not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import raw
from benchmarks.command import exit_status, require_file
from benchmarks.machine import describe, with_contributor
from benchmarks.ranking import ranking_metrics
from benchmarks.table import MeasuredTask, load_table, save_table
from familyseer.cost_model import ModelBank, PackSumXGBModel, XGBCostModel
from familyseer.errors import InvalidInputError
from familyseer.families.keys import partition_tasks
from familyseer.families.learner import FamilyModel, family_model
from familyseer.features import FeatureSet
from familyseer.metrics import pairwise_accuracy
from familyseer.task import Task, TaskKey

_POLICY = "sketch.xgb.family_op"
_DATA = Path("benchmarks/data")
_TOLERANCE = 0.02

Batch = tuple[TaskKey, FeatureSet, NDArray[np.float64]]
Scores = dict[str, NDArray[np.float64]]


def read_log(path: Path) -> list[MeasuredTask]:
    """Return the programs of a tuning run; needs TVM, which rebuilds them."""
    from familyseer.meta_schedule.measure_record import load_tasks
    from familyseer.meta_schedule.resume import recorded_rounds
    from familyseer.meta_schedule.search_policy import SketchPolicy
    from familyseer.records import RecordLog

    contents = RecordLog(path).read()
    if not contents.workloads:
        raise InvalidInputError(f"{path} must be the log of a tuning run; it has no tasks")
    found = load_tasks(contents, contents.workloads[0].task.target)
    described = [info for _, info in found]
    policies = [SketchPolicy(task, described=info, verbose=0) for task, info in found]
    parts: dict[int, list[tuple[int, Batch]]] = {index: [] for index in range(len(found))}
    for number, (index, records) in enumerate(recorded_rounds(contents, described, path)):
        parts[index] += [(number, batch) for batch in policies[index].recall(records)]
    return [_measured(described[index], batches) for index, batches in parts.items() if batches]


def _measured(task: Task, batches: Sequence[tuple[int, Batch]]) -> MeasuredTask:
    return MeasuredTask(
        task=task,
        features=FeatureSet.concat([features for _, (_, features, _) in batches]),
        seconds=np.concatenate([costs for _, (_, _, costs) in batches]),
        rounds=np.concatenate([np.full(len(costs), number) for number, (_, _, costs) in batches]),
    )


def rounds_of(tasks: Sequence[MeasuredTask]) -> Iterator[tuple[int, Batch]]:
    """Yield the task and the batch of each round, in the order in which they were measured."""
    last = max(int(measured.rounds.max()) for measured in tasks)
    for number in range(last + 1):
        for index, measured in enumerate(tasks):
            chosen = measured.rounds == number
            if chosen.any():
                yield index, (measured.task.key, measured.features[chosen], measured.seconds[chosen])


def everything(measured: MeasuredTask) -> Batch:
    """Return all programs of a task as one batch."""
    return measured.task.key, measured.features, measured.seconds


def shuffled(labels: Mapping[TaskKey, str], seed: int) -> dict[TaskKey, str]:
    """Return random families of the same sizes."""
    drawn = np.random.default_rng(seed).permutation(list(labels.values()))
    return dict(zip(labels, map(str, drawn), strict=True))


def make_banks(tasks: Sequence[Task], seed: int) -> dict[str, ModelBank]:
    """Return untrained banks by the name of their families."""
    model = partial(XGBCostModel, seed=seed)
    operators = partition_tasks("op", tasks).labels()
    return {
        "cross-accuracy": family_model(tasks, _POLICY, model, seed=seed),
        "operators": ModelBank(operators, model),
        "random": ModelBank(shuffled(operators, seed), model),
    }


def said(bank: ModelBank, name: str, key: TaskKey, features: FeatureSet) -> Scores:
    """Return what a bank and its parts predict."""
    found = bank.predictions(key, features)
    if not found:
        return {}
    family = found.get("family", found["shared"])
    served = found[bank.serving(key)]
    return {"shared": found["shared"], f"served, {name}": served, f"family, {name}": family}


def next_rounds(tasks: Sequence[MeasuredTask], seed: int) -> list[dict[str, dict[str, float]]]:
    """Return the metrics of every model on every round but the first ones of tasks."""
    banks = make_banks([measured.task for measured in tasks], seed)
    stock = PackSumXGBModel(seed=seed, adaptive_training=False)
    seen: set[int] = set()
    found = []
    for index, (key, features, costs) in rounds_of(tasks):
        if index in seen and _judges(costs):
            scores: Scores = {"TVM's": stock.predict(key, features)}
            for name, bank in banks.items():
                scores |= said(bank, name, key, features)
            found.append({model: ranking_metrics(costs, values) for model, values in scores.items()})
        seen.add(index)
        for model in (stock, *banks.values()):
            model.update(key, features, costs)
    return found


def new_tasks(tasks: Sequence[MeasuredTask], seed: int) -> list[dict[str, dict[str, float]]]:
    """Return the metrics of every model on every task that has relatives and that it has not seen."""
    operators = [measured.task.operator for measured in tasks]
    found = []
    for index, measured in enumerate(tasks):
        if operators.count(operators[index]) < 2 or not _judges(measured.seconds):
            continue
        banks = make_banks([each.task for each in tasks], seed)
        stock = PackSumXGBModel(seed=seed, adaptive_training=False)
        others = [everything(other) for other in tasks if other is not measured]
        key, features, costs = everything(measured)
        stock.update_many(others)
        scores: Scores = {"TVM's": stock.predict(key, features)}
        for name, bank in banks.items():
            bank.update_many(others)
            if isinstance(bank, FamilyModel):
                bank.decide()
            scores |= said(bank, name, key, features)
        found.append({model: ranking_metrics(costs, values) for model, values in scores.items()})
    return found


def _judges(costs: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(pairwise_accuracy(costs, np.zeros(len(costs)), tolerance=_TOLERANCE)))


QUESTIONS: Mapping[str, Callable[[Sequence[MeasuredTask], int], list[dict[str, dict[str, float]]]]] = {
    "next round": next_rounds,
    "new task": new_tasks,
}


def study(path: Path, seed: int) -> dict[str, Any]:
    """Return the metrics of one run, a list per question with an entry per round or task."""
    tasks = load_table(path)
    return {"table": path.stem} | {question: ask(tasks, seed) for question, ask in QUESTIONS.items()}


def show(result: Mapping[str, Any]) -> str:
    """Return means over all rounds and tasks, and the paired difference to the shared model ± its standard error."""
    parts = []
    for question in QUESTIONS:
        entries = [entry for found in result["runs"] for entry in found[question]]
        if not entries:
            continue
        metrics = list(entries[0]["shared"])
        head = " | ".join(f"{metric} | over shared" for metric in metrics)
        rows = [f"| {question} ({len(entries)}) | {head} |", f"|{'---|' * (1 + 2 * len(metrics))}"]
        for model in dict.fromkeys(name for entry in entries for name in entry):
            cells = []
            for metric in metrics:
                cells.append(f"{mean(entry[model][metric] for entry in entries):.3f}")
                cells.append(_difference([entry[model][metric] - entry["shared"][metric] for entry in entries]))
            rows.append(f"| {model} | {' | '.join(cells)} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _difference(values: Sequence[float]) -> str:
    if not any(values):
        return "0"
    error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{mean(values):+.3f} ± {error:.3f}"


def resume(path: Path, tables: Sequence[Path]) -> dict[str, Any]:
    """Return the results in `path` to go on from; they must be of the first of `tables`."""
    present = describe()
    if not path.exists():
        return {"machine": present, "commands": [present["command"]], "runs": []}
    document = raw.load(path, "benchmarks.bank", {"machine": dict, "commands": list, "runs": list})
    done, asked = [run["table"] for run in document["runs"]], [table.stem for table in tables]
    if done != asked[: len(done)]:
        raise InvalidInputError(
            f"{path} must have results of the first of these runs, to be gone on with; it has {', '.join(done)}. Give --out a "
            "new file."
        )
    return with_contributor(document, present)


def run(options: argparse.Namespace) -> None:
    """Convert logs, study what is not studied yet, write after each run."""
    require_file("--out", options.out)
    tables = [Path(path) for path in options.tables]
    for log in options.logs:
        table = _DATA / f"programs-{log.stem}.npz"
        if not table.exists():
            save_table(table, read_log(log))
            print(f"wrote {table}", flush=True)
        tables.append(table)
    if not tables:
        raise InvalidInputError("`--logs` or `--tables` must name at least one run; got none")
    result = resume(options.out, tables)
    for number, table in enumerate(tables[len(result["runs"]) :], start=len(result["runs"])):
        result["runs"].append(study(table, number))
        raw.write(options.out, result)
        print(f"{number + 1} of {len(tables)} runs: {table.stem}", flush=True)
    options.out.with_suffix(".md").write_text(show(result) + "\n")
    print(show(result))


def main() -> int:
    """Run the command line; 2 when it was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bank", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--logs", type=Path, nargs="+", default=[], help="logs of tuning runs")
    parser.add_argument("--tables", type=Path, nargs="+", default=[], help="tables made of such logs")
    parser.add_argument("--out", type=Path, required=True, help="figures as JSON; .md beside it")
    options = parser.parse_args()
    return exit_status(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
