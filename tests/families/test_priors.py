# SPDX-License-Identifier: Apache-2.0
"""Which task of a family is tuned first."""

from __future__ import annotations

from familyseer.families.partition import Partition
from familyseer.families.priors import priors
from familyseer.task import Task


def family(label: str, *shapes: tuple[int, ...]) -> list[Task]:
    """Return tasks of these shapes."""
    return [Task(key=f"{label}{i}", name="", operator=label, shape=shape) for i, shape in enumerate(shapes)]


def by_operator(*tasks: Task) -> tuple[str, ...]:
    """Return the priors of families by operator."""
    return priors(tasks, Partition.from_labels({task.key: task.operator for task in tasks}))


def test_the_prior_is_the_most_central_shape():
    """Ratios count: 64 × 64 lies between 1 × 64 and 64 × 512."""
    assert by_operator(*family("d", (1, 64), (64, 512), (64, 64))) == ("d2",)


def test_large_families_come_first():
    """Then those with fewer tasks, in their order."""
    tasks = [*family("a", (4,)), *family("b", (1,), (2,), (4,)), *family("c", (8,))]
    assert by_operator(*tasks) == ("b1", "a0", "c0")


def test_shapes_with_other_numbers_of_loops_are_far():
    """The odd one out is no prior; unknown shapes give the first."""
    assert by_operator(*family("d", (1, 2, 3), (512, 512), (2, 2))) == ("d1",)
    assert by_operator(*family("d", (), ())) == ("d0",)
