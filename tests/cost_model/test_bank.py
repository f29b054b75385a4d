# SPDX-License-Identifier: Apache-2.0
"""A bank lets a family's model serve only while it predicts better than the shared one, and saves each in its own file."""

from __future__ import annotations

import json
import logging
from functools import partial

import numpy as np
import pytest

from familyseer.cost_model import BankLoad, ModelBank, XGBCostModel
from familyseer.errors import InvalidInputError, ModelFileError
from familyseer.features import FeatureSet
from familyseer.metrics import pairwise_accuracy
from tests.cost_model.programs import make_programs
from tests.families.planted import make_task

RIGHT, WRONG = [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]
COSTS = [1.0, 2.0, 3.0]


def make_bank(*labels, **options):
    """Make a bank with one task per label, whose key is the label with "t-" before it."""
    return ModelBank({f"t-{label}": label for label in labels}, XGBCostModel, **options)


def trained_bank(**options):
    """Return a bank of two families with measurements of both."""
    bank = make_bank("conv", "dense", **options)
    bank.update("t-conv", *make_programs(40))
    bank.update("t-dense", *make_programs(40, seed=1))
    return bank


def test_all_tasks_share_what_is_known():
    """What one task taught, every other is served, of whatever family."""
    bank = ModelBank({"k1": "conv", "k2": "conv", "k3": "dense"}, XGBCostModel)
    bank.update("k1", *make_programs(40))

    assert [bank.is_trained(key) for key in ("k1", "k2", "k3")] == [True, True, True]


def test_shared_model_serves_until_a_family_s_is_better():
    """One batch on which the family's model was right and the shared one wrong, then two of the opposite."""
    bank = trained_bank()
    served = [bank.serving("t-conv")]
    for shared, family in [(WRONG, RIGHT), (RIGHT, WRONG), (RIGHT, WRONG)]:
        bank.judge("t-conv", COSTS, {"shared": shared, "family": family})
        served.append(bank.serving("t-conv"))

    assert served == ["shared", "family", "shared", "shared"]
    assert bank.serving("t-dense") == "shared"


def test_new_task_is_served_by_its_family():
    """Until first batches of other tasks have shown that the shared model knows better."""
    keys = {"a": "conv", "b": "conv", "c": "conv", "d": "dense", "e": "dense"}
    bank = ModelBank(keys, XGBCostModel)
    bank.update("a", *make_programs(40))
    assert [bank.serving(key) for key in "abd"] == ["shared", "family", "shared"]

    bank.judge("b", COSTS, {"shared": RIGHT, "family": WRONG})
    assert bank.serving("c") == "shared"


@pytest.mark.parametrize(("serve", "expected"), [("shared", "shared"), ("family", "family")])
def test_choice_can_be_switched_off(serve, expected):
    """For ablations one model always serves, whatever the scores say."""
    bank = trained_bank(serve=serve)
    for scores in ({"shared": WRONG, "family": RIGHT}, {"shared": RIGHT, "family": WRONG}):
        bank.judge("t-conv", COSTS, scores)
        assert bank.serving("t-conv") == expected


def test_a_bank_of_one_family_is_the_shared_model():
    """There is nothing to add: same scores, no second training."""
    bank, alone = ModelBank({"a": "all", "b": "all"}, XGBCostModel), XGBCostModel()
    for model in (bank, alone):
        model.update("a", *make_programs(40))
    features, _ = make_programs(20, seed=1)

    assert bank.predict("b", features).tolist() == alone.predict("b", features).tolist()
    assert bank.predictions("b", features).keys() == {"shared"}


def test_shared_model_is_as_if_there_were_no_families():
    """Families take nothing away from it."""
    bank, alone = trained_bank(), XGBCostModel()
    alone.update("t-conv", *make_programs(40))
    alone.update("t-dense", *make_programs(40, seed=1))
    features, _ = make_programs(20, seed=2)

    assert bank.predictions("t-conv", features)["shared"].tolist() == alone.predict("t-conv", features).tolist()


def test_family_s_model_learns_what_the_shared_one_averages_away():
    """Two families that are slow for opposite reasons, seen through the same features, one with a tenth of the data."""
    (many, features, costs), (few, _, _) = make_task(0, 0, n=400), make_task(1, 0)
    bank = ModelBank({many.key: "a", few.key: "b"}, partial(XGBCostModel, rounds=20))
    bank.update(many.key, features, costs)
    rng = np.random.default_rng(0)
    rows = rng.random((100, features.width))
    programs, opposite = FeatureSet(rows=rows, counts=np.ones(100, dtype=np.int64)), np.exp(-3 * rows[:, 0])
    bank.update(few.key, programs[:40], opposite[:40])
    said = bank.predictions(few.key, programs[40:])

    accuracy = {name: pairwise_accuracy(opposite[40:], scores) for name, scores in said.items()}
    assert accuracy["family"] > accuracy["shared"] + 0.05


