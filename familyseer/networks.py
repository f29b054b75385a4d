# SPDX-License-Identifier: Apache-2.0
"""The built-in networks: their names, published dimensions and options.

Weights are random and seeded, so nothing is ever downloaded; they are scaled so that activations neither vanish nor
explode, and an output of the tuned network can be compared with one of the untuned. Batch normalisation is folded into
the convolutions.
TVM is imported by `build` and `parameter_count`, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any

import numpy as np

from familyseer.errors import InvalidInputError

__all__ = [
    "InputSpec",
    "MobileNet",
    "Network",
    "NetworkConfig",
    "ResNet",
    "TextTransformer",
    "VisionTransformer",
    "build",
    "configuration",
    "names",
    "options",
    "parameter_count",
    "sizes",
]

InputSpec = tuple[tuple[int, ...], str]
"""Shape and data type of one input."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """A network ready to be tuned, and what is needed to run it.

    Parameters
    ----------
    name
        What a person calls it.
    mod
        `tvm.IRModule` in Relax with one function ``main``: first the data inputs in the order of `inputs`, then the
        parameters in the order of `params`.
    params
        Weights by parameter name, numpy arrays.
    inputs
        Shape and data type of each data input, by name.
    bounds
        For integer inputs, the value that `example_inputs` stays below (vocabulary size for token ids); 2 by default.
    """

    name: str
    mod: Any
    params: Mapping[str, np.ndarray[Any, Any]]
    inputs: Mapping[str, InputSpec]
    bounds: Mapping[str, int] = field(default_factory=dict)

    def example_inputs(self, seed: int = 0) -> list[np.ndarray[Any, Any]]:
        """Return one array per data input: normal deviates, or integers within the input's bounds.

        An input called ``attention_mask`` marks a prefix of each sequence, at least half of it, as real tokens.
        """
        rng = np.random.default_rng(seed)
        return [self._example(name, rng) for name in self.inputs]

    def _example(self, name: str, rng: np.random.Generator) -> np.ndarray[Any, Any]:
        shape, dtype = self.inputs[name]
        kind = np.dtype(dtype).kind
        if name == "attention_mask" and len(shape) == 2:
            lengths = rng.integers((shape[1] + 1) // 2, shape[1] + 1, size=(shape[0], 1))
            return (np.arange(shape[1])[None, :] < lengths).astype(dtype)
        if kind in "iub":
            return rng.integers(0, self.bounds.get(name, 2), size=shape).astype(dtype)
        return rng.standard_normal(shape).astype(dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet:
    """Residual network (arXiv 1512.03385; stride on the 3×3 convolution of a bottleneck, as torchvision does)."""

    blocks: tuple[int, ...]
    bottleneck: bool
    channels: int = 64
    image_size: int = 224
    classes: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileNet:
    """MobileNetV2 (arXiv 1801.04381); `width` multiplies the channels, `blocks` counts those of each stage."""

    blocks: tuple[int, ...] = (1, 2, 3, 4, 3, 3, 1)
    width: float = 1.0
    image_size: int = 224
    classes: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTransformer:
    """BERT (arXiv 1810.04805), RoBERTa (arXiv 1907.11692) or GPT-2, told apart by the fields below.

    Parameters
    ----------
    causal
        GPT-2: attention to the left, normalisation before each branch, fused query-key-value weights, logits by the
        tied embedding. Otherwise an encoder with normalisation after each branch and a pooler.
    token_types
        Rows of the token type embedding; 0 for none, 1 for a constant type (RoBERTa), more for an input
        ``token_type_ids``.
    first_position
        Row of the position table that belongs to the first token (2 in RoBERTa, whose padding token has index 1).
    """

    hidden: int
    heads: int
    layers: int
    vocabulary: int
    positions: int
    epsilon: float
    causal: bool = False
    token_types: int = 0
    first_position: int = 0
    seq_len: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionTransformer:
    """ViT with a class token (arXiv 2010.11929)."""

    hidden: int
    heads: int
    layers: int
    patch: int
    image_size: int = 224
    classes: int = 1000
    epsilon: float = 1e-6


NetworkConfig = ResNet | MobileNet | TextTransformer | VisionTransformer
"""Dimensions of one network."""

_BERT = TextTransformer(hidden=768, heads=12, layers=12, vocabulary=30522, positions=512, epsilon=1e-12, token_types=2)
_ROBERTA = replace(_BERT, vocabulary=50265, positions=514, epsilon=1e-5, token_types=1, first_position=2)
_GPT2 = replace(_BERT, vocabulary=50257, positions=1024, epsilon=1e-5, token_types=0, causal=True)
_VIT = VisionTransformer(hidden=768, heads=12, layers=12, patch=16)

_FULL: dict[str, NetworkConfig] = {
    "resnet18": ResNet(blocks=(2, 2, 2, 2), bottleneck=False),
    "resnet50": ResNet(blocks=(3, 4, 6, 3), bottleneck=True),
    "mobilenet_v2": MobileNet(),
    "bert_base": _BERT,
    "roberta_base": _ROBERTA,
    "gpt2": _GPT2,
    "vit_b16": _VIT,
}

_TINY_TEXT: dict[str, Any] = {"hidden": 32, "heads": 2, "layers": 2, "vocabulary": 97, "positions": 40, "seq_len": 16}
_TINY: dict[type, dict[str, Any]] = {
    ResNet: {"channels": 8, "blocks": (1, 1, 1, 1), "image_size": 32, "classes": 10},
    MobileNet: {"width": 0.25, "blocks": (1, 1, 1, 1, 1, 1, 1), "image_size": 32, "classes": 10},
    TextTransformer: _TINY_TEXT,
    VisionTransformer: {"hidden": 32, "heads": 2, "layers": 2, "patch": 8, "image_size": 32, "classes": 10},
}

_OPTIONS: dict[type, tuple[str, ...]] = {
    ResNet: ("depth", "image_size", "classes"),
    MobileNet: ("depth", "width", "image_size", "classes"),
    TextTransformer: ("depth", "seq_len"),
    VisionTransformer: ("depth", "image_size", "classes"),
}


def names() -> list[str]:
    """Return the names that `build` accepts.

    Examples
    --------
    >>> names()
    ['resnet18', 'resnet50', 'mobilenet_v2', 'bert_base', 'roberta_base', 'gpt2', 'vit_b16']
    """
    return list(_FULL)


def sizes() -> list[str]:
    """Return the sizes that `build` accepts: the published dimensions, and a toy of the same structure for tests."""
    return ["full", "tiny"]


def options(name: str) -> list[str]:
    """Return the names of the options of network `name`.

    Examples
    --------
    >>> options("mobilenet_v2")
    ['depth', 'width', 'image_size', 'classes']
    """
    return list(_OPTIONS[type(_lookup(name))])


def configuration(name: str, *, size: str = "full", **options: Any) -> NetworkConfig:
    """Return the dimensions of a network after its options; arguments as in `build`."""
    base = _lookup(name)
    if size not in sizes():
        raise InvalidInputError(f"`size` must be one of {', '.join(sizes())}; got {size!r}")
    kind = type(base)
    for option in options:
        if option not in _OPTIONS[kind]:
            valid = ", ".join(_OPTIONS[kind])
            raise InvalidInputError(f"`{option}` is not an option of network {name!r}. Its options: {valid}")
    config = replace(base, **_TINY[kind]) if size == "tiny" else base
    checked = {option: _check_option(option, value) for option, value in options.items()}
    return _check_dimensions(_with_options(config, checked))


def build(name: str, *, batch: int = 1, size: str = "full", seed: int = 0, **options: Any) -> Network:
    """Construct a network with random weights.

    Parameters
    ----------
    name
        One of `names`.
    batch
        Number of images or sequences.
    size
        ``"full"`` for the published dimensions, ``"tiny"`` for tests.
    seed
        Seed of the weights; equal seeds give equal weights.
    **options
        ``depth`` (layers of a transformer; of a convolutional network the most blocks that a stage may have),
        ``image_size`` (pixels), ``classes``, ``seq_len`` (tokens), ``width`` (MobileNetV2's multiplier). `options`
        lists those of a network.

    Raises
    ------
    InvalidInputError
        When the name, an option or a value is not valid; the message lists what is.
    """
    from familyseer.meta_schedule import zoo

    config = configuration(name, size=size, **options)
    return zoo.build(name, config, _check_count("batch", batch), _check_seed(seed))


def parameter_count(name: str, *, size: str = "full", **options: Any) -> int:
    """Return how many weights a network has, without allocating them.

    A folded batch normalisation leaves one bias per channel, where published counts have a scale and a shift: the
    count of a convolutional network is less than the published one by the number of its convolution channels.
    """
    from familyseer.meta_schedule import zoo

    return zoo.parameter_count(configuration(name, size=size, **options))


def _lookup(name: str) -> NetworkConfig:
    if name not in _FULL:
        raise InvalidInputError(f"`name` must be one of {', '.join(_FULL)}; got {name!r}")
    return _FULL[name]


def _check_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InvalidInputError(f"`seed` must be an integer ≥ 0; got {seed!r}")
    return int(seed)


def _check_count(option: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidInputError(f"`{option}` must be an integer ≥ 1; got {value!r}")
    return int(value)


def _check_width(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (isfinite(value) and 0 < value <= 8):
        raise InvalidInputError(f"`width` must be a number above 0 and at most 8; got {value!r}")
    return float(value)


_CHECKS: dict[str, Callable[[Any], Any]] = {"width": _check_width}


def _check_option(option: str, value: Any) -> Any:
    return _CHECKS[option](value) if option in _CHECKS else _check_count(option, value)


def _with_options(config: NetworkConfig, options: Mapping[str, Any]) -> NetworkConfig:
    changes = {option: value for option, value in options.items() if option != "depth"}
    if "depth" in options:
        changes |= _depth_change(config, options["depth"])
    known = {f.name for f in fields(config)}
    assert changes.keys() <= known
    return replace(config, **changes)


def _depth_change(config: NetworkConfig, depth: int) -> dict[str, Any]:
    if isinstance(config, ResNet | MobileNet):
        return {"blocks": tuple(min(blocks, depth) for blocks in config.blocks)}
    return {"layers": depth}


def _check_dimensions(config: NetworkConfig) -> NetworkConfig:
    if isinstance(config, TextTransformer):
        longest = config.positions - config.first_position
        if config.seq_len > longest:
            raise InvalidInputError(f"`seq_len` must be at most {longest}; got {config.seq_len!r}")
    elif isinstance(config, VisionTransformer):
        if config.image_size % config.patch:
            raise InvalidInputError(f"`image_size` must be a multiple of {config.patch}; got {config.image_size!r}")
    elif config.image_size < 32:
        raise InvalidInputError(f"`image_size` must be at least 32; got {config.image_size!r}")
    return config
