# SPDX-License-Identifier: Apache-2.0
"""`XGBModel` and `RandomModel` learn from and score programs, as in ``tvm.auto_scheduler``."""

from __future__ import annotations

import numpy as np
import pytest

from familyseer.errors import ModelFileError, UnsupportedError
from familyseer.measure import MeasureErrorNo, MeasureResult
from familyseer.meta_schedule.cost_model import RandomModel, XGBModel
from familyseer.meta_schedule.measure_record import MeasureInput, State, save_records
from familyseer.meta_schedule.space import extract_features

COUNT = 64


@pytest.fixture(scope="module")
def programs(matmul_task, matmul_space):
    """Return random programs of the matmul, each once."""
    states = {}
    for _ in range(10):
        states.update((state.trace, state) for state in map(_state_of(matmul_task), matmul_space.sample(COUNT)))
    return list(states.values())[: 2 * COUNT]


def _state_of(task):
    return lambda schedule: State.of(task, schedule)


def latencies(task, states) -> np.ndarray:
    """Return made-up seconds that depend on features of the programs and differ up to a hundredfold."""
    features = extract_features(task.mod, task.target, [state.schedule for state in states], threads=1).gathered()
    size = np.nan_to_num(features[:, : features.shape[1] // 3]).sum(axis=1)
    return 1e-4 * np.exp(3 * (size - size.mean()) / size.std())


def measured(task, states):
    """Return candidates and what "measuring" gave."""
    results = [MeasureResult(costs=(float(cost),)) for cost in latencies(task, states)]
    return [MeasureInput(task, state) for state in states], results


def pairwise_accuracy(scores, costs) -> float:
    """Return the share of pairs in the right order."""
    first, second = np.triu_indices(len(costs), 1)
    return float(np.mean((scores[first] > scores[second]) == (costs[first] < costs[second])))


@pytest.fixture(scope="module")
def trained(matmul_task, programs):
    """Return a model that has seen the first half."""
    model = XGBModel(num_warmup_sample=16)
    model.update(*measured(matmul_task, programs[:COUNT]))
    return model


def test_learns_to_rank(trained, matmul_task, programs):
    """Programs that it has not seen are put in order."""
    unseen = programs[COUNT:]

    scores = trained.predict(matmul_task, unseen)

    assert scores.shape == (len(unseen),)
    assert scores.min() >= 0
    assert pairwise_accuracy(scores, latencies(matmul_task, unseen)) > 0.8


def test_scores_alike_before_it_is_warm(matmul_task, programs):
    """Fewer measurements than `num_warmup_sample` teach nothing."""
    model = XGBModel(num_warmup_sample=COUNT + 1)
    model.update(*measured(matmul_task, programs[:COUNT]))

    assert set(model.predict(matmul_task, programs[:4])) == {1.0}


def test_is_seeded(trained, matmul_task, programs):
    """The same measurements give the same model."""
    again = XGBModel(num_warmup_sample=16)
    again.update(*measured(matmul_task, programs[:COUNT]))

    np.testing.assert_array_equal(
        again.predict(matmul_task, programs[COUNT:]), trained.predict(matmul_task, programs[COUNT:])
    )


def test_survives_saving(trained, matmul_task, programs, tmp_path):
    """A loaded model predicts what the saved one did."""
    trained.save(tmp_path / "model")
    loaded = XGBModel()
    loaded.load(str(tmp_path / "model"))

    np.testing.assert_array_equal(loaded.predict(matmul_task, programs[:8]), trained.predict(matmul_task, programs[:8]))


def test_an_untrained_model_survives_saving(matmul_task, programs, tmp_path):
    """TVM's fails here."""
    XGBModel().save(tmp_path / "model")
    loaded = XGBModel()
    loaded.load(tmp_path / "model")

    assert set(loaded.predict(matmul_task, programs[:4])) == {1.0}


def test_refuses_other_files(tmp_path):
    """A text is no model."""
    (tmp_path / "model").write_text("no model")

    with pytest.raises(ModelFileError):
        XGBModel().load(tmp_path / "model")


def test_writes_its_file_after_each_update(matmul_task, programs, tmp_path):
    """With `model_file`, a killed run loses nothing."""
    model = XGBModel(num_warmup_sample=16, model_file=str(tmp_path / "model"))
    model.update(*measured(matmul_task, programs[:32]))
    loaded = XGBModel()
    loaded.load(tmp_path / "model")

    np.testing.assert_array_equal(loaded.predict(matmul_task, programs[:8]), model.predict(matmul_task, programs[:8]))


@pytest.mark.parametrize(("adaptive", "changes"), [(True, False), (False, True)])
def test_adaptive_training_waits_for_a_fifth_more(matmul_task, programs, adaptive, changes):
    """One more program in 64 trains a model anew only without it."""
    model = XGBModel(num_warmup_sample=16, adaptive_training=adaptive)
    model.update(*measured(matmul_task, programs[:COUNT]))
    before = model.predict(matmul_task, programs)
    model.update([MeasureInput(matmul_task, programs[-1])], [MeasureResult(costs=(1e-7,))])

    assert (not np.array_equal(model.predict(matmul_task, programs), before)) == changes


def test_learns_from_a_file(trained, matmul_task, programs, tmp_path):
    """A log teaches what its measurements teach, and no more than `n_lines` of them."""
    save_records(tmp_path / "log.json", *measured(matmul_task, programs[:COUNT]))
    whole, part = XGBModel(num_warmup_sample=16), XGBModel(num_warmup_sample=16)
    whole.update_from_file(tmp_path / "log.json")
    part.update_from_file(tmp_path / "log.json", 15)

    np.testing.assert_array_equal(whole.predict(matmul_task, programs[:8]), trained.predict(matmul_task, programs[:8]))
    assert set(part.predict(matmul_task, programs[:8])) == {1.0}


def test_learns_tasks_and_failures_in_one_batch(matmul_task, conv_task, programs):
    """A batch may mix tasks; programs that failed score below those that ran."""
    inputs, results = measured(matmul_task, programs[:COUNT])
    untuned = MeasureInput(conv_task, State.untuned(conv_task))
    failed = MeasureResult(error_no=MeasureErrorNo.RUNTIME_DEVICE, error_msg="it crashed")
    slowest = int(np.argmax([result.cost for result in results]))
    results[slowest] = failed
    model = XGBModel(num_warmup_sample=16)

    model.update([*inputs, untuned], [*results, failed])

    scores = model.predict(matmul_task, programs[:COUNT])
    assert scores[slowest] < np.median(scores)


def test_no_programs_are_no_scores(trained, matmul_task):
    """Empty in, empty out; an empty batch is harmless."""
    trained.update([], [])

    assert trained.predict(matmul_task, []).shape == (0,)


@pytest.mark.parametrize("make", [XGBModel, RandomModel])
def test_stages_are_refused(make, matmul_task, programs):
    """The model sees a program as a whole."""
    with pytest.raises(UnsupportedError, match=r"use predict\(task, states\)"):
        make().predict_stages(matmul_task, programs[:1])


def test_random_model_scores_at_random(matmul_task, programs):
    """Equal seeds give equal scores, other seeds others; learning changes nothing."""
    one, same, other = RandomModel(seed=1), RandomModel(seed=1), RandomModel(seed=2)
    same.update(*measured(matmul_task, programs[:4]))
    scores = one.predict(matmul_task, programs[:16])

    assert len(set(scores)) == 16
    assert scores.min() >= 0
    np.testing.assert_array_equal(same.predict(matmul_task, programs[:16]), scores)
    assert not np.array_equal(other.predict(matmul_task, programs[:16]), scores)
