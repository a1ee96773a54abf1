"""Distances of many anchors from many candidates, a block of pairs at a time."""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.models.motif import MotifDist
from primus_jax.trees import Params


def motif_distances(
    module: MotifDist,
    params: Params,
    anchors: jax.Array,
    everybody: jax.Array,
    own: jax.Array,
    *,
    attention: str,
    pairs: int,
) -> jax.Array:
    """Return the distance of every anchor from everybody, and from its own candidates.

    A pair takes the memory of its attention, `time * time` weights; at most `pairs` are computed
    at once (one at least), and nothing is kept for a backward pass: the result is a constant of
    the gradient. Keys and values of a candidate are computed once for all anchors.

    Args:
        module, params: of the frozen distance.
        anchors: `[rows, time, channels]`.
        everybody: `[batch, time, channels]`, candidates of every anchor.
        own: `[rows, K, time, channels]`, candidates of one anchor each.
        attention: "sparsemax" or "softmax".
        pairs: most pairs at once.

    Returns:
        float32 `[rows, batch + K]` (float64 where the windows are).
    """
    variables = {"params": lax.stop_gradient(params)}
    anchors, everybody, own = lax.stop_gradient((anchors, everybody, own))

    def measure(anchor: jax.Array, candidate: jax.Array) -> jax.Array:
        memory = module.apply(variables, candidate, method="remember")
        measured = module.apply(variables, anchor, memory, attention, method="distance")
        return cast(jax.Array, measured)

    def to_block(candidates: jax.Array) -> jax.Array:
        """Distances of all anchors from some candidates, `[some, rows]`."""
        memory = module.apply(variables, candidates[:, None], method="remember")

        def some(anchor: jax.Array) -> jax.Array:
            measured = module.apply(variables, anchor, memory, attention, method="distance")
            return cast(jax.Array, measured)

        return _in_blocks(some, anchors, pairs // len(candidates), axis=1)

    count = anchors.shape[0]
    shared = _in_blocks(to_block, everybody, max(pairs // count, 1), axis=0).T
    if not own.shape[1]:
        return shared
    repeated = jnp.repeat(anchors, own.shape[1], axis=0)
    flat = own.reshape(-1, *own.shape[2:])
    size = _divisor(len(flat), pairs)
    cut = lambda x: x.reshape(-1, size, *x.shape[1:])  # noqa: E731
    mine = lax.map(lambda both: measure(*both), (cut(repeated), cut(flat)))
    return jnp.concatenate([shared, mine.reshape(own.shape[:2])], 1)


def _in_blocks(
    function: Callable[[jax.Array], jax.Array], rows: jax.Array, most: int, axis: int
) -> jax.Array:
    """`function` of blocks of at most `most` rows, one after the other, joined along `axis`."""
    size = _divisor(len(rows), most)
    parts = lax.map(function, rows.reshape(-1, size, *rows.shape[1:]))
    joined = jnp.moveaxis(parts, 0, axis)
    return joined.reshape(*joined.shape[:axis], -1, *joined.shape[axis + 2 :])


def _divisor(count: int, most: int) -> int:
    """The largest divisor of `count` that is at most `most`; 1 at least."""
    return max(size for size in range(1, min(count, max(most, 1)) + 1) if count % size == 0)
