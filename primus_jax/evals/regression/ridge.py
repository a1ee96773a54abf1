"""Ridge regression in closed form from sums over rows, for many penalties at once.

Rows enter as `Moments`, which add up: those of any people are the sum of theirs, and leaving people
out is a subtraction. All is float64 NumPy: the largest matrix is `[dim, dim]`.
"""

import functools
from typing import NamedTuple

import numpy as np

# Of the mean squared error, per feature of unit variance; 0 is least squares.
PENALTIES = tuple(10.0**power for power in range(-5, 3))
# Below this share of the spread over all rows a feature is constant.
_CONSTANT = 1e-10


class Moments(NamedTuple):
    """Sums over rows: their number, `x` `[dim]`, `y` `[]`, `xx` `[dim, dim]`, `xy` `[dim]`."""

    rows: np.ndarray
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray

    def plus(self, other: "Moments") -> "Moments":
        """The sums over the rows of both."""
        return Moments(*map(np.add, self, other))

    def without(self, other: "Moments") -> "Moments":
        """The sums over the rows that are not those of `other`, which are among these."""
        return Moments(*map(np.subtract, self, other))


class Linear(NamedTuple):
    """One linear function for each penalty: `kernel` `[dim, penalties]`, `bias` `[penalties]`."""

    kernel: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Predictions `[n, penalties]` of rows `[n, dim]`."""
        return x @ self.kernel + self.bias


def moments(x: np.ndarray, y: np.ndarray) -> Moments:
    """Sums over the rows of float64 `[n, dim]` and `[n]`."""
    return Moments(np.array(float(len(x))), x.sum(0), y.sum(), x.T @ x, x.T @ y)


def fit(sums: Moments, penalties: tuple[float, ...]) -> Linear:
    """Minimise `mean_i (s(x_i) w + b - y_i)^2 + penalty ||w||^2`; b has no penalty.

    s standardises every feature by the same rows; a constant feature gets no weight. scikit-learn's
    Ridge on standardised features is this with alpha = rows * penalty. Without a penalty the
    solution of least norm is taken.

    Args:
        sums: over the rows that are fitted, one at least, of features of about unit spread.
        penalties: none negative.
    """
    mean, level = sums.x / sums.rows, sums.y / sums.rows
    covariance = sums.xx / sums.rows - np.outer(mean, mean)
    cross = sums.xy / sums.rows - mean * level
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
    whole = functools.reduce(Moments.plus, parts)
    error = np.zeros(len(penalties))
    for k, part in enumerate(parts):
        out = fold == k
        predicted = fit(whole.without(part), penalties)(x[out])
        error += np.square(predicted - y[out, None]).sum(0)
    best = penalties[int(np.argmin(error))]
    return fit(whole, (best,)), best
