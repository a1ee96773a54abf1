"""Scores against scikit-learn, and what the bootstrap over people must do."""

import numpy as np
import pytest

from primus_jax.evals import metrics

sklearn = pytest.importorskip("sklearn.metrics")


def guesses(seed: int, n: int = 200, classes: int = 5, people: int = 6, right: float = 0.5):
    rng = np.random.default_rng(seed)
    label, person = rng.integers(classes, size=n), rng.integers(people, size=n)
    predicted = np.where(rng.random(n) < right, label, rng.integers(classes, size=n))
    return predicted, label, person


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_scikit_learn(seed):
    predicted, label, person = guesses(seed)
    by_person = metrics.confusion_by_person(predicted, label, person, 6, 5)
    confusion = by_person.sum(0)
    np.testing.assert_array_equal(confusion, sklearn.confusion_matrix(label, predicted))
    for p in range(6):
        expected = sklearn.confusion_matrix(
            label[person == p], predicted[person == p], labels=range(5)
        )
        np.testing.assert_array_equal(by_person[p], expected)
    expected = {
        "accuracy": sklearn.accuracy_score(label, predicted),
        "macro_f1": sklearn.f1_score(label, predicted, average="macro"),
        "balanced_accuracy": sklearn.balanced_accuracy_score(label, predicted),
        "kappa": sklearn.cohen_kappa_score(label, predicted),
    }
    assert {name: pytest.approx(float(m(confusion))) for name, m in metrics.METRICS.items()} == (
        expected
    )


def test_classes_without_test_windows_do_not_count():
    confusion = np.array([[8, 1, 1], [0, 0, 0], [0, 2, 8]])
    assert metrics.balanced_accuracy(confusion) == pytest.approx(0.8)
    assert metrics.macro_f1(confusion) == pytest.approx((16 / 18 + 16 / 19) / 2)
    assert np.isnan(metrics.accuracy(np.zeros((3, 3))))
    one_class = np.array([[5, 0], [0, 0]])
    assert metrics.cohen_kappa(one_class) == 0


def test_interval_covers_and_shrinks_with_people():
    def interval(people: int):
        rng = np.random.default_rng(1)
        skill = rng.uniform(0.4, 0.9, people)  # people differ much more than their windows
        person = np.repeat(np.arange(people), 50)
        label = rng.integers(4, size=len(person))
        right = rng.random(len(person)) < skill[person]
        predicted = np.where(right, label, (label + 1) % 4)
        by_person = metrics.confusion_by_person(predicted, label, person, people, 4)
        low, high = metrics.bootstrap_interval(by_person[None], metrics.accuracy)
        assert low < right.mean() < high
        return high - low, skill.std() / np.sqrt(people) * 3.92

    for people in (10, 90):
        width, expected = interval(people)
        assert width == pytest.approx(expected, rel=0.35)
    assert interval(90)[0] < interval(10)[0] / 2


def test_seeds_that_test_the_same_people_are_not_independent():
    predicted, label, person = guesses(3)
    one = metrics.confusion_by_person(predicted, label, person, 6, 5)[None]
    once = metrics.bootstrap_interval(one, metrics.accuracy)
    often = metrics.bootstrap_interval(np.repeat(one, 20, 0), metrics.accuracy)
    assert once == pytest.approx(often)
    single = np.where(np.arange(6)[:, None, None] == 2, one[0], 0)[None]
    assert metrics.bootstrap_interval(single, metrics.accuracy) is None
