# SPDX-License-Identifier: Apache-2.0
"""What Ansor's tasks are is read from what they compute."""

from __future__ import annotations

import pytest
from tvm import auto_scheduler, topi

from familyseer.ansor.describe import describe
from tests.ansor.workloads import conv2d, matmul, task, tensor


def over(*shapes):
    """Return a decorator's opposite: call a function with inputs of these shapes and give all tensors."""

    def call(function):
        inputs = [tensor(*shape, name=f"T{i}") for i, shape in enumerate(shapes)]
        return [*inputs, function(*inputs)]

    return call


IMAGE, KERNEL = (1, 16, 14, 14), (32, 16, 3, 3)
OPERATORS = {
    "conv2d": (over(IMAGE, KERNEL)(lambda a, b: topi.nn.conv2d_nchw(a, b, 1, 1, 1)), (1, 32, 14, 14, 16, 3, 3)),
    "conv2d fused": (
        over(IMAGE, KERNEL)(lambda a, b: topi.nn.relu(topi.nn.conv2d_nchw(a, b, 1, 1, 1))),
        (1, 32, 14, 14, 16, 3, 3),
    ),
    "conv2d nhwc": (
        over((1, 14, 14, 16), (3, 3, 16, 32))(lambda a, b: topi.nn.conv2d_nhwc(a, b, 1, 1, 1)),
        (1, 14, 14, 32, 3, 3, 16),
    ),
    "depthwise_conv2d": (
        over(IMAGE, (16, 1, 3, 3))(lambda a, b: topi.nn.depthwise_conv2d_nchw(a, b, 1, 1, 1)),
        (1, 16, 14, 14, 3, 3),
    ),
    "group_conv2d": (
        over(IMAGE, (32, 4, 3, 3))(lambda a, b: topi.nn.group_conv2d_nchw(a, b, 1, 1, 1, 4)),
        (1, 32, 14, 14, 4, 3, 3),
    ),
    "winograd": (
        over((1, 14, 14, 16), (3, 3, 16, 16))(lambda a, b: topi.nn.conv2d_winograd_nhwc(a, b, 1, 1, 1, "float32")),
        (6, 6, 16, 16, 6, 6),
    ),
    "dense": (over((8, 64), (32, 64))(topi.nn.dense), (8, 32, 64)),
    "batch_matmul": (over((4, 8, 64), (4, 32, 64))(topi.nn.batch_matmul), (4, 8, 32, 64)),
    "softmax": (over((8, 64))(topi.nn.softmax), (8, 64)),
    "pool": (over(IMAGE)(lambda a: topi.nn.pool2d(a, (3, 3), (2, 2), (1, 1), (1, 1, 1, 1), "max")), None),
    "reduction": (over((8, 64))(lambda a: topi.sum(a, axis=1)), (8, 64)),
    "elementwise": (over((8, 64), (8, 64))(topi.add), (8, 64)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_and_shape(name):
    """Layouts and fused neighbours do not matter."""
    tensors, shape = OPERATORS[name]
    auto_scheduler.register_workload(f"a {name}", lambda: tensors)
    found = describe(auto_scheduler.SearchTask(func=f"a {name}", args=(), target="c"), 3.0)

    assert found.operator == name.split()[0]
    assert shape is None or found.shape == shape
    assert (found.weight, found.key, found.target) == (3.0, f'["a {name}"]', "c -keys=cpu ")


def test_structures_are_equal_for_other_shapes():
    """And only for those."""
    first, second, other = (
        describe(task(*what)) for what in [(matmul, 8, 8, 8), (matmul, 64, 32, 16), (conv2d, 8, 8, 8)]
    )

    assert first.structure == second.structure != other.structure
    assert first.name == "matmul(8, 8, 8)"
    assert second.flops == 2 * 64 * 32 * 16 + 64 * 32
