"""Logistic and ridge regression against scikit-learn, and the vmapped grid against its parts."""

import functools

import jax
import numpy as np
import pytest

from primus_jax.evals.fewshot import convex, logistic, probe, ridge

linear_model = pytest.importorskip("sklearn.linear_model")
TIGHT = 5e-6
# Equal shapes and options share a compiled program between tests.
OPTIONS = {
    "logistic": {"shots": (1, 8), "grid": (0.001, 0.03, 1.0)},
    "ridge": {"shots": (1, 3, 8), "classifier": "ridge"},
}


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
    labelled = np.arange(len(label)) % 3 == 0
    target = np.eye(classes, dtype=np.float32)[label]
    fit = jax.jit(functools.partial(logistic.fit_logistic, tolerance=TIGHT))
    ours = fit(x, target, labelled.astype(np.float32), np.float32(c))
    theirs = linear_model.LogisticRegression(C=c, tol=1e-8, max_iter=10_000)
    theirs.fit(x[labelled].astype(np.float64), label[labelled])
    probability = softmax(x @ np.asarray(ours.kernel) + np.asarray(ours.bias))
    expected = theirs.predict_proba(x.astype(np.float64))
    assert np.abs(probability - expected).max() < 1e-3
    assert np.array_equal(probability.argmax(1), expected.argmax(1))
    assert float(ours.gradient_norm) <= TIGHT
    if classes > 2:
        np.testing.assert_allclose(ours.kernel, theirs.coef_.T, atol=2e-3)


def test_a_class_that_is_never_labelled_is_never_predicted():
    x, label = clusters(1, 4, 30, 10)
    weight = (label != 2).astype(np.float32)
    fit = jax.jit(logistic.fit_logistic)(
        x, np.eye(4, dtype=np.float32)[label], weight, np.float32(1)
    )
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


def fold_of(rows: np.ndarray, folds: int = 3) -> np.ndarray:
    """As if window i were of person i % folds."""
    return (rows % folds).astype(np.int32)


def everything(x: np.ndarray, seeds: int) -> np.ndarray:
    return np.tile(np.arange(len(x), dtype=np.int32), (seeds, 1))


def scaled_by(x: np.ndarray, pool: np.ndarray) -> np.ndarray:
    own = x[pool].astype(np.float64)
    return np.clip((x - own.mean(0)) / own.std(0), -probe.CLIP, probe.CLIP)


def test_the_grid_equals_scikit_learn_on_every_seed_and_shot():
    x, label, pool, rows, valid = grid_input()
    shots = (1, 3, 8)
    result = probe.probe_grid(
        x,
        probe.ProbeDraws(pool, rows, valid, fold_of(rows), everything(x, 3)),
        shots=shots,
        grid=(1.0,),
    )
    assert result.gradient_norm.shape == (3, 3)
    assert np.asarray(result.gradient_norm).max() <= logistic.TOLERANCE
    assert (np.asarray(result.c) == 1).all()
    assert (np.asarray(result.validated) == 0).all()
    for s in range(3):
        scaled = scaled_by(x, pool[s])
        for j, k in enumerate(shots):
            labelled = rows[s, :, :k][valid[s, :, :k]]
            model = linear_model.LogisticRegression(tol=1e-8, max_iter=10_000)
            model.fit(scaled[labelled], label[labelled])
            assert np.array_equal(result.predicted[s, j], model.predict(scaled))


@pytest.mark.slow
def test_the_penalty_is_the_one_that_scikit_learn_prefers_on_the_people_left_out():
    x, label, pool, rows, valid = grid_input(5)
    fold = fold_of(rows)
    fold[:, 1] = 0  # one person alone does activity 1: the fit without it has three classes
    grid = OPTIONS["logistic"]["grid"]
    draws = probe.ProbeDraws(pool, rows, valid, fold, everything(x, 3))
    result = probe.probe_grid(x, draws, **OPTIONS["logistic"])
    chosen = np.asarray(result.c)
    for s in range(3):
        scaled = scaled_by(x, pool[s])
        loss, counted = np.zeros(len(grid)), 0
        for f in range(3):
            train, test = valid[s] & (fold[s] != f), valid[s] & (fold[s] == f)
            labelled, held = rows[s][train], rows[s][test]
            held = held[np.isin(label[held], label[labelled])]
            counted += len(held)
            for i, c in enumerate(grid):
                model = linear_model.LogisticRegression(C=c, tol=1e-8, max_iter=10_000)
                logp = model.fit(scaled[labelled], label[labelled]).predict_log_proba(scaled[held])
                place = np.searchsorted(model.classes_, label[held])
                loss[i] -= logp[np.arange(len(held)), place].sum()
        assert chosen[s, 1] == np.float32(grid[loss.argmin()])
        assert result.validated[s, 1] == counted
        final = linear_model.LogisticRegression(C=chosen[s, 1], tol=1e-8, max_iter=10_000)
        final.fit(scaled[rows[s][valid[s]]], label[rows[s][valid[s]]])
        assert np.array_equal(result.predicted[s, 1], final.predict(scaled))
    # One window of a class cannot be both labelled and left out: nothing to choose by.
    default = np.float32(convex.CLASSIFIERS["logistic"].default_c)
    np.testing.assert_array_equal(chosen[:, 0], default)
    assert (np.asarray(result.validated)[:, 0] == 0).all()


