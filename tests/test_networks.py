# SPDX-License-Identifier: Apache-2.0
"""The catalogue of networks, without constructing any."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from familyseer import networks
from familyseer.errors import InvalidInputError


def test_lists_the_seven_networks():
    """Names are fixed: scripts and logs hold them."""
    assert networks.names() == [
        "resnet18",
        "resnet50",
        "mobilenet_v2",
        "bert_base",
        "roberta_base",
        "gpt2",
        "vit_b16",
    ]


@pytest.mark.parametrize(
    ("name", "dimensions"),
    [
        ("resnet18", {"blocks": (2, 2, 2, 2), "bottleneck": False, "channels": 64, "image_size": 224, "classes": 1000}),
        ("resnet50", {"blocks": (3, 4, 6, 3), "bottleneck": True}),
        ("mobilenet_v2", {"blocks": (1, 2, 3, 4, 3, 3, 1), "width": 1.0, "image_size": 224}),
        ("bert_base", {"hidden": 768, "heads": 12, "layers": 12, "vocabulary": 30522, "positions": 512}),
        ("roberta_base", {"vocabulary": 50265, "positions": 514, "token_types": 1, "first_position": 2}),
        ("gpt2", {"hidden": 768, "layers": 12, "vocabulary": 50257, "positions": 1024, "causal": True}),
        ("vit_b16", {"hidden": 768, "heads": 12, "layers": 12, "patch": 16, "image_size": 224}),
    ],
)
def test_has_the_published_dimensions(name, dimensions):
    """The full size is that of the papers."""
    config = networks.configuration(name)

    assert {key: getattr(config, key) for key in dimensions} == dimensions


def test_depth_keeps_the_widths():
    """Fewer layers are still layers of the published shapes."""
    bert = networks.configuration("bert_base", depth=2, seq_len=64)

    assert (bert.layers, bert.hidden, bert.heads, bert.seq_len) == (2, 768, 12, 64)


def test_depth_bounds_the_blocks_of_each_stage():
    """A convolutional network keeps all its stages."""
    assert networks.configuration("resnet50", depth=4).blocks == (3, 4, 4, 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet", {}, r"`name` must be one of resnet18, resnet50, .*; got 'resnet'"),
        ("resnet18", {"size": "huge"}, r"`size` must be one of full, tiny; got 'huge'"),
        (
            "resnet18",
            {"seq_len": 8},
            r"`seq_len` is not an option of .*'resnet18'. Its options: depth, image_size, classes",
        ),
        ("gpt2", {"width": 0.5}, r"`width` is not an option of network 'gpt2'. Its options: depth, seq_len"),
        ("gpt2", {"depth": 0}, r"`depth` must be an integer ≥ 1; got 0"),
        ("gpt2", {"depth": True}, r"`depth` must be an integer ≥ 1; got True"),
        ("gpt2", {"depth": 1.5}, r"`depth` must be an integer ≥ 1; got 1.5"),
        ("bert_base", {"seq_len": 513}, r"`seq_len` must be at most 512; got 513"),
        ("roberta_base", {"seq_len": 513}, r"`seq_len` must be at most 512; got 513"),
        ("vit_b16", {"image_size": 100}, r"`image_size` must be a multiple of 16; got 100"),
        ("resnet50", {"image_size": 31}, r"`image_size` must be at least 32; got 31"),
        ("mobilenet_v2", {"width": 0}, r"`width` must be a number above 0 and at most 8; got 0"),
        ("mobilenet_v2", {"width": float("nan")}, r"`width` must be a number above 0 and at most 8; got nan"),
        ("mobilenet_v2", {"width": "1"}, r"`width` must be a number above 0 and at most 8; got '1'"),
    ],
)
def test_refuses_what_is_not_valid(name, options, message):
    """The message names the argument, the value and what is valid."""
    with pytest.raises(InvalidInputError, match=message):
        networks.configuration(name, **options)


def test_example_inputs_follow_shapes_types_and_bounds():
    """Token ids stay in the vocabulary, other integers below 2, a mask is a prefix of at least half the sequence."""
    inputs = {
        "input_ids": ((3, 50), "int64"),
        "attention_mask": ((3, 50), "int64"),
        "flags": ((100,), "int32"),
        "image": ((2, 3, 4, 4), "float32"),
    }
    network = networks.Network(name="n", mod=None, params={}, inputs=inputs, bounds={"input_ids": 7})

    ids, mask, flags, image = network.example_inputs(3)

    assert [(a.shape, str(a.dtype)) for a in (ids, mask, flags, image)] == list(inputs.values())
    assert set(ids.ravel()) == set(range(7))
    assert set(flags) == {0, 1}
    assert mask[:, :25].all()
    assert (np.diff(mask, axis=1) <= 0).all()
    assert 0.5 < image.std() < 1.5


def test_example_inputs_depend_on_the_seed_alone():
    """Equal seeds give equal inputs, other seeds others."""
    network = networks.Network(name="n", mod=None, params={}, inputs={"x": ((4,), "float32")})

    assert np.array_equal(network.example_inputs(1)[0], network.example_inputs(1)[0])
    assert not np.array_equal(network.example_inputs(1)[0], network.example_inputs(2)[0])


def test_the_catalogue_does_not_import_tvm():
    """Listing networks, as `--help` does, stays fast."""
    code = "import sys; from familyseer import networks; networks.configuration('gpt2'); print('tvm' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
