# SPDX-License-Identifier: Apache-2.0
"""The networks: sizes, numerics against plain numpy, and the kernels they lower to."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import tvm
from tvm import relax

from familyseer import networks
from familyseer.errors import InvalidInputError
from familyseer.meta_schedule.lowering import legalize_and_fuse, require_static
from familyseer.meta_schedule.zoo.construction import export
from tests.meta_schedule.numpy_networks import encoder, gpt2, mobilenet, resnet, vit

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 1})


def compiled(mod):
    """Compile a lowered module untuned."""
    executable = tvm.compile(mod, target=TARGET, relax_pipeline=relax.get_pipeline("default_build"))
    return relax.VirtualMachine(executable, tvm.cpu())


def run(machine, arguments):
    """Return the outputs of ``main`` as a list."""
    outputs = machine["main"](*[tvm.runtime.tensor(array) for array in arguments])
    outputs = [outputs] if isinstance(outputs, tvm.runtime.Tensor) else list(outputs)
    return [output.numpy() for output in outputs]


def kernels(mod):
    """Return the names of the blocks of each kernel, without the root."""
    found = []
    for func in mod.functions.values():
        if isinstance(func, tvm.tirx.PrimFunc):
            lines = [line for line in func.script().splitlines() if "sblock(" in line]
            found.append([line.split('"')[1] for line in lines if '"root"' not in line])
    return found


REFERENCES = {
    "resnet18": resnet,
    "resnet50": resnet,
    "mobilenet_v2": mobilenet,
    "bert_base": encoder,
    "roberta_base": encoder,
    "gpt2": gpt2,
    "vit_b16": vit,
}
OPTIONS = {"resnet18": {"image_size": 40}, "gpt2": {"seq_len": 11}}


@cache
def tiny(name, batch=2):
    """Build a tiny network once for all tests of this file."""
    return networks.build(name, batch=batch, size="tiny", **OPTIONS.get(name, {}))


@cache
def lowered(name):
    """Lower a tiny network with its weights bound."""
    return legalize_and_fuse(tiny(name).mod, tiny(name).params)


@cache
def machine(name):
    """Compile a tiny network."""
    return compiled(lowered(name))


# ---- sizes


@pytest.mark.parametrize(
    ("name", "published", "norm_channels"),
    [
        ("resnet18", 11_689_512, 4_800),
        ("resnet50", 25_557_032, 26_560),
        ("mobilenet_v2", 3_504_872, 17_056),
        ("bert_base", 109_482_240, 0),
        ("roberta_base", 124_645_632, 0),
        ("gpt2", 124_439_808, 0),
        ("vit_b16", 86_567_656, 0),
    ],
)
def test_has_as_many_parameters_as_published(name, published, norm_channels):
    """Folding a batch normalisation turns its scale and shift into one bias: one number less per channel."""
    assert networks.parameter_count(name) == published - norm_channels


@pytest.mark.parametrize(("width", "published", "norm_channels"), [(0.5, 1_968_680, 9_272), (1.4, 6_108_776, 23_968)])
def test_the_width_multiplies_the_channels(width, published, norm_channels):
    """Published, rounded, as 1.97 and 6.11 million."""
    assert networks.parameter_count("mobilenet_v2", width=width) == published - norm_channels


def test_full_layers_keep_their_shapes_at_small_depth():
    """One layer of GPT-2 has the published 7,087,872 parameters."""
    one, two = (networks.parameter_count("gpt2", depth=depth) for depth in (1, 2))

    assert two - one == 7_087_872


# ---- what a network consists of


@pytest.mark.parametrize("name", networks.names())
def test_arguments_are_the_inputs_and_then_the_parameters(name):
    """`BindParams` and the virtual machine rely on names, order, shapes and types."""
    network = tiny(name)
    arguments = [
        (var.name, tuple(int(d) for d in var.ty.shape), str(var.ty.dtype)) for var in network.mod["main"].params
    ]

    inputs = [(key, *spec) for key, spec in network.inputs.items()]
    params = [(key, array.shape, str(array.dtype)) for key, array in network.params.items()]
    assert arguments == inputs + params
    assert [var.name_hint for var in network.mod.get_global_vars()] == ["main"]


def test_text_networks_have_the_inputs_of_their_exports():
    """BERT takes token types, RoBERTa only a mask, GPT-2 token ids alone."""
    found = {name: list(tiny(name).inputs) for name in ("bert_base", "roberta_base", "gpt2")}

    assert found == {
        "bert_base": ["input_ids", "attention_mask", "token_type_ids"],
        "roberta_base": ["input_ids", "attention_mask"],
        "gpt2": ["input_ids"],
    }


def test_weights_depend_on_the_seed_alone():
    """Equal seeds give equal weights, other seeds others."""
    first, again, other = (networks.build("bert_base", size="tiny", seed=seed).params for seed in (1, 1, 2))

    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not any(np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"batch": 0}, "`batch` must be an integer ≥ 1; got 0"), ({"seed": -1}, "`seed` must be an integer ≥ 0; got -1")],
)
def test_build_refuses_bad_numbers(arguments, message):
    """Batch and seed are checked like the options."""
    with pytest.raises(InvalidInputError, match=message):
        networks.build("gpt2", size="tiny", **arguments)


# ---- numerics


@pytest.mark.parametrize("name", networks.names())
def test_computes_what_plain_numpy_computes(name):
    """The lowered, compiled network equals the reference in double precision."""
    network = tiny(name)
    inputs = network.example_inputs(5)
    doubled = {key: array.astype("float64") for key, array in network.params.items()}
    config = networks.configuration(name, size="tiny", **OPTIONS.get(name, {}))

    outputs = run(machine(name), inputs)

    expected = REFERENCES[name](config, doubled, *inputs)
    assert [output.shape for output in outputs] == [reference.shape for reference in expected]
    for output, reference in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output, reference, rtol=1e-3, atol=2e-4 * np.abs(reference).max())


@pytest.mark.parametrize("name", networks.names())
def test_outputs_depend_on_the_inputs(name):
    """Activations neither vanish nor saturate: two examples of a batch differ by a fair part of the output's spread."""
    output = run(machine(name), tiny(name).example_inputs(6))[0]

    assert np.isfinite(output).all()
    assert np.abs(output[0] - output[1]).mean() > 0.1 * output.std() > 1e-3


