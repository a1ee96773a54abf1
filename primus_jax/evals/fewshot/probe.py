"""The practitioner's probe: standardised features, a convex classifier, penalty by validation.

Every fit of a dataset (shots x draws x penalties x validation folds) runs inside one compiled
program. Ragged classes are rows of weight zero, so all shapes are static.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.evals.fewshot.convex import CLASSIFIERS, Classifier, Labelled, fit_chosen
from primus_jax.numerics import dot

CLIP = 8.0
# Features whose deviation is below this part of the typical one carry rounding, not information.
_DEVIATION_FLOOR = 1e-4
# Shot counts up to this factor below the largest share its rows, the smaller by zero weights.
_SHARED = 4


class Scaler(NamedTuple):
    """Mean and deviation of the unlabelled training windows, `[dim]` each."""

    mean: jax.Array
    deviation: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.clip((x - self.mean) / self.deviation, -CLIP, CLIP)


class ProbeDraws(NamedTuple):
    """The windows of every draw, by number.

    Attributes:
        pool: bool `[draws, n]`, windows of the training people, labelled or not.
        rows: int32 `[draws, classes, most]`, the labelled windows; the first k are the k-shot ones.
        valid: bool like `rows`.
        fold: int32 like `rows`, 0 to folds - 1: the validation fold of the window's person.
        test: int32 `[draws, tested]`, the windows to predict.
    """

    pool: jax.Array
    rows: jax.Array
    valid: jax.Array
    fold: jax.Array
    test: jax.Array


class ProbeResult(NamedTuple):
    """`logits` float32 `[draws, shots, tested, classes]`; `gradient_norm` `[draws, shots]` of the
    final fit, relative; `c` `[draws, shots]`, the penalty used; `validated` int32 `[draws, shots]`,
    the windows that chose it (0: none, the default or the only C given)."""

    logits: jax.Array
    gradient_norm: jax.Array
    c: jax.Array
    validated: jax.Array

    @property
    def predicted(self) -> jax.Array:
        """The class of every tested window, int32 `[draws, shots, tested]`."""
        return jnp.argmax(self.logits, -1).astype(jnp.int32)


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
    draws: ProbeDraws,
    *,
    shots: tuple[int, ...],
    grid: tuple[float, ...] | None = None,
    folds: int = 3,
    classifier: str = "logistic",
    tested: jax.Array | np.ndarray | None = None,
) -> ProbeResult:
    """Fit a classifier for every draw (seed, or seed and fold of people) and shot count.

    Features are standardised by the draw's pool and clipped to +-8. `convex.fit_chosen` chooses C
    on labelled windows of people left out.

    Args:
        embedding: float32 `[n, dim]`.
        draws: the windows of every draw.
        shots: ascending.
        grid: candidates for C, ascending; a single one is used without validation; None: those of
            the classifier.
        folds: validation folds.
        classifier: one of `CLASSIFIERS`.
        tested: float32 `[n, dim]`, the windows as they are predicted; None: `embedding`.
    """
    kind = CLASSIFIERS[classifier]
    scalers = fit_scaler(embedding, draws.pool)
    shown = embedding if tested is None else tested

    # One draw at a time: memory does not grow with the draws.
    def one_draw(inputs: tuple[Scaler, ProbeDraws]) -> ProbeResult:
        scaler, draw = inputs
        predicted, parts = scaler(shown[draw.test]), []
        for group in _shared(shots):
            most = max(group)
            x = scaler(embedding[draw.rows[:, :most].reshape(-1)])
            labelled = _labelled(x, draw.valid[:, :most], draw.fold[:, :most], group)
            parts.append(_predict_group(predicted, labelled, kind, folds, grid))
        return ProbeResult(*(jnp.concatenate(part) for part in zip(*parts, strict=True)))

    return jax.lax.map(one_draw, (scalers, draws))


def _shared(shots: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shot counts in at most two groups, each sharing an array of rows: the largest, and the rest.

    More groups would save less work than their compilation takes.
    """
    large = tuple(k for k in shots if _SHARED * k >= shots[-1])
    small = shots[: len(shots) - len(large)]
    return [small, large] if small else [large]


def _labelled(x: jax.Array, valid: jax.Array, fold: jax.Array, shots: tuple[int, ...]) -> Labelled:
    """The rows `x` `[classes * most, dim]` of one draw, a fit for every shot count.

    `valid` and `fold` are `[classes, most]`.
    """
    classes, most = valid.shape
    counts = jnp.asarray(shots, jnp.int32)
    weight = valid[None] & (jnp.arange(most, dtype=jnp.int32) < counts[:, None, None])
    weight = weight.reshape(len(shots), -1).astype(x.dtype)
    target = jnp.repeat(jnp.eye(classes, dtype=x.dtype), most, axis=0)
    return Labelled(x, target, weight, fold.reshape(-1))


def _predict_group(
    tested: jax.Array,
    labelled: Labelled,
    kind: Classifier,
    folds: int,
    grid: tuple[float, ...] | None,
) -> ProbeResult:
    """Choose C, fit and predict `tested` `[tested, dim]` for the shot counts of one group."""
    found = fit_chosen(labelled, kind, folds, grid)
    logits = dot(tested, found.kernel) + found.bias[:, None]
    return ProbeResult(logits, found.gradient_norm, found.c, found.validated)
