"""Sparsemax: the softmax whose small weights are exactly zero, with its own derivative."""

import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_jvp
def sparsemax(scores: jax.Array) -> jax.Array:
    """Project rows of scores `[..., n]` onto the simplex: weights max(s - theta, 0) of sum 1.

    Martins and Astudillo, "From Softmax to Sparsemax" (2016), equations 2 and 3. In place of their
    sort, theta grows by Newton steps from max - 1 (Michelot 1986): every step drops scores from the
    support, so that the steps end at the exact support, usually after fewer than ten. float32
    inside, or float64 where the scores are.
    """
    # Relative to the largest, so that large scores keep their digits.
    relative = scores - jnp.max(scores, -1, keepdims=True)
    return jnp.maximum(relative - _threshold(relative), 0)


@sparsemax.defjvp
def _sparsemax_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Equation 4 of the paper: the tangent on the support, less its mean there; 0 elsewhere."""
    (scores,), (tangent,) = primals, tangents
    weights = sparsemax(scores)
    support = (weights > 0).astype(scores.dtype)
    mean = jnp.sum(support * tangent, -1, keepdims=True) / jnp.sum(support, -1, keepdims=True)
    return weights, support * (tangent - mean)


def _threshold(scores: jax.Array) -> jax.Array:
    """Theta of every row whose largest score is 0, `[..., 1]`."""

    def refine(theta: jax.Array) -> jax.Array:
        support = (scores > theta).astype(scores.dtype)
        total = jnp.sum(support * scores, -1, keepdims=True)
        return jnp.maximum((total - 1) / jnp.sum(support, -1, keepdims=True), theta)

    start = jnp.max(scores, -1, keepdims=True) - 1
    _, theta = lax.while_loop(
        lambda carry: jnp.any(carry[1] > carry[0]),
        lambda carry: (carry[1], refine(carry[1])),
        (start, refine(start)),
    )
    return theta
