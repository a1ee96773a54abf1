"""The aligned first-in-first-out queue of nearest-neighbour supervision (PRIMUS, L_NN).

The queue is part of the train state's `extra`: replicated, checkpointed, read before it is
written, and never touched by validation.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.losses.contrastive import normalize

Queue = dict[str, Any]
MODALITIES = ("video", "text", "imu")


def init_queue(size: int, dims: dict[str, int]) -> Queue:
    """An empty queue of `size` rows: for each modality `[size, dim]` zeros and a bool `[size]`."""
    queue: Queue = {"next": jnp.zeros((), jnp.int32)}
    for name, dim in dims.items():
        queue[name] = jnp.zeros((size, dim), jnp.float32)
        queue[f"{name}_mask"] = jnp.zeros((size,), bool)
        queue[f"{name}_id"] = jnp.full((size,), -1, jnp.int32)
    return queue


def nearest(
    queue: Queue, query: dict[str, jax.Array], order: tuple[str, ...], *, ignore_empty: bool = True
) -> tuple[jax.Array, jax.Array]:
    """Index of the nearest row for every query, and whether there is one.

    A window is searched by the first modality in `order` that it has and that some row has:
    cosine with that modality's rows, largest wins, the first of equals.

    Args:
        queue: see `init_queue`.
        query: for each modality in `order` `[batch, dim]`, and bool `[batch]` under `NAME_mask`.
        order: modalities, most trusted first.
        ignore_empty: False lets rows that were never written compete with cosine 0, as in the
            released code (its queue starts as zeros).

    Returns:
        int32 `[batch]` row numbers, bool `[batch]` found.
    """
    index = found = None
    for name in order:
        valid = queue[f"{name}_mask"] if ignore_empty else jnp.ones_like(queue[f"{name}_mask"])
        cosine = jnp.matmul(
            normalize(query[name]), normalize(queue[name]).T, precision=lax.Precision.HIGHEST
        )
        best = jnp.argmax(jnp.where(valid, cosine, -jnp.inf), axis=1).astype(jnp.int32)
        has = query[f"{name}_mask"] & jnp.any(valid)
        index = best if index is None else jnp.where(found, index, best)
        found = has if found is None else found | has
    return index, found


def read(queue: Queue, index: jax.Array) -> dict[str, jax.Array]:
    """Rows `index` `[batch]` of every array of the queue, without gradient."""
    return {
        name: lax.stop_gradient(values[index]) for name, values in queue.items() if name != "next"
    }


def enqueue(
    queue: Queue, rows: dict[str, jax.Array], position: jax.Array, axis_name: str | None = None
) -> Queue:
    """Write the global batch over the oldest rows.

    Args:
        queue: see `init_queue`.
        rows: this device's rows of every array of the queue.
        position: int32 `[batch]`, each row's place in the global batch, so that the queue does
            not depend on which device or host held the row.
        axis_name: mesh axis over which the batch is sharded, inside `jax.shard_map`.
    """
    if axis_name is not None:
        gather = lambda x: lax.all_gather(x, axis_name, tiled=True, to="invarying")  # noqa: E731
        rows, position = jax.tree.map(gather, (rows, position))
    size = queue["imu"].shape[0]
    place = (queue["next"] + position) % size
    written = {
        name: queue[name].at[place].set(lax.stop_gradient(values)) for name, values in rows.items()
    }
    return {**queue, **written, "next": (queue["next"] + position.shape[0]) % size}
