"""The practitioner's protocol: standardised features, a convex classifier, penalty by validation.

Every fit of a dataset (shots x draws x penalties x validation folds) runs inside one compiled
program. Ragged classes are rows of weight zero, so all shapes are static.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.evals.fewshot.logistic import dot, fit_logistic, logistic_losses
from primus_jax.evals.fewshot.ridge import fit_ridge, ridge_losses

CLIP = 8.0
LEAST_VALIDATION = 2  # validation windows per class that a choice needs, on average
# Features whose deviation is below this part of the typical one carry rounding, not information.
_DEVIATION_FLOOR = 1e-4
# Shot counts up to this factor below the largest share its rows, the smaller by zero weights.
_SHARED = 4


class Classifier(NamedTuple):
    """`fit` (x, target, weight, c) -> kernel, bias and gradient_norm, with C in `grid`, ascending,
    or `default_c` where there is nothing to choose by; `losses` (x, target, weight, grid) ->
    `[grid, rows]`, what chooses it."""

    name: str
    fit: Callable[..., NamedTuple]
    losses: Callable[..., jax.Array]
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


class Scaler(NamedTuple):
    """Mean and deviation of the unlabelled training windows, `[dim]` each."""

    mean: jax.Array
    deviation: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.clip((x - self.mean) / self.deviation, -CLIP, CLIP)


class ProbeResult(NamedTuple):
    """`predicted` classes int32 `[draws, shots, tested]`; `gradient_norm` `[draws, shots]` of the
    final fit, relative; `c` `[draws, shots]`, the penalty used; `validated` int32 `[draws, shots]`,
    the windows that chose it (0: none, the default or the only C given)."""

    predicted: jax.Array
    gradient_norm: jax.Array
    c: jax.Array
    validated: jax.Array


def fit_scaler(x: jax.Array, pool: jax.Array) -> Scaler:
    """Scaler `[..., dim]` of the rows of `x` `[n, dim]` where `pool` bool `[..., n]`."""
    weight = pool.astype(x.dtype)
    weight = weight / jnp.maximum(weight.sum(-1, keepdims=True), 1)
    # Matrix products of centred values: quick, and without cancellation.
    centre = x.mean(0)
    mean = dot(weight, x - centre)
    variance = dot(weight, jnp.square(x - centre)) - jnp.square(mean)
    deviation = jnp.sqrt(jnp.maximum(variance, 0))
    floor = jnp.sqrt(jnp.mean(jnp.square(deviation), -1, keepdims=True)) * _DEVIATION_FLOOR
    return Scaler(centre + mean, jnp.maximum(deviation, jnp.maximum(floor, 1e-12)))


@functools.partial(jax.jit, static_argnames=("shots", "grid", "folds", "classifier"))
def probe_grid(
    embedding: jax.Array,
    pool: jax.Array,
    rows: jax.Array,
    valid: jax.Array,
    fold: jax.Array,
    test: jax.Array,
    *,
    shots: tuple[int, ...],
    grid: tuple[float, ...] | None = None,
    folds: int = 3,
    classifier: str = "logistic",
) -> ProbeResult:
    """Fit a classifier for every draw (seed, or seed and fold of people) and shot count.

    Features are standardised by the draw's pool and clipped to +-8. C is the one of `grid` with
    the lowest mean loss on shown windows of people left out, `folds` times; windows whose class
    the rest does not show say nothing and are not counted; where fewer than `LEAST_VALIDATION` per
    class are left (always with one shot), C is the classifier's default.

    The fits work in the span of the shown windows, on its principal axes, which changes nothing of
    the result (the penalty does not see rotations), saves most of the work at few shots and makes
    the solvers fast and exact on correlated features.

    Args:
        embedding: float32 `[n, dim]`.
        pool: bool `[draws, n]`, windows of the training people, labelled or not.
        rows: int32 `[draws, classes, most]`, the windows shown; the first k are the k-shot ones.
        valid: bool like `rows`.
        fold: int32 like `rows`, 0 to folds - 1: the fold of the window's person.
        test: int32 `[draws, tested]`, the windows to predict.
        shots: ascending.
        grid: candidates for C, ascending; a single one is used without validation; None: those of
            the classifier.
        folds: validation folds.
        classifier: one of `CLASSIFIERS`.
    """
    kind = CLASSIFIERS[classifier]
    grid = kind.grid if grid is None else grid

    # One draw at a time: memory does not grow with the draws.
    def one_draw(draw):
        scaler, rows, valid, fold, test = draw
        tested, parts = scaler(embedding[test]), []
        for group in _shared(shots):
            most = max(group)
            shown = scaler(embedding[rows[:, :most].reshape(-1)])
            labels = (valid[:, :most], fold[:, :most])
            parts.append(_fit_group(tested, shown, *labels, group, grid, folds, kind))
        return ProbeResult(*(jnp.concatenate(part) for part in zip(*parts, strict=True)))

    return jax.lax.map(one_draw, (fit_scaler(embedding, pool), rows, valid, fold, test))


def _shared(shots: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shot counts in at most two groups, each sharing an array of rows: the largest, and the rest.

    More groups would save less work than their compilation takes.
    """
    large = tuple(k for k in shots if _SHARED * k >= shots[-1])
    small = shots[: len(shots) - len(large)]
    return [small, large] if small else [large]


