# SPDX-License-Identifier: Apache-2.0
"""Study how well one task's measurements predict another's, and what families make of it.

``python -m benchmarks.accuracy --network resnet18 --out benchmarks/results/accuracy-resnet18.json``
``python -m benchmarks.accuracy --table benchmarks/data/random-programs-x86.npz --out …``

With ``--network`` random programs of the network's tasks are measured once and stored in ``--table``; a second call goes
on where the first was interrupted, and measures nothing when all is there. The rest is offline.

Half of every task's programs are for training, the others for judging. Families are those of the operator, of the
structure (``hash``), of cross-accuracy, and random ones of the operator families' sizes. Three models:

- *shared*: one, on the data of all tasks;
- *family*: one per family, on its data;
- *shared + family*: the mean of shared boosters and of some that learnt the family alone, as a `ModelBank` has it.

Two questions. ``measured``: the task judged is among those that were learnt from. ``new``: it is left out of all training,
which is the case that foreseeing must master; the families of cross-accuracy then still are those found with its data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from benchmarks.command import exit_status, require_file
from benchmarks.families import Gathered, found_map, gather
from benchmarks.machine import describe, machine_of
from benchmarks.ranking import ranking_metrics
from benchmarks.table import RANDOM_PROGRAMS, MeasuredTask, load_origin, load_table, save_table
from familyseer.cost_model import CostModel, XGBCostModel
from familyseer.cost_model.bank import FAMILY_MEMBERS, FAMILY_ROUNDS
from familyseer.errors import InvalidInputError
from familyseer.ledger import whole_number
from familyseer.report import draw_families

FAMILIES = ("operator", "hash", "cross_accuracy", "random")
_SAMPLE_SEED = 7

Matrix = NDArray[np.float64]
Labels = list[str]


def collect(network: str, target: str, programs: int, path: Path, *, size: str = "small") -> None:
    """Measure random programs of every task of a network that `path` does not have yet.

    Raises
    ------
    InvalidInputError
        `path` lacks tasks, and what it has is of another machine or network, or does not say.
    """
    from benchmarks.search.job import Job, prepare
    from familyseer import auto_scheduler
    from familyseer.meta_schedule.search_policy import measure_request
    from familyseer.meta_schedule.space import Evolution, ScheduleSpace, extract_features

    work = prepare(Job(network=network, size=size, target=target, trials=1))
    found = load_table(path) if path.exists() else []
    have = {measured.task.name for measured in found}
    origin = {"machine": machine_of(describe()), "network": network, "size": size, "target": target}
    if found and not {task.desc for task in work.tasks} <= have:
        _require_same(path, load_origin(path), origin)
    runner = auto_scheduler.LocalRunner(number=3, repeat=1, min_repeat_ms=30)
    with auto_scheduler.ProgramMeasurer(auto_scheduler.LocalBuilder(), runner, verbose=0) as measurer:
        for task, weight in zip(work.tasks, work.weights, strict=True):
            if task.desc in have:
                continue
            space = ScheduleSpace(
                task.mod, task.target, seed=_SAMPLE_SEED, evolution=Evolution(population=programs, generations=1)
            )
            schedules = space.sample(programs)
            results = measurer.measure([measure_request(task.workload_key, task, s) for s in schedules])
            found.append(
                MeasuredTask(
                    task=replace(task.task, key=task.desc, name=task.desc, weight=weight),
                    features=extract_features(task.mod, task.target, schedules, 1),
                    seconds=np.array([result.cost for result in results]),
                    rounds=np.zeros(len(results), dtype=np.int64),
                )
            )
            save_table(path, found, origin)
            print(f"{len(found)}/{len(work.tasks)} {task.desc}: {len(schedules)} programs", flush=True)


def _require_same(path: Path, theirs: Mapping[str, Any] | None, ours: Mapping[str, Any]) -> None:
    """Refuse to go on with a table of another origin."""
    differing = [name for name in ours if (theirs or {}).get(name) != ours[name]]
    if differing:
        name = differing[0]
        there = "unknown" if theirs is None else repr(theirs.get(name))
        raise InvalidInputError(
            f"{path} lacks tasks and must be of this machine and network to be gone on with; {name} is {there} there and "
            f"{ours[name]!r} here. Give --table a new file."
        )


def split(tasks: Sequence[MeasuredTask], seed: int) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Return indices to train on and to judge by, halves of every task."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(measured.features)) for measured in tasks]
    return [order[: len(order) // 2] for order in orders], [order[len(order) // 2 :] for order in orders]


def trained(
    tasks: Sequence[MeasuredTask], parts: Sequence[NDArray[np.int64]], members: Sequence[int], seed: int
) -> XGBCostModel:
    """Return a model of the chosen parts of some tasks."""
    model = XGBCostModel(seed=seed, adaptive_training=False)
    model.update_many([_batch(tasks[i], parts[i]) for i in members])
    return model


def _batch(measured: MeasuredTask, part: NDArray[np.int64]) -> tuple[str, Any, Matrix]:
    return measured.task.key, measured.features[part], measured.seconds[part]


def judge(model: CostModel, measured: MeasuredTask, part: NDArray[np.int64]) -> dict[str, float]:
    """Return the metrics of a model on programs of one task."""
    return ranking_metrics(measured.seconds[part], model.predict(measured.task.key, measured.features[part]))


def families(tasks: Sequence[MeasuredTask], gathered: Gathered, seed: int) -> dict[str, Labels]:
    """Return the label of each task under each of `FAMILIES`."""
    operators = [measured.task.operator for measured in tasks]
    found = gathered.tracker.partition
    return {
        "operator": operators,
        "hash": [measured.task.structure for measured in tasks],
        "cross_accuracy": [found.family_of(measured.task.key) for measured in tasks],
        "random": [str(label) for label in np.random.default_rng(seed).permutation(operators)],
    }


def study(tasks: Sequence[MeasuredTask], seed: int) -> dict[str, Any]:
    """Return cross-accuracy, families, and the mean metrics of every model and family for both questions."""
    train, test = split(tasks, seed)
    gathered = gather(tasks, train, seed)
    labels = families(tasks, gathered, seed)
    metrics: dict[str, dict[str, dict[str, float]]] = {"measured": {}, "new": {}}
    for question, models in metrics.items():
        shared = _shared(tasks, train, seed, leave_out=question == "new")
        models["shared"] = _means([judge(shared[i], tasks[i], test[i]) for i in range(len(tasks))])
        made: dict[tuple[int, ...], tuple[CostModel, CostModel]] = {}
        for kind, label in labels.items():
            own, both = [], []
            for i, base in enumerate(shared):
                relatives = [k for k in range(len(tasks)) if label[k] == label[i] and (question != "new" or k != i)]
                same = (id(base), *relatives)  # their models are alike, whatever the family is called
                if same not in made:
                    made[same] = _models(tasks, train, relatives, base, seed)
                own.append(judge(made[same][0], tasks[i], test[i]))
                both.append(judge(made[same][1], tasks[i], test[i]))
            models |= {f"family, {kind}": _means(own), f"shared + family, {kind}": _means(both)}
    operators = labels["operator"]
    return {
        "metrics": metrics,
        "cross_accuracy": gathered.known.accuracy.round(4).tolist(),
        "families": labels,
        "adjusted_rand_index": {kind: float(adjusted_rand_score(operators, label)) for kind, label in labels.items()},
    }


def _models(
    tasks: Sequence[MeasuredTask],
    train: Sequence[NDArray[np.int64]],
    relatives: Sequence[int],
    shared: XGBCostModel,
    seed: int,
) -> tuple[CostModel, CostModel]:
    """Return a family's own model and the one joined with the shared one; that itself where there are no relatives."""
    if not relatives:
        return shared, shared
    programs = {tasks[k].task.key: len(train[k]) for k in relatives}
    joined = shared.joined(programs, members=FAMILY_MEMBERS, rounds=FAMILY_ROUNDS)
    return trained(tasks, train, relatives, seed), joined


