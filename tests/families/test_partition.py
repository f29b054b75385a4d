# SPDX-License-Identifier: Apache-2.0
"""A partition holds every task in exactly one family, and survives a way through JSON."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyseer.errors import InvalidInputError
from familyseer.families import Partition

LABELS = st.dictionaries(st.text(min_size=1), st.text(min_size=1, max_size=2))


def test_equal_labels_are_one_family():
    """Families come in order of first occurrence, members in order of the tasks."""
    partition = Partition.from_labels({"k1": "conv", "k2": "dense", "k3": "conv"})

    assert partition.names == ("conv", "dense")
    assert partition.members("conv") == ("k1", "k3")
    assert partition.family_of("k2") == "dense"
    assert partition.labels() == {"k1": "conv", "k2": "dense", "k3": "conv"}


@given(LABELS)
def test_every_task_is_in_the_family_of_its_label(labels):
    """Members of all families are the tasks, each once, whatever the labels."""
    partition = Partition.from_labels(labels)

    members = [key for name in partition.names for key in partition.members(name)]
    assert sorted(members) == sorted(labels)
    assert {key: partition.family_of(key) for key in labels} == labels


@given(LABELS)
def test_survives_json_and_pickle(labels):
    """What is written and read again equals the original, hash included."""
    partition = Partition.from_labels(labels)

    read = Partition.from_json(json.loads(json.dumps(partition.to_json())))

    assert read == partition
    assert hash(read) == hash(partition)
    assert pickle.loads(pickle.dumps(partition)).labels() == labels


@pytest.mark.parametrize(
    "families",
    [
        (("conv", ("k1",)), ("dense", ("k1",))),
        (("conv", ("k1", "k1")),),
        (("conv", ("",)),),
    ],
)
def test_refuses_a_task_that_is_not_in_one_family(families):
    """A task in two families, twice in one, or without a key is refused."""
    with pytest.raises(InvalidInputError, match="non-empty and in one family only"):
        Partition(families=families)


@pytest.mark.parametrize("family", [("", ("k1",)), ("conv", ())])
def test_refuses_a_family_without_name_or_members(family):
    """An empty family or one without a name is refused."""
    with pytest.raises(InvalidInputError, match="must have a name and members"):
        Partition(families=(family,))


def test_refuses_a_name_given_twice():
    """Two families of one name are refused."""
    with pytest.raises(InvalidInputError, match="family names must be unique"):
        Partition(families=(("conv", ("k1",)), ("conv", ("k2",))))


@pytest.mark.parametrize("data", [None, [], {"conv": "k1"}, {"conv": [1]}, {"conv": []}, {"conv": ["k"], "x": ["k"]}])
def test_refuses_json_that_is_no_partition(data):
    """A damaged file is a clear error, not a wrong partition."""
    with pytest.raises(InvalidInputError, match=r"family|partition"):
        Partition.from_json(data)


def test_unknown_names_are_answered_with_the_known_ones():
    """Asking for a strange family lists those there are; asking for a strange task names it."""
    partition = Partition.from_labels({"k1": "conv", "k2": "dense"})

    with pytest.raises(InvalidInputError, match="one of conv, dense; got 'softmax'"):
        partition.members("softmax")
    with pytest.raises(InvalidInputError, match="must be a task of this partition; got 'k9'"):
        partition.family_of("k9")


def test_require_names_what_is_missing_and_what_is_strange():
    """A partition for other tasks is refused, one for exactly these is not."""
    partition = Partition.from_labels({"k1": "conv", "k2": "dense"})

    partition.require(["k2", "k1"])
    with pytest.raises(InvalidInputError, match=r"missing: \['k3'\], not among the tasks: \['k2'\]"):
        partition.require(["k1", "k3"])
