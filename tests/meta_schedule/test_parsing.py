# SPDX-License-Identifier: Apache-2.0
"""TVM's tensor intrinsics are loaded in seconds."""

import subprocess
import sys

SCRIPT = """
import inspect, sys, time
from familyseer.meta_schedule.parsing import TENSOR_INTRINSICS, import_parsed
start = time.process_time()
import tvm
tvm_seconds = time.process_time() - start
before = dict(inspect.modulesbyfile)
start = time.process_time()
import_parsed(TENSOR_INTRINSICS)
assert time.process_time() - start < 6 * tvm_seconds, (time.process_time() - start, tvm_seconds)
assert not [name for name in inspect.modulesbyfile.keys() - before.keys() if name.startswith("<")]
assert tvm.s_tir.TensorIntrin.get("dot_16x4_vnni").desc is not None
start = time.process_time()
import_parsed(TENSOR_INTRINSICS)
assert time.process_time() - start < 0.1
"""


def test_intrinsics_are_there_after_a_few_times_the_import_of_tvm(tmp_path):
    """Python alone takes more than ten times as long as for TVM, and `inspect` is as it was."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    subprocess.run([sys.executable, script], check=True)
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
