"""Ridge regression on one-hot targets as a classifier: closed form, deterministic, vmappable."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from primus_jax.numerics import dot


class Ridge(NamedTuple):
    """`kernel` `[dim, classes]`, `bias` `[classes]` (-inf for classes without a row).

    `gradient_norm` is what rounding leaves of the gradient, relative to its norm at zero weights.
    """

    kernel: jax.Array
    bias: jax.Array
    gradient_norm: jax.Array


class _Normal(NamedTuple):
    """The normal equations of centred data: `gram` `[dim, dim]`, `cross` `[dim, classes]`."""

    gram: jax.Array
    cross: jax.Array
    mean: jax.Array
    share: jax.Array


def fit_ridge(x: jax.Array, target: jax.Array, weight: jax.Array, c: jax.Array) -> Ridge:
    """Minimise `C sum_i w_i ||x_i W + b - y_i||^2 + ||W||^2 / 2`, y one-hot, b not penalised.

    The largest output is the class: that of scikit-learn's RidgeClassifier with alpha = 1 / (2 C),
    whose targets are +-1.

    Args:
        x: float32 `[rows, dim]`.
        target: one-hot float32 `[rows, classes]`.
        weight: float32 `[rows]`; zero leaves a row out.
        c: scalar float32, inverse strength of the penalty.
    """
    normal = _normal_equations(x, target, weight)
    fit = _solve(normal, c)
    # With no row at all, nothing may become NaN: every class is treated as present.
    hide = (normal.share <= 0) & (normal.share > 0).any()
    return fit._replace(bias=jnp.where(hide, -jnp.inf, fit.bias))


def ridge_losses(x: jax.Array, target: jax.Array, weight: jax.Array, grid: jax.Array) -> jax.Array:
    """Squared error of every row under the fit for each C of `grid`, float32 `[grid, rows]`."""
    normal = _normal_equations(x, target, weight)

    def at(c: jax.Array) -> jax.Array:
        fit = _solve(normal, c)
        return jnp.square(dot(x, fit.kernel) + fit.bias - target).sum(1)

    return jax.lax.map(at, grid)


def _normal_equations(x: jax.Array, target: jax.Array, weight: jax.Array) -> _Normal:
    total = jnp.maximum(weight.sum(), 1)
    mean, share = dot(weight, x) / total, dot(weight, target) / total
    centred = x - mean
    left = (weight[:, None] * centred).T
    return _Normal(dot(left, centred), dot(left, target - share), mean, share)


def _solve(normal: _Normal, c: jax.Array) -> Ridge:
    # Cholesky's rounding is governed by the condition after the diagonal is scaled to one: mild,
    # because the columns of `x` are principal axes.
    matrix = normal.gram + jnp.eye(len(normal.gram), dtype=normal.gram.dtype) / (2 * c)
    kernel = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(matrix), normal.cross)
    norm = jnp.linalg.norm(dot(matrix, kernel) - normal.cross)
    norm = norm / jnp.maximum(jnp.linalg.norm(normal.cross), jnp.float32(1e-30))
    return Ridge(kernel, normal.share - dot(normal.mean, kernel), norm)
