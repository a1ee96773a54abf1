"""The ridge regression against normal equations, scikit-learn, and a search by hand."""

import numpy as np
import pytest

from primus_jax.evals.regression.ridge import PENALTIES, Moments, choose, fit, moments

N, DIM = 90, 7


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, DIM)) @ rng.normal(size=(DIM, DIM)) + 0.3
    y = x[:, 0] - 0.5 * x[:, 3] + rng.normal(0, 0.5, N)
    return x, y, rng.integers(0, 4, N)


def normal_equations(x, y, penalty):
    """Kernel and bias for features as they are, from the equations written out."""
    mean, scale = x.mean(0), x.std(0)
    z = (x - mean) / scale
    w = np.linalg.solve(z.T @ z / len(x) + penalty * np.eye(DIM), z.T @ (y - y.mean()) / len(x))
    return w / scale, y.mean() - mean @ (w / scale)


def test_the_fit_solves_the_normal_equations(data):
    x, y, _ = data
    penalties = (0.0, 1e-3, 1.0)
    linear = fit(moments(x, y), penalties)
    for k, penalty in enumerate(penalties):
        kernel, bias = normal_equations(x, y, penalty)
        np.testing.assert_allclose(linear.kernel[:, k], kernel, rtol=1e-8)
        np.testing.assert_allclose(linear.bias[k], bias, rtol=1e-8)
        np.testing.assert_allclose(linear(x)[:, k], x @ kernel + bias, rtol=1e-8)


def test_the_fit_is_that_of_scikit_learn(data):
    linear_model = pytest.importorskip("sklearn.linear_model")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x, y, _ = data
    z = preprocessing.StandardScaler().fit_transform(x)
    theirs = linear_model.Ridge(alpha=0.01 * N).fit(z, y).predict(z)
    np.testing.assert_allclose(fit(moments(x, y), (0.01,))(x)[:, 0], theirs, rtol=1e-9)
    theirs = linear_model.LinearRegression().fit(z, y).predict(z)
    np.testing.assert_allclose(fit(moments(x, y), (0.0,))(x)[:, 0], theirs, rtol=1e-9)


def test_the_penalty_is_that_of_the_lowest_error_on_folds_left_out(data):
    x, y, fold = data
    x = np.concatenate([x, np.random.default_rng(1).normal(size=(N, 60))], 1)
    error = np.zeros(len(PENALTIES))
    for k in range(4):
        out = fold == k
        predicted = fit(moments(x[~out], y[~out]), PENALTIES)(x[out])
        error += np.square(predicted - y[out, None]).sum(0)
    linear, penalty = choose(x, y, fold, PENALTIES)
    assert penalty == PENALTIES[int(np.argmin(error))]
    assert PENALTIES[0] < penalty < PENALTIES[-1]
    np.testing.assert_allclose(linear.kernel, fit(moments(x, y), (penalty,)).kernel)
    assert choose(x, y, fold, (0.3,))[1] == 0.3


def test_sums_of_people_add_up_and_can_be_taken_away(data):
    x, y, _ = data
    first, second, both = moments(x[:30], y[:30]), moments(x[30:], y[30:]), moments(x, y)
    for added, left, whole, part in zip(
        first.plus(second), both.without(first), both, second, strict=True
    ):
        np.testing.assert_allclose(added, whole)
        np.testing.assert_allclose(left, part, atol=1e-9)
    assert isinstance(both, Moments)


def test_constant_and_equal_features_do_no_harm(data):
    x, y, _ = data
    more = np.concatenate([x, x[:, :1], np.full((N, 1), 3.0)], 1)
    for penalty in (0.0, 1e-5):
        linear = fit(moments(more, y), (penalty,))
        assert linear.kernel[-1, 0] == 0
        assert np.isfinite(linear.kernel).all()
        expected = fit(moments(x, y), (penalty,))(x)
        np.testing.assert_allclose(linear(more), expected, atol=1e-3)
    single = fit(moments(x[:1], y[:1]), (0.0, 1.0))
    np.testing.assert_allclose(single(x[:2]), np.full((2, 2), y[0]))
