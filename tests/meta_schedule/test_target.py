# SPDX-License-Identifier: Apache-2.0
"""What users call a target is completed, refused or written canonically."""

from __future__ import annotations

import json

import psutil
import pytest
import tvm
from tvm.target import Target

from familyseer.errors import InvalidInputError
from familyseer.meta_schedule.target import as_target, parse_target, resolve_target, target_json

CORES = psutil.cpu_count(logical=False) or psutil.cpu_count()


@pytest.mark.parametrize("given", [None, "llvm"])
def test_this_machine_is_the_default(given):
    """Nothing and "llvm" mean the CPU of this machine with its physical cores."""
    target = resolve_target(given)

    assert target.kind.name == "llvm"
    assert target.attrs["mcpu"] == tvm.target.codegen.llvm_get_system_cpu()
    assert target.attrs["num-cores"] == CORES


def test_target_scope_is_honoured():
    """Inside a scope, nothing means the target of that scope."""
    with Target({"kind": "llvm", "mcpu": "skylake", "num-cores": 3}):
        target = resolve_target(None)

    assert target.attrs["mcpu"] == "skylake"
    assert target.attrs["num-cores"] == 3


def test_target_scope_does_not_replace_what_is_given():
    """The name "llvm" means this machine in a scope, too."""
    with Target({"kind": "llvm", "mcpu": "skylake", "num-cores": 63}):
        assert resolve_target("llvm").attrs["num-cores"] == CORES


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "llvm", "num-cores": 3},
        '{"kind": "llvm", "num-cores": 3}',
        Target({"kind": "llvm", "num-cores": 3}),
    ],
    ids=["dict", "json", "Target"],
)
def test_a_described_cpu_is_kept(given):
    """A dict, its JSON and a Target mean the same."""
    assert resolve_target(given).attrs["num-cores"] == 3


@pytest.mark.parametrize("given", [{"kind": "llvm"}, Target({"kind": "llvm"})], ids=["dict", "Target"])
def test_refuses_a_cpu_without_cores(given):
    """TVM's rules need the number of cores; the message shows what to write."""
    with pytest.raises(InvalidInputError) as caught:
        resolve_target(given)

    text = str(caught.value)
    assert text.startswith("`target` must say how many cores it has (num-cores); got ")
    remedy = text.partition("For this machine write Target(")[2].removesuffix(").")
    assert resolve_target(json.loads(remedy.replace("'", '"'))).attrs["num-cores"] == CORES


@pytest.mark.parametrize("cores", [0, -1])
def test_refuses_a_cpu_with_no_core(cores):
    """A number of cores that cannot be is not handed to TVM."""
    with pytest.raises(InvalidInputError, match=r"`target` must have at least one core \(num-cores\); got "):
        resolve_target({"kind": "llvm", "num-cores": cores})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("nonsense", r"got 'nonsense' \(Target kind \"nonsense\" is not defined"),
        ("", r"got '' \(Target kind \"\" is not defined"),
        ({"kind": "nope"}, r"Target kind \"nope\" is not defined"),
        ({}, r"Field \"kind\" is not found"),
        ({"kind": "llvm", "cores": 4}, "Unknown config option 'cores'"),
        ("llvm -mcpu=core-avx2", "is no longer supported"),
        ("{not json", "must be one that TVM can parse"),
    ],
)
def test_refuses_what_tvm_cannot_parse(given, why):
    """The message has TVM's own first line and examples of what works."""
    with pytest.raises(InvalidInputError, match=why) as caught:
        resolve_target(given)

    assert str(caught.value).startswith("`target` must be one that TVM can parse; got ")
    assert '{"kind": "llvm", "mcpu": "znver4", "num-cores": 8}' in str(caught.value)


@pytest.mark.parametrize("given", [5, ["llvm"], 1.5])
def test_refuses_other_types(given):
    """Only a Target, a dict or a string can be one."""
    with pytest.raises(InvalidInputError, match="`target` must be a Target, a dict or a string; got "):
        resolve_target(given)


def test_refuses_the_kind_c():
    """MetaSchedule asks every CPU for its cores, and TVM's kind "c" cannot have any."""
    with pytest.raises(InvalidInputError, match="of a kind that MetaSchedule tunes for; got "):
        resolve_target("c")


def test_a_tag_names_a_gpu():
    """A tag gives the limits that TVM's rules for GPUs read."""
    target = resolve_target("nvidia/nvidia-a100")

    assert target.kind.name == "cuda"
    assert dict(target.attrs)["max_threads_per_block"] == 1024
    assert target.attrs["arch"] == "sm_80"


@pytest.mark.skipif(tvm.runtime.device("cuda").exist, reason="a CUDA device is visible and says its limits")
def test_refuses_a_gpu_that_nothing_is_known_of():
    """Without a device to ask, "cuda" lacks the limits that TVM's rules read."""
    with pytest.raises(
        InvalidInputError, match="must have max_threads_per_block and max_shared_memory_per_block where no such device"
    ):
        resolve_target("cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not tvm.runtime.device("cuda").exist, reason="needs a CUDA device")
def test_a_visible_gpu_tells_its_limits():
    """The kind alone takes them from the device."""
    assert resolve_target("cuda").attrs["max_threads_per_block"] == 1024


def test_canonical_text_is_literal():
    """Sorted keys, no tag."""
    target = Target({"kind": "llvm", "num-cores": 8, "mcpu": "znver4", "mtriple": "x86_64-linux-gnu"})

    assert target_json(target) == (
        '{"keys": ["cpu"], "kind": "llvm", "mcpu": "znver4", "mtriple": "x86_64-linux-gnu", "num-cores": 8}'
    )


def test_equal_targets_have_equal_texts():
    """Neither the order of keys nor a tag matters."""
    one = Target({"kind": "llvm", "mcpu": "znver4", "num-cores": 8})
    other = Target({"num-cores": 8, "mcpu": "znver4", "kind": "llvm", "tag": "mine"})

    assert target_json(one) == target_json(other)


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "llvm", "mcpu": "znver4", "num-cores": 9},
        {"kind": "llvm", "mcpu": "znver3", "num-cores": 8},
        {"kind": "llvm", "mcpu": "znver4", "num-cores": 8, "mattr": ["+avx2"]},
        {"kind": "cuda", "arch": "sm_80"},
    ],
)
def test_other_targets_have_other_texts(other):
    """Whatever changes the target changes its text."""
    assert target_json(Target(other)) != target_json(Target({"kind": "llvm", "mcpu": "znver4", "num-cores": 8}))


def test_the_host_is_written_without_its_tag():
    """A host is a target of its own."""
    target = Target({"kind": "llvm", "num-cores": 2}, host={"kind": "llvm", "tag": "host"})

    assert "tag" not in target_json(target)
    assert json.loads(target_json(target))["host"]["kind"] == "llvm"


@pytest.mark.parametrize("given", ["nvidia/nvidia-a100", "raspberry-pi/4b-aarch64", {"kind": "llvm", "num-cores": 2}])
def test_a_target_survives_its_text(given):
    """What is written in a log is read as the same target."""
    text = target_json(resolve_target(given))

    assert target_json(parse_target(json.loads(text))) == text


def test_parsing_completes_nothing():
    """`as_target` takes a target as it is where `resolve_target` refuses it."""
    assert "num-cores" not in as_target({"kind": "llvm"}).attrs