def _fit_group(tested, x, valid, fold, shots, grid, folds, kind: Classifier) -> ProbeResult:
    """Choose C, fit and predict for one draw and the shot counts of one group."""
    classes, most = valid.shape
    counts = jnp.asarray(shots, jnp.int32)
    weight = valid[None] & (jnp.arange(most, dtype=jnp.int32) < counts[:, None, None])
    weight = weight.reshape(len(shots), -1).astype(x.dtype)
    fold = fold.reshape(-1)
    target = jnp.repeat(jnp.eye(classes, dtype=x.dtype), most, axis=0)
    present = valid.reshape(-1, 1).astype(x.dtype)
    mean = (present * x).sum(0) / jnp.maximum(present.sum(), 1)
    x = present * (x - mean)
    basis = _principal_basis(x)
    x = dot(x, basis)
    if len(grid) == 1:
        c, validated = jnp.full(len(shots), np.float32(grid[0])), jnp.zeros(len(shots), jnp.int32)
    else:
        c, validated = _choose(x, target, weight, fold, grid, folds, kind)
    fits = jax.vmap(kind.fit, (None, None, 0, 0))(x, target, weight, c)
    kernel = dot(basis, fits.kernel)
    logits = dot(tested, kernel) + (fits.bias - dot(mean, kernel))[:, None]
    return ProbeResult(jnp.argmax(logits, -1).astype(jnp.int32), fits.gradient_norm, c, validated)


def _principal_basis(x: jax.Array) -> jax.Array:
    """Orthonormal `[dim, min(rows, dim)]`: the principal axes of the span of `x` `[rows, dim]`."""
    if x.shape[0] >= x.shape[1]:
        return jnp.linalg.eigh(dot(x.T, x))[1]
    span, inside = jnp.linalg.qr(x.T)
    return dot(span, jnp.linalg.eigh(dot(inside, inside.T))[1])


def _choose(x, target, weight, fold, grid, folds, kind: Classifier) -> tuple[jax.Array, jax.Array]:
    """The best C of `grid`, and by how many windows it was chosen, for `weight` `[shots, rows]`."""
    held = (fold == jnp.arange(folds, dtype=fold.dtype)[:, None]).astype(x.dtype)
    train = weight[:, None] * (1 - held)
    seen = dot(train, target) > 0  # [shots, folds, classes]
    test = weight[:, None] * held * dot(seen.astype(x.dtype), target.T)
    grid = jnp.asarray(grid, x.dtype)
    over_folds = jax.vmap(kind.losses, (None, None, 0, None))
    losses = jax.vmap(over_folds, (None, None, 0, None))(x, target, train, grid)
    loss = jnp.einsum("sfr,sfgr->sg", test, losses, precision=jax.lax.Precision.HIGHEST)
    validated = test.sum((1, 2))
    enough = validated >= LEAST_VALIDATION * (dot(weight, target) > 0).sum(1).astype(x.dtype)
    c = jnp.where(enough, grid[jnp.argmin(loss, 1)], jnp.float32(kind.default_c))
    return c, jnp.where(enough, validated, jnp.float32(0)).astype(jnp.int32)