@pytest.mark.parametrize("classes", [2, 5])
def test_ridge_equals_scikit_learn(classes):
    x, label = clusters(0, classes, 60, 24)
    labelled = np.arange(len(label)) % 3 == 0
    target = np.eye(classes, dtype=np.float32)[label]
    for c in (0.5, 1e-4):
        ours = jax.jit(ridge.fit_ridge)(x, target, labelled.astype(np.float32), np.float32(c))
        theirs = linear_model.RidgeClassifier(alpha=1 / (2 * c)).fit(x[labelled], label[labelled])
        # scikit-learn's targets are -1 and 1, and two classes have one column
        scores = 2 * (x @ np.asarray(ours.kernel) + np.asarray(ours.bias)) - 1
        expected = theirs.decision_function(x)
        np.testing.assert_allclose(scores[:, 1] if classes == 2 else scores, expected, atol=2e-4)
        assert np.array_equal(scores.argmax(1), theirs.predict(x))
        assert float(ours.gradient_norm) < 1e-5


def test_the_ridge_penalty_is_the_one_of_least_error_on_the_people_left_out():
    x, label, pool, rows, valid = grid_input(6)
    fold, grid = fold_of(rows), convex.CLASSIFIERS["ridge"].grid
    draws = probe.ProbeDraws(pool, rows, valid, fold, everything(x, 3))
    result = probe.probe_grid(x, draws, **OPTIONS["ridge"])
    assert np.asarray(result.gradient_norm).max() < 1e-5
    for s in range(3):
        scaled = scaled_by(x, pool[s])
        loss = np.zeros(len(grid))
        for f in range(3):
            train, test = valid[s] & (fold[s] != f), valid[s] & (fold[s] == f)
            labelled, held = rows[s][train], rows[s][test]
            held = held[np.isin(label[held], label[labelled])]
            for i, c in enumerate(grid):
                model = linear_model.Ridge(alpha=1 / (2 * c))
                model.fit(scaled[labelled], np.eye(4)[label[labelled]])
                loss[i] += np.square(model.predict(scaled[held]) - np.eye(4)[label[held]]).sum()
        assert result.c[s, 2] == np.float32(grid[loss.argmin()])
        for j, k in enumerate((1, 3, 8)):
            labelled = rows[s, :, :k][valid[s, :, :k]]
            final = linear_model.RidgeClassifier(alpha=1 / (2 * float(result.c[s, j])))
            final.fit(scaled[labelled], label[labelled])
            assert np.array_equal(result.predicted[s, j], final.predict(scaled))
    assert (np.asarray(result.c)[:, 0] == np.float32(1e-3)).all()


def test_ridge_never_predicts_a_class_that_is_never_labelled():
    x, label = clusters(1, 4, 30, 10)
    target = np.eye(4, dtype=np.float32)[label]
    for weight in ((label != 2).astype(np.float32), np.zeros(len(label), np.float32)):
        fit = jax.jit(ridge.fit_ridge)(x, target, weight, np.float32(1))
        logits = x @ np.asarray(fit.kernel) + np.asarray(fit.bias)
        assert not np.isnan(logits).any()
        assert not (logits.argmax(1) == 2).any()


@pytest.mark.parametrize("classifier", [pytest.param("logistic", marks=pytest.mark.slow), "ridge"])
def test_vmapped_equals_looped(classifier):
    x, _, pool, rows, valid = grid_input(3)
    fold, test = fold_of(rows), everything(x, 3)
    options = OPTIONS[classifier]
    draws = probe.ProbeDraws(pool, rows, valid, fold, test)
    together = probe.probe_grid(x, draws, **options)
    for s in range(2):
        draw = probe.ProbeDraws(*(part[s : s + 1] for part in draws))
        alone = probe.probe_grid(x, draw, **options)
        np.testing.assert_array_equal(together.predicted[s], alone.predicted[0])
        # Other axes, another rounding: a window right between two classes may change.
        single = probe.probe_grid(x, draw, **{**options, "shots": (8,)})
        assert (together.predicted[s, -1] == single.predicted[0, 0]).mean() > 0.98
        assert together.c[s, -1] == single.c[0, 0]


def test_shot_counts_share_rows_only_within_a_factor():
    assert probe._shared((1, 2, 5, 10, 20, 50, 100)) == [(1, 2, 5, 10, 20), (50, 100)]
    assert probe._shared((7,)) == [(7,)]


def test_more_windows_than_features_and_fewer_give_the_same_kind_of_answer():
    """Both branches of the principal basis span the windows."""
    for rows, dim in ((40, 12), (12, 40)):
        x = np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float32)
        basis = np.asarray(convex._principal_basis(x))
        assert basis.shape == (dim, min(rows, dim))
        np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-5)
        np.testing.assert_allclose(x @ basis @ basis.T, x, atol=1e-4)


@pytest.mark.slow
def test_constant_features_are_no_accident():
    """An encoder that collapsed must end at chance, without NaN."""
    _, label, pool, rows, valid = grid_input(4)
    x = np.full((len(label), 32), 0.3, np.float32)
    labelled = valid & (np.arange(8) < 5)
    for options in OPTIONS.values():
        draws = probe.ProbeDraws(pool, rows, labelled, fold_of(rows), everything(x, 3))
        result = probe.probe_grid(x, draws, **options)
        assert np.isfinite(np.asarray(result.gradient_norm)).all()
        assert all(len(np.unique(one)) == 1 for one in np.asarray(result.predicted)[:, -1])
