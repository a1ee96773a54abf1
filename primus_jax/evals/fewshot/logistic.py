"""Multinomial logistic regression with an exact minimum: convex, deterministic, vmappable."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

TOLERANCE = 3e-5  # of the gradient's norm at zero weights
MOST_STEPS = 600
_SELECTION_TOLERANCE = 3e-3
_MEMORY = 5
_LINE_STEPS = 3

dot = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Logistic(NamedTuple):
    """`kernel` `[dim, classes]`, `bias` `[classes]` (-inf for classes never shown).

    `gradient_norm` is the final gradient's norm over the norm at zero weights; `steps` counts the
    solver's iterations.
    """

    kernel: jax.Array
    bias: jax.Array
    gradient_norm: jax.Array
    steps: jax.Array


class _State(NamedTuple):
    parameters: jax.Array  # [dim + 1, classes], the bias last
    logits: jax.Array
    slope: jax.Array
    moves: jax.Array  # [memory, dim + 1, classes], newest last
    bends: jax.Array
    inverse: jax.Array  # [memory], 1 / <move, bend>; 0 where there is none
    steps: jax.Array


def fit_logistic(
    x: jax.Array,
    target: jax.Array,
    weight: jax.Array,
    c: jax.Array,
    start: jax.Array | None = None,
    tolerance: float = TOLERANCE,
) -> Logistic:
    """Minimise `sum_i w_i CE(x_i W + b, y_i) + ||W||^2 / (2 C)`, scikit-learn's convention.

    As there, the bias is not penalised, and with two classes the penalty falls on the difference
    of their weights (that is C / 2 here). L-BFGS with the Hessian's diagonal at the start as the
    initial metric; logits are linear in the step, so the search along a direction, a safeguarded
    Newton iteration, needs no product with `x`. It converges fastest when the columns of `x` are
    uncorrelated.

    Args:
        x: float32 `[rows, dim]`.
        target: one-hot float32 `[rows, classes]`.
        weight: float32 `[rows]`; zero leaves a row out.
        c: scalar float32, inverse strength of the penalty.
        start: `[dim + 1, classes]`, the weights and finite bias to start from; None: zeros.
        tolerance: stop at this part of the gradient's norm at zero weights.
    """
    rows, dim = x.shape
    classes = target.shape[1]
    shown = (weight[:, None] * target).sum(0) > 0
    c = jnp.where(shown.sum() == 2, c / 2, c)
    hide = jnp.where(shown, jnp.float32(0), -jnp.inf)
    # With no row at all, nothing may become NaN: every class is treated as shown.
    hide = jnp.where(shown.any(), hide, jnp.float32(0))
    x = jnp.concatenate([x, jnp.ones((rows, 1), x.dtype)], 1)
    ridge = jnp.append(jnp.full((dim,), 1 / c), jnp.float32(0))[:, None]

    def gradient(parameters, p):
        return dot(x.T, weight[:, None] * (p - target)) + ridge * parameters

    def direction(state):
        """Two-loop recursion: minus the approximate inverse Hessian times the gradient."""
        memory = (state.moves, state.bends, state.inverse)

        def newest_first(q, pair):
            move, bend, inverse = pair
            scale = inverse * jnp.vdot(move, q)
            return q - scale * bend, scale

        def oldest_first(q, pair):
            (move, bend, inverse), scale = pair
            return q + (scale - inverse * jnp.vdot(bend, q)) * move, None

        q, scales = jax.lax.scan(newest_first, state.slope, memory, reverse=True)
        bend, inverse = state.bends[-1], state.inverse[-1]
        size = jnp.vdot(bend, metric * bend) * inverse
        q = metric * q / jnp.where(size > 0, size, jnp.float32(1))
        return -jax.lax.scan(oldest_first, q, (memory, scales))[0]

    def step_length(parameters, logits, move, change):
        linear = jnp.vdot(ridge * parameters, move)
        quadratic = jnp.vdot(ridge * move, move)

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

        begin = (jnp.float32(1), jnp.float32(0), jnp.float32(jnp.inf))
        return jax.lax.fori_loop(0, _LINE_STEPS, step, begin)[0]

    def unfinished(state):
        return (jnp.linalg.norm(state.slope) > tolerance * unit) & (state.steps < MOST_STEPS)

    def step(state):
        move = direction(state)
        change = dot(x, move)
        length = step_length(state.parameters, state.logits, move, change)
        move, logits = length * move, state.logits + length * change
        parameters = state.parameters + move
        slope = gradient(parameters, jax.nn.softmax(logits + hide))
        bend = slope - state.slope
        curvature = jnp.vdot(move, bend)
        floor = 1e-10 * jnp.linalg.norm(move) * jnp.linalg.norm(bend)
        inverse = jnp.where(curvature > floor, 1 / curvature, jnp.float32(0))

        def pushed(memory, new):
            return jnp.concatenate([memory[1:], new[None]])

        return _State(
            parameters, logits, slope,
            pushed(state.moves, move), pushed(state.bends, bend), pushed(state.inverse, inverse),
            state.steps + 1,
        )  # fmt: skip

    zero = jnp.zeros((dim + 1, classes), x.dtype)
    p = jax.nn.softmax(jnp.broadcast_to(hide, target.shape))
    unit = jnp.maximum(jnp.linalg.norm(gradient(zero, p)), jnp.sqrt(weight.sum()))
    parameters = zero if start is None else start
    logits = dot(x, parameters)
    p = jax.nn.softmax(logits + hide)
    metric = 1 / (dot(jnp.square(x).T, weight[:, None] * p * (1 - p)) + ridge + 1e-3)
    empty = jnp.zeros((_MEMORY, *zero.shape), x.dtype)
    begin = _State(
        parameters, logits, gradient(parameters, p), empty, empty, empty[:, 0, 0], jnp.int32(0)
    )
    end = jax.lax.while_loop(unfinished, step, begin)
    norm = jnp.linalg.norm(end.slope) / jnp.maximum(unit, jnp.float32(1e-30))
    return Logistic(end.parameters[:-1], end.parameters[-1] + hide, norm, end.steps)


def logistic_losses(
    x: jax.Array, target: jax.Array, weight: jax.Array, grid: jax.Array
) -> jax.Array:
    """Cross-entropy of every row under the fit for each C of `grid`, float32 `[grid, rows]`.

    Good enough to choose C by: each fit starts from the one before (`grid` ascends, from strong to
    weak penalty) and stops early. Rows of a class that has no weight give 0.
    """

    def at(start, c):
        fit = fit_logistic(x, target, weight, c, start, _SELECTION_TOLERANCE)
        logp = jax.nn.log_softmax(dot(x, fit.kernel) + fit.bias)
        bias = jnp.where(jnp.isfinite(fit.bias), fit.bias, jnp.float32(0))
        known = (target > 0) & jnp.isfinite(logp)
        loss = -jnp.where(known, logp, jnp.float32(0)).sum(1)
        return jnp.concatenate([fit.kernel, bias[None]]), loss

    start = jnp.zeros((x.shape[1] + 1, target.shape[1]), x.dtype)
    return jax.lax.scan(at, start, grid)[1]
