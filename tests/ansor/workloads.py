# SPDX-License-Identifier: Apache-2.0
"""Small workloads as tensor expressions, and what tunes them quickly."""

from __future__ import annotations

import tvm
from tvm import auto_scheduler, te, topi

from benchmarks.host_c import TARGET, hardware

QUICK = {"evolutionary_search_population": 64, "evolutionary_search_num_iters": 2, "sample_init_min_population": 8}


def tensor(*shape: int, name: str = "A") -> te.Tensor:
    """Return an input."""
    return te.placeholder(shape, name=name)


@auto_scheduler.register_workload
def matmul(n, m, k):
    """Return a matrix product with relu."""
    a, b, r = tensor(n, k), tensor(k, m, name="B"), te.reduce_axis((0, k), name="r")
    c = te.compute((n, m), lambda i, j: te.sum(a[i, r] * b[r, j], axis=r), name="C")
    return [a, b, te.compute((n, m), lambda i, j: te.max(c[i, j], tvm.tir.const(0.0)), name="D")]


@auto_scheduler.register_workload
def conv2d(size, channels, filters):
    """Return a 3 × 3 convolution."""
    a, b = tensor(1, channels, size, size), tensor(filters, channels, 3, 3, name="B")
    return [a, b, topi.nn.conv2d_nchw(a, b, 1, 1, 1)]


@auto_scheduler.register_workload
def softmax(n, m):
    """Return a softmax."""
    a = tensor(n, m)
    return [a, topi.nn.softmax(a)]


def task(func, *args, target=TARGET) -> auto_scheduler.SearchTask:
    """Return a task for this CPU."""
    return auto_scheduler.SearchTask(
        func=func, args=args, target=target, hardware_params=hardware(), desc=f"{func.__name__}{args}"
    )


def products() -> list[auto_scheduler.SearchTask]:
    """Return three matrix products."""
    return [task(matmul, 64, 64, 32), task(matmul, 64, 128, 32), task(matmul, 128, 64, 32)]


def options(trials: int, log=None, per_round: int = 8, **changes) -> auto_scheduler.TuningOptions:
    """Return options whose measurements take next to no time."""
    settings = {
        "runner": auto_scheduler.LocalRunner(number=1, repeat=1, min_repeat_ms=0, cooldown_interval=0),
        "measure_callbacks": [auto_scheduler.RecordToFile(str(log))] if log else None,
        **changes,
    }
    return auto_scheduler.TuningOptions(trials, num_measures_per_round=per_round, verbose=0, **settings)
