# SPDX-License-Identifier: Apache-2.0
"""Real kernels of this CPU on a TVM whose LLVM has no x86: target ``c``, compiled by gcc.

``hhb-tvm`` 3.2.3 is TVM 0.16 with its auto_scheduler, built for RISC-V. Importing this module makes its `LocalBuilder`
compile through gcc; all else is TVM's own.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import tvm
from tvm import auto_scheduler
from tvm.auto_scheduler.measure import BuildResult, MeasureErrorNo, MeasureInput, recover_measure_input
from tvm.rpc import server as rpc_server

TARGET = "c"
optimization = "-O3"
"""gcc's level; tests, which need no fast kernels, lower it: at ``-O3`` an unrolled one takes it seconds."""
_ENTRY = "CodegenC: NOTE: Auto-generated entry function"
_FOLDER = tempfile.TemporaryDirectory(prefix="familyseer-kernels-")


def hardware(num_cores: int = 2) -> auto_scheduler.HardwareParams:
    """Return what Ansor is to know of this CPU."""
    return auto_scheduler.HardwareParams(num_cores=num_cores, vector_unit_bytes=32, cache_line_bytes=64, target=TARGET)


def link(module: tvm.runtime.Module, output: str) -> None:
    """Compile a module of one kernel into a shared library."""
    source = module.get_source()
    lines = source.splitlines(keepends=True)
    end = next((i for i, line in enumerate(lines) if _ENTRY in line), len(lines))
    file = Path(output).with_suffix(".c")
    file.write_text("".join(lines[:end]) + '\nconst char __tvm_main__[] = "default_function";\n')
    includes = [f"-I{path}" for path in tvm._ffi.libinfo.find_include_path()]
    command = [
        "gcc",
        optimization,
        "-march=native",
        "-ffast-math",
        "-shared",
        "-fPIC",
        "-w",
        *includes,
        str(file),
        "-o",
        output,
        "-lmvec",
        "-lm",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


# Making a task again runs its function, and tensor expressions keep the tag of the operator at hand in a global variable.
_ONE_AT_A_TIME = Lock()


def _build(serialized: list[Any]) -> BuildResult:
    start = time.time()
    try:
        with _ONE_AT_A_TIME:
            given = recover_measure_input(MeasureInput.deserialize(serialized), rebuild_state=True)
            schedule, arguments = given.task.compute_dag.apply_steps_from_state(
                given.state, layout_rewrite=given.task.layout_rewrite_option
            )
            with tvm.transform.PassContext(config={"tir.disable_vectorize": True}):
                module = tvm.build(schedule, arguments, target=given.task.target)
        output = str(Path(tempfile.mkdtemp(dir=_FOLDER.name)) / "kernel.so")  # its folder goes when it has run
        link(module, output)
    except Exception:  # whatever goes wrong with a candidate is its result
        return BuildResult("", [], MeasureErrorNo.COMPILE_HOST, traceback.format_exc(), time.time() - start)
    return BuildResult(output, arguments, 0, "", time.time() - start)


def build(
    inputs: Sequence[Any], timeout: int, n_parallel: int, build_func: str = "default", verbose: int = 1
) -> list[BuildResult]:
    """Build candidates as TVM's function of this name does."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(_build, [given.serialize() for given in inputs]))


tvm._ffi.register_func("auto_scheduler.local_builder.build", build, override=True)


def mend_rpc_server() -> None:
    """Let this wheel's RPC server load modules: its C++ sends two arguments more than its Python takes."""
    plain = rpc_server._server_env

    def environment(load_library: Any, work_path: Any = None) -> Any:
        folder = plain(load_library, work_path)
        load = tvm.get_global_func("tvm.rpc.server.load_module")
        tvm._ffi.register_func("tvm.rpc.server.load_module", lambda name, *_: load(name), override=True)
        return folder

    rpc_server._server_env = environment
