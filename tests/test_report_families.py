# SPDX-License-Identifier: Apache-2.0
"""The families of a log as a table and as a figure."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from familyseer.errors import EnvironmentFailure, InvalidInputError
from familyseer.metrics import Confidence
from familyseer.report import FamilyMap, FamilyRow, draw_families, render_families
from familyseer.task import Task

CONV_A, CONV_B, DENSE = (Task(key=key, name=f"task_{key}") for key in "abc")


def family_map(**changes) -> FamilyMap:
    """Return two families of three tasks, one of which was measured too little."""
    families = (
        FamilyRow(
            name="conv2d",
            tasks=(CONV_A, CONV_B),
            trials=(64, 32),
            foreseen={"b": 0.875},
            serving="family",
            confidence={
                "shared": Confidence(batches=4, rank_correlation=0.5, top_quality=0.9),
                "family": Confidence(batches=3, rank_correlation=0.625, top_quality=0.95),
            },
        ),
        FamilyRow(name="dense", tasks=(DENSE,), trials=(8,), serving="shared", confidence={}, foreseen={"c": 1.0}),
    )
    settings = {
        "families": families,
        "tasks": (CONV_A, CONV_B),
        "accuracy": np.array([[0.9, 0.8], [0.7, 0.85]]),
        "children": np.array([[0, 1]]),
        "merges": np.array([0.2]),
        "threshold": 0.5,
        "reasons": ("by cross-accuracy task_a is now with task_b",),
    }
    return FamilyMap(**(settings | changes))


def test_table_shows_members_scores_and_who_uses_which_model():
    """One line per task; what concerns the family stands in its first."""
    assert render_families(family_map()).splitlines() == [
        "family  task    trials  foreseen  own accuracy  relatives' accuracy  served by    shared  family",
        "--------------------------------------------------------------------------------------------------",
        "conv2d  task_a      64         -          0.90                 0.70  family     0.50 (4)  0.62 (3)",
        "        task_b      32       88%          0.85                 0.80",
        "dense   task_c       8      100%             -                    -  shared            -  -",
        "3 tasks in 2 families; 2 tasks have enough measurements",
        "foreseen: speed of the best candidate of the first round over the best of all, where models chose it",
        "shared, family: rank correlation of each model with batches that it had not learnt, and their number",
        "by cross-accuracy task_a is now with task_b",
    ]


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_figure_is_drawn(suffix, tmp_path):
    """In the format of its name; twice the same for the same data."""
    pytest.importorskip("matplotlib")
    for name in ("one", "two"):
        draw_families(family_map(), tmp_path / f"{name}{suffix}")

    content = (tmp_path / f"one{suffix}").read_bytes()
    assert len(content) > 5000
    assert suffix == ".pdf" or content == (tmp_path / f"two{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("changes", "name", "message"),
    [
        ({}, "map.gif", r"must be a file \*\.svg, \*\.png, \*\.pdf; got '.*map\.gif'"),
        ({"tasks": (CONV_A,), "accuracy": np.ones((1, 1))}, "map.svg", "needs at least 2 tasks .* Tune for longer"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes, name, message, tmp_path):
    """Another format; nothing to compare."""
    with pytest.raises(InvalidInputError, match=message):
        draw_families(family_map(**changes), tmp_path / name)


def test_figure_without_a_folder_is_an_error(tmp_path):
    """The message names the file."""
    pytest.importorskip("matplotlib")
    with pytest.raises(EnvironmentFailure, match=r"nowhere/map\.svg' cannot be written: No such file"):
        draw_families(family_map(), tmp_path / "nowhere" / "map.svg")


def test_matplotlib_is_asked_for_when_it_is_missing(tmp_path, monkeypatch):
    """The table needs none; the figure says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(EnvironmentFailure, match=r"needs matplotlib; pip install 'familyseer\[plot\]'"):
        draw_families(family_map(), tmp_path / "map.svg")
