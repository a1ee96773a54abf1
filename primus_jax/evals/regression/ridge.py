"""Ridge regression in closed form from sums over rows, for many penalties at once.

Rows enter as `Moments`, which add up: those of any people are the sum of theirs, and leaving people
out is a subtraction. All is float64 NumPy: the largest matrix is `[dim, dim]`.
"""

from typing import NamedTuple

import numpy as np

# Of the mean squared error, per feature of unit variance; 0 is least squares.
PENALTIES = tuple(10.0**power for power in range(-5, 3))
# Below this share of the spread over all rows a feature is constant.
_CONSTANT = 1e-10


class Moments(NamedTuple):
    """Sums over rows: `count`; `x` `[dim]`, `y`; `xx` `[dim, dim]`, `xy` `[dim]`."""

    count: float
    x: np.ndarray
    y: float
    xx: np.ndarray
    xy: np.ndarray

    def plus(self, other: "Moments", sign: float = 1.0) -> "Moments":
        """The sums over the rows of both; with `sign` -1 over the rows without those of `other`."""
        return Moments(*(a + sign * b for a, b in zip(self, other, strict=True)))


class Linear(NamedTuple):
    """One linear function for each penalty: `kernel` `[dim, penalties]`, `bias` `[penalties]`."""

    kernel: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Predictions `[n, penalties]` of rows `[n, dim]`."""
        return x @ self.kernel + self.bias


def moments(x: np.ndarray, y: np.ndarray) -> Moments:
    """Sums over the rows of float64 `[n, dim]` and `[n]`."""
    return Moments(float(len(x)), x.sum(0), float(y.sum()), x.T @ x, x.T @ y)


def fit(sums: Moments, penalties: tuple[float, ...]) -> Linear:
    """Minimise `mean_i (s(x_i) w + b - y_i)^2 + penalty ||w||^2`; b has no penalty.

    s standardises every feature by the same rows; a constant feature gets no weight. scikit-learn's
    Ridge on standardised features is this with alpha = rows * penalty. Without a penalty the
    solution of least norm is taken.

    Args:
        sums: over the rows that are fitted, one at least, of features of about unit spread.
        penalties: none negative.
    """
    mean, level = sums.x / sums.count, sums.y / sums.count
    covariance = sums.xx / sums.count - np.outer(mean, mean)
    cross = sums.xy / sums.count - mean * level
    variance = np.diag(covariance)
    spread = variance > _CONSTANT
    scale = np.where(spread, 1 / np.sqrt(np.where(spread, variance, 1)), 0)
    values, axes = np.linalg.eigh(scale[:, None] * covariance * scale)
    values = np.maximum(values, 0)
    strength = values[:, None] + np.asarray(penalties)
    # Rounding leaves small values where there is no spread.
    solvable = strength > len(values) * np.finfo(np.float64).eps * max(1.0, values.max())
    along = (axes.T @ (scale * cross))[:, None] * solvable / np.where(solvable, strength, 1)
    kernel = scale[:, None] * (axes @ along)
    return Linear(kernel, level - mean @ kernel)


def choose(
    x: np.ndarray, y: np.ndarray, fold: np.ndarray, penalties: tuple[float, ...]
) -> tuple[Linear, float]:
    """Fit all rows with the penalty of the lowest squared error on folds left out.

    Args:
        x: float64 `[n, dim]`, of about unit spread.
        y: float64 `[n]`.
        fold: int `[n]`, 0 to folds - 1; a person is in one fold.
        penalties: candidates; a single one is used without folds.

    Returns:
        the fit of one penalty, and the penalty.
    """
    if len(penalties) == 1:
        return fit(moments(x, y), penalties), penalties[0]
    parts = [moments(x[fold == k], y[fold == k]) for k in range(int(fold.max()) + 1)]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.plus(part)
    error = np.zeros(len(penalties))
    for k, part in enumerate(parts):
        out = fold == k
        predicted = fit(whole.plus(part, -1.0), penalties)(x[out])
        error += np.square(predicted - y[out, None]).sum(0)
    best = penalties[int(np.argmin(error))]
    return fit(whole, (best,)), best
