# SPDX-License-Identifier: Apache-2.0
"""`FamilyClustering` as scikit-learn's users expect an estimator to be, and on families that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from familyseer.errors import InvalidInputError
from familyseer.families.clustering import FamilyClustering


def blocks(labels, *, within, between, own):
    """Return a matrix with one value within groups, one between them, and one on its diagonal."""
    labels = np.array(labels)
    matrix = np.where(labels[:, None] == labels[None, :], within, between).astype(float)
    np.fill_diagonal(matrix, own)
    return matrix


def evidence(labels, *, accuracy=(0.8, 0.55, 0.75), alignment=(0.4, 0.1, 1.0), programs=64):
    """Return arguments of `fit` for tasks of known families."""
    within, between, own = accuracy
    return {
        "X": blocks(labels, within=within, between=between, own=own),
        "alignment": blocks(labels, within=alignment[0], between=alignment[1], own=alignment[2]),
        "programs": [programs] * len(labels),
    }


def pair(accuracy, aligned, programs=64):
    """Return arguments of `fit` for two tasks and two strangers to both."""
    first = evidence([0, 0, 1, 2], programs=programs)
    first["X"][:2, :2] = [[0.75, accuracy], [accuracy, 0.75]]
    first["alignment"][:2, :2] = [[1, aligned], [aligned, 1]]
    return first


@pytest.mark.parametrize(
    "labels", [[0], [0, 0], [0, 1], [0, 0, 0, 1, 1], [0, 1, 0, 2, 1, 3, 4, 4, 2], [0, 1, 2, 3], [0] * 9]
)
def test_groups_are_found_without_their_number(labels):
    """One task, all alike, all different, five groups and an outlier."""
    assert FamilyClustering().fit(**evidence(labels)).labels_.tolist() == labels


@pytest.mark.parametrize("programs", [24, 64])
def test_either_evidence_serves(programs):
    """Alignment alone tells families apart; so does cross-accuracy on top of a middling alignment, of many programs only."""
    labels = [0, 0, 0, 1, 1, 1]
    aligned = evidence(labels, accuracy=(0.6, 0.6, 0.7), programs=programs)
    accurate = evidence(labels, alignment=(0.15, 0.15, 1.0), programs=programs)

    assert FamilyClustering().fit(**aligned).labels_.tolist() == labels
    assert FamilyClustering().fit(**accurate).labels_.tolist() == labels


def test_distance_by_hand():
    """Alignment 0.4, and interactions of 0.2 and -0.1 around a mean of 0.6, whatever the effects of rows and columns."""
    given = evidence([0, 0, 1, 1], accuracy=(0.8, 0.5, 0.75), alignment=(0.4, 0.1, 1.0))
    given["X"] += np.add.outer([0.05, -0.02, 0.0, -0.03], [0.1, 0.0, -0.1, 0.0])
    found = FamilyClustering(accuracy_weight=2.0).fit(**given).distances_

    assert found[0, 1] == pytest.approx(1 - 0.4 - 2.0 * 0.2)
    assert found[0, 2] == pytest.approx(1 - 0.1 + 2.0 * 0.1)
    assert found.tolist() == found.T.tolist()
    assert np.diag(found).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_three_tasks_or_fewer_have_no_interaction(tasks):
    """One that is easy to rank, or whose model is good, explains all there is; alignment decides."""
    given = evidence(list(range(tasks)), alignment=(0.4, 0.1, 1.0))
    given["X"] = np.add.outer([0.1, 0.0, -0.1], [0.8, 0.6, 0.6])[:tasks, :tasks]
    found = FamilyClustering().fit(**given).distances_
    assert found == pytest.approx(np.where(np.eye(tasks, dtype=bool), 0, 0.9))


def test_few_programs_give_cross_accuracy_less_weight():
    """A quarter of 64 programs: a quarter of the weight."""
    near, far = (FamilyClustering().fit(**pair(0.65, 0.2, programs)).distances_[0, 1] for programs in (64, 16))
    without = FamilyClustering(accuracy_weight=0).fit(**pair(0.65, 0.2)).distances_[0, 1]

    assert (without - far) == pytest.approx((without - near) / 4)


def test_symmetrisation_of_one_sided_accuracy():
    """What i knows of j and j does not know of i."""
    given = pair(0.6, 0.2)
    given["X"][0, 1] = 0.65
    found = [FamilyClustering(symmetrisation=how).fit(**given).distances_[0, 1] for how in ("max", "mean", "min")]

    assert found[0] < found[1] < found[2]
    assert found[1] == pytest.approx((found[0] + found[2]) / 2)


def test_dendrogram_is_complete():
    """Every merge with its distance, in growing order."""
    found = FamilyClustering().fit(**evidence([0, 0, 1, 1]))

    assert found.children_.shape == (3, 2)
    assert found.merges_.tolist() == sorted(found.merges_)
    assert found.merges_[1] < found.distance_threshold < found.merges_[2]


@given(st.permutations(range(8)))
def test_order_of_tasks_does_not_matter(order):
    """The same tasks are together whatever their order is."""
    rng = np.random.default_rng(0)
    given = evidence([0, 0, 0, 1, 1, 2, 2, 3])
    given["X"] = np.clip(given["X"] + rng.normal(0, 0.01, (8, 8)), 0, 1)
    plain = FamilyClustering().fit(**given).labels_
    chosen = np.ix_(order, order)
    shuffled = (
        FamilyClustering()
        .fit(given["X"][chosen], alignment=given["alignment"][chosen], programs=given["programs"])
        .labels_
    )

    together = plain[list(order)]
    assert (shuffled[:, None] == shuffled).tolist() == (together[:, None] == together).tolist()


def test_hysteresis_keeps_families_that_are_as_good():
    """Just beyond the threshold: apart without a past, together with one; far beyond it the past does not matter."""
    sticky = FamilyClustering(accuracy_weight=0.0, distance_threshold=0.6, hysteresis=0.05)
    together, apart = [0, 0, 1, 2], [0, 1, 2, 3]

    assert sticky.fit(**pair(0.7, 0.38)).labels_.tolist() == apart
    assert sticky.fit(**pair(0.7, 0.38), present=together).labels_.tolist() == together
    assert sticky.fit(**pair(0.7, 0.30), present=together).labels_.tolist() == apart
    assert sticky.fit(**pair(0.7, 0.42)).labels_.tolist() == together
    assert sticky.fit(**pair(0.7, 0.42), present=apart).labels_.tolist() == apart


def test_is_an_estimator():
    """Parameters can be read, changed and cloned."""
    made = FamilyClustering(distance_threshold=0.3, linkage="complete")

    assert clone(made).get_params() == made.get_params()
    assert made.set_params(linkage="single").linkage == "single"


@pytest.mark.parametrize(
    ("accuracy", "message"),
    [
        (np.zeros((0, 0)), r"`X` must be a square matrix of at least one task; got \(0, 0\)"),
        (np.ones((2, 3)), r"square matrix of at least one task; got \(2, 3\)"),
        ([0.5], r"square matrix of at least one task; got \(1,\)"),
        ([[np.nan]], "`X` must be numbers from 0 to 1; leave out tasks with too few programs"),
        ([[1.5]], "numbers from 0 to 1"),
        ([[1.0, 0.5], [0.5, 1.0]], r"must be of the 2 tasks of `X`; got shapes \(1, 1\) and \(1,\)"),
    ],
)
def test_what_does_not_fit_is_refused(accuracy, message):
    """Other shapes and other numbers."""
    with pytest.raises(InvalidInputError, match=message):
        FamilyClustering().fit(accuracy, alignment=[[1.0]], programs=[64])


def test_unknown_symmetrisation_is_refused():
    """The message lists the known ones."""
    with pytest.raises(InvalidInputError, match="`symmetrisation` must be mean, min or max; got 'sum'"):
        FamilyClustering(symmetrisation="sum").fit([[1.0]], alignment=[[1.0]], programs=[64])
