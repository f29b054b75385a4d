# SPDX-License-Identifier: Apache-2.0
"""Compile candidates to shared libraries in worker processes."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import platform
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle

from familyseer.errors import UnsupportedError
from familyseer.meta_schedule.options import factor, positive, positive_int
from familyseer.meta_schedule.parsing import TENSOR_INTRINSICS
from familyseer.meta_schedule.pool import WorkerPool
from familyseer.meta_schedule.workers import Call, shared_template

__all__ = ["LocalBuilder"]

_LEAST_PATIENCE = 3.0
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


class LocalBuilder:
    """Compile candidates on this machine's cores, each worker process isolated from the others and from the caller.

    Parameters
    ----------
    timeout
        Seconds that compiling and linking one candidate may take.
    n_parallel
        Number of worker processes.
    build_func
        How the compiled objects become a file: ``"default"`` links a shared library here (an archive that the remote
        side links, when the target is of another architecture), ``"ndk"`` uses Android's linker, and a callable
        ``f(file_name, object_files, **options)`` with an optional attribute ``output_format`` does it itself; it runs
        in a worker process, so it must survive cloudpickle.
    recycle_after
        Candidates after which a worker process is replaced, which bounds what the compiler leaks.
    max_memory_gb
        Resident memory above which a worker process is replaced once its candidate is done.
    patience
        A candidate that a batch waits for is given up as after `timeout` once it has taken 3 s and this many times as long
        as the slowest of the others: it would cost as much as a hundred of them. Infinite: all have `timeout`.

    Raises
    ------
    InvalidInputError
        An option is not what it must be.
    UnsupportedError
        `build_func` is a name other than those above, or cannot be sent to a worker process.
    """

    def __init__(
        self,
        timeout: float = 15,
        n_parallel: int = multiprocessing.cpu_count(),
        build_func: str | Callable[..., Any] = "default",
        *,
        recycle_after: int = 200,
        max_memory_gb: float = 4.0,
        patience: float = 8.0,
    ) -> None:
        self.timeout = positive("timeout", timeout)
        self.n_parallel = positive_int("n_parallel", n_parallel)
        self.recycle_after = positive_int("recycle_after", recycle_after)
        self.max_memory_gb = positive("max_memory_gb", max_memory_gb)
        self.patience = factor("patience", patience)
        self.build_func = build_func
        self._link = _pickled_link(build_func)
        self._suffix = getattr(build_func, "output_format", "so") if callable(build_func) else "so"
        shared_template()  # starts importing in the background

    def make_pool(self, target: str) -> WorkerPool:
        """Return fresh workers that build for `target` (JSON)."""
        return WorkerPool(
            [{"TVM_NUM_THREADS": "1"}] * self.n_parallel,
            timeout=self.timeout,
            recycle_after=self.recycle_after,
            max_rss_bytes=int(self.max_memory_gb * (1 << 30)),
            imports=() if is_cpu(target) else (TENSOR_INTRINSICS,),
        )

    def straggler_timeout(self, others: Sequence[float]) -> float:
        """Return the seconds that a candidate may take for which a batch waits whose other builds took so long."""
        return min(self.timeout, max(_LEAST_PATIENCE, self.patience * max(others))) if others else self.timeout

    def file_name(self, number: int, target: str) -> str:
        """Return what the artefact number `number` is called."""
        suffix = "tar" if self.build_func == "default" and not links_here(target) else self._suffix
        return f"{number}.{suffix}"

    def call(self, mod: str, target: str, path: str) -> Call:
        """Return the request that builds `mod` (`tvm.ir.save_json`) for `target` (JSON) into the file `path`."""
        return Call(build_candidate, (mod, target, path, self._link))

    def probe(self, target: str, path: str) -> Call:
        """Return the request that builds the simplest kernel for `target` (JSON) into the file `path`."""
        return Call(build_probe, (target, path, self._link))


def _pickled_link(build_func: str | Callable[..., Any]) -> bytes | None:
    if build_func == "default":
        return None
    if build_func == "ndk":
        from tvm.support import ndk

        build_func = ndk.create_shared
    if not callable(build_func):
        raise UnsupportedError(
            f'`build_func` must be "default", "ndk" or a callable; got {build_func!r}. '
            "Pass the function itself: a name registered in this process is unknown in the worker processes."
        )
    try:
        pickled: bytes = cloudpickle.dumps(build_func)
    except (TypeError, AttributeError, pickle.PicklingError) as err:
        raise UnsupportedError(
            f"`build_func` must survive cloudpickle because it runs in a worker process; got {build_func!r}. "
            "Pass a plain function that opens what it needs itself."
        ) from err
    return pickled


@functools.lru_cache(maxsize=64)
def _target(target: str) -> Any:
    import tvm

    return tvm.target.Target(target)


def is_cpu(target: str) -> bool:
    """Return whether `target` (JSON) makes host code only."""
    return _target(target).kind.name in ("llvm", "c")


def links_here(target: str) -> bool:
    """Return whether this machine's linker can link code for `target` (JSON)."""
    value = _target(target)
    triple = str((value.host or value).attrs.get("mtriple", ""))
    machine = platform.machine().lower()
    return triple.split("-")[0] in ("", machine, _ARCHITECTURES.get(machine))


