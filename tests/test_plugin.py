# SPDX-License-Identifier: Apache-2.0
"""The entry point that makes ``from tvm import auto_scheduler`` work, and never gets in TVM's way."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from familyseer import plugin

ROOT = Path(__file__).parents[1]
REGISTER = "import tvm; from familyseer import plugin; plugin.register(); "


def declared() -> dict[str, str]:
    """Return the entry points that ``pyproject.toml`` declares for TVM."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition('[project.entry-points."tvm.backends"]\n')[2].partition("\n[")[0]
    return dict(re.findall(r'^(\w+) = "(.+)"$', section, re.MULTILINE))


def run(code: str, *paths: Path, **environment: str) -> list[str]:
    """Run Python code in a fresh process, with `paths` to import from; return the lines it prints."""
    search = os.pathsep.join(map(str, [*paths, ROOT]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": search, **environment},
        cwd=paths[0] if paths else ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.fixture
def installed(tmp_path) -> Path:
    """Return a folder from which Python sees the package as installed, with its entry point."""
    info = tmp_path / "familyseer-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: familyseer\nVersion: 0.1.0\n")
    points = "\n".join(f"{name} = {value}" for name, value in declared().items())
    (info / "entry_points.txt").write_text(f"[tvm.backends]\n{points}\n")
    return tmp_path


@pytest.fixture
def _own_finders(monkeypatch):
    """Undo what `register` changes in this process."""
    kept = [finder for finder in sys.meta_path if type(finder).__module__ != plugin.__name__]
    monkeypatch.setattr(sys, "meta_path", kept)


def test_the_declared_entry_point_loads():
    """Its group is TVM's, its value is `register`."""
    assert declared() == {"familyseer": "familyseer.plugin:register"}

    loaded = EntryPoint("familyseer", declared()["familyseer"], "tvm.backends").load()
    assert loaded is plugin.register


@pytest.mark.usefixtures("_own_finders")
def test_registering_twice_adds_one_finder():
    """The finder stands last, behind all that can find a real module."""
    before = list(sys.meta_path)
    plugin.register()
    plugin.register()

    assert sys.meta_path[:-1] == before
    assert type(sys.meta_path[-1]).__module__ == "familyseer.plugin"


@pytest.mark.usefixtures("_own_finders")
@pytest.mark.parametrize("name", ["tvm", "tvm.relay", "auto_scheduler", "tvm.auto_scheduler.measure", "tvm.auto"])
def test_finds_nothing_else(name):
    """Only the one name is ours."""
    plugin.register()

    assert sys.meta_path[-1].find_spec(name) is None


STATEMENTS = [
    "from tvm import auto_scheduler",
    "import tvm.auto_scheduler as auto_scheduler",
    "import tvm.auto_scheduler; auto_scheduler = tvm.auto_scheduler",
    "import importlib; auto_scheduler = importlib.import_module('tvm.auto_scheduler')",
    "from tvm.auto_scheduler import TaskScheduler; auto_scheduler = tvm.auto_scheduler",
]
CHECK = f"""
import sys
import familyseer.auto_scheduler as ours
for statement in {STATEMENTS!r}:
    exec(statement)
    print(auto_scheduler is ours, sys.modules.pop("tvm.auto_scheduler") is ours, tvm.auto_scheduler is ours)
    print(ours.__name__, ours.__spec__.name, ours.__package__)
    del tvm.auto_scheduler, auto_scheduler
"""


def test_every_import_gives_our_module():
    """One module under two names, whose identity is its own, however it is imported."""
    assert run(f"{REGISTER}{CHECK}") == [
        "True True True",
        "familyseer.auto_scheduler familyseer.auto_scheduler familyseer",
    ] * len(STATEMENTS)


def test_an_installed_package_is_found_by_tvm(installed):
    """TVM runs the entry point as it is imported: nothing else is needed."""
    code = "import tvm; from tvm import auto_scheduler; print(auto_scheduler.__name__)"

    assert run(code, installed) == ["familyseer.auto_scheduler"]


def test_importing_tvm_does_not_load_the_engine(installed):
    """It costs the few milliseconds of one small module."""
    code = "import sys, tvm; print(sorted(name for name in sys.modules if name.startswith('familyseer')))"

    assert run(code, installed) == ["['familyseer', 'familyseer.plugin']"]


def test_a_broken_engine_does_not_break_tvm(installed):
    """Without xgboost, TVM is imported without a warning, and the error comes where the module is asked for."""
    code = (
        "import sys, warnings; warnings.simplefilter('error'); sys.modules['familyseer.auto_scheduler'] = None\n"
        "import tvm; print('imported')\n"
        "try:\n    from tvm import auto_scheduler\nexcept ImportError as err:\n    print(err.name)\n"
        "print(hasattr(tvm, 'auto_scheduler'), 'tvm.auto_scheduler' in sys.modules)"
    )

    assert run(code, installed) == ["imported", "familyseer.auto_scheduler", "False False"]


def test_a_broken_plugin_does_not_break_tvm(installed):
    """Whatever happens in our entry point, TVM reports it and goes on."""
    code = (
        "import sys, warnings; sys.modules['familyseer.plugin'] = None\n"
        "with warnings.catch_warnings(record=True) as seen:\n    warnings.simplefilter('always'); import tvm\n"
        "print(any('familyseer' in str(warning.message) for warning in seen), tvm.IRModule.__name__)"
    )

    assert run(code, installed) == ["True IRModule"]


def test_tvm_keeps_a_module_of_its_own(installed, tmp_path):
    """Where TVM has ``tvm.auto_scheduler``, ours does not shadow it."""
    own = tmp_path / "more" / "auto_scheduler"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text("origin = 'TVM'\n")
    code = f"import tvm; tvm.__path__.append({str(own.parent)!r}); from tvm import auto_scheduler; "

    assert run(code + "print(auto_scheduler.origin, auto_scheduler.__name__)", installed) == ["TVM tvm.auto_scheduler"]


@pytest.mark.parametrize("module", ["familyseer", "familyseer.plugin"])
def test_importing_us_loads_neither_tvm_nor_xgboost(module):
    """Whoever does not tune does not wait."""
    code = f"import sys, {module}; print([name for name in ('tvm', 'xgboost', 'numpy') if name in sys.modules])"

    assert run(code) == ["[]"]