def _shared(
    tasks: Sequence[MeasuredTask], train: Sequence[NDArray[np.int64]], seed: int, *, leave_out: bool
) -> list[XGBCostModel]:
    """Return the shared model that judges each task: of all tasks, or of all others."""
    everyone = range(len(tasks))
    if not leave_out:
        return [trained(tasks, train, everyone, seed)] * len(tasks)
    return [trained(tasks, train, [k for k in everyone if k != i], seed) for i in everyone]


def _means(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: mean(value[name] for value in values) for name in values[0]}


def show(result: Mapping[str, Any]) -> str:
    """Return the figures as Markdown: means over the tasks, ± the deviation over the seeds."""
    seeds = result["seeds"]
    parts, kinds = [_measured_where(result)], list(FAMILIES)
    if all(_alike(seed["families"]["hash"], seed["families"]["operator"]) for seed in seeds):
        kinds.remove("hash")
        parts.append(
            "Families by structure (hash) are those by operator in this table: they have no rows of their own."
        )
    shown = {"shared", *(f"{model}, {kind}" for model in ("family", "shared + family") for kind in kinds)}
    for question, models in seeds[0]["metrics"].items():
        names = list(next(iter(models.values())))
        rows = [f"| {question} | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
        for model in models:
            if model not in shown:
                continue
            cells = []
            for name in names:
                values = [seed["metrics"][question][model][name] for seed in seeds]
                cells.append(f"{mean(values):.3f} ± {pstdev(values):.3f}")
            rows.append(f"| {model} | {' | '.join(cells)} |")
        parts.append("\n".join(rows))
    agreement = {kind: [seed["adjusted_rand_index"][kind] for seed in seeds] for kind in kinds}
    parts.append(
        "Adjusted Rand index with the operator families: "
        + ", ".join(f"{kind} {mean(values):.2f}" for kind, values in agreement.items())
    )
    return "\n\n".join(parts)


def _measured_where(result: Mapping[str, Any]) -> str:
    origin = result["table"]
    if origin is None:
        return "The table does not say where it was measured, nor of which network."
    machine = origin["machine"]
    return (
        f"Programs of {origin['network']} (size {origin['size']}, target `{origin['target']}`), measured on "
        f"{machine['cores']} cores (`{machine['cpu']}`) with apache-tvm {machine['versions']['apache-tvm']}."
    )


def _alike(labels: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether labels group tasks in the same way, whatever the groups are called."""
    return [labels.index(label) for label in labels] == [others.index(label) for label in others]


def run(options: argparse.Namespace) -> None:
    """Collect where needed, study, write."""
    for name in ("programs", "seeds"):
        whole_number(f"--{name}", getattr(options, name), at_least=1)
    require_file("--out", options.out)
    path = options.table
    if options.network:
        path = path or Path("benchmarks/data") / f"accuracy-{options.network}.npz"
        require_file("--table", path)
        collect(options.network, options.target, options.programs, path)
    path = path or RANDOM_PROGRAMS
    tasks = load_table(path)
    if len(tasks) < 2:
        raise InvalidInputError(f"a table must have at least 2 tasks to compare; got {len(tasks)}")
    result = {
        "machine": describe(),
        "table": load_origin(path),
        "tasks": [measured.task.name for measured in tasks],
        "seeds": [study(tasks, seed) for seed in range(options.seeds)],
    }
    options.out.write_text(json.dumps(result) + "\n")
    options.out.with_suffix(".md").write_text(show(result) + "\n")
    gathered = gather(tasks, split(tasks, 0)[0], 0)
    for suffix in (".svg", ".png"):
        draw_families(found_map(tasks, gathered), options.out.with_suffix(suffix))
    print(show(result))


def main() -> int:
    """Run the command line; 2 when it was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", help="measure this network's tasks first, as far as the table lacks them")
    parser.add_argument("--target", default="llvm", help='"llvm" (this machine), "cuda" or a tag')
    parser.add_argument("--programs", type=int, default=128, help="random programs of each task (default 128)")
    parser.add_argument("--table", type=Path, help="where measurements are (default: 18 operators on two x86 cores)")
    parser.add_argument("--seeds", type=int, default=3, help="random splits (default 3)")
    parser.add_argument("--out", type=Path, required=True, help="figures as JSON; .md, .svg and .png beside it")
    options = parser.parse_args()
    return exit_status(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
