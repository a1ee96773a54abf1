"""Logistic regression against scikit-learn, and the vmapped grid against its parts."""

import jax
import numpy as np
import pytest

from primus_jax.evals import probe

linear_model = pytest.importorskip("sklearn.linear_model")


def clusters(seed: int, classes: int, per_class: int, dim: int, spread: float = 2.0):
    """Gaussian clusters whose features are correlated, as those of a real encoder are."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dim, dim)) * (0.8 ** np.arange(dim))[:, None]
    centre = spread * rng.normal(size=(classes, dim))
    label = np.repeat(np.arange(classes), per_class)
    x = (centre[label] + rng.normal(size=(len(label), dim))) @ mixing
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), label


def softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


@pytest.mark.parametrize("c", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_logistic_equals_scikit_learn(classes, c):
    x, label = clusters(0, classes, 60, 24)
    shown = np.arange(len(label)) % 3 == 0
    target = np.eye(classes, dtype=np.float32)[label]
    ours = jax.jit(probe.fit_logistic)(x, target, shown.astype(np.float32), np.float32(c))
    theirs = linear_model.LogisticRegression(C=c, tol=1e-8, max_iter=10_000)
    theirs.fit(x[shown].astype(np.float64), label[shown])
    probability = softmax(x @ np.asarray(ours.kernel) + np.asarray(ours.bias))
    expected = theirs.predict_proba(x.astype(np.float64))
    assert np.abs(probability - expected).max() < 1e-3
    assert np.array_equal(probability.argmax(1), expected.argmax(1))
    assert float(ours.gradient_norm) <= probe.TOLERANCE
    if classes > 2:
        np.testing.assert_allclose(ours.kernel, theirs.coef_.T, atol=2e-3)


def test_a_class_that_is_never_shown_is_never_predicted():
    x, label = clusters(1, 4, 30, 10)
    weight = (label != 2).astype(np.float32)
    fit = jax.jit(probe.fit_logistic)(x, np.eye(4, dtype=np.float32)[label], weight, np.float32(1))
    logits = x @ np.asarray(fit.kernel) + np.asarray(fit.bias)
    assert np.isfinite(np.asarray(fit.kernel)).all()
    assert not (logits.argmax(1) == 2).any()
    without = linear_model.LogisticRegression(tol=1e-8, max_iter=10_000)
    without.fit(x[label != 2].astype(np.float64), label[label != 2])
    assert np.abs(softmax(logits)[:, [0, 1, 3]] - without.predict_proba(x)).max() < 1e-3


def grid_input(seed: int = 2, seeds: int = 3, most: int = 8):
    x, label = clusters(seed, 4, 50, 32)
    rng = np.random.default_rng(seed)
    x = 3 + 10 * x * (1 + np.arange(32, dtype=np.float32))
    pool = rng.random((seeds, len(x))) < 0.7
    rows = np.zeros((seeds, 4, most), np.int32)
    valid = np.zeros(rows.shape, bool)
    for s in range(seeds):
        for k in range(4):
            found = rng.permutation(np.flatnonzero(pool[s] & (label == k)))[: most - 3 * (k == 1)]
            rows[s, k, : len(found)], valid[s, k, : len(found)] = found, True
    return x, label, pool, rows, valid


def test_the_grid_equals_scikit_learn_on_every_seed_and_shot():
    x, label, pool, rows, valid = grid_input()
    shots = np.array([1, 3, 8], np.int32)
    predicted, gradient = probe.probe_grid(x, pool, rows, valid, shots, np.float32(1))
    assert gradient.shape == (3, 3)
    assert np.asarray(gradient).max() <= probe.TOLERANCE
    for s in range(3):
        own = x[pool[s]].astype(np.float64)
        scaled = np.clip((x - own.mean(0)) / own.std(0), -probe.CLIP, probe.CLIP)
        for j, k in enumerate(shots):
            shown = rows[s, :, :k][valid[s, :, :k]]
            model = linear_model.LogisticRegression(tol=1e-8, max_iter=10_000)
            model.fit(scaled[shown], label[shown])
            assert np.array_equal(predicted[s, j], model.predict(scaled))


def test_vmapped_equals_looped():
    x, _, pool, rows, valid = grid_input(3)
    shots = np.array([1, 2, 5, 8], np.int32)
    together, gradient = probe.probe_grid(x, pool, rows, valid, shots, np.float32(1))
    for s in range(3):
        for j in range(4):
            one = np.s_[s : s + 1]
            alone, final = probe.probe_grid(
                x, pool[one], rows[one], valid[one], shots[j : j + 1], np.float32(1)
            )
            assert np.array_equal(together[s, j], alone[0, 0])
            np.testing.assert_allclose(gradient[s, j], final[0, 0], atol=probe.TOLERANCE)


def test_constant_features_are_no_accident():
    """An encoder that collapsed must end at chance, without NaN."""
    _, label, pool, rows, valid = grid_input(4)
    x = np.full((len(label), 16), 0.3, np.float32)
    predicted, gradient = probe.probe_grid(
        x, pool, rows, valid & (np.arange(8) < 5), np.array([5], np.int32), np.float32(1)
    )
    assert np.isfinite(np.asarray(gradient)).all()
    assert len(np.unique(predicted)) == 1
