"""Areas under ROC curves against scikit-learn, with ties and weights, and their interval."""

import numpy as np
import pytest

from primus_jax.evals.roc import auc_interval, one_vs_rest_auc

sklearn = pytest.importorskip("sklearn.metrics")


def scores(seed: int, n: int = 150, classes: int = 4):
    """Probabilities with many ties, labels, and a person for each window."""
    rng = np.random.default_rng(seed)
    label = rng.integers(classes, size=n)
    probability = np.round(rng.random((n, classes)) + 0.7 * np.eye(classes)[label], 1)
    return probability, label, rng.integers(6, size=n)


@pytest.mark.parametrize("seed", range(2))
def test_areas_equal_scikit_learn(seed):
    probability, label, _ = scores(seed)
    weight = np.random.default_rng(seed + 10).integers(0, 3, size=(2, len(label)))
    weighted = one_vs_rest_auc(probability, label, weight)
    plain = one_vs_rest_auc(probability, label)
    for k in range(4):
        own, p = label == k, probability[:, k]
        assert plain[k] == pytest.approx(sklearn.roc_auc_score(own, p))
        for area, w in zip(weighted[:, k], weight, strict=True):
            assert area == pytest.approx(sklearn.roc_auc_score(own, p, sample_weight=w))


def test_equal_scores_are_chance_and_absent_classes_have_no_area():
    area = one_vs_rest_auc(np.ones((4, 3)), np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(area, [0.5, 0.5, np.nan])
    assert np.isnan(one_vs_rest_auc(np.ones((0, 2)), np.zeros(0, int))).all()


def test_the_interval_holds_the_mean_over_folds():
    probability, label, person = scores(3)
    rows = [np.flatnonzero(person % 2 == fold) for fold in (0, 1)]
    parts = ([column[r] for r in rows] for column in (probability, label, person))
    low, high = auc_interval(*parts, people=6)
    mean = np.mean([one_vs_rest_auc(probability[r], label[r]).mean() for r in rows])
    assert low < mean < high
    assert auc_interval([probability], [label], [np.zeros(len(label), int)], people=1) is None
