# SPDX-License-Identifier: Apache-2.0
"""From the dimensions of a network to its Relax module and random weights."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from tvm.relax.frontend import nn

from familyseer.meta_schedule.zoo.convolutional import MobileNetModule, ResNetModule
from familyseer.meta_schedule.zoo.layers import Weight
from familyseer.meta_schedule.zoo.transformers import EncoderModule, GPT2Module, VisionModule
from familyseer.networks import InputSpec, MobileNet, Network, NetworkConfig, ResNet, TextTransformer

__all__ = ["build", "export", "parameter_count"]


def build(name: str, config: NetworkConfig, batch: int, seed: int) -> Network:
    """Return the network of these dimensions; arguments are checked by `familyseer.networks.build`."""
    mod, weights = export(config, batch)
    rng = np.random.default_rng(seed)
    return Network(
        name=name,
        mod=mod,
        params={name: _draw(weight, rng) for name, weight in weights},
        inputs=_inputs(config, batch),
        bounds={"input_ids": config.vocabulary} if isinstance(config, TextTransformer) else {},
    )


def export(config: NetworkConfig, batch: int) -> tuple[Any, list[tuple[str, Weight]]]:
    """Return the Relax module and its parameters by name, without values."""
    module = _module(config)
    inputs = _inputs(config, batch)
    tensors = [nn.spec.Tensor(shape, dtype) for shape, dtype in inputs.values()]
    method = nn.spec.MethodSpec(module.forward, list(inputs), tensors, param_mode="plain", effect_mode="none")
    mod, weights = module.export_tvm(nn.spec.ModuleSpec(module, ["main"], [method]))
    return mod, weights


def parameter_count(config: NetworkConfig) -> int:
    """Return the number of weights of a network of these dimensions."""
    return sum(prod(int(extent) for extent in weight.shape) for _, weight in _module(config).named_parameters())


def _module(config: NetworkConfig) -> Any:
    if isinstance(config, ResNet):
        return ResNetModule(config)
    if isinstance(config, MobileNet):
        return MobileNetModule(config)
    if isinstance(config, TextTransformer):
        return GPT2Module(config) if config.causal else EncoderModule(config)
    return VisionModule(config)


def _inputs(config: NetworkConfig, batch: int) -> dict[str, InputSpec]:
    if not isinstance(config, TextTransformer):
        return {"image": ((batch, 3, config.image_size, config.image_size), "float32")}
    named = ["input_ids"]
    if not config.causal:
        named.append("attention_mask")
    if config.token_types > 1:
        named.append("token_type_ids")
    return {name: ((batch, config.seq_len), "int64") for name in named}


def _draw(weight: Weight, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    shape = tuple(int(extent) for extent in weight.shape)
    values = rng.standard_normal(shape, dtype="float32")
    values *= np.float32(weight.std)
    values += np.float32(weight.mean)
    return values
