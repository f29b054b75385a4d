# SPDX-License-Identifier: Apache-2.0
"""A bank routes tasks to the models of their families, and saves each in a file of its own."""

from __future__ import annotations

import json
import logging

import pytest

from familyseer.cost_model import BankLoad, ModelBank, RandomCostModel, XGBCostModel
from familyseer.errors import InvalidInputError, ModelFileError
from tests.cost_model.programs import make_programs


def make_bank(*labels):
    """Make a bank with one task per label, whose key is the label with "t-" before it."""
    return ModelBank({f"t-{label}": label for label in labels}, XGBCostModel)


def test_tasks_of_one_family_share_a_model():
    """What one sibling taught, the other is served; another family is not."""
    bank = ModelBank({"k1": "conv", "k2": "conv", "k3": "dense"}, XGBCostModel)
    bank.update("k1", *make_programs(40))

    assert [bank.is_trained(key) for key in ("k1", "k2", "k3")] == [True, True, False]


def test_unknown_task_is_refused():
    """The message names the key."""
    with pytest.raises(InvalidInputError, match=r"`task_key` must be one of the bank's 1 tasks; got 'other'"):
        make_bank("conv").predict("other", make_programs(2)[0])


def test_labels_that_look_alike_get_files_of_their_own(tmp_path):
    """Case, punctuation, paths and empty labels do not collide or leave the directory."""
    bank = make_bank("conv2d", "Conv2D", "conv/2d", "../conv2d", "", "ü")
    bank.save(tmp_path / "bank")

    assert [path.name for path in tmp_path.iterdir()] == ["bank"]
    names = [path.name.lower() for path in (tmp_path / "bank").glob("*.model")]
    assert len(names) == len(set(names)) == 6


def test_bank_of_other_families_takes_over_what_matches(tmp_path, caplog):
    """What is missing on either side is reported and logged."""
    saved, bank = make_bank("conv", "dense"), make_bank("conv", "softmax")
    saved.update("t-conv", *make_programs(40))
    saved.save(tmp_path)

    assert bank.load_matching(tmp_path) == BankLoad(loaded=("conv",), absent=("softmax",), unused=("dense",))
    assert bank.is_trained("t-conv")
    with caplog.at_level(logging.WARNING):
        bank.load(tmp_path)
    assert "1 families loaded; not in it: softmax; not in this run: dense" in caplog.text


def test_empty_bank_survives_saving_and_loading(tmp_path):
    """A run without tasks has nothing to report."""
    make_bank().save(tmp_path / "bank")

    assert make_bank().load_matching(tmp_path / "bank") == BankLoad(loaded=(), absent=(), unused=())


def test_one_bad_file_changes_no_model(tmp_path):
    """The bank is loaded whole or not at all."""
    saved, bank = make_bank("conv", "dense"), make_bank("conv", "dense")
    saved.update("t-conv", *make_programs(40))
    saved.save(tmp_path)
    next(tmp_path.glob("dense-*.model")).write_bytes(b"")

    with pytest.raises(ModelFileError, match="damaged or not one"):
        bank.load(tmp_path)
    assert not bank.is_trained("t-conv")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", "it is not JSON"),
        ("[]", "its header says it is not"),
        (json.dumps({"format": "familyseer-model-bank", "version": 9}), "of version 1; got 9"),
    ],
)
def test_bad_manifest_is_refused(manifest, message, tmp_path):
    """Torn, foreign, of another version."""
    (tmp_path / "manifest.json").write_text(manifest)

    with pytest.raises(ModelFileError, match=message):
        make_bank("conv").load(tmp_path)


def test_model_cannot_be_replaced_from_outside():
    """The view of the models is read-only."""
    with pytest.raises(TypeError, match="item assignment"):
        make_bank("conv").models["conv"] = RandomCostModel()
