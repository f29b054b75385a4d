# SPDX-License-Identifier: Apache-2.0
"""Tasks and a search space that tests share: making the first one costs seconds of parsing in TVM."""

from __future__ import annotations

import pytest
from tvm import te, topi

from familyseer.meta_schedule import target as targets
from familyseer.meta_schedule.search_task import SearchTask
from familyseer.meta_schedule.space import Evolution, ScheduleSpace


@pytest.fixture(scope="session")
def host_target():
    """Return the CPU of this machine."""
    return targets.host_target()


@pytest.fixture(scope="session")
def matmul_task(host_target) -> SearchTask:
    """Return C = A @ B, 64 × 64 × 64."""
    a, b = (te.placeholder((64, 64), name=name) for name in "AB")
    func = te.create_prim_func([a, b, topi.matmul(a, b)])
    return SearchTask(func=func, target=host_target, desc="matmul")


@pytest.fixture(scope="session")
def conv_task(host_target) -> SearchTask:
    """Return a 3×3 convolution of 4 channels on 8 × 8, to 8 channels."""
    data, weight = te.placeholder((1, 4, 8, 8), name="data"), te.placeholder((8, 4, 3, 3), name="weight")
    func = te.create_prim_func([data, weight, topi.nn.conv2d(data, weight, 1, 1, 1, "NCHW")])
    return SearchTask(func=func, target=host_target, desc="conv2d")


@pytest.fixture(scope="session")
def matmul_space(matmul_task) -> ScheduleSpace:
    """Return the schedules of the matmul, one island; do not rely on its random state."""
    evolution = Evolution(population=16, generations=2)
    return ScheduleSpace(matmul_task.mod, matmul_task.target, seed=1, evolution=evolution)


@pytest.fixture(scope="session")
def matmul_schedules(matmul_space) -> list:
    """Return six random schedules of the matmul."""
    return matmul_space.sample(6)
