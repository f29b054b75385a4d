# SPDX-License-Identifier: Apache-2.0
"""Networks from ONNX files and from files of `torch.export`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

from familyseer.errors import InvalidInputError, UnsupportedError
from familyseer.meta_schedule.lowering import require_static
from familyseer.networks import Network

__all__ = ["from_onnx", "from_torch_export"]

# TVM's importers and torch's loader raise whatever their Python code runs into on a graph that they do not know.
_IMPORT_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BadZipFile,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def from_onnx(path: str | os.PathLike[str], *, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Network:
    """Read an ONNX model.

    Parameters
    ----------
    path
        The ``.onnx`` file; weights in external files are found next to it.
    shapes
        Static shapes, by input name, for inputs that the file leaves dynamic.

    Raises
    ------
    UnsupportedError
        When the package ``onnx`` is not installed, or the model has an operator that TVM cannot import.
    InvalidInputError
        When the file is not an ONNX model, or has dynamic shapes that `shapes` does not settle.
    """
    file = _existing(path)
    try:
        import onnx
    except ImportError as err:
        raise _missing("onnx", "ONNX models", "onnx") from err
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
    from tvm.relax.frontend import onnx as frontend

    try:
        model = onnx.load(str(file))
    except (DecodeError, OSError, ValueError) as err:
        raise InvalidInputError(f"{str(file)!r} must be an ONNX model; it cannot be read: {_first_line(err)}") from err
    if not model.graph.node:
        raise InvalidInputError(f"{str(file)!r} must be an ONNX model; got a file without any operator.")
    fixed = _fixed_shapes(shapes or {}, _onnx_inputs(model.graph))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Renaming name")  # relax identifiers have no dots
            mod = frontend.from_onnx(model, shape_dict=fixed, keep_params_in_input=True)
    except _IMPORT_ERRORS as err:
        raise UnsupportedError(f"TVM cannot import {str(file)!r}: {_first_line(err)}") from err
    return _network(
        file, mod, "Pass `shapes={'name': (1, 3, 224, 224)}` for that input, or export the model without dynamic axes."
    )


def from_torch_export(path: str | os.PathLike[str]) -> Network:
    """Read a program that `torch.export.save` wrote.

    Raises
    ------
    UnsupportedError
        When the package ``torch`` is not installed, or the program has an operator that TVM cannot import.
    InvalidInputError
        When the file is not such a program, or has dynamic shapes.
    """
    file = _existing(path)
    try:
        import torch
    except ImportError as err:
        raise _missing("torch", "torch.export programs", "torch") from err
    from tvm.relax.frontend.torch import from_exported_program

    program = _load_program(torch, file)
    table = torch.export.default_decompositions()
    # Decomposed, a linear layer on a transposed input becomes a batch of copies of its weight.
    for whole in (torch.ops.aten.linear.default, torch.ops.aten.matmul.default):
        table.pop(whole, None)
    try:
        mod = from_exported_program(
            program.run_decompositions(table),
            keep_params_as_input=True,
            unwrap_unit_return_tuple=True,
            run_ep_decomposition=False,
        )
    except _IMPORT_ERRORS as err:
        raise UnsupportedError(f"TVM cannot import {str(file)!r}: {_first_line(err)}") from err
    return _network(file, mod, "Export the program without `dynamic_shapes`.")


def _load_program(torch: Any, file: Path) -> Any:
    wanted = f"{str(file)!r} must be a program written by torch.export.save"
    if not is_zipfile(file):
        raise InvalidInputError(f"{wanted}; it is not even an archive.")
    try:
        return torch.export.load(str(file))
    except _IMPORT_ERRORS as err:
        raise InvalidInputError(f"{wanted}; it cannot be read: {_first_line(err)}") from err


def _existing(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    if not file.is_file():
        state = "is a directory" if file.is_dir() else "does not exist"
        raise InvalidInputError(f"`path` must be a model file; got {str(file)!r}, which {state}.")
    return file


def _missing(package: str, what: str, extra: str) -> UnsupportedError:
    return UnsupportedError(
        f"reading {what} needs the package {package!r}. Install it with: pip install 'familyseer[{extra}]'"
    )


def _first_line(err: BaseException) -> str:
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[0] if lines else type(err).__name__


def _onnx_inputs(graph: Any) -> list[str]:
    weights = {tensor.name for tensor in graph.initializer}
    return [value.name for value in graph.input if value.name not in weights]


def _fixed_shapes(shapes: Mapping[str, tuple[int, ...]], inputs: list[str]) -> dict[str, list[int]]:
    for name, shape in shapes.items():
        if name not in inputs:
            raise InvalidInputError(
                f"`shapes` must name inputs of the model; got {name!r}. Its inputs: {', '.join(inputs)}"
            )
        if not shape or not all(isinstance(extent, int) and extent > 0 for extent in shape):
            raise InvalidInputError(f"`shapes[{name!r}]` must be positive integers; got {shape!r}")
    return {name: list(shape) for name, shape in shapes.items()}


def _network(file: Path, mod: Any, remedy: str) -> Network:
    from tvm.relax.frontend import detach_params

    require_static(mod, remedy)
    mod, detached = detach_params(mod)
    main = mod["main"]
    count = int(main.attrs["num_input"])
    names = [var.name for var in main.params]
    return Network(
        name=file.stem,
        mod=mod,
        params={name: tensor.numpy() for name, tensor in zip(names[count:], detached.get("main", []), strict=True)},
        inputs={
            var.name: (tuple(int(extent) for extent in var.ty.shape), str(var.ty.dtype)) for var in main.params[:count]
        },
    )
