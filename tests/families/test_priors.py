# SPDX-License-Identifier: Apache-2.0
"""Which task of a family is tuned first, and for how long."""

from __future__ import annotations

import pytest

from familyseer.families.partition import Partition
from familyseer.families.priors import priors
from familyseer.task import Task


def family(label: str, *shapes: tuple[int, ...]) -> list[Task]:
    """Return tasks of these shapes."""
    return [Task(key=f"{label}{i}", name="", operator=label, shape=shape) for i, shape in enumerate(shapes)]


def by_operator(*tasks: Task) -> tuple[tuple[str, int], ...]:
    """Return the priors of families by operator."""
    return priors(tasks, Partition.from_labels({task.key: task.operator for task in tasks}))


def test_the_prior_is_the_most_central_shape():
    """Ratios count: 64 × 64 lies between 1 × 64 and 64 × 512."""
    assert by_operator(*family("d", (1, 64), (64, 512), (64, 64))) == (("d2", 1),)


def test_large_families_come_first():
    """Then those with fewer tasks, in their order."""
    tasks = [*family("a", (4,)), *family("b", (1,), (2,), (4,)), *family("c", (8,))]
    assert by_operator(*tasks) == (("b1", 1), ("a0", 1), ("c0", 1))


@pytest.mark.parametrize(("members", "rounds"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3), (10, 5), (40, 5)])
def test_rounds_follow_the_size_of_the_family(members, rounds):
    """Half a round per task, from one to five."""
    assert by_operator(*family("d", *[(8, 8)] * members)) == (("d0", rounds),)


def test_shapes_with_other_numbers_of_loops_are_far():
    """The odd one out is no prior; unknown shapes give the first."""
    assert by_operator(*family("d", (1, 2, 3), (512, 512), (2, 2))) == (("d1", 1),)
    assert by_operator(*family("d", (), ())) == (("d0", 1),)
