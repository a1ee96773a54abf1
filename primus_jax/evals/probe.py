"""The practitioner's classifier: multinomial logistic regression, convex, deterministic.

Every fit of a data set (shots x seeds) runs inside one compiled program. Ragged classes are rows of
weight zero, so all shapes are static.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

CLIP = 8.0
TOLERANCE = 1e-5  # of the gradient's norm at the start
_NEWTON_STEPS = 60
_CG_STEPS = 200
_LINE_STEPS = 5
# Features whose deviation is below this part of the typical one carry rounding, not information.
_DEVIATION_FLOOR = 1e-4

_dot = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Logistic(NamedTuple):
    """`kernel` `[dim, classes]`, `bias` `[classes]` (-inf for classes never shown).

    `gradient_norm` is the final gradient's norm over the norm at zero weights.
    """

    kernel: jax.Array
    bias: jax.Array
    gradient_norm: jax.Array


class Scaler(NamedTuple):
    """Mean and deviation of the unlabelled training windows, `[dim]` each."""

    mean: jax.Array
    deviation: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.clip((x - self.mean) / self.deviation, -CLIP, CLIP)


def fit_scaler(x: jax.Array, pool: jax.Array) -> Scaler:
    """Scaler of the rows of `x` `[n, dim]` where `pool` bool `[n]`; labels play no part."""
    weight = pool.astype(x.dtype)[:, None] / jnp.maximum(pool.sum().astype(x.dtype), 1.0)
    mean = (weight * x).sum(0)
    deviation = jnp.sqrt((weight * jnp.square(x - mean)).sum(0))
    floor = _DEVIATION_FLOOR * jnp.sqrt(jnp.mean(jnp.square(deviation)))
    return Scaler(mean, jnp.maximum(deviation, jnp.maximum(floor, 1e-12)))


def fit_logistic(x: jax.Array, target: jax.Array, weight: jax.Array, c: jax.Array) -> Logistic:
    """Minimise `sum_i w_i CE(x_i W + b, y_i) + ||W||^2 / (2 C)`, scikit-learn's convention.

    As there, the bias is not penalised, and with two classes the penalty falls on the difference
    of their weights (that is C / 2 here). Truncated Newton: the Newton system is solved by
    conjugate gradients with a diagonal preconditioner, the step length by a safeguarded Newton
    search along the line; logits are linear in the step, so the search needs no product with `x`.
    It converges fastest when the columns of `x` are uncorrelated.

    Args:
        x: float32 `[rows, dim]`.
        target: one-hot float32 `[rows, classes]`.
        weight: float32 `[rows]`; zero leaves a row out.
        c: scalar float32, inverse strength of the penalty.
    """
    rows, dim = x.shape
    classes = target.shape[1]
    shown = (weight[:, None] * target).sum(0) > 0
    c = jnp.where(shown.sum() == 2, c / 2, c)
    hide = jnp.where(shown, jnp.float32(0), -jnp.inf)
    x = jnp.concatenate([x, jnp.ones((rows, 1), x.dtype)], 1)
    squared = jnp.square(x)
    ridge = jnp.append(jnp.full((dim,), 1 / c), jnp.float32(0))[:, None]

    def gradient(parameters, logits):
        residual = weight[:, None] * (jax.nn.softmax(logits + hide) - target)
        return _dot(x.T, residual) + ridge * parameters

    def newton_direction(logits, slope, tolerance):
        p = jax.nn.softmax(logits + hide)
        mass = weight[:, None] * p
        scale = 1 / (_dot(squared.T, mass * (1 - p)) + ridge + 1e-3)

        def unfinished(state):
            return (jnp.linalg.norm(state[2]) > tolerance) & (state[5] < _CG_STEPS)

        def step(state):
            direction, change, residual, search, size, count = state
            moved = _dot(x, search)
            bent = mass * (moved - (p * moved).sum(1, keepdims=True))
            curved = _dot(x.T, bent) + ridge * search
            length = size / jnp.vdot(search, curved)
            residual = residual - length * curved
            next_size = jnp.vdot(residual, scale * residual)
            return (
                direction + length * search,
                change + length * moved,
                residual,
                scale * residual + next_size / size * search,
                next_size,
                count + 1,
            )

        zero, first = jnp.zeros_like(slope), -scale * slope
        start = (zero, jnp.zeros_like(logits), -slope, first, jnp.vdot(-slope, first), 0)
        return jax.lax.while_loop(unfinished, step, start)[:2]

    def step_length(parameters, logits, direction, change):
        linear = jnp.vdot(ridge * parameters, direction)
        quadratic = jnp.vdot(ridge * direction, direction)

        def step(_, state):
            length, low, high = state
            p = jax.nn.softmax(logits + length * change + hide)
            mean = (p * change).sum(1)
            first = jnp.vdot(weight, mean - (target * change).sum(1)) + linear + length * quadratic
            second = jnp.vdot(weight, (p * jnp.square(change)).sum(1) - mean**2) + quadratic
            low, high = jnp.where(first < 0, length, low), jnp.where(first < 0, high, length)
            proposed = length - first / second
            middle = jnp.where(jnp.isinf(high), 2 * length + 1, (low + high) / 2)
            inside = (proposed > low) & (proposed < high)
            return jnp.where(inside, proposed, middle), low, high

        start = (jnp.float32(1), jnp.float32(0), jnp.float32(jnp.inf))
        return jax.lax.fori_loop(0, _LINE_STEPS, step, start)[0]

    def unfinished(state):
        return (jnp.linalg.norm(state[2]) > TOLERANCE * unit) & (state[3] < _NEWTON_STEPS)

    def step(state):
        parameters, logits, slope, count = state
        norm = jnp.linalg.norm(slope)
        tolerance = norm * jnp.minimum(0.1, jnp.sqrt(norm / unit))
        direction, change = newton_direction(logits, slope, tolerance)
        length = step_length(parameters, logits, direction, change)
        parameters, logits = parameters + length * direction, logits + length * change
        return parameters, logits, gradient(parameters, logits), count + 1

    start = jnp.zeros((dim + 1, classes), x.dtype), jnp.zeros_like(target)
    slope = gradient(*start)
    unit = jnp.maximum(jnp.linalg.norm(slope), jnp.sqrt(weight.sum()))
    parameters, _, slope, _ = jax.lax.while_loop(unfinished, step, (*start, slope, 0))
    return Logistic(parameters[:-1], parameters[-1] + hide, jnp.linalg.norm(slope) / unit)


@jax.jit
def probe_grid(
    embedding: jax.Array,
    pool: jax.Array,
    rows: jax.Array,
    valid: jax.Array,
    shots: jax.Array,
    c: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Fit a classifier for every (seed, shot count) and predict every window.

    Features are standardised by the seed's pool and clipped to +-8; the fit works on the pool's
    principal axes, which changes nothing of the result (the penalty does not see rotations) and
    makes the solver fast on correlated features.

    Args:
        embedding: float32 `[n, dim]`.
        pool: bool `[seeds, n]`, windows of the training people, labelled or not.
        rows: int32 `[seeds, classes, most]`, the windows shown; the first k are the k-shot ones.
        valid: bool like `rows`.
        shots: int32 `[shots]`, each at most `most`.
        c: scalar float32.

    Returns:
        predicted classes int32 `[seeds, shots, n]`; final relative gradient norms `[seeds, shots]`.
    """
    classes, most = rows.shape[1:]
    target = jnp.repeat(jnp.eye(classes, dtype=jnp.float32), most, axis=0)

    def prepare(seed):
        pool, rows = seed
        scaler = fit_scaler(embedding, pool)
        scaled = scaler(embedding) * pool.astype(embedding.dtype)[:, None]
        axes = jnp.linalg.eigh(_dot(scaled.T, scaled))[1]
        return scaler, axes, _dot(scaler(embedding[rows.reshape(-1)]), axes)

    def fit(x, valid, k):
        shown = valid & (jnp.arange(most, dtype=jnp.int32) < k)
        return fit_logistic(x, target, shown.reshape(-1).astype(x.dtype), c)

    def predict(seed):
        scaler, axes, fits = seed
        logits = _dot(scaler(embedding), _dot(axes, fits.kernel)) + fits.bias[:, None]
        return jnp.argmax(logits, -1).astype(jnp.int32)

    # One seed at a time where all windows are touched: memory does not grow with the seeds.
    scaler, axes, x = jax.lax.map(prepare, (pool, rows))
    fits = jax.vmap(jax.vmap(fit, (None, None, 0)), (0, 0, None))(x, valid, shots)
    return jax.lax.map(predict, (scaler, axes, fits)), fits.gradient_norm
