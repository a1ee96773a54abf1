"""Scores of predicted numbers against plain NumPy, an analysis of variance and golden numbers."""

import numpy as np
import pytest
from support.relcon_golden import golden

from primus_jax.evals.regression.agreement import SCORES, intervals, pair_sums, scores


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    true = rng.normal(size=60)
    return true, 0.8 * true + 0.2 + rng.normal(0, 0.4, 60), rng.integers(0, 6, 60)


def of(true, predicted):
    sums = pair_sums(true, predicted, np.zeros(len(true), int), 1)
    return {name: value[0] for name, value in scores(sums).items()}


def analysis_of_variance(ratings):
    """ICC(2,1) of `[targets, raters]`, from the table of Shrout and Fleiss."""
    n, k = ratings.shape
    grand, rows, columns = ratings.mean(), ratings.mean(1), ratings.mean(0)
    between = k * np.square(rows - grand).sum() / (n - 1)
    raters = n * np.square(columns - grand).sum() / (k - 1)
    left = ratings - rows[:, None] - columns + grand
    residual = np.square(left).sum() / ((n - 1) * (k - 1))
    return (between - residual) / (between + (k - 1) * residual + k * (raters - residual) / n)


def test_scores_are_those_of_numpy(pairs):
    true, predicted, person = pairs
    error = predicted - true
    width = 1.96 * error.std(ddof=1)
    expected = {
        "mse": np.mean(error**2),
        "sdse": np.std(error**2),
        "mae": np.mean(np.abs(error)),
        "sdae": np.std(np.abs(error)),
        "correlation": np.corrcoef(true, predicted)[0, 1],
        "icc": analysis_of_variance(np.stack([true, predicted], 1)),
        "bias": error.mean(),
        "lower_limit": error.mean() - width,
        "upper_limit": error.mean() + width,
    }
    assert tuple(expected) == SCORES
    found = scores(pair_sums(true, predicted, person, 6).sum(0))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-10, err_msg=name)


def test_perfect_constant_and_shifted_predictions(pairs):
    true = pairs[0]
    perfect = of(true, true)
    assert perfect["icc"] == pytest.approx(1)
    assert perfect["mse"] == perfect["sdae"] == 0
    constant = of(true, np.zeros_like(true))
    assert np.isnan(constant["correlation"])
    assert np.isfinite(constant["icc"])
    shifted = of(true, true + 3)
    assert shifted["correlation"] == pytest.approx(1)
    assert shifted["icc"] < 0.5  # agreement is absolute
    assert np.isnan(of(true[:1], true[:1])["icc"])


def test_intervals_draw_people(pairs):
    true, predicted, person = pairs
    sums = np.stack([pair_sums(true, predicted, person, 6)] * 2)
    found = intervals(sums)
    at = scores(sums[0].sum(0))
    for name in SCORES:
        low, high = found[name]
        assert low <= at[name] <= high
    assert intervals(sums) == found
    assert intervals(sums[:, :1])["mae"] is None
    # people without any spread between them
    same = np.stack([np.tile(sums[0, :1], (6, 1))])
    low, high = intervals(same)["mae"]
    assert low == pytest.approx(high)


def test_the_columns_of_relcons_table():
    values = golden("metrics.gait/a")
    found = of(values["in/target"], values["in/prediction"])
    for name, theirs in (
        ("correlation", "corr"),
        *((n, n) for n in ("mse", "sdse", "mae", "sdae")),
    ):
        np.testing.assert_allclose(found[name], values[f"out/{theirs}"], rtol=1e-9, err_msg=name)
