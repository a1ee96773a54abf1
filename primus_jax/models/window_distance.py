"""Distances between windows that nobody learns: Euclidean, and dynamic time warping.

Both compare raw windows, in m/s² (and rad/s), so that posture and strength count.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.models.distance_matrix import distance_matrix
from primus_jax.numerics import vary_like

PLAIN_DISTANCES = ("euclidean", "dtw")
# How far a path leaves the diagonal, as a part of the window (Sakoe and Chiba 1978).
BAND = 0.1


def plain_distances(
    kind: str, anchors: jax.Array, everybody: jax.Array, own: jax.Array, *, pairs: int
) -> jax.Array:
    """Return "euclidean" or "dtw" distances, float32 `[rows, batch + K]`.

    Args:
        kind: one of `PLAIN_DISTANCES`.
        anchors, everybody, own, pairs: as of `distance_matrix`.
    """
    measure = euclidean if kind == "euclidean" else dtw
    return distance_matrix(
        lambda candidates: lambda anchor: measure(anchor, candidates[:, None]),
        measure,
        anchors,
        everybody,
        own,
        pairs=pairs,
    )


def euclidean(first: jax.Array, second: jax.Array) -> jax.Array:
    """Return the squared difference, summed over time and channels.

    Args:
        first, second: `[..., time, channels]`, with leading axes that broadcast.

    Returns:
        `[...]`.
    """
    return jnp.sum(jnp.square(first - second), (-2, -1))


def dtw(first: jax.Array, second: jax.Array, band: float = BAND) -> jax.Array:
    """Return the squared difference along the best alignment of two windows, summed.

    The path goes from both starts to both ends; it stays within `band` times the window of the
    diagonal. One scan over the anti-diagonals treats all pairs at once: of moments i and j, step
    i + j holds one value for every i - j. The step before is where i - j is one more or one less,
    and the value of two steps before is still in its own place.

    Args:
        first, second: `[..., time, channels]`, with leading axes that broadcast.
        band: part of the window.

    Returns:
        `[...]`, at most the `euclidean` distance.
    """
    time = first.shape[-2]
    radius = math.ceil(band * time)
    offset = jnp.arange(-radius, radius + 1, dtype=jnp.int32)
    lead = jnp.broadcast_shapes(first.shape[:-2], second.shape[:-2])

    def step(best: jax.Array, total: jax.Array) -> tuple[jax.Array, None]:
        i, j = (total + offset) // 2, (total - offset) // 2
        turn = (total + offset) % 2 == 0
        inside = (i >= 0) & (i < time) & (j >= 0) & (j < time)
        x = jnp.take(first, jnp.clip(i, 0, time - 1), axis=-2)
        y = jnp.take(second, jnp.clip(j, 0, time - 1), axis=-2)
        cost = jnp.sum(jnp.square(x - y), -1)
        wide = jnp.pad(best, [(0, 0)] * len(lead) + [(1, 1)], constant_values=jnp.inf)
        before = jnp.minimum(jnp.minimum(wide[..., :-2], wide[..., 2:]), best)
        before = jnp.where(total == 0, 0, before)
        new = jnp.where(inside, cost + before, jnp.inf)
        return jnp.where(turn, new, best), None

    start = jnp.full((*lead, len(offset)), jnp.inf, jnp.result_type(first, second))
    start = vary_like(start, first, second)
    best, _ = lax.scan(step, start, jnp.arange(2 * time - 1, dtype=jnp.int32))
    return best[..., radius]
