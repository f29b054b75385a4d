# SPDX-License-Identifier: Apache-2.0
"""The installed apache-tvm-ffi can serialise what the installed TVM makes.

apache-tvm-ffi 0.1.15 crashes here with TVM 0.27, which is why ``pyproject.toml`` pins an earlier one.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

ROUND_TRIP = """
import tvm
import tvm_ffi
from tvm import te

a = te.placeholder((8, 8), name="A")
k = te.reduce_axis((0, 8), name="k")
product = te.compute((8, 8), lambda i, j: te.sum(a[i, k] * a[k, j], axis=k), name="product")
mod = tvm.IRModule({"main": te.create_prim_func([a, product])})
text = tvm.ir.save_json(mod)
assert tvm_ffi.structural_equal(tvm.ir.load_json(text), mod)
assert tvm.ir.save_json(tvm.ir.load_json(text)) == text
print("equal")
"""


def test_modules_survive_their_text():
    """In a process of its own, so that a segmentation fault is a failed test."""
    done = subprocess.run([sys.executable, "-c", ROUND_TRIP], capture_output=True, text=True, check=False)

    installed = f"apache-tvm {version('apache-tvm')}, apache-tvm-ffi {version('apache-tvm-ffi')}"
    assert (done.returncode, done.stdout) == (0, "equal\n"), f"{installed}: {done.stderr[-2000:]}"
