# SPDX-License-Identifier: Apache-2.0
"""Policy names are understood or refused with the valid ones; static keys group tasks as they say."""

from __future__ import annotations

import pytest

from familyseer.errors import InvalidInputError
from familyseer.families import DEFAULT_POLICY, POLICY_NAMES, PolicyName, partition_tasks
from familyseer.task import Task

TASKS = [
    Task(key="k0", name="conv_a", operator="conv2d", structure="s1"),
    Task(key="k1", name="conv_b", operator="conv2d", structure="s2"),
    Task(key="k2", name="dw", operator="depthwise_conv2d", structure="s3"),
    Task(key="k3", name="conv_c", operator="conv2d", structure="s1"),
    Task(key="k4", name="", operator="", structure=""),
    Task(key="k5", name="", operator="", structure=""),
]


@pytest.mark.parametrize(
    ("text", "model", "family"),
    [
        ("sketch.random", "random", "shared"),
        ("sketch.xgb", "xgb", "shared"),
        ("default", "xgb", "shared"),
        ("sketch.xgb.family_op", "xgb", "op"),
        ("sketch.xgb.family_hash", "xgb", "hash"),
        ("sketch.xgb.family_ind", "xgb", "ind"),
        ("sketch.xgb.family_accuracy", "xgb", "accuracy"),
    ],
)
def test_understands_a_policy_name(text, model, family):
    """Each name means a search, a model and a kind of family; "default" is what Ansor meant by it."""
    assert PolicyName.parse(text) == PolicyName(search="sketch", model=model, family=family)


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_a_policy_name_is_written_as_it_was_read(name):
    """Parsing and writing are inverse on every listed name."""
    assert str(PolicyName.parse(name)) == name


def test_the_recommended_policy_is_a_listed_one():
    """The recommended name parses, to families by operator."""
    assert DEFAULT_POLICY in POLICY_NAMES
    assert PolicyName.parse(DEFAULT_POLICY).family == "op"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "xgb",
            "sketch",
            "sketch.mlp",
            "sketch.xgb.",
            "sketch.xgb.family",
            "sketch.random.family_op",
            "SKETCH.XGB",
        ),
        *(None, 3, ["sketch.xgb"]),
    ],
)
def test_refuses_an_unknown_policy_with_the_valid_ones(text):
    """The message lists every valid name and what was given."""
    families = ", ".join(rf"sketch\.xgb\.family_{kind}" for kind in ("op", "hash", "ind", "accuracy"))
    listed = rf"sketch\.random, sketch\.xgb, {families}"
    with pytest.raises(InvalidInputError, match=rf"`search_policy` must be one of {listed}; got "):
        PolicyName.parse(text)


@pytest.mark.parametrize(
    ("kind", "families"),
    [
        ("shared", [("k0", "k1", "k2", "k3", "k4", "k5")]),
        ("op", [("k0", "k1", "k3"), ("k2",), ("k4",), ("k5",)]),
        ("hash", [("k0", "k3"), ("k1",), ("k2",), ("k4",), ("k5",)]),
        ("ind", [("k0",), ("k1",), ("k2",), ("k3",), ("k4",), ("k5",)]),
        ("accuracy", [("k0", "k1", "k2", "k3", "k4", "k5")]),
    ],
)
def test_groups_tasks_by_the_key_of_the_kind(kind, families):
    """Operator and structure group; depthwise is no convolution; what is unknown stays alone."""
    assert [members for _, members in partition_tasks(kind, TASKS).families] == families


@pytest.mark.parametrize("policy", ["sketch.xgb.family_op", PolicyName.parse("sketch.xgb.family_op"), "op"])
def test_takes_a_policy_name_or_a_kind(policy):
    """The text of a policy, the parsed policy and the kind mean the same families."""
    assert partition_tasks(policy, TASKS).members("conv2d") == ("k0", "k1", "k3")


def test_names_do_not_decide():
    """Display names are never looked at: tasks that differ in nothing else are in one family."""
    twins = [Task(key="a", name="fused_nn.conv2d", operator="dense"), Task(key="b", name="", operator="dense")]

    assert partition_tasks("op", twins).names == ("dense",)


def test_refuses_no_tasks_and_repeated_tasks():
    """An empty list and a workload given twice are the caller's mistakes."""
    with pytest.raises(InvalidInputError, match="`tasks` must hold at least one task; got 0"):
        partition_tasks("op", [])
    with pytest.raises(InvalidInputError, match=r"must hold each workload once; got \['k0'\]"):
        partition_tasks("op", [TASKS[0], TASKS[0]])


def test_refuses_an_unknown_kind():
    """What is neither a kind nor a policy is answered with the policies."""
    with pytest.raises(InvalidInputError, match="`search_policy` must be one of"):
        partition_tasks("structure", TASKS)
