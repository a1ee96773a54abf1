"""The queue: rows of earlier batches, first in, first out.

It is part of the train state's `extra`: checkpointed, read before it is written, and never touched
by validation. Its rows are float32 and on every device, or (`shards`) split over the devices,
device i of N holding rows i Q / N and following. The rows read and the rows written are the same
either way, on any number of devices. PRIMUS searches it for neighbours (`neighbors.py`), MoCo takes
all of it for negatives (`moco.py`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import DictKey

Axes = str | tuple[str, ...] | None
Tree = TypeVar("Tree")


class Rows(NamedTuple):
    """Rows of one modality; the first axis is that of the batch, or of the queue.

    embedding: float32 `[n, dim]`.
    mask: bool `[n]`, whether the row is there: a window has the modality, a row was written.
    id: int32 `[n]`, numbers of equal things (texts, videos); -1: equal to nothing.
    """

    embedding: jax.Array
    mask: jax.Array
    id: jax.Array


# In a checkpoint the arrays of `Rows` have the name of the modality with these endings.
_ENDINGS = ("", "_mask", "_id")


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True)
class Queue:
    """The queue: rows of the modalities that the caller named, side by side.

    Attributes:
        next: int32 scalar, the row of the whole queue that is written next: the oldest.
        rows: by modality; of a split queue this device's part.

    As a pytree the queue is one flat dictionary ("next", "text", "text_mask", "text_id", ...):
    checkpoints and their digests have these names.
    """

    next: jax.Array
    rows: dict[str, Rows]

    @property
    def size(self) -> int:
        """Rows of the queue, or of this device's part."""
        return next(iter(self.rows.values())).mask.shape[0]

    def tree_flatten_with_keys(self) -> tuple[list[tuple[DictKey, Any]], tuple[str, ...]]:
        """Leaves with their names, sorted, and the modalities."""
        leaves = {"next": self.next}
        for name, rows in self.rows.items():
            leaves |= {name + ending: leaf for ending, leaf in zip(_ENDINGS, rows, strict=True)}
        return [(DictKey(name), leaves[name]) for name in sorted(leaves)], tuple(sorted(self.rows))

    @classmethod
    def tree_unflatten(cls, modalities: tuple[str, ...], leaves: Sequence[Any]) -> "Queue":
        """The queue of leaves as `tree_flatten_with_keys` orders them."""
        names = {name: [name + ending for ending in _ENDINGS] for name in modalities}
        order = sorted(["next", *(leaf for three in names.values() for leaf in three)])
        named = dict(zip(order, leaves, strict=True))
        rows = {name: Rows(*(named[leaf] for leaf in three)) for name, three in names.items()}
        return cls(named["next"], rows)


def init_queue(size: int, dims: Mapping[str, int]) -> Queue:
    """An empty queue of `size` rows for modalities of `dims` dimensions: zeros, False, -1."""
    rows = {
        name: Rows(
            jnp.zeros((size, dim), jnp.float32),
            jnp.zeros((size,), bool),
            jnp.full((size,), -1, jnp.int32),
        )
        for name, dim in dims.items()
    }
    return Queue(jnp.zeros((), jnp.int32), rows)


def gather(tree: Tree, axis_name: Axes) -> Tree:
    """The global batch from each device's rows, the same on every device, in the order of devices.

    `axis_name` names the mesh axes over which the batch is split, inside `jax.shard_map`; None
    leaves the tree as it is.
    """
    if axis_name is None:
        return tree
    return jax.tree.map(
        lambda x: lax.all_gather(x, axis_name, tiled=True, to="invarying"), lax.stop_gradient(tree)
    )


def read(queue: Queue, index: jax.Array, shards: Axes = None) -> dict[str, Rows]:
    """Rows `index` `[batch]` of every modality of the queue, without gradient.

    With `shards` the queue is this device's part, and every device asks for rows of its own from
    all parts: each device sends the rows that it holds, and zeros for the others, to be summed.
    """
    stored, size = lax.stop_gradient(queue.rows), queue.size
    if shards is None:
        return jax.tree.map(lambda values: values[index], stored)
    local = lax.all_gather(index, shards, tiled=True) - lax.axis_index(shards) * size
    here = (local >= 0) & (local < size)
    local = jnp.clip(local, 0, size - 1)

    def fetch(values: jax.Array) -> jax.Array:
        """Rows `[batch of this device, ...]` of an array that is split by its rows."""
        rows = values[local] if values.dtype != bool else values[local].astype(jnp.int32)
        rows = jnp.where(here.reshape(-1, *[1] * (rows.ndim - 1)), rows, 0)
        return lax.psum_scatter(rows, shards, tiled=True).astype(values.dtype)

    return jax.tree.map(fetch, stored)


def order_after(value: jax.Array, *arrays: jax.Array) -> jax.Array:
    """`value` `[...]` int32, unchanged, but computed after every one of `arrays`.

    The compiler writes a donated queue in place only if the places depend, by arithmetic, on what
    was read from it; otherwise it copies the whole queue first (it drops
    `lax.optimization_barrier` before it decides). What is added is always 0, as a word of 32 bits
    has less than 64 ones, but no simplification knows that.
    """
    for array in arrays:
        single = array if array.dtype.itemsize == 4 else array.astype(jnp.int32)
        ones = lax.population_count(lax.bitcast_convert_type(single, jnp.int32))
        value = value + (jnp.max(ones) >> 6)
    return value


def enqueue(
    queue: Queue, rows: Mapping[str, Rows], position: jax.Array, shards: Axes = None
) -> Queue:
    """The queue with the global batch over its oldest rows, in place where the queue is donated.

    Args:
        queue: with `shards` this device's part.
        rows: the global batch (`gather`), for every modality of the queue.
        position: int32 `[batch]`, each row's place in the global batch, so that the queue does
            not depend on which device or host held the row.
        shards: mesh axes over which the queue's rows are split, or None.
    """
    size, batch = queue.size, position.shape[0]
    whole = size if shards is None else size * lax.axis_size(shards)
    place = (queue.next + position) % whole
    if shards is not None:
        place = place - lax.axis_index(shards) * size
        place = jnp.where((place >= 0) & (place < size), place, size)

    def write(stored: jax.Array, values: jax.Array) -> jax.Array:
        return stored.at[place].set(lax.stop_gradient(values), mode="drop")

    written = jax.tree.map(write, queue.rows, dict(rows))
    return Queue((queue.next + batch) % whole, written)
