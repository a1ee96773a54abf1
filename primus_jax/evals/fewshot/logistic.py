"""Multinomial logistic regression with an exact minimum: convex, deterministic, vmappable.

The solver is L-BFGS in the letters of Nocedal and Wright, "Numerical Optimization", algorithms 7.4
and 7.5: `s` is a step, `y` the change of the gradient over it, `rho` is 1 / <s, y>.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from primus_jax.numerics import dot

TOLERANCE = 3e-5  # of the gradient's norm at zero weights
MOST_STEPS = 600
_SELECTION_TOLERANCE = 3e-3
_MEMORY = 5
_LINE_STEPS = 3


class Logistic(NamedTuple):
    """`kernel` `[dim, classes]`, `bias` `[classes]` (-inf for classes without a row).

    `gradient_norm` is the final gradient's norm over the norm at zero weights; `steps` counts the
    solver's iterations.
    """

    kernel: jax.Array
    bias: jax.Array
    gradient_norm: jax.Array
    steps: jax.Array


class _Problem(NamedTuple):
    """What is minimised over `w` `[dim + 1, classes]`, whose last row is the bias."""

    x: jax.Array  # [rows, dim + 1], the last column ones
    target: jax.Array  # one-hot [rows, classes]
    weight: jax.Array  # [rows]
    ridge: jax.Array  # [dim + 1, 1]: 1 / C, and 0 for the bias
    hide: jax.Array  # [classes]: -inf for classes without a row, else 0

    def probability(self, logits: jax.Array) -> jax.Array:
        """`[rows, classes]` -> `[rows, classes]`."""
        return jax.nn.softmax(logits + self.hide)

    def gradient(self, w: jax.Array, logits: jax.Array) -> jax.Array:
        """The gradient at `w`, whose logits are given, `[dim + 1, classes]`."""
        error = self.weight[:, None] * (self.probability(logits) - self.target)
        return dot(self.x.T, error) + self.ridge * w

    def inverse_diagonal(self, logits: jax.Array) -> jax.Array:
        """1 over the Hessian's diagonal, `[dim + 1, classes]`."""
        p = self.probability(logits)
        diagonal = dot(jnp.square(self.x).T, self.weight[:, None] * p * (1 - p))
        return 1 / (diagonal + self.ridge + 1e-3)


class _Memory(NamedTuple):
    """The last steps, newest last."""

    s: jax.Array  # [memory, dim + 1, classes]
    y: jax.Array  # [memory, dim + 1, classes]
    rho: jax.Array  # [memory]; 0 where there is no step

    def pushed(self, s: jax.Array, y: jax.Array) -> "_Memory":
        """The memory with one more step; one along which the gradient did not grow counts 0."""
        curvature = jnp.vdot(s, y)
        floor = 1e-10 * jnp.linalg.norm(s) * jnp.linalg.norm(y)
        rho = jnp.where(curvature > floor, 1 / curvature, jnp.float32(0))
        new = _Memory(s, y, rho)
        return _Memory(
            *(jnp.concatenate([old[1:], one[None]]) for old, one in zip(self, new, strict=True))
        )


