# SPDX-License-Identifier: Apache-2.0
"""What every cost model must do."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xgboost

from familyseer.cost_model import ModelBank, PackSumXGBModel, RandomCostModel, XGBCostModel
from familyseer.cost_model.files import write_model
from familyseer.errors import InvalidInputError, ModelFileError
from familyseer.metrics import pairwise_accuracy
from tests.cost_model.programs import make_programs


def make_bank():
    """Make a bank of two families."""
    return ModelBank({"conv": "conv2d", "dense": "dense"}, XGBCostModel)


EVERY_MODEL = [XGBCostModel, PackSumXGBModel, RandomCostModel, make_bank]
LEARNING = [XGBCostModel, PackSumXGBModel, make_bank]
BOOSTED = [XGBCostModel, PackSumXGBModel]


@pytest.mark.parametrize("make_model", EVERY_MODEL)
class TestEveryModel:
    """The contract of `CostModel`."""

    def test_untrained_model_predicts(self, make_model):
        """Before any measurement there are finite scores, one per program."""
        scores = make_model().predict("conv", make_programs(5)[0])

        assert scores.shape == (5,)
        assert np.isfinite(scores).all()
        assert not make_model().is_trained("conv")

    def test_no_programs_are_no_scores(self, make_model):
        """Nothing in, nothing out, trained or not."""
        model = make_model()
        features, costs = make_programs(40)
        model.update("conv", features[[]], [])
        model.update("conv", features, costs)

        assert model.predict("conv", features[[]]).shape == (0,)

    def test_scores_are_not_negative(self, make_model):
        """The search takes scores for weights of a draw."""
        model = make_model()
        model.update("conv", *make_programs(40))
        scores = model.predict("conv", make_programs(200, seed=1)[0])

        assert scores.dtype == np.float64
        assert (scores >= 0).all()

    def test_acquisition_scores_every_program(self, make_model):
        """What guides a search is finite and not negative, trained or not."""
        model = make_model()
        features, costs = make_programs(40)
        scores = [model.acquisition("conv", features)]
        model.update("conv", features, costs)
        scores.append(model.acquisition("conv", features))

        assert np.shape(scores) == (2, 40)
        assert np.isfinite(scores).all()
        assert np.min(scores) >= 0

    def test_same_measurements_give_the_same_scores(self, make_model):
        """Two models of one history agree to the last bit."""
        scores = []
        for _ in range(2):
            model = make_model()
            model.update("conv", *make_programs(40))
            scores.append(model.predict("conv", make_programs(50, seed=1)[0]).tolist())

        assert scores[0] == scores[1]

    @pytest.mark.parametrize("samples", [0, 40])
    def test_loaded_model_predicts_as_the_saved_one(self, make_model, samples, tmp_path):
        """Trained or never trained, over an existing file."""
        model, loaded = make_model(), make_model()
        model.update("conv", *make_programs(samples))
        model.save(tmp_path / "model")
        model.save(tmp_path / "model")
        loaded.load(tmp_path / "model")
        features = make_programs(50, seed=1)[0]

        assert loaded.predict("conv", features).tolist() == model.predict("conv", features).tolist()
        assert loaded.is_trained("conv") == model.is_trained("conv")

    @pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 nearly", b"\x80\x04.", b"{}"])
    def test_file_that_is_not_a_model_is_refused(self, make_model, content, tmp_path):
        """Empty, text, a broken archive, a pickle, JSON."""
        (tmp_path / "model").write_bytes(content)

        with pytest.raises(ModelFileError, match="model"):
            make_model().load(tmp_path / "model")

    def test_missing_file_is_refused(self, make_model, tmp_path):
        """The message names the path."""
        with pytest.raises(ModelFileError, match=r"nowhere.*No such file"):
            make_model().load(tmp_path / "nowhere")

    def test_saving_where_nothing_can_be_written_is_refused(self, make_model, tmp_path):
        """A file stands where a directory is needed."""
        (tmp_path / "file").write_text("")

        with pytest.raises(ModelFileError, match=r"file"):
            make_model().save(tmp_path / "file" / "model")

    def test_costs_of_another_length_are_refused(self, make_model):
        """One latency per program."""
        with pytest.raises(InvalidInputError, match=r"one latency per program; got shape \(2,\) for 3 programs"):
            make_model().update("conv", make_programs(3)[0], [1.0, 2.0])


@pytest.mark.parametrize("make_model", LEARNING)
class TestEveryLearningModel:
    """What models that learn must do."""

    def test_learns_to_rank(self, make_model):
        """After 100 measurements most pairs of unseen programs are in order."""
        model = make_model()
        model.update("conv", *make_programs(100, most_stores=1))
        features, costs = make_programs(100, seed=1, most_stores=1)

        assert model.is_trained("conv")
        assert pairwise_accuracy(costs, model.predict("conv", features)) > 0.85

    def test_task_that_always_fails_is_learnt_without_complaint(self, make_model):
        """There is no best latency to divide by."""
        model = make_model()
        features, costs = make_programs(40)
        model.update("conv", features, np.full(len(costs), 1e10))

        assert np.isfinite(model.predict("conv", features)).all()

    def test_programs_without_stores_score_zero(self, make_model):
        """They teach nothing and shift no other program."""
        model, plain = make_model(), make_model()
        features, costs = make_programs(40)
        model.update("conv", _with_empty_program(features), [1e-9, *costs])
        plain.update("conv", features, costs)
        scores = model.predict("conv", _with_empty_program(features))

        assert scores[0] == 0
        assert scores[1:].tolist() == plain.predict("conv", features).tolist()

    def test_features_of_another_length_are_refused(self, make_model):
        """A model of one extractor says so when shown another's features."""
        model = make_model()
        model.update("conv", *make_programs(40))

        with pytest.raises(InvalidInputError, match=r"must have 6 numbers per store, as those seen before; got 5"):
            model.predict("conv", make_programs(3, width=5)[0])


