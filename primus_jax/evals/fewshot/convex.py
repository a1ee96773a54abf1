"""The convex classifiers of the probe, and the choice of their penalty on people left out."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.evals.fewshot.logistic import fit_logistic, logistic_losses
from primus_jax.evals.fewshot.ridge import fit_ridge, ridge_losses
from primus_jax.numerics import dot

LEAST_VALIDATION = 2  # validation windows per class that a choice needs, on average


class LinearFit(Protocol):
    """`kernel` `[dim, classes]`, `bias` `[classes]` (-inf for classes without a window), and the
    relative `gradient_norm` that the solver left."""

    @property
    def kernel(self) -> jax.Array: ...
    @property
    def bias(self) -> jax.Array: ...
    @property
    def gradient_norm(self) -> jax.Array: ...


class Classifier(NamedTuple):
    """A kind of classifier.

    Attributes:
        name: in words.
        fit: (x, target, weight, c) -> its minimum.
        losses: (x, target, weight, grid) -> `[grid, rows]`, the losses that choose C.
        grid: candidates for C, ascending.
        default_c: C where there is nothing to choose by.
    """

    name: str
    fit: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], LinearFit]
    losses: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
    grid: tuple[float, ...]
    default_c: float


CLASSIFIERS = {
    "logistic": Classifier(
        "logistic regression", fit_logistic, logistic_losses, (0.001, 0.01, 0.1, 1.0), 0.1
    ),
    "ridge": Classifier(
        "ridge regression", fit_ridge, ridge_losses, (1e-5, 1e-4, 1e-3, 1e-2, 0.1), 1e-3
    ),
}


class Labelled(NamedTuple):
    """Labelled rows for several fits: `x` `[rows, dim]`, one-hot `target` `[rows, classes]`,
    `weight` `[fits, rows]`, zero for rows that a fit does not see, and `fold` int `[rows]`."""

    x: jax.Array
    target: jax.Array
    weight: jax.Array
    fold: jax.Array


class ChosenFit(NamedTuple):
    """`kernel` `[fits, dim, classes]` and `bias` `[fits, classes]` for rows as they were given;
    `gradient_norm` and `c` `[fits]`; `validated` int32 `[fits]`, the rows that chose C (0: none,
    the default or the only C given)."""

    kernel: jax.Array
    bias: jax.Array
    gradient_norm: jax.Array
    c: jax.Array
    validated: jax.Array


def fit_chosen(
    rows: Labelled, kind: Classifier, folds: int, grid: tuple[float, ...] | None = None
) -> ChosenFit:
    """Choose C for every fit, and fit.

    C is the one of `grid` with the lowest mean loss on folds left out. Rows whose class the rest
    does not have are not counted. Where fewer than `LEAST_VALIDATION` rows per class are left, C
    is the classifier's default.

    The fits work in the span of the rows, on its principal axes. The penalty does not see
    rotations, so the minimum is the same; there are fewer dimensions than features at few shots,
    and the solvers are fast and exact on correlated features.

    Args:
        rows: what is fitted; those of zero weight in every fit may hold anything finite.
        kind: the classifier.
        folds: of `rows.fold`, 0 to folds - 1.
        grid: candidates for C, ascending; a single one is used without validation; None: those of
            the classifier.
    """
    grid = kind.grid if grid is None else grid
    present = (rows.weight > 0).any(0)[:, None].astype(rows.x.dtype)
    mean = (present * rows.x).sum(0) / jnp.maximum(present.sum(), 1)
    x = present * (rows.x - mean)
    basis = _principal_basis(x)
    rows = rows._replace(x=dot(x, basis))
    if len(grid) == 1:
        fits = len(rows.weight)
        c, validated = jnp.full(fits, np.float32(grid[0])), jnp.zeros(fits, jnp.int32)
    else:
        c, validated = _choose(rows, kind, folds, jnp.asarray(grid, x.dtype))
    found = jax.vmap(kind.fit, (None, None, 0, 0))(rows.x, rows.target, rows.weight, c)
    kernel = dot(basis, found.kernel)
    return ChosenFit(kernel, found.bias - dot(mean, kernel), found.gradient_norm, c, validated)


def _principal_basis(x: jax.Array) -> jax.Array:
    """Orthonormal `[dim, min(rows, dim)]`: the principal axes of the span of `x` `[rows, dim]`."""
    if x.shape[0] >= x.shape[1]:
        return jnp.linalg.eigh(dot(x.T, x))[1]
    span, inside = jnp.linalg.qr(x.T)
    return dot(span, jnp.linalg.eigh(dot(inside, inside.T))[1])


def _choose(
    rows: Labelled, kind: Classifier, folds: int, grid: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The best C of `grid` for every fit, and by how many rows it was chosen, `[fits]` each."""
    x, target, weight, fold = rows
    held = (fold == jnp.arange(folds, dtype=fold.dtype)[:, None]).astype(x.dtype)
    train = weight[:, None] * (1 - held)
    seen = dot(train, target) > 0  # [fits, folds, classes]
    test = weight[:, None] * held * dot(seen.astype(x.dtype), target.T)
    over_folds = jax.vmap(kind.losses, (None, None, 0, None))
    losses = jax.vmap(over_folds, (None, None, 0, None))(x, target, train, grid)
    loss = jnp.einsum("sfr,sfgr->sg", test, losses, precision=jax.lax.Precision.HIGHEST)
    validated = test.sum((1, 2))
    enough = validated >= LEAST_VALIDATION * (dot(weight, target) > 0).sum(1).astype(x.dtype)
    c = jnp.where(enough, grid[jnp.argmin(loss, 1)], jnp.float32(kind.default_c))
    return c, jnp.where(enough, validated, jnp.float32(0)).astype(jnp.int32)