def test_unbound_weights_give_the_same_output():
    """Weights may stay arguments; the tied embedding is then read transposed, not copied."""
    network = tiny("gpt2")
    mod = legalize_and_fuse(network.mod)

    (output,) = run(compiled(mod), [*network.example_inputs(5), *network.params.values()])

    np.testing.assert_allclose(output, run(machine("gpt2"), network.example_inputs(5))[0], rtol=1e-4, atol=1e-5)
    assert ["NT_matmul"] in kernels(mod)


# ---- kernels


def test_convolutions_fuse_with_bias_residual_and_activation():
    """A residual block has two kernels: the second adds the shortcut and rectifies."""
    fused = kernels(lowered("resnet18"))

    assert ["pad_temp", "conv2d_nchw", "T_add", "compute"] in fused
    assert ["pad_temp", "conv2d_nchw", "T_add", "T_add1", "compute"] in fused
    assert not [blocks for blocks in fused if blocks in (["T_add"], ["compute"], ["T_reshape"])]


def test_attention_scores_fuse_with_scale_and_mask():
    """A layer of GPT-2 has no kernel of element-wise operations alone."""
    fused = kernels(lowered("gpt2"))

    assert ["matmul", "T_multiply", "T_add"] in fused
    assert [k for k in fused if "matmul" not in k and "T_add" in k] == [["T_add"]]  # token + position embedding


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("resnet18", 21),
        ("resnet50", 31),
        ("mobilenet_v2", 32),
        ("bert_base", 17),
        ("roberta_base", 16),
        ("gpt2", 15),
        ("vit_b16", 16),
    ],
)
def test_number_of_distinct_kernels_at_full_size(name, tasks):
    """Equal layers share a kernel, so two layers of a transformer have those of twelve; weights are not needed."""
    config = networks.configuration(name, **({} if "net" in name else {"depth": 2}))

    mod, _ = export(config, 1)

    assert len(kernels(legalize_and_fuse(mod))) == tasks


@pytest.mark.parametrize("ty", [relax.TensorType([tvm.tirx.Var("n", "int64"), 3]), relax.TensorType(ndim=2)])
def test_dynamic_shapes_are_refused(ty):
    """The message names the input and says what to do."""
    x = relax.Var("x", ty)
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.op.nn.relu(x)))

    with pytest.raises(
        InvalidInputError, match=r"must have static shapes; got .* for input 'x'. Export the network for"
    ):
        require_static(builder.get())


def test_a_module_without_main_is_refused():
    """The message lists the functions that there are."""
    with pytest.raises(InvalidInputError, match="`mod` must have a Relax function 'main'; got none"):
        legalize_and_fuse(tvm.IRModule({}))


def test_unknown_parameters_are_refused():
    """A misspelt weight would silently stay an argument."""
    with pytest.raises(InvalidInputError, match="`params` must name parameters of 'main'; got nonsense"):
        legalize_and_fuse(tiny("gpt2").mod, {"nonsense": np.zeros(1, "float32")})