class _State(NamedTuple):
    w: jax.Array  # [dim + 1, classes]
    logits: jax.Array  # [rows, classes], those of `w`
    gradient: jax.Array  # [dim + 1, classes]
    memory: _Memory
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
    of their weights (that is C / 2 here). L-BFGS takes the Hessian's diagonal at the start as its
    first metric. Logits are linear in the step, so the search along a direction needs no product
    with `x`. The solver converges fastest when the columns of `x` are uncorrelated.

    Args:
        x: float32 `[rows, dim]`.
        target: one-hot float32 `[rows, classes]`.
        weight: float32 `[rows]`; zero leaves a row out.
        c: scalar float32, inverse strength of the penalty.
        start: `[dim + 1, classes]`, the weights and finite bias to start from; None: zeros.
        tolerance: stop at this part of the gradient's norm at zero weights.
    """
    problem = _problem(x, target, weight, c)
    zero = jnp.zeros((x.shape[1] + 1, target.shape[1]), x.dtype)
    first = jnp.linalg.norm(problem.gradient(zero, jnp.zeros_like(target)))
    unit = jnp.maximum(first, jnp.sqrt(weight.sum()))
    w = zero if start is None else start
    logits = dot(problem.x, w)
    metric = problem.inverse_diagonal(logits)

    def unfinished(state: _State) -> jax.Array:
        return (jnp.linalg.norm(state.gradient) > tolerance * unit) & (state.steps < MOST_STEPS)

    def step(state: _State) -> _State:
        direction = _direction(state.gradient, state.memory, metric)
        change = dot(problem.x, direction)
        length = _step_length(problem, state, direction, change)
        s, logits = length * direction, state.logits + length * change
        w = state.w + s
        gradient = problem.gradient(w, logits)
        memory = state.memory.pushed(s, gradient - state.gradient)
        return _State(w, logits, gradient, memory, state.steps + 1)

    empty = jnp.zeros((_MEMORY, *zero.shape), x.dtype)
    memory = _Memory(empty, empty, empty[:, 0, 0])
    begin = _State(w, logits, problem.gradient(w, logits), memory, jnp.int32(0))
    end = jax.lax.while_loop(unfinished, step, begin)
    norm = jnp.linalg.norm(end.gradient) / jnp.maximum(unit, jnp.float32(1e-30))
    return Logistic(end.w[:-1], end.w[-1] + problem.hide, norm, end.steps)


def logistic_losses(
    x: jax.Array, target: jax.Array, weight: jax.Array, grid: jax.Array
) -> jax.Array:
    """Cross-entropy of every row under the fit for each C of `grid`, float32 `[grid, rows]`.

    Good enough to choose C by: each fit starts from the one before (`grid` ascends, from strong to
    weak penalty) and stops early. Rows of a class that has no weight give 0.
    """

    def at(start: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
        fit = fit_logistic(x, target, weight, c, start, _SELECTION_TOLERANCE)
        logp = jax.nn.log_softmax(dot(x, fit.kernel) + fit.bias)
        bias = jnp.where(jnp.isfinite(fit.bias), fit.bias, jnp.float32(0))
        known = (target > 0) & jnp.isfinite(logp)
        loss = -jnp.where(known, logp, jnp.float32(0)).sum(1)
        return jnp.concatenate([fit.kernel, bias[None]]), loss

    start = jnp.zeros((x.shape[1] + 1, target.shape[1]), x.dtype)
    return jax.lax.scan(at, start, grid)[1]


def _problem(x: jax.Array, target: jax.Array, weight: jax.Array, c: jax.Array) -> _Problem:
    present = (weight[:, None] * target).sum(0) > 0
    c = jnp.where(present.sum() == 2, c / 2, c)
    hide = jnp.where(present, jnp.float32(0), -jnp.inf)
    # With no row at all, nothing may become NaN: every class is treated as present.
    hide = jnp.where(present.any(), hide, jnp.float32(0))
    ones = jnp.ones((len(x), 1), x.dtype)
    ridge = jnp.append(jnp.full((x.shape[1],), 1 / c), jnp.float32(0))[:, None]
    return _Problem(jnp.concatenate([x, ones], 1), target, weight, ridge, hide)


def _direction(gradient: jax.Array, memory: _Memory, metric: jax.Array) -> jax.Array:
    """Two-loop recursion: minus the approximate inverse Hessian times the gradient."""

    def newest_first(q: jax.Array, pair: _Memory) -> tuple[jax.Array, jax.Array]:
        s, y, rho = pair
        alpha = rho * jnp.vdot(s, q)
        return q - alpha * y, alpha

    def oldest_first(r: jax.Array, pair: tuple[_Memory, jax.Array]) -> tuple[jax.Array, None]:
        (s, y, rho), alpha = pair
        beta = rho * jnp.vdot(y, r)
        return r + (alpha - beta) * s, None

    q, alphas = jax.lax.scan(newest_first, gradient, memory, reverse=True)
    # The metric is scaled by gamma = <s, y> / <y, metric y> of the newest step.
    y, rho = memory.y[-1], memory.rho[-1]
    inverse_gamma = jnp.vdot(y, metric * y) * rho
    r = metric * q / jnp.where(inverse_gamma > 0, inverse_gamma, jnp.float32(1))
    return -jax.lax.scan(oldest_first, r, (memory, alphas))[0]


def _step_length(
    problem: _Problem, state: _State, direction: jax.Array, change: jax.Array
) -> jax.Array:
    """Minimise along `direction`, whose logits are `change`: Newton's iteration, safeguarded.

    The loss is convex along the line, so the sign of its first derivative tells on which side of
    the minimum a length lies. A proposal outside the known bounds is replaced by their middle.
    """
    weight, target = problem.weight, problem.target
    linear = jnp.vdot(problem.ridge * state.w, direction)
    quadratic = jnp.vdot(problem.ridge * direction, direction)

    def step(
        _: jax.Array, bounds: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        length, low, high = bounds
        p = problem.probability(state.logits + length * change)
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
