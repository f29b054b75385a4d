# SPDX-License-Identifier: Apache-2.0
"""Which engine serves the installed TVM, and what is said where none can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(code: str, *paths: Path) -> subprocess.CompletedProcess:
    """Run Python code in a fresh process, with `paths` before all others."""
    search = os.pathsep.join(map(str, [*paths, ROOT]))
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": search},
        cwd=ROOT,
    )


def fake_tvm(folder: Path, source: str, *modules: str) -> Path:
    """Make a package ``tvm`` with empty modules; return the folder to import it from."""
    for name in ("tvm", *modules):
        package = folder.joinpath(*name.split("."))
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(source if name == "tvm" else "")
    return folder


def engine(*paths: Path) -> subprocess.CompletedProcess:
    """Ask which engine it is."""
    return run("from familyseer import engines; print(engines.engine())", *paths)


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        (["tvm.s_tir", "tvm.s_tir.meta_schedule"], "meta_schedule"),
        (["tvm.auto_scheduler", "tvm.meta_schedule"], "ansor"),
        (["tvm.auto_scheduler", "tvm.s_tir", "tvm.s_tir.meta_schedule"], "meta_schedule"),
    ],
)
def test_the_engine_is_that_of_the_installed_tvm(tmp_path, modules, expected):
    """The newer one where there are two."""
    done = engine(fake_tvm(tmp_path, "", *modules))
    assert (done.stdout.strip(), done.stderr) == (expected, "")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "raise ImportError('libtvm.so: cannot open shared object file')",
            "libtvm.so: cannot open shared object file. Try",
        ),
        (
            "raise RuntimeError('Cannot find libraries:\\nmany lines')",
            "`import tvm` failed: Cannot find libraries:. Try",
        ),
        ("raise OSError", "`import tvm` failed: OSError. Try: pip install apache-tvm"),
        ("__version__ = '0.22.0'", "the installed TVM 0.22.0 has neither. Is it a runtime only?"),
        ("", "the installed TVM of unknown version has neither"),
    ],
)
@pytest.mark.parametrize(
    "statement", ["from familyseer import auto_scheduler", "import familyseer; familyseer.register()"]
)
def test_a_tvm_without_a_tuner_gives_one_sentence(tmp_path, source, message, statement):
    """That it is missing, broken, or a runtime only."""
    done = run(statement, fake_tvm(tmp_path, source))

    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("familyseer.errors.EnvironmentFailure: familyseer needs ")
    assert message in last


def test_registering_is_undone():
    """``tvm.auto_scheduler`` is there, once and again, and then is not."""
    code = (
        "import sys, familyseer\n"
        "familyseer.unregister(); before = list(sys.meta_path)\n"
        "familyseer.register(); familyseer.register()\n"
        "import tvm.auto_scheduler; print(tvm.auto_scheduler.__name__, len(sys.meta_path) - len(before))\n"
        "familyseer.unregister(); familyseer.unregister(); print(sys.meta_path == before)\n"
        "del tvm.auto_scheduler\n"
        "try:\n    import tvm.auto_scheduler\nexcept ImportError as err:\n    print(err)\n"
    )
    done = run(code)
    assert done.stdout.splitlines() == [
        "familyseer.auto_scheduler 1",
        "True",
        "No module named 'tvm.auto_scheduler'",
    ], done.stderr