def test_update_judges_before_it_learns():
    """The first batch meets an untrained model; each later one counts once, and for a new task apart."""
    bank = make_bank("conv", "dense")
    for seed in range(3):
        bank.update("t-conv", *make_programs(40, seed=seed))
    bank.update("t-dense", *make_programs(40))

    assert bank.family_confidence("conv")["shared"].batches == 2
    assert bank.family_confidence("dense")["shared"].batches == 0
    assert bank.confidence("t-conv").batches == 2


def test_a_family_that_hardly_grew_keeps_its_model():
    """Seven more of eighty teach nothing worth a training, an eighth more do; and a resumed run does the same."""
    features, costs = make_programs(40, seed=2)
    bank, probe, said = make_bank("conv", "dense"), make_programs(30, seed=5)[0], []
    batches = [("t-conv", *make_programs(80)), ("t-dense", *make_programs(40, seed=1))]
    batches += [("t-conv", features[part], costs[part]) for part in (slice(7), slice(7, 8))]
    for number, batch in enumerate(batches):
        bank.update(*batch)
        said.append(bank.predictions("t-conv", probe)["family"].tolist() if number else [])
    resumed = make_bank("conv", "dense")
    resumed.update_many(batches[:-1])

    assert said[1] == said[2] != said[3]
    assert resumed.predictions("t-conv", probe)["family"].tolist() == said[2]


def test_learning_the_past_judges_nobody():
    """`update_many` is for what a log has, of which `judge` tells what was predicted."""
    bank = make_bank("conv", "dense")
    bank.update_many([("t-conv", *make_programs(40, seed=seed)) for seed in range(3)])

    assert bank.family_confidence("conv")["shared"].batches == 0
    assert bank.is_trained("t-conv")


def test_regrouping_keeps_the_scores_of_families_that_stay():
    """Same members under another name keep theirs; others start anew, from the shared model."""
    bank = ModelBank({"a": "x", "b": "x", "c": "y", "d": "y"}, XGBCostModel)
    for key in "abcd":
        bank.update(key, *make_programs(40, seed=ord(key)))
    for key in "ac":
        bank.judge(key, COSTS, {"shared": WRONG, "family": RIGHT})
    before = bank.family_confidence("x")
    bank.regroup({"a": "X", "b": "X", "c": "y", "d": "z"})

    assert bank.labels == ("X", "y", "z")
    assert bank.family_confidence("X") == before
    assert [bank.serving(key) for key in "abcd"] == ["family", "family", "shared", "shared"]


@pytest.mark.parametrize(
    ("labels", "differing"), [({"t-conv": "x"}, "t-dense"), ({"t-conv": "x", "t-dense": "y", "z": "y"}, "z")]
)
def test_regrouping_other_tasks_is_refused(labels, differing):
    """A task is missing, or new."""
    with pytest.raises(InvalidInputError, match=rf"each once; these differ: \['{differing}'\]"):
        trained_bank().regroup(labels)


def test_unknown_task_is_refused():
    """The message names the key."""
    with pytest.raises(InvalidInputError, match=r"`task_key` must be one of the bank's 1 tasks; got 'other'"):
        make_bank("conv").predict("other", make_programs(2)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"serve": "all"}, "`serve` must be measured, shared or family; got 'all'"),
        ({"family_rounds": 0}, "`family_rounds` must be a .*; got 0"),
    ],
)
def test_bad_options_are_refused(options, message):
    """One sentence each."""
    with pytest.raises(InvalidInputError, match=message):
        make_bank("conv", **options)


