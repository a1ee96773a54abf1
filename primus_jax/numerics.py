"""Small numerics that losses, encoders and evaluations share."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from primus_jax.errors import PrimusError


def varying_axes(*arrays: jax.Array) -> frozenset[str]:
    """Names of the mesh axes over which any of `arrays` varies inside `shard_map`; else empty."""
    types = (getattr(jax.typeof(array), "manual_axis_type", None) for array in arrays)
    return frozenset().union(*(getattr(kind, "varying", frozenset()) for kind in types))


def vary_like(array: jax.Array, *others: jax.Array) -> jax.Array:
    """`array`, typed as varying over every mesh axis over which one of `others` varies.

    A scan carry needs it: `shard_map(check_vma=True)` wants the same type before and after a step.
    """
    missing = varying_axes(*others) - varying_axes(array)
    return lax.pcast(array, tuple(sorted(missing)), to="varying") if missing else array


def normalize(x: jax.Array) -> jax.Array:
    """Scale the rows of `x` `[..., dim]` to unit Euclidean norm.

    A zero row stays zero, and the gradient passes it unchanged. Squares neither overflow nor
    vanish; a row that is not finite becomes one of nan.
    """
    largest = lax.stop_gradient(jnp.max(jnp.abs(x), -1, keepdims=True))
    x = x / jnp.where(largest > 0, largest, jnp.ones_like(largest))
    square = jnp.sum(x * x, -1, keepdims=True)
    return x * lax.rsqrt(jnp.where(square > 0, square, jnp.ones_like(square)))


def dot(x: jax.Array, y: jax.Array) -> jax.Array:
    """A matrix product in the full precision of its dtype, on every kind of device."""
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows `[n, dim]` scaled to length one, float32; a row of zeros stays zero.

    Raises:
        PrimusError: a row that is not finite.
    """
    x = np.asarray(x, np.float64)
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(1))[0])
        raise PrimusError(
            f"embedding {row} of {len(x)} is not finite; the weights are damaged or the training "
            f"diverged."
        )
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return (x / np.where(length > 0, length, 1)).astype(np.float32)
