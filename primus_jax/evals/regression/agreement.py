"""How far numbers are from the true ones: errors, correlation, ICC, limits of agreement.

All scores are functions of sums over pairs, so that people can be drawn with replacement by
weighing the sums.
"""

import numpy as np

from primus_jax.evals.metrics import REPLICATES

SCORES = (
    "mse",
    "sdse",
    "mae",
    "sdae",
    "correlation",
    "icc",
    "bias",
    "lower_limit",
    "upper_limit",
)
# Of a normal distribution, 95 % lie within.
_LIMITS = 1.96


def pair_sums(
    true: np.ndarray, predicted: np.ndarray, person: np.ndarray, people: int
) -> np.ndarray:
    """Sums over the pairs of each person, float64 `[people, sums]`.

    Args:
        true: float `[n]`, about zero for the sake of rounding.
        predicted: float `[n]`.
        person: int `[n]`, 0 to people - 1.
        people: how many.
    """
    error = predicted - true
    columns = (
        *(np.ones_like(error), true, predicted, true**2, predicted**2, true * predicted),
        *(np.abs(error), error**2, error**4),
    )
    return np.stack([np.bincount(person, column, people) for column in columns], 1)


def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """`SCORES` of sums `[..., sums]`, each `[...]`; NaN where a score is not defined.

    - mse, sdse, mae, sdae: mean and standard deviation (divisor n) of squared and absolute errors;
      RelCon's tables print them, and do not define the deviations.
    - correlation: Pearson's; NaN if either side does not vary.
    - icc: ICC(2,1), two-way random effects, absolute agreement, a single measurement (Shrout and
      Fleiss, Psychological Bulletin 86(2), 1979), with truth and prediction as the two raters.
      NaN below two pairs.
    - bias, lower_limit, upper_limit: mean of predicted minus true, and its limits of agreement,
      1.96 standard deviations (divisor n - 1) to each side (Bland and Altman, Lancet 327, 1986).
    """
    n = sums[..., 0]
    means = np.moveaxis(sums[..., 1:], -1, 0) / np.maximum(n, 1e-300)
    t, p, tt, pp, tp, absolute, square, fourth = means
    with np.errstate(invalid="ignore", divide="ignore"):
        spread_t, spread_p, both = tt - t * t, pp - p * p, tp - t * p
        varies = np.minimum(spread_t, spread_p) > 1e-12 * np.maximum(np.maximum(tt, pp), 1e-300)
        correlation = both / np.sqrt(np.where(varies, spread_t * spread_p, np.nan))
        unbiased = n / np.where(n > 1, n - 1, np.nan)
        # Mean squares of two raters: between pairs, between raters, and what is left.
        between = unbiased * (spread_t + spread_p + 2 * both) / 2
        residual = unbiased * np.maximum(spread_t + spread_p - 2 * both, 0) / 2
        raters = n * (t - p) ** 2 / 2
        icc = (between - residual) / (between + residual + 2 * (raters - residual) / n)
        width = _LIMITS * np.sqrt(2 * residual)
    return {
        "mse": square,
        "sdse": np.sqrt(np.maximum(fourth - square**2, 0)),
        "mae": absolute,
        "sdae": np.sqrt(np.maximum(square - absolute**2, 0)),
        "correlation": correlation,
        "icc": icc,
        "bias": p - t,
        "lower_limit": p - t - width,
        "upper_limit": p - t + width,
    }


def intervals(
    sums: np.ndarray, level: float = 0.95, replicates: int = REPLICATES, seed: int = 0
) -> dict[str, tuple[float, float] | None]:
    """Percentile interval of every score, averaged over runs, when other people are met.

    A replicate draws as many people as there are, with replacement; a person drawn twice counts
    twice in every run. The people who are trained on are held fixed.

    Args:
        sums: float `[runs, people, sums]`; all people are tested.
        level: share of the replicates inside.
        replicates: how many.
        seed: of the draws.

    Returns:
        (low, high) by score; None below two people, or where a score is not defined.
    """
    people = sums.shape[1]
    if people < 2:
        return dict.fromkeys(SCORES)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(people, np.full(people, 1 / people), replicates).astype(np.float64)
    drawn = scores(times @ sums)
    found: dict[str, tuple[float, float] | None] = {}
    for name, values in drawn.items():
        mean = values.mean(0)
        mean = mean[np.isfinite(mean)]
        low, high = np.quantile(mean, [(1 - level) / 2, (1 + level) / 2]) if len(mean) else (0, 0)
        found[name] = (float(low), float(high)) if len(mean) else None
    return found
