# SPDX-License-Identifier: Apache-2.0
"""Workloads are told apart by what they compute, never by their names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tvm
from tvm import IRModule, te, topi
from tvm.tirx import PrimFunc

from familyseer.errors import InvalidInputError
from familyseer.meta_schedule.workload import blocks_of, flops_of, normalize, structure_of, workload_key
from familyseer.operators import core_operator, shape_of

ROOT = Path(__file__).parents[2]


def tensor(*shape: int, name: str = "A") -> te.Tensor:
    """Return an input."""
    return te.placeholder(shape, name=name)


def conv2d(size: int = 14, kernel: int = 3, stride: int = 1) -> list[te.Tensor]:
    """Return a convolution of 8 channels to 16."""
    data, weight = tensor(1, 8, size, size), tensor(16, 8, kernel, kernel, name="W")
    return [data, weight, topi.nn.conv2d(data, weight, stride, kernel // 2, 1, "NCHW")]


def conv2d_nhwc() -> list[te.Tensor]:
    """Return the same in another layout."""
    data, weight = tensor(1, 14, 14, 8), tensor(3, 3, 8, 16, name="W")
    return [data, weight, topi.nn.conv2d(data, weight, 1, 1, 1, "NHWC", "HWIO")]


def conv2d_bias_relu() -> list[te.Tensor]:
    """Return a fused subgraph around a convolution."""
    data, weight, result = conv2d()
    bias = tensor(16, 1, 1, name="bias")
    return [data, weight, bias, topi.nn.relu(topi.add(result, bias))]


def conv2d_transpose() -> list[te.Tensor]:
    """Return a transposed convolution of stride 2."""
    data, weight = tensor(1, 8, 7, 7), tensor(8, 16, 3, 3, name="W")
    return [data, weight, topi.nn.conv2d_transpose_nchw(data, weight, (2, 2), (1, 1), "float32", (0, 0))]


def conv1d() -> list[te.Tensor]:
    """Return a convolution along one axis."""
    data, weight = tensor(1, 8, 14), tensor(16, 8, 3, name="W")
    return [data, weight, topi.nn.conv1d_ncw(data, weight, 1, 1, 1)]


def conv3d() -> list[te.Tensor]:
    """Return a convolution along three axes."""
    data, weight = tensor(1, 4, 6, 6, 6), tensor(8, 4, 3, 3, 3, name="W")
    return [data, weight, topi.nn.conv3d_ncdhw(data, weight, 1, 1, 1, 1)]


def depthwise(multiplier: int = 1) -> list[te.Tensor]:
    """Return a convolution of each channel by itself."""
    data, weight = tensor(1, 8, 14, 14), tensor(8, multiplier, 3, 3, name="W")
    return [data, weight, topi.nn.depthwise_conv2d_nchw(data, weight, 1, 1, 1)]


def group_conv2d() -> list[te.Tensor]:
    """Return a convolution in two groups of four channels."""
    data, weight = tensor(1, 8, 14, 14), tensor(16, 4, 3, 3, name="W")
    return [data, weight, topi.nn.group_conv2d_nchw(data, weight, 1, 1, 1, 2, "float32")]


def winograd_nchw() -> list[te.Tensor]:
    """Return a convolution by transformation."""
    data, weight = tensor(1, 8, 14, 14), tensor(16, 8, 3, 3, name="W")
    return [data, weight, topi.nn.conv2d_winograd_nchw(data, weight, 1, 1, 1, "float32")]


def winograd_nhwc() -> list[te.Tensor]:
    """Return the same in another layout."""
    data, weight = tensor(1, 14, 14, 8), tensor(3, 3, 8, 16, name="W")
    return [data, weight, topi.nn.conv2d_winograd_nhwc(data, weight, 1, 1, 1, "float32")]


def dense(batch: int = 16) -> list[te.Tensor]:
    """Return a layer from 32 to 8."""
    data, weight = tensor(batch, 32), tensor(8, 32, name="W")
    return [data, weight, topi.nn.dense(data, weight)]


def dense_softmax() -> list[te.Tensor]:
    """Return a layer whose outputs are normalised."""
    data, weight, result = dense()
    return [data, weight, topi.nn.softmax(result)]


def matmul() -> list[te.Tensor]:
    """Return a product of matrices."""
    a, b = tensor(16, 32), tensor(32, 8, name="B")
    return [a, b, topi.matmul(a, b)]


def batch_matmul() -> list[te.Tensor]:
    """Return four products of matrices."""
    a, b = tensor(4, 16, 32), tensor(4, 8, 32, name="B")
    return [a, b, topi.nn.batch_matmul(a, b)]


def pool(kind: str) -> list[te.Tensor]:
    """Return 3×3 pooling with overlap."""
    data = tensor(1, 8, 14, 14)
    return [data, topi.nn.pool2d(data, (3, 3), (2, 2), (1, 1), (1, 1, 1, 1), kind)]


def global_pool() -> list[te.Tensor]:
    """Return the mean of each channel."""
    data = tensor(1, 8, 14, 14)
    return [data, topi.nn.global_pool(data, "avg")]


def rowwise(function) -> list[te.Tensor]:
    """Return a function of a 16 × 32 matrix."""
    data = tensor(16, 32)
    return [data, function(data)]


def layer_norm() -> list[te.Tensor]:
    """Return rows with mean 0 and deviation 1."""
    data, scale, shift = tensor(16, 32), tensor(32, name="scale"), tensor(32, name="shift")
    return [data, scale, shift, topi.nn.layer_norm(data, scale, shift, [1])]


def module(tensors: list[te.Tensor]) -> IRModule:
    """Return what is tuned."""
    return normalize(te.create_prim_func(tensors))


OPERATORS = {
    "conv2d_3x3": (conv2d, "conv2d"),
    "conv2d_1x1": (lambda: conv2d(kernel=1), "conv2d"),
    "conv2d_1x1_stride_2": (lambda: conv2d(kernel=1, stride=2), "conv2d"),
    "conv2d_nhwc": (conv2d_nhwc, "conv2d"),
    "conv2d_bias_relu": (conv2d_bias_relu, "conv2d"),
    "conv2d_transpose": (conv2d_transpose, "conv2d"),
    "conv1d": (conv1d, "conv1d"),
    "conv3d": (conv3d, "conv3d"),
    "depthwise": (depthwise, "depthwise_conv2d"),
    "depthwise_multiplier_2": (lambda: depthwise(2), "depthwise_conv2d"),
    "group_conv2d": (group_conv2d, "group_conv2d"),
    "winograd_nchw": (winograd_nchw, "winograd"),
    "winograd_nhwc": (winograd_nhwc, "winograd"),
    "dense": (dense, "dense"),
    "dense_of_a_vector": (lambda: dense(batch=1), "dense"),
    "dense_softmax": (dense_softmax, "dense"),
    "matmul": (matmul, "dense"),
    "batch_matmul": (batch_matmul, "batch_matmul"),
    "max_pool": (lambda: pool("max"), "pool"),
    "avg_pool": (lambda: pool("avg"), "pool"),
    "global_pool": (global_pool, "pool"),
    "softmax": (lambda: rowwise(topi.nn.softmax), "softmax"),
    "log_softmax": (lambda: rowwise(topi.nn.log_softmax), "softmax"),
    "layer_norm": (layer_norm, "reduction"),
    "sum_of_rows": (lambda: rowwise(lambda data: topi.sum(data, axis=1)), "reduction"),
    "sum_of_all": (lambda: rowwise(topi.sum), "reduction"),
    "relu": (lambda: rowwise(topi.nn.relu), "elementwise"),
    "tanh": (lambda: rowwise(topi.tanh), "elementwise"),
    "transpose": (lambda: rowwise(topi.transpose), "elementwise"),
}


@pytest.mark.parametrize(("make", "operator"), OPERATORS.values(), ids=OPERATORS)
def test_core_operator(make, operator):
    """The heaviest block decides what a workload is."""
    assert core_operator(blocks_of(module(make()))) == operator


def test_the_shape_is_that_of_the_heaviest_block():
    """Spatial loops before reductions, whatever is fused to them; nothing of nothing."""
    assert shape_of(blocks_of(module(conv2d_bias_relu()))) == (1, 16, 14, 14, 8, 3, 3)
    assert shape_of(blocks_of(module(dense(4)))) == (4, 8, 32)
    assert shape_of([]) == ()


def test_core_operator_of_nothing():
    """A function without blocks is not any operator."""
    assert core_operator([]) == "other"


def test_blocks_are_described():
    """Extents by variable, and the variables in each index of each tensor read."""
    (block,) = blocks_of(module(matmul()))

    assert sorted(block.spatial.values()) == [8, 16]
    assert list(block.reduction.values()) == [32]
    assert block.work == 16 * 8 * 32
    row, column = block.spatial
    (reduced,) = block.reduction
    assert block.reads == (
        (frozenset({row}), frozenset({reduced})),
        (frozenset({reduced}), frozenset({column})),
    )


@pytest.mark.parametrize(
    ("make", "flops"),
    [
        (matmul, 2 * 16 * 8 * 32),
        (dense, 2 * 16 * 8 * 32),
        (batch_matmul, 2 * 4 * 16 * 8 * 32),
        (conv2d, 2 * 16 * 14 * 14 * 8 * 9),
        (lambda: conv2d(kernel=1, stride=2), 2 * 16 * 7 * 7 * 8),
        (depthwise, 2 * 8 * 14 * 14 * 9),
        (group_conv2d, 2 * 16 * 14 * 14 * 4 * 9),
        (lambda: rowwise(topi.nn.relu), 16 * 32),
    ],
    ids=["matmul", "dense", "batch_matmul", "conv2d", "conv2d_1x1", "depthwise", "group_conv2d", "relu"],
)
def test_flops(make, flops):
    """One multiplication and one addition per product."""
    assert flops_of(module(make())) == flops


@pytest.mark.parametrize("make", [conv2d, matmul, layer_norm, lambda: rowwise(topi.nn.softmax)])
def test_equal_workloads_have_equal_keys(make):
    """Building a workload twice gives one key of 16 hexadecimal digits."""
    key = workload_key(module(make()))

    assert key == workload_key(module(make()))
    assert len(key) == 16
    assert int(key, 16) >= 0


def test_keys_are_the_same_in_another_process():
    """A log written by one process is resumed by another."""
    code = (
        "from tests.meta_schedule.test_workload import *\n"
        "print(workload_key(module(conv2d())), structure_of(module(conv2d())))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.split() == [workload_key(module(conv2d())), structure_of(module(conv2d()))]


def test_all_operators_have_keys_of_their_own():
    """No two workloads of the table are one."""
    keys = {name: workload_key(module(make())) for name, (make, _) in OPERATORS.items()}

    assert len(set(keys.values())) == len(keys)


def test_other_shapes_have_other_keys_and_one_structure():
    """The same operations on other shapes are relatives."""
    small, large = module(conv2d(size=14)), module(conv2d(size=28))

    assert workload_key(small) != workload_key(large)
    assert structure_of(small) == structure_of(large)


@pytest.mark.parametrize(
    "other", ["conv2d_1x1", "conv2d_nhwc", "conv2d_bias_relu", "depthwise", "group_conv2d", "dense"]
)
def test_other_operations_have_other_structures(other):
    """What is computed in another way is no relative."""
    assert structure_of(module(OPERATORS[other][0]())) != structure_of(module(conv2d()))


def test_structure_does_not_depend_on_names_of_functions():
    """A display name says nothing."""
    func = te.create_prim_func(matmul())

    assert structure_of(normalize(IRModule({"one": func}))) == structure_of(normalize(IRModule({"two": func})))


def test_a_function_and_its_module_are_one_workload():
    """A PrimFunc is tuned as the module with it alone, whatever that calls it."""
    func = te.create_prim_func(matmul())
    expected = normalize(func)

    assert [var.name_hint for var in expected.get_global_vars()] == ["main"]
    assert isinstance(expected["main"], PrimFunc)
    assert workload_key(normalize(IRModule({"fused_matmul": func}))) == workload_key(expected)
    assert workload_key(normalize(func.without_attr("global_symbol"))) == workload_key(expected)


def test_normalizing_twice_changes_nothing():
    """The key of a normalized workload is its key."""
    once = module(conv2d_bias_relu())

    assert workload_key(normalize(once)) == workload_key(once)


def test_refuses_modules_with_two_functions():
    """A whole network is no workload; the message says what takes one."""
    func = te.create_prim_func(matmul())

    with pytest.raises(
        InvalidInputError, match=r"exactly one PrimFunc; got \['a', 'b'\]. For a whole network use auto_sch"
    ):
        normalize(IRModule({"a": func, "b": func}))


def test_refuses_empty_modules():
    """There must be something to tune."""
    with pytest.raises(InvalidInputError, match=r"exactly one PrimFunc; got \[\]"):
        normalize(IRModule({}))


@pytest.mark.parametrize("given", ["matmul", None, 5])
def test_refuses_other_things(given):
    """Only TVM's functions and modules are workloads."""
    with pytest.raises(InvalidInputError, match="a workload must be a PrimFunc or an IRModule; got "):
        normalize(given)


def test_refuses_dynamic_shapes():
    """Schedules are made for known extents; the message names the shape."""
    rows = te.var("rows")
    data = te.placeholder((rows, 4), name="data")

    with pytest.raises(InvalidInputError, match=r"must be known before tuning; got \['rows', '4'\]"):
        normalize(te.create_prim_func([data, topi.nn.relu(data)]))


def test_takes_scalar_parameters():
    """A number among the parameters has no shape to be known."""
    factor, data = te.var("factor", dtype="float32"), tensor(8, 4)
    scaled = te.compute((8, 4), lambda i, j: data[i, j] * factor)

    assert core_operator(blocks_of(normalize(te.create_prim_func([factor, data, scaled])))) == "elementwise"


def test_winograd_is_told_by_its_rule_on_this_tvm():
    """TVM marks the blocks of winograd: the annotation on which `core_operator` relies exists."""
    rules = {block.rule for block in blocks_of(module(winograd_nchw()))}

    assert any("winograd" in rule for rule in rules), (rules, tvm.__version__)
