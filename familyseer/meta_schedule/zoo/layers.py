# SPDX-License-Identifier: Apache-2.0
"""Layers that the networks share, written so that their Relax legalises into well-fused kernels."""

from __future__ import annotations

from math import sqrt

from tvm import relax
from tvm.relax.frontend import nn
from tvm.relax.frontend.nn.core import wrap_nested

__all__ = ["RELU_GAIN", "Conv", "Dense", "Embedding", "Norm", "Weight", "attend", "cut", "heads_of"]

RELU_GAIN = 2.0
"""Variance gain that makes up for a rectifier's loss (He et al., arXiv 1502.01852)."""


class Weight(nn.Parameter):  # type: ignore[misc]
    """A parameter that knows the normal distribution its random values are drawn from."""

    def __init__(self, shape: tuple[int, ...], *, std: float, mean: float = 0.0) -> None:
        super().__init__(shape, "float32")
        self.std = std
        self.mean = mean


class Conv(nn.Module):  # type: ignore[misc]
    """Convolution with a folded batch normalisation: NCHW data, OIHW kernel.

    `padding` None keeps the size at stride 1; `gain` is the variance of the output over that of the input.
    The bias has shape (1, channels, 1, 1), so that adding it needs no reshape and fuses with the convolution.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        gain: float = RELU_GAIN,
    ) -> None:
        fan_in = channels_in // groups * kernel * kernel
        self.weight = Weight((channels, channels_in // groups, kernel, kernel), std=sqrt(gain / fan_in))
        self.bias = Weight((1, channels, 1, 1), std=0.05)
        self.stride = stride
        self.padding = (kernel - 1) // 2 if padding is None else padding
        self.groups = groups

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """Map (n, channels in, h, w) to (n, channels, h / stride, w / stride)."""
        y = nn.op.conv2d(x, self.weight, stride=self.stride, padding=self.padding, groups=self.groups)
        return y + self.bias


class Dense(nn.Module):  # type: ignore[misc]
    """Matrix product and bias; the weight is stored (inputs, outputs), so that no transposition is left at run time."""

    def __init__(self, inputs: int, outputs: int, *, gain: float = 1.0) -> None:
        self.weight = Weight((inputs, outputs), std=sqrt(gain / inputs))
        self.bias = Weight((outputs,), std=0.05)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return nn.op.matmul(x, self.weight) + self.bias


class Norm(nn.Module):  # type: ignore[misc]
    """Layer normalisation over the last axis."""

    def __init__(self, hidden: int, epsilon: float) -> None:
        self.weight = Weight((hidden,), std=0.05, mean=1.0)
        self.bias = Weight((hidden,), std=0.05)
        self.hidden = hidden
        self.epsilon = epsilon

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """Normalise (..., hidden)."""
        return nn.op.layer_norm(x, self.hidden, self.weight, self.bias, self.epsilon)


class Embedding(nn.Module):  # type: ignore[misc]
    """A table of vectors."""

    def __init__(self, rows: int, hidden: int) -> None:
        self.weight = Weight((rows, hidden), std=0.1)

    def forward(self, ids: nn.Tensor) -> nn.Tensor:
        """Map ids (b, s) to vectors (b, s, hidden); ids outside the table give its first or last row."""
        return wrap_nested(relax.op.take(self.weight._expr, ids._expr, axis=0, mode="clip"), "take")

    def rows(self, first: int, count: int) -> nn.Tensor:
        """Return `count` rows from `first` on, (count, hidden)."""
        return cut(self.weight, 0, first, first + count)


def cut(x: nn.Tensor, axis: int, begin: int, end: int) -> nn.Tensor:
    """Return the part of `x` from `begin` to before `end` along `axis`."""
    return wrap_nested(relax.op.strided_slice(x._expr, [axis], [begin], [end]), "cut")


def heads_of(x: nn.Tensor, heads: int, axes: list[int]) -> nn.Tensor:
    """Split (b, s, hidden) into heads, (b, s, heads, hidden / heads), and permute the axes."""
    b, s, hidden = x.shape
    return nn.op.permute_dims(nn.op.reshape(x, (b, s, heads, hidden // heads)), axes)


def attend(q: nn.Tensor, k: nn.Tensor, v: nn.Tensor, heads: int, mask: nn.Tensor | None) -> nn.Tensor:
    """Multi-head attention; `q`, `k`, `v` are (b, s, hidden), `mask` is added to the scores (b, heads, s, s)."""
    b, s, hidden = q.shape
    scores = nn.op.matmul(heads_of(q, heads, [0, 2, 1, 3]), heads_of(k, heads, [0, 2, 3, 1]))
    scores = scores * (1 / sqrt(hidden // heads))
    if mask is not None:
        scores = scores + mask
    context = nn.op.matmul(nn.op.softmax(scores, axis=-1), heads_of(v, heads, [0, 2, 1, 3]))
    return nn.op.reshape(nn.op.permute_dims(context, [0, 2, 1, 3]), (b, s, hidden))
