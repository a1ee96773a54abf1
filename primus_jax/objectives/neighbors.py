"""The aligned first-in-first-out queue of nearest-neighbour supervision (PRIMUS, L_NN).

The queue is part of the train state's `extra`: checkpointed, read before it is written, and never
touched by validation. Its rows are float32 and on every device, or (`shards`) split over the
devices, device i of N holding rows i Q / N and following. The neighbours, the rows read and the
rows written are the same either way, on any number of devices.

Memory: a row of text, video and IMU, 512 numbers each, takes 6,159 bytes with its masks and
numbers: 50 MB for 8,192 rows, 6.2 GB for a million. So a million rows belong split: 770 MB on each
of 8 devices, 24 MB on each of 256. In half precision they would still be 3.1 GB on every device.

What each of N devices sends in a step, with b rows of the batch per device and M modalities that
are searched and read, `dims` their dimensions: 4 b (N - 1) (sum(dims) + M + 1) + b (N - 1) M for
the batch itself (rows, numbers and places, masks), which both layouts need for the write. Split,
8 b (N - 1) M more for the best cosine and its row to the device that asked, 4 b (N - 1) for the
numbers of the rows found, and 4 b (N - 1) (sum(dims) + 2 M) for their contents. Nothing depends on
Q, and no search of split rows sends less than the queries: they have to meet every row.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.numerics import normalize, vary_like

Queue = dict[str, Any]
Axes = str | tuple[str, ...] | None
MODALITIES = ("video", "text", "imu")
# Cosines nearer than this many roundings of 1 are taken for equal.
TIE = 64


def init_queue(size: int, dims: dict[str, int]) -> Queue:
    """An empty queue of `size` rows: for each modality `[size, dim]` zeros and a bool `[size]`."""
    queue: Queue = {"next": jnp.zeros((), jnp.int32)}
    for name, dim in dims.items():
        queue[name] = jnp.zeros((size, dim), jnp.float32)
        queue[f"{name}_mask"] = jnp.zeros((size,), bool)
        queue[f"{name}_id"] = jnp.full((size,), -1, jnp.int32)
    return queue


def gather(tree: Any, axis_name: Axes) -> Any:
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
    query: dict[str, jax.Array],
    order: tuple[str, ...],
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
        queue: see `init_queue`; with `shards` this device's part of every array.
        query: for each modality in `order` `[batch, dim]`, and bool `[batch]` under `NAME_mask`;
            with `shards` the global batch (`gather`), of which this device owns one part.
        order: modalities, most trusted first.
        ignore_empty: False lets rows that were never written compete with cosine 0, as in the
            released code (its queue starts as zeros).
        block: rows that are searched at once; never changes the meaning.
        shards: mesh axes over which the queue's rows are split, or None.

    Returns:
        int32 `[batch]` row numbers in the whole queue, bool `[batch]` found; with `shards` those
        of this device's part of the batch.
    """
    found = []
    for name in order:
        valid = queue[f"{name}_mask"]
        valid = valid if ignore_empty else jnp.ones_like(valid)
        found.append(_search(normalize(query[name]), queue[name], valid, block))
    cosine, index = (jnp.stack(x) for x in zip(*found, strict=True))
    has = jnp.stack([query[f"{name}_mask"] for name in order])
    if shards is not None:
        size, device = lax.axis_size(shards), lax.axis_index(shards)
        index = index + device * queue[order[0]].shape[0]
        # [modalities, batch] of this device's rows -> [devices, modalities, own batch]
        cosine, index = (
            lax.all_to_all(x, shards, split_axis=1, concat_axis=0, tiled=True).reshape(
                size, len(order), -1
            )
            for x in (cosine, index)
        )
        has = lax.dynamic_slice_in_dim(has, device * index.shape[2], index.shape[2], axis=1)
        cosine, index = _first_of_largest(cosine, index, axis=0)
    has &= cosine > -jnp.inf
    # The first modality that has an answer; without any, the first one's row.
    chosen = jnp.argmax(has, axis=0)
    return jnp.take_along_axis(index, chosen[None], axis=0)[0], jnp.any(has, axis=0)