class TestFiles:
    """Each family has a file of its own."""

    def test_labels_that_look_alike_get_files_of_their_own(self, tmp_path):
        """Case, punctuation, paths and empty labels do not collide or leave the directory."""
        labels = ("conv2d", "Conv2D", "conv/2d", "../conv2d", "", "ü")
        bank = make_bank(*labels)
        for label in labels:
            bank.update(f"t-{label}", *make_programs(20))
        bank.save(tmp_path / "bank")

        assert [path.name for path in tmp_path.iterdir()] == ["bank"]
        names = [path.name.lower() for path in (tmp_path / "bank").glob("*.model")]
        assert len(names) == len(set(names)) == 7
        assert "shared.model" in names

    def test_everything_comes_back(self, tmp_path):
        """Predictions of both models, scores and who serves whom."""
        bank, back = trained_bank(), make_bank("conv", "dense")
        bank.judge("t-conv", COSTS, {"shared": WRONG, "family": RIGHT})
        bank.save(tmp_path)
        back.load(tmp_path)
        features, _ = make_programs(30, seed=5)

        for key in ("t-conv", "t-dense"):
            assert back.serving(key) == bank.serving(key)
            said = [{name: s.tolist() for name, s in b.predictions(key, features).items()} for b in (bank, back)]
            assert said[0] == said[1]
        assert back.family_confidence("conv") == bank.family_confidence("conv")

    def test_loaded_bank_goes_on_learning(self, tmp_path):
        """New measurements train the shared model anew, from what it was, and the families with it."""
        trained_bank().save(tmp_path)
        back = make_bank("conv", "dense")
        back.load(tmp_path)
        probe, _ = make_programs(30, seed=5)
        before = back.predictions("t-conv", probe)
        back.update("t-conv", *make_programs(40, seed=6))
        after = back.predictions("t-conv", probe)

        assert all(after[name].tolist() != before[name].tolist() for name in ("shared", "family"))

    def test_bank_of_other_families_takes_over_what_matches(self, tmp_path, caplog):
        """After a changed partition: what is missing on either side is reported, logged, and served by the shared model."""
        saved, bank = trained_bank(), make_bank("conv", "softmax")
        saved.save(tmp_path)

        assert bank.load_matching(tmp_path) == BankLoad(loaded=("conv",), absent=("softmax",), unused=("dense",))
        assert bank.is_trained("t-softmax")
        assert bank.predictions("t-softmax", make_programs(3)[0]).keys() == {"shared"}
        with caplog.at_level(logging.WARNING):
            bank.load(tmp_path)
        assert "1 families loaded; not in it: softmax; not in this run: dense" in caplog.text

    def test_a_saved_family_is_known_by_its_members(self, tmp_path):
        """Numbers are given anew in every run: a name says nothing of tasks that both have, but of other networks' it does."""
        saved = ModelBank({"a": "conv 1", "b": "conv 1", "c": "conv 2", "d": "dense"}, XGBCostModel)
        for number, key in enumerate("abcd"):
            saved.update(key, *make_programs(20, seed=number))
        saved.save(tmp_path)

        again = ModelBank({"a": "conv 2", "b": "conv 2", "c": "conv 1", "x": "dense", "y": "other"}, XGBCostModel)
        assert again.load_matching(tmp_path) == BankLoad(
            loaded=("conv 1", "conv 2", "dense"), absent=("other",), unused=()
        )
        probe, _ = make_programs(9, seed=9)
        assert again.predictions("a", probe)["family"].tolist() == saved.predictions("a", probe)["family"].tolist()
        assert again.predictions("x", probe)["family"].tolist() == saved.predictions("d", probe)["family"].tolist()

        mixed = ModelBank({"a": "conv 1", "c": "conv 1", "d": "conv 2"}, XGBCostModel)
        found = mixed.load_matching(tmp_path)
        assert (found.loaded, found.absent) == (("conv 2",), ("conv 1",)), "{d} was called dense"

    def test_a_family_that_stays_keeps_its_loaded_model(self, tmp_path):
        """Other families change around it, and so may its name."""
        saved = trained_bank()
        saved.save(tmp_path)
        bank = ModelBank({"t-conv": "conv", "t-dense": "dense", "t-new": "dense2"}, XGBCostModel)
        bank.load(tmp_path)
        bank.regroup({"t-conv": "convolutions", "t-dense": "dense", "t-new": "dense"})
        probe, _ = make_programs(9, seed=9)
        assert (
            bank.predictions("t-conv", probe)["family"].tolist()
            == saved.predictions("t-conv", probe)["family"].tolist()
        )
        assert bank.predictions("t-new", probe).keys() == {"shared"}

    def test_empty_bank_survives_saving_and_loading(self, tmp_path):
        """A run without tasks has nothing to report."""
        make_bank().save(tmp_path / "bank")

        assert make_bank().load_matching(tmp_path / "bank") == BankLoad(loaded=(), absent=(), unused=())

    @pytest.mark.parametrize("name", ["dense-*.model", "shared.model"])
    def test_one_bad_file_changes_no_model(self, name, tmp_path):
        """The bank is loaded whole or not at all."""
        trained_bank().save(tmp_path)
        next(tmp_path.glob(name)).write_bytes(b"")
        bank = make_bank("conv", "dense")

        with pytest.raises(ModelFileError, match="damaged or not one"):
            bank.load(tmp_path)
        assert not bank.is_trained("t-conv")

    def test_models_of_other_features_are_refused(self, tmp_path):
        """A bank made for features of another length keeps what it has."""
        trained_bank().save(tmp_path)
        bank = ModelBank({"t-conv": "conv"}, partial(XGBCostModel, width=5))

        with pytest.raises(ModelFileError, match="for 5 features per store; got one for 6"):
            bank.load(tmp_path)

    @pytest.mark.parametrize(
        ("manifest", "message"),
        [
            ("{", "it is not JSON"),
            ("[]", "its header says it is not"),
            (json.dumps({"format": "familyseer-model-bank", "version": 1}), r"of version 3; got 1\. Train anew"),
            (json.dumps({"format": "familyseer-model-bank", "version": 3}), "must list families and measured tasks"),
            (
                json.dumps({"format": "familyseer-model-bank", "version": 3, "families": {"a": 1}, "measured": []}),
                "is damaged: ",
            ),
            (
                json.dumps(
                    {
                        "format": "familyseer-model-bank",
                        "version": 3,
                        "families": {"a": {"members": [], "scores": 1}},
                        "measured": [],
                    }
                ),
                "is damaged: running scores",
            ),
        ],
    )
    def test_bad_manifest_is_refused(self, manifest, message, tmp_path):
        """Torn, foreign, of another version, incomplete, damaged."""
        (tmp_path / "manifest.json").write_text(manifest)

        with pytest.raises(ModelFileError, match=message):
            make_bank("conv").load(tmp_path)
