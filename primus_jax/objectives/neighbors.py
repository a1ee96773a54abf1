"""The aligned first-in-first-out queue of nearest-neighbour supervision (PRIMUS, L_NN).

The queue is part of the train state's `extra`: checkpointed, read before it is written, and never
touched by validation. Its rows are float32 and on every device, or (`shards`) split over the
devices, device i of N holding rows i Q / N and following. The neighbours, the rows read and the
rows written are the same either way, on any number of devices.

Memory: a row of text, video and IMU, 512 numbers each, takes 6,159 bytes with its masks and
ids: 50 MB for 8,192 rows, 6.2 GB for a million. So a million rows belong split: 770 MB on each
of 8 devices, 24 MB on each of 256. In half precision they would still be 3.1 GB on every device.

Each of N devices sends in a step, with b rows of the batch per device and M modalities that
are searched and read, `dims` their dimensions: 4 b (N - 1) (sum(dims) + M + 1) + b (N - 1) M for
the batch itself (rows, numbers and places, masks), which both layouts need for the write. Split,
8 b (N - 1) M more for the best cosine and its row to the device that asked, 4 b (N - 1) for the
numbers of the rows found, and 4 b (N - 1) (sum(dims) + 2 M) for their contents. Nothing depends on
Q, and no search of split rows sends less than the queries: they have to meet every row.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import DictKey

from primus_jax.numerics import normalize, vary_like

Axes = str | tuple[str, ...] | None
Tree = TypeVar("Tree")
# Cosines nearer than this many roundings of 1 are taken for equal.
TIE = 64


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


def nearest(
    queue: Queue,
    query: Mapping[str, Rows],
    order: Sequence[str],
    *,
    ignore_empty: bool = True,
    block: int = 8192,
    shards: Axes = None,
) -> tuple[jax.Array, jax.Array]:
    """Number of the nearest row for every query, and whether there is one.

    A window is searched by the first modality in `order` that it has and that some row has:
    cosine with that modality's rows, largest wins, the first of equals. One pass over blocks of
    rows with a running best; temporaries grow with the square of `block`, not with the queue.

    Cosines within `TIE` float32 roundings (7.6e-6) are equal: copies of a row are, though a
    product of another shape rounds them differently. So where the best row's copies are the only
    rows within 2 `TIE` of it, the answer is the first of them, whatever the block and the number
    of devices. Otherwise it is a row at most 3 `TIE` (2.3e-5) below the largest cosine.

    Args:
        queue: with `shards` this device's part.
        query: rows of the batch for each modality in `order`; their `id` is not read. With
            `shards` the global batch (`gather`), of which this device owns one part.
        order: modalities, most trusted first.
        ignore_empty: False lets rows that were never written compete with cosine 0, as in the
            released code (its queue starts as zeros).
        block: rows that are searched at once; never changes the meaning.
        shards: mesh axes over which the queue's rows are split, or None.

    Returns:
        int32 `[batch]` row numbers in the whole queue, bool `[batch]` found; with `shards` those
        of this device's part of the batch.
    """
    best = []
    for name in order:
        rows = queue.rows[name]
        valid = rows.mask if ignore_empty else jnp.ones_like(rows.mask)
        best.append(_search(normalize(query[name].embedding), rows.embedding, valid, block))
    cosine, index = (jnp.stack(x) for x in zip(*best, strict=True))  # [modalities, batch]
    has = jnp.stack([query[name].mask for name in order])
    if shards is not None:
        cosine, index = _best_of_devices(_Best(cosine, index), queue.size, shards)
        first = lax.axis_index(shards) * index.shape[1]
        has = lax.dynamic_slice_in_dim(has, first, index.shape[1], axis=1)
    has &= cosine > -jnp.inf
    # The first modality that has an answer; without any, the first one's row.
    chosen = jnp.argmax(has, axis=0)
    return jnp.take_along_axis(index, chosen[None], axis=0)[0], jnp.any(has, axis=0)


class _Best(NamedTuple):
    """The largest cosine of each query, -inf where no row is valid, and the number of its row."""

    cosine: jax.Array
    row: jax.Array


def _search(query: jax.Array, rows: jax.Array, valid: jax.Array, block: int) -> _Best:
    """The best of valid rows for unit queries; `_Best` of `[n]`.

    Args:
        query: float32 `[n, dim]`, of unit norm.
        rows: float32 `[size, dim]`.
        valid: bool `[size]`.
        block: rows, and queries, that are compared at once.
    """
    size, dim = rows.shape
    block = min(block, size)

    def search(query: jax.Array) -> _Best:
        """One block of queries against all rows."""

        def step(best: _Best, start: jax.Array) -> tuple[_Best, None]:
            part = lax.dynamic_slice_in_dim(rows, start, block)
            keep = lax.dynamic_slice_in_dim(valid, start, block)
            cosine = jnp.matmul(query, normalize(part).T, precision=lax.Precision.HIGHEST)
            cosine = jnp.where(keep, cosine, -jnp.inf)
            number = start + jnp.arange(block, dtype=jnp.int32)
            found = _first_of_largest(cosine, number, axis=1)
            better = found.cosine > best.cosine + _tie(cosine)
            return _Best(*(jnp.where(better, x, y) for x, y in zip(found, best, strict=True))), None

        nothing = vary_like(jnp.zeros(query.shape[0], query.dtype), query, rows)
        zeros = vary_like(jnp.zeros_like(nothing, jnp.int32), query, rows)
        # The last block ends with the last row: rows that it shares with the one before are equal.
        starts = jnp.minimum(jnp.arange(0, size, block, dtype=jnp.int32), size - block)
        return lax.scan(step, _Best(nothing - jnp.inf, zeros), starts)[0]

    if query.shape[0] <= block:
        return search(query)
    count = query.shape[0]
    query = jnp.pad(query, ((0, -count % block), (0, 0))).reshape(-1, block, dim)
    return _Best(*(x.reshape(-1)[:count] for x in lax.map(search, query)))


def _best_of_devices(best: _Best, size: int, shards: Axes) -> _Best:
    """The best of the whole queue for this device's part of the batch.

    Args:
        best: `[modalities, batch]`, of this device's `size` rows for the global batch.

    Returns:
        `[modalities, batch of this device]`, with row numbers of the whole queue.
    """
    modalities = best.row.shape[0]
    numbered = _Best(best.cosine, best.row + lax.axis_index(shards) * size)
    # [modalities, batch] of this device's rows -> [devices, modalities, batch of this device]
    cosine, row = (
        lax.all_to_all(x, shards, split_axis=1, concat_axis=0, tiled=True).reshape(
            lax.axis_size(shards), modalities, -1
        )
        for x in numbered
    )
    return _first_of_largest(cosine, row, axis=0)


def _first_of_largest(cosine: jax.Array, index: jax.Array, axis: int) -> _Best:
    """The largest cosine along `axis`, and the lowest `index` of those that equal it."""
    top = jnp.max(cosine, axis, keepdims=True)
    far = jnp.iinfo(jnp.int32).max
    first = jnp.min(jnp.where(cosine >= top - _tie(cosine), index, far), axis)
    return _Best(jnp.squeeze(top, axis), first)


def _tie(cosine: jax.Array) -> np.floating:
    """The largest distance of equal cosines."""
    return TIE * jnp.finfo(cosine.dtype).eps


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