def build_candidate(mod: str, target: str, path: str, link: bytes | None) -> str:
    """Compile `mod` to the file `path`; this runs in a worker process."""
    import tvm
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

    stripped = RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(tvm.ir.load_json(mod))
    with _target(target) as chosen:  # NVRTC is told the scope's architecture, else that of a GPU on this machine
        module = tvm.tirx.build(stripped, chosen)
    module.export_library(path, fcompile=_linker(path, link), workspace_dir=_workspace(os.path.dirname(path)))
    return path


def build_probe(target: str, path: str, link: bytes | None) -> str:
    """Compile an addition to the file `path`, which fails only where everything would; this runs in a worker process."""
    import tvm
    from tvm import te
    from tvm.s_tir import Schedule

    given = te.placeholder((32,), name="given")
    added = te.compute((32,), lambda i: given[i] + 1.0, name="added")
    schedule = Schedule(te.create_prim_func([given, added]).with_attr("global_symbol", "main"))
    if "gpu" in _target(target).keys:
        schedule.bind(*schedule.get_loops("added"), "threadIdx.x")
    return build_candidate(tvm.ir.save_json(schedule.mod), target, path, link)


@functools.lru_cache(maxsize=8)
def _workspace(directory: str) -> str:
    return tempfile.mkdtemp(dir=directory)


def _linker(path: str, link: bytes | None) -> Callable[..., Any] | None:
    if link is not None:
        chosen: Callable[..., Any] = pickle.loads(link)
        return chosen
    if path.endswith(".tar") or not _direct_linker():
        return None
    return _link_directly


@functools.lru_cache(maxsize=1)
def _direct_linker() -> tuple[str, ...]:
    """Return the command that links objects without the compiler driver, which is 30 ms slower; empty if none works."""
    linker = shutil.which("ld")
    if sys.platform != "linux" or linker is None:
        return ()
    libraries = ["--as-needed", "-lm"]
    probe = subprocess.run([linker, "-shared", "-o", os.devnull, *libraries], capture_output=True, check=False)
    return (linker, "-shared", *(libraries if probe.returncode == 0 else ()))


def _link_directly(output: str, objects: Sequence[str], **options: Any) -> None:
    linker, shared, *libraries = _direct_linker()
    command = [linker, shared, "-o", output, *objects, *libraries]
    if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        from tvm.support import cc

        cc.create_shared(output, objects, **options)


class ArtefactFolder:
    """A temporary folder for artefacts, whose files go as soon as they have been run."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="familyseer-")
        self._delete = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        self._made = 0

    def next_path(self, builder: LocalBuilder, target: str) -> str:
        """Return a path that no artefact had before."""
        self._made += 1
        return os.path.join(self.path, builder.file_name(self._made, target))

    @staticmethod
    def delete(path: str) -> None:
        """Delete an artefact, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def close(self) -> None:
        """Delete the folder; this also happens when the process ends."""
        self._delete()
