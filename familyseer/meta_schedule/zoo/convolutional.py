# SPDX-License-Identifier: Apache-2.0
"""ResNet and MobileNetV2 for inference, batch normalisation folded."""

from __future__ import annotations

from tvm import relax
from tvm.relax.frontend import nn
from tvm.relax.frontend.nn.core import wrap_nested

from familyseer.meta_schedule.zoo.layers import RELU_GAIN, Conv, Dense
from familyseer.networks import MobileNet, ResNet

__all__ = ["MobileNetModule", "ResNetModule"]

# Expansion, channels and stride of the stages: table 2 of arXiv 1801.04381.
_MOBILE_STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 2), (6, 64, 2), (6, 96, 1), (6, 160, 2), (6, 320, 1))


class ResidualBlock(nn.Module):  # type: ignore[misc]
    """Two 3×3 convolutions, or a 1×1-3×3-1×1 bottleneck, added to their input."""

    def __init__(self, channels_in: int, width: int, channels: int, stride: int, *, gain: float) -> None:
        bottleneck = channels != width
        first = [Conv(channels_in, width, 1), Conv(width, width, 3, stride=stride)]
        self.body = nn.ModuleList(first if bottleneck else [Conv(channels_in, width, 3, stride=stride)])
        self.last = Conv(width, channels, 1 if bottleneck else 3, gain=gain)
        self.downsample = (
            Conv(channels_in, channels, 1, stride=stride, gain=1.0) if stride > 1 or channels_in != channels else None
        )

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """Map (n, channels in, h, w) to (n, channels, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        for conv in self.body:
            x = nn.op.relu(conv(x))
        return nn.op.relu(self.last(x) + shortcut)


class ResNetModule(nn.Module):  # type: ignore[misc]
    """ResNet: images (n, 3, size, size) to logits (n, classes)."""

    def __init__(self, config: ResNet) -> None:
        gain = RELU_GAIN / sum(config.blocks)
        self.stem = Conv(3, config.channels, 7, stride=2)
        blocks = []
        channels_in = config.channels
        for stage, count in enumerate(config.blocks):
            width = config.channels << stage
            channels = width * 4 if config.bottleneck else width
            for index in range(count):
                stride = 2 if stage and not index else 1
                blocks.append(ResidualBlock(channels_in, width, channels, stride, gain=gain))
                channels_in = channels
        self.blocks = nn.ModuleList(blocks)
        self.head = Dense(channels_in, config.classes)

    def forward(self, image: nn.Tensor) -> nn.Tensor:
        """Return the logits."""
        x = nn.op.relu(self.stem(image))
        x = wrap_nested(relax.op.nn.max_pool2d(x._expr, (3, 3), (2, 2), (1, 1)), "pool")
        for block in self.blocks:
            x = block(x)
        return self.head(_pool(x))


class InvertedResidual(nn.Module):  # type: ignore[misc]
    """Expand by a 1×1 convolution, filter each channel by a 3×3, project by a 1×1 without activation."""

    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int, *, gain: float) -> None:
        hidden = channels_in * expansion
        self.expand = Conv(channels_in, hidden, 1) if expansion > 1 else None
        self.filter = Conv(hidden, hidden, 3, stride=stride, groups=hidden)
        self.residual = stride == 1 and channels_in == channels
        self.project = Conv(hidden, channels, 1, gain=gain if self.residual else 1.0)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """Map (n, channels in, h, w) to (n, channels, h / stride, w / stride)."""
        y = x if self.expand is None else nn.op.relu6(self.expand(x))
        y = self.project(nn.op.relu6(self.filter(y)))
        return y + x if self.residual else y


class MobileNetModule(nn.Module):  # type: ignore[misc]
    """MobileNetV2: images (n, 3, size, size) to logits (n, classes)."""

    def __init__(self, config: MobileNet) -> None:
        channels_in = _scaled(32, config.width)
        last = _scaled(1280, max(1.0, config.width))
        gain = 1 / sum(config.blocks)
        self.stem = Conv(3, channels_in, 3, stride=2)
        blocks = []
        for (expansion, base, stride), count in zip(_MOBILE_STAGES, config.blocks, strict=True):
            channels = _scaled(base, config.width)
            for index in range(count):
                blocks.append(InvertedResidual(channels_in, channels, 1 if index else stride, expansion, gain=gain))
                channels_in = channels
        self.blocks = nn.ModuleList(blocks)
        self.last = Conv(channels_in, last, 1)
        self.head = Dense(last, config.classes)

    def forward(self, image: nn.Tensor) -> nn.Tensor:
        """Return the logits."""
        x = nn.op.relu6(self.stem(image))
        for block in self.blocks:
            x = block(x)
        return self.head(_pool(nn.op.relu6(self.last(x))))


def _pool(x: nn.Tensor) -> nn.Tensor:
    return wrap_nested(relax.op.mean(x._expr, [2, 3]), "mean")


def _scaled(channels: int, width: float) -> int:
    """Multiply, rounded to a multiple of 8 that is not more than 10 % below (as the paper's published code does)."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded
