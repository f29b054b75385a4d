# SPDX-License-Identifier: Apache-2.0
"""Small real candidates and build functions that misbehave, for the tests of the measurement pipeline."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import tvm
from tvm import te
from tvm.s_tir.meta_schedule.arg_info import ArgInfo
from tvm.support import cc

from familyseer.meta_schedule.measurer import MeasureRequest

TARGET = tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu(), "num-cores": 1})

SEGFAULT = "volatile int *nowhere = 0; *nowhere = 1; return 0;"
HANG = "for (volatile int i = 0;; ++i) {} return 0;"
ABORT = 'fprintf(stderr, "the kernel gave up\\n"); abort();'
EXIT = "exit(7);"


def matmul(size: int = 64, function=te.exp) -> tvm.IRModule:
    """Return exp(A @ B) or the like, unscheduled."""
    a = te.placeholder((size, size), name="A")
    b = te.placeholder((size, size), name="B")
    k = te.reduce_axis((0, size), name="k")
    c = te.compute((size, size), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="C")
    d = te.compute((size, size), lambda i, j: function(c[i, j]), name="D")
    return tvm.IRModule({"main": te.create_prim_func([a, b, d]).with_attr("global_symbol", "main")})


def request(mod: tvm.IRModule, target: tvm.target.Target = TARGET) -> MeasureRequest:
    """Return `mod` as a candidate."""
    args_info = [info.as_json() for info in ArgInfo.from_entry_func(mod, remove_preproc=True)]
    return MeasureRequest(task_key="task", mod=mod, target=target, args_info=args_info)


def requests(count: int, size: int = 64) -> list[MeasureRequest]:
    """Return `count` equal candidates."""
    return [request(matmul(size))] * count


def number_of(output: str) -> int:
    """Return which artefact `output` is: the measurer numbers them from 1."""
    return int(Path(output).stem)


def misbehave(body: str, number: int = 2):
    """Return a build function that makes artefact `number` a library whose entry function has the C `body`."""

    def build(output, objects, **options):
        if number_of(output) != number:
            return cc.create_shared(output, objects, **options)
        source = Path(output).with_suffix(".c")
        head = "#include <stdio.h>\n#include <stdlib.h>\n"
        source.write_text(f"{head}int __tvm_ffi_main(void *h, const void *a, int n, void *r) {{ {body} }}")
        subprocess.run(["gcc", "-O0", "-shared", "-fPIC", "-o", output, str(source)], check=True)

    return build


def sleepy_second(output, objects, **options):
    """Hang in the build of the second artefact."""
    if number_of(output) == 2:
        time.sleep(600)
    cc.create_shared(output, objects, **options)


def sleepy_end(output, objects, **options):
    """Hang in the builds of all artefacts but the first two."""
    if number_of(output) > 2:
        time.sleep(600)
    cc.create_shared(output, objects, **options)


def slow_second(output, objects, **options):
    """Take some seconds to build the second artefact."""
    if number_of(output) == 2:
        time.sleep(4)
    cc.create_shared(output, objects, **options)


def killed_second(output, objects, **options):
    """Lose the worker in the build of the second artefact."""
    if number_of(output) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    cc.create_shared(output, objects, **options)


def raising_second(output, objects, **options):
    """Refuse to build the second artefact."""
    if number_of(output) == 2:
        raising(output, objects, **options)
    cc.create_shared(output, objects, **options)


def raising(output, objects, **options):
    """Refuse every build."""
    raise RuntimeError("no linker today\n  12: tvm::codegen::Build()\n        at /src/build.cc:3\nreally")


def wait_until(condition, seconds: float = 20.0) -> bool:
    """Return whether `condition` came true in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def all_gone(pids) -> bool:
    """Return whether none of the processes runs any more."""
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)
