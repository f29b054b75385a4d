# SPDX-License-Identifier: Apache-2.0
"""The families of a tuning run as a table, and their cross-accuracy as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from familyseer.errors import InvalidInputError
from familyseer.metrics import Confidence
from familyseer.report.figures import pyplot, save_figure
from familyseer.report.text import render_table
from familyseer.task import Task, TaskKey

if TYPE_CHECKING:  # they load scikit-learn, which no table needs
    from familyseer.families.clustering import FamilyClustering
    from familyseer.families.tracking import Evidence

__all__ = ["FamilyMap", "FamilyRow", "draw_families", "family_map", "render_families"]

_FORMATS = (".svg", ".png", ".pdf")


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRow:
    """One family.

    Parameters
    ----------
    name
        The family's name.
    tasks
        Its members.
    trials
        Measured candidates of each member, in the same order.
    serving
        Which model answers for its tasks: ``"family"``, ``"shared"``, or ``"family and shared"`` where it depends on the task.
    confidence
        How the models did on batches of the family that they had not learnt.
    foreseen
        By key, the speed of the best candidate that was chosen before anything of its task had been measured, over the best
        of all, from 0 to 1; without the members for whom nothing was chosen so.
    """

    name: str
    tasks: tuple[Task, ...]
    trials: tuple[int, ...]
    serving: str
    confidence: Mapping[str, Confidence]
    foreseen: Mapping[TaskKey, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FamilyMap:
    """Families and the cross-accuracy that they rest on.

    Parameters
    ----------
    families
        All of them; tasks without enough measurements are in them too.
    tasks
        The n tasks with enough measurements, in the order of the matrix.
    accuracy
        (n, n) cross-accuracy: how well what row i taught ranks the programs of column j.
    children, merges
        (n − 1, 2) and (n − 1,), which clusters are merged at which distance, as scikit-learn has them.
    threshold
        Distance at which merging ends.
    reasons
        Why the families changed, in order.
    """

    families: tuple[FamilyRow, ...]
    tasks: tuple[Task, ...]
    accuracy: NDArray[np.float64]
    children: NDArray[np.int64]
    merges: NDArray[np.float64]
    threshold: float
    reasons: tuple[str, ...] = ()


def family_map(
    families: Sequence[FamilyRow],
    tasks: Mapping[TaskKey, Task],
    known: Evidence,
    clustering: FamilyClustering,
    reasons: Sequence[str] = (),
) -> FamilyMap:
    """Return families with what they rest on.

    Parameters
    ----------
    families, reasons
        As in `FamilyMap`.
    tasks
        All tasks by key.
    known
        What is known of those that have enough measurements.
    clustering
        Fitted to `known`, unless there is nothing in it.
    """
    return FamilyMap(
        families=tuple(families),
        tasks=tuple(tasks[key] for key in known.keys),
        accuracy=known.accuracy,
        children=clustering.children_ if known.keys else np.zeros((0, 2), dtype=np.int64),
        merges=clustering.merges_ if known.keys else np.zeros(0),
        threshold=clustering.distance_threshold,
        reasons=tuple(reasons),
    )


def render_families(found: FamilyMap) -> str:
    """Return the families, their members and who uses which model, as plain text.

    Per task: its candidates, how good they were that its relatives' models had chosen before it had any, how well its own
    model ranks them (of each half, what the other half taught), and how well the models of its relatives do on average.
    """
    header = (
        "family",
        "task",
        "trials",
        "foreseen",
        "own accuracy",
        "relatives' accuracy",
        "served by",
        "shared",
        "family",
    )
    cells = [row for family in found.families for row in _family_cells(family, found)]
    count = sum(len(family.tasks) for family in found.families)
    lines = [render_table(header, cells)]
    lines.append(f"{count} tasks in {len(found.families)} families; {len(found.tasks)} tasks have enough measurements")
    lines.append("foreseen: speed of the best candidate of the first round over the best of all, where models chose it")
    lines.append("shared, family: rank correlation of each model with batches that it had not learnt, and their number")
    return "\n".join([*lines, *found.reasons])


def _family_cells(family: FamilyRow, found: FamilyMap) -> list[tuple[str, ...]]:
    position = {task.key: index for index, task in enumerate(found.tasks)}
    known = [position[task.key] for task in family.tasks if task.key in position]
    cells: list[tuple[str, ...]] = []
    for number, (task, trials) in enumerate(zip(family.tasks, family.trials, strict=True)):
        own = relatives = "-"
        if task.key in position:
            column = position[task.key]
            own = f"{found.accuracy[column, column]:.2f}"
            others = [found.accuracy[index, column] for index in known if index != column]
            relatives = f"{np.mean(others):.2f}" if others else "-"
        seen = f"{100 * family.foreseen[task.key]:.0f}%" if task.key in family.foreseen else "-"
        of_task = (task.name or task.key, str(trials), seen, own, relatives)
        if number == 0:
            scores = (_correlation(family, name) for name in ("shared", "family"))
            cells.append((family.name, *of_task, family.serving, *scores))
        else:
            cells.append(("", *of_task, "", "", ""))
    return cells


def _correlation(family: FamilyRow, name: str) -> str:
    confidence = family.confidence.get(name, Confidence())
    return f"{confidence.rank_correlation:.2f} ({confidence.batches})" if confidence.batches else "-"


def draw_families(found: FamilyMap, path: Path) -> None:
    """Draw the cross-accuracy as a heat map in the order of its dendrogram, families framed.

    Parameters
    ----------
    found
        With at least two tasks that have enough measurements.
    path
        FILE.svg, FILE.png or FILE.pdf.

    Raises
    ------
    InvalidInputError
        There is nothing to draw, or the format is another.
    EnvironmentFailure
        matplotlib is missing, or the file cannot be written.
    """
    if path.suffix not in _FORMATS:
        raise InvalidInputError(f"the figure must be a file {', '.join('*' + s for s in _FORMATS)}; got {str(path)!r}")
    if len(found.tasks) < 2:
        raise InvalidInputError(
            f"a figure needs at least 2 tasks with enough measurements; got {len(found.tasks)}. Tune for longer."
        )
    size = 3 + 0.3 * len(found.tasks)
    figure, (tree, heat) = pyplot().subplots(
        2, 1, figsize=(size + 1, size + 1.5), height_ratios=(1, 5), layout="constrained", sharex=False
    )
    order = _draw_dendrogram(found, tree)
    _draw_heat(found, order, figure, heat)
    save_figure(figure, [path])


def _draw_dendrogram(found: FamilyMap, axes: Any) -> list[int]:
    """Draw what is merged when, and return the tasks from left to right."""
    from scipy.cluster.hierarchy import dendrogram

    drawn = dendrogram(_linkage(found), ax=axes, no_labels=True, color_threshold=found.threshold)
    axes.axhline(found.threshold, color="grey", linestyle="--", linewidth=1)
    axes.set_ylabel("distance")
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    return [int(index) for index in drawn["leaves"]]


def _linkage(found: FamilyMap) -> NDArray[np.float64]:
    """Return scipy's form of a hierarchy: the merged, their distance, and how many tasks they are together."""
    n = len(found.tasks)
    sizes = [1] * n
    for left, right in found.children:
        sizes.append(sizes[left] + sizes[right])
    # A biased distance (hysteresis) can make a later merge look earlier; scipy draws growing ones only.
    return np.column_stack([found.children, np.maximum.accumulate(found.merges), sizes[n:]]).astype(np.float64)


def _draw_heat(found: FamilyMap, order: Sequence[int], figure: Any, axes: Any) -> None:
    from matplotlib.patches import Rectangle

    names = [found.tasks[index].name or found.tasks[index].key for index in order]
    image = axes.imshow(found.accuracy[np.ix_(order, order)], vmin=0.4, vmax=1.0, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xlabel("task judged")
    axes.set_ylabel("task learnt from")
    family_of = {task.key: family.name for family in found.families for task in family.tasks}
    labels = [family_of[found.tasks[index].key] for index in order]
    starts = [0, *(i for i, (before, here) in enumerate(pairwise(labels), start=1) if before != here), len(labels)]
    for start, end in pairwise(starts):
        frame = Rectangle(
            (start - 0.5, start - 0.5), end - start, end - start, fill=False, edgecolor="red", linewidth=1.6
        )
        axes.add_patch(frame)
    figure.colorbar(image, ax=axes, label="pairwise accuracy", shrink=0.8)
