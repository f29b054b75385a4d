# SPDX-License-Identifier: Apache-2.0
"""Find out whether measurements alone tell which tasks are relatives.

``python -m benchmarks.families --out benchmarks/results/families.json``

The table has random programs of operators whose families are known. Of each task some programs are drawn, and
`FamilyClustering` forms families as ``sketch.xgb.family_accuracy`` does, without being told their number. The adjusted Rand
index compares them with the operators (3×3 convolution, 1×1 convolution, depthwise convolution, dense, batch matrix product,
softmax, layer norm), and with the same where dense and batch matrix products are one family. The other rows are what was
tried instead: less evidence, other parameters, another normalisation.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from benchmarks.command import exit_status, require_file
from benchmarks.machine import describe
from benchmarks.table import RANDOM_PROGRAMS, MeasuredTask, load_table
from familyseer.families.clustering import FamilyClustering
from familyseer.families.cross_accuracy import CrossAccuracy
from familyseer.families.learner import quick_ranker
from familyseer.families.tracking import Evidence, FamilyTracker
from familyseer.ledger import whole_number
from familyseer.report import FamilyMap, FamilyRow, draw_families, family_map

Labels = Sequence[int] | NDArray[np.int64]

_POLICY = "sketch.xgb.family_accuracy"
_MERGED = {"bmm": "d"}  # batch matrix products and dense layers are one family by DESIGN's hand-made trial


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """A tracker that has seen some programs of each task, its evidence, and the seconds that this took."""

    tracker: FamilyTracker
    known: Evidence
    seconds: float


def draw_programs(tasks: Sequence[MeasuredTask], programs: int, seed: int) -> list[NDArray[np.int64]]:
    """Return the indices of so many random programs of each task."""
    rng = np.random.default_rng([seed, programs])
    return [rng.permutation(len(measured.seconds))[:programs] for measured in tasks]


def gather(tasks: Sequence[MeasuredTask], parts: Sequence[NDArray[np.int64]], seed: int) -> Gathered:
    """Show a tracker the chosen programs of each task."""
    described = [measured.task for measured in tasks]
    least = min(24, *(len(part) for part in parts))
    accuracy = CrossAccuracy(
        [task.key for task in described], partial(quick_ranker, seed=seed), least=max(2, least), seed=seed
    )
    tracker = FamilyTracker(described, _POLICY, accuracy, seed=seed)
    for measured, part in zip(tasks, parts, strict=True):
        tracker.learn(measured.task.key, measured.features[part], measured.seconds[part])
    started = time.perf_counter()
    known = tracker.evidence()
    spent = time.perf_counter() - started
    tracker.decide()
    return Gathered(tracker, known, spent)


def clustered(**parameters: Any) -> Callable[[Evidence], Labels]:
    """Return what forms families with other parameters than the default ones."""

    def form(known: Evidence) -> Labels:
        fitted = FamilyClustering(**parameters).fit(known.accuracy, alignment=known.alignment, programs=known.programs)
        return np.asarray(fitted.labels_)

    return form


def accuracy_only(known: Evidence) -> Labels:
    """Form families of interactions alone, at a threshold of their own."""
    fitted = FamilyClustering(distance_threshold=0.9).fit(
        known.accuracy, alignment=np.eye(len(known.keys)), programs=known.programs
    )
    return np.asarray(fitted.labels_)


def relative_accuracy(known: Evidence) -> Labels:
    """Form six families, told so, of A / sqrt(A_ii A_jj): the first idea."""
    own = np.sqrt(np.diag(known.accuracy))
    relative = known.accuracy / np.outer(own, own)
    distance = np.maximum(1 - (relative + relative.T) / 2, 0)
    np.fill_diagonal(distance, 0)
    found = AgglomerativeClustering(n_clusters=min(6, len(own)), metric="precomputed", linkage="average").fit(distance)
    return np.asarray(found.labels_)


def at_random(known: Evidence, rng: np.random.Generator) -> Labels:
    """Draw six families."""
    return rng.integers(0, 6, len(known.keys))


VARIANTS: Mapping[str, Callable[[Evidence], Labels]] = {
    "alignment and cross-accuracy (the default)": clustered(),
    "alignment alone": clustered(accuracy_weight=0.0),
    "cross-accuracy alone, interactions": accuracy_only,
    "cross-accuracy alone, relative to own, told that there are six": relative_accuracy,
    "half the weight of cross-accuracy": clustered(accuracy_weight=1.5),
    "twice the weight of cross-accuracy": clustered(accuracy_weight=6.0),
    "threshold 0.75": clustered(distance_threshold=0.75),
    "threshold 0.85": clustered(distance_threshold=0.85),
    "complete linkage": clustered(linkage="complete"),
    "single linkage": clustered(linkage="single"),
    "the lesser of both interactions": clustered(symmetrisation="min"),
    "the greater of both interactions": clustered(symmetrisation="max"),
}
RANDOM = "random families"


def study(tasks: Sequence[MeasuredTask], programs: int, seeds: int) -> dict[str, Any]:
    """Return the adjusted Rand indices of every variant, per seed, and the seconds that the evidence took."""
    operators = [measured.task.operator for measured in tasks]
    merged = [_MERGED.get(operator, operator) for operator in operators]
    indices: dict[str, dict[str, list[float]]] = {name: {"operators": [], "merged": []} for name in [*VARIANTS, RANDOM]}
    seconds = []
    for seed in range(seeds):
        gathered = gather(tasks, draw_programs(tasks, programs, seed), seed)
        seconds.append(gathered.seconds)
        drawn = partial(at_random, rng=np.random.default_rng([seed, programs]))  # anew for every choice of programs
        forms: Mapping[str, Callable[[Evidence], Labels]] = {**VARIANTS, RANDOM: drawn}
        for name, form in forms.items():
            labels = form(gathered.known)
            indices[name]["operators"].append(float(adjusted_rand_score(operators, labels)))
            indices[name]["merged"].append(float(adjusted_rand_score(merged, labels)))
    return {"programs": programs, "seconds": seconds, "indices": indices}


def show(studies: Sequence[Mapping[str, Any]]) -> str:
    """Return medians over the seeds, with the least and the most, as Markdown."""
    head = [
        f"{what}, {found['programs']} programs" for found in studies for what in ("operators", "dense = batch matmul")
    ]
    lines = [f"| families by | {' | '.join(head)} |", f"|{'---|' * (1 + len(head))}"]
    for name in [*VARIANTS, RANDOM]:
        cells = [_spread(found["indices"][name][what]) for found in studies for what in ("operators", "merged")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    spent = ", ".join(f"{median(found['seconds']):.1f} s of {found['programs']} programs a task" for found in studies)
    lines += ["", f"Adjusted Rand index: 1 for the same families, 0 for chance. Gathering the evidence took {spent}."]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def found_map(tasks: Sequence[MeasuredTask], gathered: Gathered) -> FamilyMap:
    """Return the families that were found with what they rest on."""
    by_key = {measured.task.key: measured.task for measured in tasks}
    count = dict(zip(gathered.known.keys, gathered.known.programs.tolist(), strict=True))
    rows = [
        FamilyRow(
            name=name,
            tasks=tuple(by_key[key] for key in members),
            trials=tuple(count[key] for key in members),
            serving="shared",
            confidence={},
        )
        for name, members in gathered.tracker.partition.families
    ]
    return family_map(rows, by_key, gathered.known, gathered.tracker.clustering)


def run(options: argparse.Namespace) -> None:
    """Study, show, write and draw."""
    for name in ("seeds", "programs"):
        values = getattr(options, name)
        for value in values if isinstance(values, list) else [values]:
            whole_number(f"--{name}", value, at_least=1 if name == "seeds" else 4)
    require_file("--out", options.out)
    tasks = load_table(options.table)
    studies = [study(tasks, programs, options.seeds) for programs in options.programs]
    print(show(studies))
    options.out.write_text(json.dumps({"machine": describe(), "studies": studies}, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(show(studies) + "\n")
    gathered = gather(tasks, draw_programs(tasks, max(options.programs), 0), 0)
    for suffix in (".svg", ".png"):
        draw_families(found_map(tasks, gathered), options.out.with_suffix(suffix))


def main() -> int:
    """Run the command line; 2 when it was refused."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.families", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=RANDOM_PROGRAMS, help="default: 18 operators on two x86 cores")
    parser.add_argument("--programs", type=int, nargs="+", default=[64, 24], help="of each task (default 64 and 24)")
    parser.add_argument("--seeds", type=int, default=5, help="random choices of programs (default 5)")
    parser.add_argument("--out", type=Path, required=True, help="figures as JSON; .md, .svg and .png beside it")
    options = parser.parse_args()
    return exit_status(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
