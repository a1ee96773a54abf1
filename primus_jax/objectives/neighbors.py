"""The search of nearest-neighbour supervision (PRIMUS, L_NN) in the aligned queue (`queue.py`).

The neighbours are the same on any number of devices, whether the rows of the queue are on every
device or split over them (`shards`).

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

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from primus_jax.numerics import normalize, vary_like
from primus_jax.objectives.queue import Axes, Queue, Rows

# Cosines nearer than this many roundings of 1 are taken for equal.
TIE = 64


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
