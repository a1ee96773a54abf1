"""Distances of many anchors from many candidates, a block of pairs at a time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

Measure = Callable[[jax.Array], jax.Array]


def distance_matrix(
    to_block: Callable[[jax.Array], Measure],
    to_own: Callable[[jax.Array, jax.Array], jax.Array],
    anchors: jax.Array,
    everybody: jax.Array,
    own: jax.Array,
    *,
    pairs: int,
) -> jax.Array:
    """Return the distance of every anchor from everybody, and from its own candidates.

    At most `pairs` are computed at once (one at least), and nothing is kept for a backward pass:
    the result is a constant of the gradient.

    Args:
        to_block: prepares candidates `[some, time, channels]` once, and returns the function of
            anchors `[rows, time, channels]` that measures `[some, rows]`.
        to_own: measures `[rows]` of anchors and candidates, both `[rows, time, channels]`.
        anchors: `[rows, time, channels]`.
        everybody: `[batch, time, channels]`, candidates of every anchor.
        own: `[rows, K, time, channels]`, candidates of one anchor each.
        pairs: most pairs at once.

    Returns:
        float32 `[rows, batch + K]` (float64 where the windows are).
    """
    anchors, everybody, own = lax.stop_gradient((anchors, everybody, own))

    def all_from(candidates: jax.Array) -> jax.Array:
        return _in_blocks(to_block(candidates), anchors, pairs // len(candidates), axis=1)

    shared = _in_blocks(all_from, everybody, max(pairs // anchors.shape[0], 1), axis=0).T
    if not own.shape[1]:
        return shared
    repeated = jnp.repeat(anchors, own.shape[1], axis=0)
    flat = own.reshape(-1, *own.shape[2:])
    size = _divisor(len(flat), pairs)
    cut = lambda x: x.reshape(-1, size, *x.shape[1:])  # noqa: E731
    mine = lax.map(lambda both: to_own(*both), (cut(repeated), cut(flat)))
    return jnp.concatenate([shared, mine.reshape(own.shape[:2])], 1)


def _in_blocks(function: Measure, rows: jax.Array, most: int, axis: int) -> jax.Array:
    """`function` of blocks of at most `most` rows, one after the other, joined along `axis`."""
    size = _divisor(len(rows), most)
    parts = lax.map(function, rows.reshape(-1, size, *rows.shape[1:]))
    joined = jnp.moveaxis(parts, 0, axis)
    return joined.reshape(*joined.shape[:axis], -1, *joined.shape[axis + 2 :])


def _divisor(count: int, most: int) -> int:
    """The largest divisor of `count` that is at most `most`; 1 at least."""
    return max(size for size in range(1, min(count, max(most, 1)) + 1) if count % size == 0)
