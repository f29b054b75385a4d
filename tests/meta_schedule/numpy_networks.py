# SPDX-License-Identifier: Apache-2.0
"""The networks of the zoo in plain numpy: `p` holds parameters by the names of `familyseer.meta_schedule.zoo`."""

from __future__ import annotations

import math

import numpy as np


def conv(p, name, x, stride=1, padding=None, groups=1):
    """Convolve and add the folded bias."""
    w = p[f"{name}.weight"]
    padding = (w.shape[2] - 1) // 2 if padding is None else padding
    x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    parts = zip(np.split(windows, groups, axis=1), np.split(w, groups, axis=0), strict=True)
    return np.concatenate([np.einsum("nchwij,ocij->nohw", a, b) for a, b in parts], axis=1) + p[f"{name}.bias"]


def dense(p, name, x):
    """Multiply and add the bias."""
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def norm(p, name, x, epsilon):
    """Normalise the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + epsilon) * p[f"{name}.weight"] + p[f"{name}.bias"]


def softmax(x):
    """Normalise exponentials over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def relu(x):
    """Cut below 0."""
    return np.maximum(x, 0)


def relu6(x):
    """Cut below 0 and above 6."""
    return np.clip(x, 0, 6)


def gelu(x):
    """Weight by the exact normal distribution function."""
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def gelu_tanh(x):
    """Weight by GPT-2's approximation of it."""
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def attention(q, k, v, heads, mask):
    """Attend head by head; `mask` (b, s, s) is true where a query may look."""
    size = q.shape[2] // heads
    contexts = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = q[..., part] @ k[..., part].swapaxes(1, 2) / math.sqrt(size)
        contexts.append(softmax(np.where(mask, scores, -np.inf)) @ v[..., part])
    return np.concatenate(contexts, axis=2)


def max_pool(x):
    """Take the maximum of 3×3 windows at stride 2."""
    x = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max((4, 5))


def resnet(config, p, image):
    """Compute the logits of an image."""
    x = max_pool(relu(conv(p, "stem", image, stride=2)))
    index = 0
    for stage, count in enumerate(config.blocks):
        for block in range(count):
            name, stride = f"blocks.{index}", 2 if stage and not block else 1
            y = x
            shortcut = conv(p, f"{name}.downsample", x, stride, 0) if f"{name}.downsample.weight" in p else x
            if config.bottleneck:
                y = relu(conv(p, f"{name}.body.0", y))
                y = relu(conv(p, f"{name}.body.1", y, stride))
            else:
                y = relu(conv(p, f"{name}.body.0", y, stride))
            x = relu(conv(p, f"{name}.last", y) + shortcut)
            index += 1
    return [dense(p, "head", x.mean((2, 3)))]


def mobilenet(config, p, image):
    """Compute the logits of an image."""
    x = relu6(conv(p, "stem", image, stride=2))
    index = 0
    for count, stage_stride in zip(config.blocks, (1, 2, 2, 2, 1, 2, 1), strict=True):
        for block in range(count):
            name, stride = f"blocks.{index}", 1 if block else stage_stride
            y = relu6(conv(p, f"{name}.expand", x)) if index else x
            y = relu6(conv(p, f"{name}.filter", y, stride, groups=y.shape[1]))
            y = conv(p, f"{name}.project", y)
            x = y + x if y.shape == x.shape and stride == 1 else y
            index += 1
    return [dense(p, "head", relu6(conv(p, "last", x)).mean((2, 3)))]


def encoder(config, p, ids, mask, types=0):
    """Compute the last hidden state and the pooled first token."""
    b, s = ids.shape
    positions = p["positions.weight"][config.first_position : config.first_position + s]
    x = norm(p, "norm", p["words.weight"][ids] + positions + p["types.weight"][types], config.epsilon)
    visible = np.broadcast_to(mask[:, None, :] == 1, (b, s, s))
    for layer in range(config.layers):
        at = f"layers.{layer}"
        q, k, v = (dense(p, f"{at}.{part}", x) for part in ("query", "key", "value"))
        context = attention(q, k, v, config.heads, visible)
        x = norm(p, f"{at}.output_norm", x + dense(p, f"{at}.output", context), config.epsilon)
        up = gelu(dense(p, f"{at}.up", x))
        x = norm(p, f"{at}.down_norm", x + dense(p, f"{at}.down", up), config.epsilon)
    return [x, np.tanh(dense(p, "pooler", x[:, 0]))]


def pre_norm_layers(config, p, x, visible, activation):
    """Compute the normalised output of the layers."""
    for layer in range(config.layers):
        at = f"layers.{layer}"
        q, k, v = np.split(dense(p, f"{at}.qkv", norm(p, f"{at}.attention_norm", x, config.epsilon)), 3, axis=2)
        x = x + dense(p, f"{at}.output", attention(q, k, v, config.heads, visible))
        up = activation(dense(p, f"{at}.up", norm(p, f"{at}.feed_norm", x, config.epsilon)))
        x = x + dense(p, f"{at}.down", up)
    return norm(p, "norm", x, config.epsilon)


def gpt2(config, p, ids):
    """Compute the logits of every position."""
    b, s = ids.shape
    x = p["words.weight"][ids] + p["positions.weight"][:s]
    visible = np.broadcast_to(np.tri(s, dtype=bool), (b, s, s))
    return [pre_norm_layers(config, p, x, visible, gelu_tanh) @ p["words.weight"].T]


def vit(config, p, image):
    """Compute the logits of an image."""
    b = image.shape[0]
    patches = conv(p, "embed", image, config.patch, 0).reshape(b, config.hidden, -1).swapaxes(1, 2)
    token = np.broadcast_to(p["class_token"], (b, 1, config.hidden))
    x = np.concatenate([token, patches], axis=1) + p["positions"]
    visible = np.ones((b, x.shape[1], x.shape[1]), dtype=bool)
    return [dense(p, "head", pre_norm_layers(config, p, x, visible, gelu)[:, 0])]
