"""Terms of a loss with the gradient that each sends to the embedding: measured, balanced, added.

Each term is differentiated by itself with respect to what the loss reads (embedding, temperature,
projection). The sum has the same value and gradient as the weighted sum of the terms, and
nothing is differentiated twice.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.numerics import varying_axes
from primus_jax.objectives.base import Metrics
from primus_jax.trees import Tree


class Measured(NamedTuple):
    """A term at one point.

    value: scalar, of the global batch.
    gradient: a tree like the inputs.
    aux: what the term returns beside its value.
    """

    value: jax.Array
    gradient: Tree
    aux: Metrics


def measure(term: Callable[[Any], tuple[jax.Array, Metrics]], inputs: Tree) -> Measured:
    """The value of `term(inputs) -> (value, aux)`, and its gradient."""
    (value, aux), gradient = jax.value_and_grad(term, has_aux=True)(inputs)
    return Measured(value, lax.stop_gradient(gradient), aux)


def norm(gradient: jax.Array) -> jax.Array:
    """Euclidean norm over all rows of the global batch, without gradient."""
    # The largest first, so that squares of 1e-25 do not vanish.
    largest = jnp.max(jnp.abs(lax.stop_gradient(gradient)))
    axes = tuple(varying_axes(gradient))
    largest = lax.pmax(largest, axes) if axes else largest
    divisor = jnp.where(largest > 0, largest, 1)
    return largest * jnp.sqrt(_over_devices(jnp.sum(jnp.square(gradient / divisor))))


def add(
    terms: Mapping[str, Measured], weights: Mapping[str, jax.Array | float], inputs: Tree
) -> jax.Array:
    """The weighted sum of the terms: its value, and with respect to `inputs` its gradient."""
    value = sum((weights[name] * term.value for name, term in terms.items()), jnp.zeros(()))
    gradient = jax.tree.map(
        lambda *parts: sum(weights[name] * x for name, x in zip(terms, parts, strict=True)),
        *(term.gradient for term in terms.values()),
    )
    # Zero in value, `gradient` in slope.
    linear = jax.tree.map(
        lambda x, slope: _over_devices(jnp.sum(slope * (x - lax.stop_gradient(x)))),
        inputs,
        lax.stop_gradient(gradient),
    )
    return lax.stop_gradient(value) + sum(jax.tree.leaves(linear))


def shares(
    norms: Mapping[str, jax.Array], reference: str, wanted: Mapping[str, float], limit: float
) -> dict[str, jax.Array]:
    """The weight with which each gradient has `wanted` times the norm of the reference's.

    A term without gradient weighs nothing, and no weight passes `limit`.
    """
    result = {}
    for name, share in wanted.items():
        there = norms[name] > 0
        ratio = norms[reference] / jnp.where(there, norms[name], 1)
        result[name] = jnp.where(there, jnp.minimum(share * ratio, limit), 0)
    return result


def _over_devices(x: jax.Array) -> jax.Array:
    """The sum over the devices of what differs between them; else the value itself."""
    axes = tuple(varying_axes(x))
    return lax.psum(x, axes) if axes else x