def _search(query, rows, valid, block):
    """Largest cosine of unit queries `[n, dim]` with valid rows (-inf without any), and its row."""
    size, dim = rows.shape
    block = min(block, size)

    def search(query):
        def step(best, start):
            part = lax.dynamic_slice_in_dim(rows, start, block)
            keep = lax.dynamic_slice_in_dim(valid, start, block)
            cosine = jnp.matmul(query, normalize(part).T, precision=lax.Precision.HIGHEST)
            cosine = jnp.where(keep, cosine, -jnp.inf)
            number = start + jnp.arange(block, dtype=jnp.int32)
            top, first = _first_of_largest(cosine, number, axis=1)
            better = top > best[0] + _tie(cosine)
            return (jnp.where(better, top, best[0]), jnp.where(better, first, best[1])), None

        nothing = vary_like(jnp.zeros(query.shape[0], query.dtype), query, rows)
        start = (nothing - jnp.inf, vary_like(jnp.zeros_like(nothing, jnp.int32), query, rows))
        # The last block ends with the last row: rows that it shares with the one before are equal.
        starts = jnp.minimum(jnp.arange(0, size, block, dtype=jnp.int32), size - block)
        return lax.scan(step, start, starts)[0]

    if query.shape[0] <= block:
        return search(query)
    count = query.shape[0]
    query = jnp.pad(query, ((0, -count % block), (0, 0))).reshape(-1, block, dim)
    return tuple(x.reshape(-1)[:count] for x in lax.map(search, query))


def _first_of_largest(cosine, index, axis):
    """The largest cosine along `axis`, and the lowest `index` of those that equal it."""
    top = jnp.max(cosine, axis, keepdims=True)
    far = jnp.iinfo(jnp.int32).max
    first = jnp.min(jnp.where(cosine >= top - _tie(cosine), index, far), axis)
    return jnp.squeeze(top, axis), first


def _tie(cosine):
    return TIE * jnp.finfo(cosine.dtype).eps


def read(queue: Queue, index: jax.Array, shards: Axes = None) -> dict[str, jax.Array]:
    """Rows `index` `[batch]` of every array of the queue, without gradient.

    With `shards` the queue is this device's part, and every device asks for rows of its own from
    all parts: each device sends the rows that it holds, and zeros for the others, to be summed.
    """
    arrays = lax.stop_gradient({name: x for name, x in queue.items() if name != "next"})
    if shards is None:
        return {name: values[index] for name, values in arrays.items()}
    size = queue["imu"].shape[0]
    local = lax.all_gather(index, shards, tiled=True) - lax.axis_index(shards) * size
    here = (local >= 0) & (local < size)
    local = jnp.clip(local, 0, size - 1)

    def fetch(values):
        rows = values[local] if values.dtype != bool else values[local].astype(jnp.int32)
        rows = jnp.where(here.reshape(-1, *[1] * (rows.ndim - 1)), rows, 0)
        return lax.psum_scatter(rows, shards, tiled=True).astype(values.dtype)

    return jax.tree.map(fetch, arrays)


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
    queue: Queue, rows: dict[str, jax.Array], position: jax.Array, shards: Axes = None
) -> Queue:
    """Write the global batch over the oldest rows, in place where the queue is donated.

    Args:
        queue: see `init_queue`; with `shards` this device's part of every array.
        rows: the global batch (`gather`) for every array of the queue.
        position: int32 `[batch]`, each row's place in the global batch, so that the queue does
            not depend on which device or host held the row.
        shards: mesh axes over which the queue's rows are split, or None.
    """
    size, batch = queue["imu"].shape[0], position.shape[0]
    whole = size if shards is None else size * lax.axis_size(shards)
    place = (queue["next"] + position) % whole
    if shards is not None:
        place = place - lax.axis_index(shards) * size
        place = jnp.where((place >= 0) & (place < size), place, size)
    written = {
        name: queue[name].at[place].set(lax.stop_gradient(values), mode="drop")
        for name, values in rows.items()
    }
    return {**queue, **written, "next": (queue["next"] + batch) % whole}
