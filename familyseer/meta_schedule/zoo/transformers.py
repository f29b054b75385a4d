# SPDX-License-Identifier: Apache-2.0
"""BERT, RoBERTa, GPT-2 and ViT for inference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm.relax.frontend import nn

from familyseer.meta_schedule.zoo.layers import RELU_GAIN, Conv, Dense, Embedding, Norm, Weight, attend, cut
from familyseer.networks import TextTransformer, VisionTransformer

__all__ = ["EncoderModule", "GPT2Module", "VisionModule"]

MASKED = -1e9
"""What is added to a score that must not count; finite, so that a fully masked row stays a number."""


class EncoderLayer(nn.Module):  # type: ignore[misc]
    """Attention and feed-forward, each added to its input and then normalised; separate query, key and value (BERT)."""

    def __init__(self, hidden: int, heads: int, epsilon: float) -> None:
        self.query = Dense(hidden, hidden)
        self.key = Dense(hidden, hidden)
        self.value = Dense(hidden, hidden)
        self.output = Dense(hidden, hidden)
        self.output_norm = Norm(hidden, epsilon)
        self.up = Dense(hidden, 4 * hidden, gain=RELU_GAIN)
        self.down = Dense(4 * hidden, hidden)
        self.down_norm = Norm(hidden, epsilon)
        self.heads = heads

    def forward(self, x: nn.Tensor, mask: nn.Tensor) -> nn.Tensor:
        """Map (b, s, hidden) to the same shape; `mask` (b, 1, 1, s) is added to the scores."""
        context = attend(self.query(x), self.key(x), self.value(x), self.heads, mask)
        x = self.output_norm(self.output(context) + x)
        return self.down_norm(self.down(nn.op.gelu(self.up(x))) + x)


class EncoderModule(nn.Module):  # type: ignore[misc]
    """BERT or RoBERTa: token ids, mask (and token types) to the last hidden state and the pooled first token.

    The inputs are (b, s), the outputs (b, s, hidden) and (b, hidden).
    """

    def __init__(self, config: TextTransformer) -> None:
        self.config = config
        self.words = Embedding(config.vocabulary, config.hidden)
        self.positions = Embedding(config.positions, config.hidden)
        self.types = Embedding(config.token_types, config.hidden)
        self.norm = Norm(config.hidden, config.epsilon)
        self.layers = nn.ModuleList(
            [EncoderLayer(config.hidden, config.heads, config.epsilon) for _ in range(config.layers)]
        )
        self.pooler = Dense(config.hidden, config.hidden)

    def forward(
        self, input_ids: nn.Tensor, attention_mask: nn.Tensor, *token_type_ids: nn.Tensor
    ) -> tuple[nn.Tensor, ...]:
        """Return the last hidden state and the pooled first token."""
        config = self.config
        batch, length = input_ids.shape
        types = self.types(token_type_ids[0]) if token_type_ids else self.types.rows(0, 1)
        x = self.words(input_ids) + types + self.positions.rows(config.first_position, length)
        x = self.norm(x)
        real = nn.op.reshape(nn.op.astype(attention_mask, "float32"), (batch, 1, 1, length))
        mask = (real - 1.0) * -MASKED
        for layer in self.layers:
            x = layer(x, mask)
        first = nn.op.reshape(cut(x, 1, 0, 1), (batch, config.hidden))
        return x, nn.op.tanh(self.pooler(first))


class PreNormLayer(nn.Module):  # type: ignore[misc]
    """Attention and feed-forward on the normalised input, each added to it; fused query-key-value (GPT-2, ViT)."""

    def __init__(
        self, hidden: int, heads: int, epsilon: float, activation: Callable[[nn.Tensor], nn.Tensor], *, gain: float
    ) -> None:
        self.attention_norm = Norm(hidden, epsilon)
        self.qkv = Dense(hidden, 3 * hidden)
        self.output = Dense(hidden, hidden, gain=gain)
        self.feed_norm = Norm(hidden, epsilon)
        self.up = Dense(hidden, 4 * hidden, gain=RELU_GAIN)
        self.down = Dense(4 * hidden, hidden, gain=gain)
        self.heads = heads
        self.activation = activation

    def forward(self, x: nn.Tensor, mask: nn.Tensor | None) -> nn.Tensor:
        """Map (b, s, hidden) to the same shape; `mask` is added to the scores (b, heads, s, s)."""
        hidden = x.shape[-1]
        qkv = self.qkv(self.attention_norm(x))
        q, k, v = (cut(qkv, 2, i * hidden, (i + 1) * hidden) for i in range(3))
        x = self.output(attend(q, k, v, self.heads, mask)) + x
        return self.down(self.activation(self.up(self.feed_norm(x)))) + x


class GPT2Module(nn.Module):  # type: ignore[misc]
    """GPT-2: token ids (b, s) to logits (b, s, vocabulary) by the transposed embedding."""

    def __init__(self, config: TextTransformer) -> None:
        self.config = config
        self.words = Embedding(config.vocabulary, config.hidden)
        self.positions = Embedding(config.positions, config.hidden)
        gain = 1 / (2 * config.layers)
        self.layers = nn.ModuleList(
            [
                PreNormLayer(config.hidden, config.heads, config.epsilon, _gelu_tanh, gain=gain)
                for _ in range(config.layers)
            ]
        )
        self.norm = Norm(config.hidden, config.epsilon)

    def forward(self, input_ids: nn.Tensor) -> nn.Tensor:
        """Return the logits of every position."""
        length = input_ids.shape[1]
        x = self.words(input_ids) + self.positions.rows(0, length)
        mask = nn.Tensor.from_const(np.triu(np.full((length, length), MASKED, "float32"), 1))
        for layer in self.layers:
            x = layer(x, mask)
        return nn.op.matmul(self.norm(x), nn.op.permute_dims(self.words.weight))


class VisionModule(nn.Module):  # type: ignore[misc]
    """ViT: images (n, 3, size, size) to logits (n, classes)."""

    def __init__(self, config: VisionTransformer) -> None:
        self.config = config
        self.patches = config.image_size // config.patch
        self.embed = Conv(3, config.hidden, config.patch, stride=config.patch, gain=1.0, padding=0)
        self.class_token = Weight((1, 1, config.hidden), std=1.0)
        self.positions = Weight((1, self.patches**2 + 1, config.hidden), std=0.3)
        gain = 1 / (2 * config.layers)
        self.layers = nn.ModuleList(
            [
                PreNormLayer(config.hidden, config.heads, config.epsilon, nn.op.gelu, gain=gain)
                for _ in range(config.layers)
            ]
        )
        self.norm = Norm(config.hidden, config.epsilon)
        self.head = Dense(config.hidden, config.classes)

    def forward(self, image: nn.Tensor) -> nn.Tensor:
        """Return the logits."""
        batch, hidden = image.shape[0], self.config.hidden
        x = nn.op.reshape(self.embed(image), (batch, hidden, self.patches**2))
        token = nn.op.broadcast_to(self.class_token, (batch, 1, hidden))
        x = nn.op.concat([token, nn.op.permute_dims(x, [0, 2, 1])], 1) + self.positions
        for layer in self.layers:
            x = layer(x, None)
        first = nn.op.reshape(cut(self.norm(x), 1, 0, 1), (batch, hidden))
        return self.head(first)


def _gelu_tanh(x: nn.Tensor) -> nn.Tensor:
    return nn.op.gelu(x, "tanh")
