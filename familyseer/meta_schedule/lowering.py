# SPDX-License-Identifier: Apache-2.0
"""From a Relax network to the fused kernels that are tuned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from tvm import relax
from tvm.relax.transform import FoldBatchnormToConv2D, FuseTransposeMatmul

from familyseer.errors import InvalidInputError

__all__ = ["legalize_and_fuse", "require_static"]


def legalize_and_fuse(mod: Any, params: Mapping[str, Any] | None = None) -> Any:
    """Turn a network into calls of fused TIR kernels; nothing in it depends on a target.

    What follows it is ``extract_tasks``, or ``tvm.compile(..., relax_pipeline=relax.get_pipeline("default_build"))``,
    which fuses nothing again, as TVM's default pipeline would.

    Parameters
    ----------
    mod
        `tvm.IRModule` with a Relax function ``main`` of static shapes.
    params
        Weights by parameter name, to be bound as constants. Only what is constant can be folded: batch normalisations
        into convolutions, transpositions of weights. Weights left as parameters stay arguments of ``main``.

    Returns
    -------
    tvm.IRModule
        ``main``, and a ``PrimFunc`` for each distinct kernel, e.g. convolution, bias, residual and ReLU in one.

    Raises
    ------
    InvalidInputError
        When there is no Relax ``main``, a shape is not static, or `params` names what is not a parameter.
    """
    require_static(mod)
    if params:
        _require_parameters(mod, params)
        mod = relax.transform.BindParams("main", dict(params))(mod)
    return tvm.transform.Sequential(
        [
            FoldBatchnormToConv2D(),  # first, because the next pass takes batch normalisations apart
            relax.transform.DecomposeOpsForInference(),
            relax.transform.CanonicalizeBindings(),
            relax.transform.FoldConstant(),
            FuseTransposeMatmul(),  # after folding, so that it meets only transpositions that cannot be done beforehand
            relax.transform.LegalizeOps(),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FoldConstant(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.RewriteDataflowReshape(),  # a kernel that only reshapes is a view, not a task
            relax.transform.DeadCodeElimination(["main"]),
        ]
    )(mod)


def require_static(mod: Any, remedy: str = "Export the network for one fixed batch size and input size.") -> None:
    """Raise `InvalidInputError` unless ``main`` is a Relax function whose inputs and outputs have static shapes."""
    main = next((func for var, func in mod.functions_items() if var.name_hint == "main"), None)
    if not isinstance(main, relax.Function):
        names = ", ".join(sorted(var.name_hint for var in mod.get_global_vars())) or "none"
        raise InvalidInputError(f"`mod` must have a Relax function 'main'; got {names}.")
    typed = [(f"input {var.name!r}", var.ty) for var in main.params] + [("the output", main.ret_ty)]
    for what, ty in typed:
        if not _is_static(ty):
            raise InvalidInputError(f"`mod` must have static shapes; got {ty} for {what}. {remedy}")


def _is_static(ty: Any) -> bool:
    if isinstance(ty, relax.TupleType):
        return all(_is_static(element) for element in ty.fields)
    if isinstance(ty, relax.TensorType):
        return ty.shape is not None and all(isinstance(extent, tvm.tirx.IntImm | int) for extent in ty.shape)
    return False


def _require_parameters(mod: Any, params: Mapping[str, Any]) -> None:
    known = {var.name for var in mod["main"].params}
    unknown = sorted(set(params) - known)
    if unknown:
        raise InvalidInputError(f"`params` must name parameters of 'main'; got {', '.join(unknown)}.")