@pytest.mark.parametrize("make_model", BOOSTED)
class TestEveryBoostedModel:
    """What the models on xgboost share."""

    def test_model_for_other_features_is_not_loaded(self, make_model, tmp_path):
        """The receiving model keeps what it knew."""
        model, other = make_model(), make_model(width=5)
        model.update("conv", *make_programs(40))
        model.save(tmp_path / "model")

        with pytest.raises(ModelFileError, match=r"for 5 features per store; got one for 6"):
            other.load(tmp_path / "model")
        assert not other.is_trained("conv")

    def test_features_of_another_length_than_a_file_s_name_the_file(self, make_model, tmp_path):
        """A model that does not know the length yet takes the file's, and later says whose it is."""
        saved, model = make_model(), make_model()
        saved.update("conv", *make_programs(40))
        saved.save(tmp_path / "model")
        model.load(tmp_path / "model")
        with pytest.raises(InvalidInputError, match=r"as the model file '.*model' has; got 5"):
            model.predict("conv", make_programs(3, width=5)[0])

    @pytest.mark.parametrize("sizes", [[1, 1], [13, 0], "13", [True] * 13, None])
    def test_sizes_that_do_not_fit_the_payload_are_refused(self, make_model, sizes, tmp_path):
        """The header says where one booster ends and the next begins."""
        write_model(tmp_path / "model", make_model.kind, {"width": 6, "sizes": sizes}, b"not a booster")

        with pytest.raises(ModelFileError, match=r"'sizes' in the header of .* must sum to its 13 bytes"):
            make_model().load(tmp_path / "model")

    def test_file_of_one_booster_without_sizes_is_loaded(self, make_model, tmp_path):
        """That is how version 0.1.0 first wrote them."""
        model, loaded = make_model(), make_model()
        columns = {"gathered": 3 * 6 + 1, "pack-sum": 6}[model.kind]
        booster = xgboost.train({}, xgboost.DMatrix(np.eye(columns), np.arange(columns)), 2)
        write_model(tmp_path / "model", model.kind, {"width": 6}, bytes(booster.save_raw(raw_format="ubj")))
        loaded.load(tmp_path / "model")
        loaded.update("conv", *make_programs(20))

        assert loaded.is_trained("conv")
        assert np.isfinite(loaded.predict("conv", make_programs(20)[0])).all()

    def test_damaged_booster_is_not_loaded(self, make_model, tmp_path):
        """A sound archive around a payload that is no booster."""
        write_model(tmp_path / "model", make_model.kind, {"width": 6}, b"not a booster")

        with pytest.raises(ModelFileError, match="a booster that xgboost can read"):
            make_model().load(tmp_path / "model")

    def test_booster_of_another_width_than_the_header_says_is_not_loaded(self, make_model, tmp_path):
        """The header and the booster must agree."""
        booster = xgboost.train({}, xgboost.DMatrix(np.ones((4, 2)), np.ones(4)), 1)
        write_model(tmp_path / "model", make_model.kind, {"width": 6}, bytes(booster.save_raw()))

        with pytest.raises(ModelFileError, match=r"columns; got one for 2"):
            make_model().load(tmp_path / "model")

    def test_flipped_byte_is_noticed(self, make_model, tmp_path):
        """The archive's checksum guards the booster."""
        model = make_model()
        model.update("conv", *make_programs(40))
        model.save(tmp_path / "model")
        content = bytearray((tmp_path / "model").read_bytes())
        content[len(content) // 2] ^= 0xFF
        (tmp_path / "model").write_bytes(content)

        with pytest.raises(ModelFileError, match="damaged or not one"):
            make_model().load(tmp_path / "model")

    def test_model_of_another_kind_is_not_loaded(self, make_model, tmp_path):
        """Scores of one kind mean nothing to another."""
        RandomCostModel().save(tmp_path / "model")

        with pytest.raises(ModelFileError, match=r"got kind 'random'"):
            make_model().load(tmp_path / "model")

    def test_loaded_model_goes_on_learning(self, make_model, tmp_path):
        """New measurements change it, and what it knew is its start."""
        model, loaded = make_model(), make_model()
        model.update("conv", *make_programs(100, most_stores=1))
        model.save(tmp_path / "model")
        loaded.load(tmp_path / "model")
        features, costs = make_programs(100, seed=1, most_stores=1)
        loaded.update("dense", *make_programs(20, seed=2, most_stores=1))

        assert loaded.predict("conv", features).tolist() != model.predict("conv", features).tolist()
        assert pairwise_accuracy(costs, loaded.predict("conv", features)) > 0.85

    def test_few_measurements_do_not_replace_a_loaded_model(self, make_model, tmp_path):
        """Below `min_samples` the loaded booster serves as it is."""
        model, loaded = make_model(), make_model()
        model.update("conv", *make_programs(40))
        model.save(tmp_path / "model")
        loaded.load(tmp_path / "model")
        features, costs = make_programs(15, seed=1)
        loaded.update("conv", features, costs)

        assert loaded.predict("conv", features).tolist() == model.predict("conv", features).tolist()

    def test_number_of_threads_does_not_matter(self, make_model):
        """One thread and two grow the same trees."""
        features, costs = make_programs(60)
        scores = []
        for threads in (1, 2):
            model = make_model(threads=threads)
            model.update("conv", features, costs)
            scores.append(model.predict("conv", features).tolist())

        assert scores[0] == scores[1]

    def test_order_of_tasks_does_not_matter(self, make_model):
        """A resumed run may replay its tasks in another order."""
        scores = []
        for order in (["conv", "dense"], ["dense", "conv"]):
            model = make_model(min_samples=80)
            for key in order:
                assert not model.is_trained("conv")
                model.update(key, *make_programs(40, seed=len(key)))
            assert model.is_trained("conv"), "80 of 80"
            scores.append(model.predict("conv", make_programs(30, seed=1)[0]).tolist())

        assert scores[0] == scores[1]

    @pytest.mark.parametrize(("adaptive", "changes"), [(True, [False, True]), (False, [True, True])])
    def test_adaptive_training_waits_for_a_fifth_more(self, make_model, adaptive, changes):
        """40 trained, 7 more: wait; 8 more: train. Without it every update trains."""
        model = make_model(adaptive_training=adaptive)
        model.update("conv", *make_programs(40))
        probe = make_programs(50, seed=1)[0]
        seen, changed = model.predict("conv", probe).tolist(), []
        for n in (7, 1):
            model.update("conv", *make_programs(n, seed=n))
            now = model.predict("conv", probe).tolist()
            changed.append(now != seen)
            seen = now

        assert changed == changes


@pytest.mark.parametrize("failed", [1e10, np.inf, np.nan, 0.0])
def test_failed_programs_rank_last(failed):
    """What fails for a visible reason scores below what runs; in TVM's objective failures have no weight."""
    model = XGBCostModel()
    features, costs = make_programs(200)
    fails = features.gathered()[:, 6 + 1] > 0.7  # largest second feature of any store
    costs[fails] = failed
    model.update("conv", features, costs)
    scores = model.predict("conv", features)

    assert np.median(scores[fails]) < np.median(scores[~fails])


def test_acquisition_prefers_what_is_uncertain():
    """Programs unlike all that was measured get more on top of their prediction than measured ones."""
    model = XGBCostModel()
    features, costs = make_programs(200, most_stores=1)
    near = features.rows[:, 0] < 0.5
    model.update("conv", features[near], costs[near])
    bonus = model.acquisition("conv", features) / model.predict("conv", features)

    assert bonus.min() >= 1
    assert np.median(bonus[~near]) > np.median(bonus[near])


@pytest.mark.parametrize(
    "make_model", [lambda: XGBCostModel(optimism=0), lambda: XGBCostModel(members=1), PackSumXGBModel]
)
def test_acquisition_without_uncertainty_is_the_prediction(make_model):
    """Optimism switched off, or one booster, which agrees with itself."""
    model = make_model()
    features, costs = make_programs(60)
    model.update("conv", features, costs)

    assert model.acquisition("conv", features).tolist() == model.predict("conv", features).tolist()


def test_bank_searches_by_the_family_s_acquisition():
    """The bank adds nothing of its own."""
    bank, alone = make_bank(), XGBCostModel()
    features, costs = make_programs(60)
    for model in (bank, alone):
        model.update("conv", features, costs)

    assert bank.acquisition("conv", features).tolist() == alone.acquisition("conv", features).tolist()
    assert bank.acquisition("conv", features).tolist() != bank.predict("conv", features).tolist()


PROCESS = """
from familyseer.cost_model import XGBCostModel
from tests.cost_model.programs import make_programs
model = XGBCostModel(seed=3)
model.update("conv", *make_programs(40))
print(model.predict("conv", make_programs(20, seed=1)[0]).tolist())
"""


def test_fresh_process_gives_the_same_scores(pytestconfig):
    """Nothing depends on hashes, time or the order of imports."""
    model = XGBCostModel(seed=3)
    model.update("conv", *make_programs(40))
    here = str(model.predict("conv", make_programs(20, seed=1)[0]).tolist())
    other = subprocess.run(
        [sys.executable, "-c", PROCESS], cwd=pytestconfig.rootpath, capture_output=True, text=True, check=True
    )

    assert other.stdout.strip() == here


def test_importing_the_models_does_not_load_xgboost(pytestconfig):
    """Only training and loading need it."""
    code = "import sys, familyseer.cost_model; print('xgboost' in sys.modules, 'tvm' in sys.modules)"
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=pytestconfig.rootpath, capture_output=True, text=True, check=True
    )

    assert other.stdout.strip() == "False False"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, r"`threads` must be a whole number ≥ 1; got 0"),
        ({"top_weight": -1}, r"`top_weight` must be a number ≥ 0; got -1"),
        ({"rounds": 0}, r"`rounds` must be a whole number ≥ 1; got 0"),
        ({"members": 0}, r"`members` must be a whole number ≥ 1; got 0"),
        ({"optimism": -1}, r"`optimism` must be a number ≥ 0; got -1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    """The message names the option."""
    with pytest.raises(InvalidInputError, match=message):
        XGBCostModel(**options)


def _with_empty_program(features):
    arrays = [np.zeros((0, features.width)), *(features[[i]].rows for i in range(len(features)))]
    return type(features).from_arrays(arrays)
