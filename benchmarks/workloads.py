# SPDX-License-Identifier: Apache-2.0
"""The single operators that benchmarks tune: convolutions of ResNet-18 and MobileNetV2, matrix products of BERT."""

from __future__ import annotations

from collections.abc import Callable

from tvm import te, topi
from tvm.tirx import PrimFunc

__all__ = ["OPERATORS"]


def _conv(channels: int, size: int, out: int, kernel: int, stride: int = 1) -> PrimFunc:
    """Return convolution, bias and ReLU, NCHW, float32, batch 1."""
    data = te.placeholder((1, channels, size, size), name="data")
    weight = te.placeholder((out, channels, kernel, kernel), name="weight")
    bias = te.placeholder((1, out, 1, 1), name="bias")
    conv = topi.nn.conv2d(data, weight, stride, kernel // 2, 1)
    return te.create_prim_func([data, weight, bias, topi.nn.relu(topi.add(conv, bias))])


def _depthwise(channels: int, size: int) -> PrimFunc:
    data = te.placeholder((1, channels, size, size), name="data")
    weight = te.placeholder((channels, 1, 3, 3), name="weight")
    return te.create_prim_func([data, weight, topi.nn.relu(topi.nn.depthwise_conv2d_nchw(data, weight, 1, 1, 1))])


def _matmul(n: int, k: int, m: int) -> PrimFunc:
    left, right = te.placeholder((n, k), name="left"), te.placeholder((k, m), name="right")
    return te.create_prim_func([left, right, topi.nn.matmul(left, right)])


OPERATORS: dict[str, Callable[[], PrimFunc]] = {
    "conv3x3-64x56": lambda: _conv(64, 56, 64, 3),
    "conv3x3-256x14": lambda: _conv(256, 14, 256, 3),
    "conv1x1-128x28": lambda: _conv(128, 28, 256, 1),
    "depthwise-144x56": lambda: _depthwise(144, 56),
    "matmul-128x768x768": lambda: _matmul(128, 768, 768),
    "matmul-128x768x3072": lambda: _matmul(128, 768, 3072),
}
