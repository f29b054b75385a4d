# SPDX-License-Identifier: Apache-2.0
"""The package is built as its design says: imports go one way, tvm and xgboost stay where they belong."""

from __future__ import annotations

import ast
import builtins
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import familyseer
from familyseer import errors

ROOT = Path(familyseer.__file__).parent

# A module may import only from earlier units, or from its own.
ORDER = [
    {"errors"},
    {"task", "measure", "files", "operators"},
    {"metrics"},
    {"ledger", "records", "features"},
    {"cost_model", "transfer", "networks"},
    {"store"},
    {"families"},
    {"schedulers", "report"},
    {"tuner"},
    {"meta_schedule", "ansor"},
    {"plugin"},
    {"engines"},
    {"auto_scheduler"},
    {"progress"},
    {"cli"},
    {"__main__"},
]
RANKS = {name: rank for rank, units in enumerate(ORDER) for name in units}

# Facades that load an engine inside functions, on demand; these imports do not count for the ranks.
ON_DEMAND = {("networks", "meta_schedule"), ("", "engines")}

ENGINES = {"meta_schedule", "ansor"}
TVM = {"tvm", "tvm_ffi"}


def module_name(path: Path) -> str:
    """Return the name under which the file of a module is imported."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
every_module = pytest.mark.parametrize("module", TREES)


def unit(module: str) -> str:
    """Return the part of the package that a module belongs to; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def imported(module: str, nodes) -> set[str]:
    """Return the absolute names of the modules that import statements among `nodes` refer to."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import in line {node.lineno}"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                names.add(name if name in TREES else node.module)
    return names


def all_imports(module: str) -> set[str]:
    """Return what a module imports anywhere, in functions too."""
    return imported(module, ast.walk(TREES[module]))


def outside_functions(node):
    """Walk over what runs at import: no function, nothing for type checkers."""
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not typing_only and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from outside_functions(child)


def own(names: set[str]) -> set[str]:
    """Return those names that are modules of this package."""
    return {name for name in names if name.split(".")[0] == "familyseer"}


@every_module
def test_has_a_rank(module):
    """Each part of the package has its place in the order of imports."""
    assert unit(module) in {"", *RANKS}


@every_module
def test_imports_only_from_lower_ranks(module):
    """Nothing imports what builds on it, or a part beside it; the package itself imports nothing of its own."""
    rank = RANKS.get(unit(module), -1)
    at_import = own(imported(module, outside_functions(TREES[module])))
    later = {name for name in own(all_imports(module)) if (unit(module), unit(name)) not in ON_DEMAND}

    wrong = {n for n in at_import | later if n != "familyseer" and unit(n) != unit(module) and RANKS[unit(n)] >= rank}
    assert wrong == set()


def test_has_no_import_cycles():
    """Modules can be put in an order in which each imports only earlier ones."""
    waiting = {module: own(imported(module, outside_functions(TREES[module]))) - {module} for module in TREES}
    while ready := {module for module, needs in waiting.items() if not needs & waiting.keys()}:
        waiting = {module: needs for module, needs in waiting.items() if module not in ready}

    assert waiting == {}


@every_module
def test_only_engines_import_tvm(module):
    """The method knows nothing of TVM."""
    tops = {name.split(".")[0] for name in all_imports(module)}

    assert unit(module) in ENGINES or not tops & TVM


@every_module
def test_only_cost_models_import_xgboost(module):
    """Whoever wants a learnt model asks `familyseer.cost_model` for it."""
    tops = {name.split(".")[0] for name in all_imports(module)}

    assert unit(module) == "cost_model" or "xgboost" not in tops


@pytest.mark.parametrize("module", [module for module in TREES if unit(module) == "report"] or ["familyseer"])
def test_reports_come_from_records_alone(module):
    """A report can be made of any log, without what tuned it."""
    assert not {unit(name) for name in own(all_imports(module))} & {"tuner", "schedulers", "cost_model", *ENGINES}


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_a_familyseer_error(name):
    """One base catches all that the package raises on purpose."""
    assert issubclass(getattr(errors, name), errors.FamilySeerError)


@every_module
def test_public_exceptions_derive_from_the_base(module):
    """No module has a public exception beside the hierarchy of `familyseer.errors`."""
    plain = {name for name, value in vars(builtins).items() if inspect.isclass(value) and issubclass(value, Exception)}
    classes = [node for node in ast.walk(TREES[module]) if isinstance(node, ast.ClassDef)]

    beside = {
        node.name
        for node in classes
        if not node.name.startswith("_") and (bases := {ast.unparse(base) for base in node.bases}) & plain
        if node.name != "FamilySeerError" and not bases & {"FamilySeerError", *errors.__all__}
    }
    assert beside == set()


def bound_names(tree: ast.Module) -> set[str]:
    """Return the names that a module binds at its top level."""
    names = set()
    for node in outside_functions(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return names | {node.name for node in tree.body if isinstance(node, defined)}


def exported(tree: ast.Module) -> list[str]:
    """Return `__all__`, empty if there is none."""
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
    ]
    return ast.literal_eval(values[0]) if values and isinstance(values[0], ast.List) else []


def reading_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@every_module
def test_exports_are_sorted_and_there(module):
    """`__all__` names each thing once, in order, and each is bound or loaded on demand."""
    tree = TREES[module]
    names = exported(tree)

    assert names == sorted(set(names), key=reading_order)
    assert set(names) <= bound_names(tree) or "__getattr__" in bound_names(tree)


METHOD = sorted(module for module in TREES if RANKS.get(unit(module), -1) < RANKS["meta_schedule"])


def test_importing_leaves_numpy_s_random_state_alone():
    """A script's own draws are the same with and without the import."""
    code = (
        "import numpy; numpy.random.seed(7); before = numpy.random.get_state()[1].tolist();"
        f"import {', '.join(METHOD)}; from familyseer import auto_scheduler;"
        "print(numpy.random.get_state()[1].tolist() == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("modules", [["familyseer"], METHOD], ids=["package", "method"])
def test_importing_loads_neither_tvm_nor_xgboost(modules):
    """A fresh process that imports the package, or all of the method, has not loaded the heavy libraries."""
    heavy = ("tvm", "xgboost") if modules == ["familyseer"] else ("tvm",)
    code = f"import sys, {', '.join(modules)}; print([name for name in {heavy!r} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)

    assert done.stdout.strip() == "[]"
