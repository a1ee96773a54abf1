"""A digest of the train state that does not depend on how it is split over devices and processes.

Every value is mixed with its place in its array into 64 bits, and these are summed: integers may be
added in any order. The mixing is invertible, so that one changed value always changes the
sum; it is a check against damage, not against forgery.
"""

import hashlib
import json
import math
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

# Odd constants of Steele et al., "Fast splittable pseudorandom number generators" (2014).
PLACE, FIRST, SECOND = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
# Values that are mixed at a time: their 64-bit words stay in the cache.
SLAB = 1 << 16


def digest(state: Any) -> str:
    """32 hex digits of names, shapes, dtypes and values of all leaves.

    With several processes all of them must call it; each reads the shards that it holds.
    """
    leaves = jax.tree_util.tree_leaves_with_path(state)
    sums = np.array([_leaf(leaf) for _, leaf in leaves], np.uint64)
    if jax.process_count() > 1:
        halves = np.stack([sums >> np.uint64(32), sums & np.uint64(0xFFFFFFFF)]).astype(np.uint32)
        high, low = multihost_utils.process_allgather(halves).astype(np.uint64).sum(0)
        sums = (high << np.uint64(32)) + low
    hasher = hashlib.blake2b(digest_size=16)
    for (path, leaf), total in zip(leaves, sums.tolist(), strict=True):
        name = jax.tree_util.keystr(path)
        hasher.update(json.dumps([name, leaf.shape, str(leaf.dtype), total]).encode())
    return hasher.hexdigest()


def _leaf(leaf: jax.Array) -> int:
    """Sum over the shards of this process, each part of the array counted once over all devices."""
    total = 0
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            starts = [part.start or 0 for part in shard.index]
            total += _part(np.asarray(shard.data), starts, leaf.shape)
    return total % 2**64


def _part(values: np.ndarray, starts: list[int], shape: tuple[int, ...]) -> int:
    """Sum over a part of an array of `shape` that begins at `starts`."""
    if not values.ndim:
        return _mix(values[None], np.zeros(1, np.uint64))
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    # Places of all values of one row; the first axis adds to them.
    row = np.zeros((), np.uint64)
    for axis in range(1, values.ndim):
        row = np.add.outer(row, _places(starts[axis], values.shape[axis], strides[axis]))
    rows = max(1, SLAB // max(row.size, 1))
    total = 0
    for first in range(0, len(values), rows):
        slab = values[first : first + rows]
        places = _places(starts[0] + first, len(slab), strides[0])
        total += _mix(slab, np.add.outer(places, row))
    return total % 2**64


def _places(start: int, count: int, stride: int) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.uint64) * np.uint64(stride)


def _mix(values: np.ndarray, places: np.ndarray) -> int:
    """Sum of the mixed words of `values` and their `places`, modulo 2^64."""
    words = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}").astype(np.uint64)
    words ^= places * PLACE
    words ^= words >> np.uint64(30)
    words *= FIRST
    words ^= words >> np.uint64(27)
    words *= SECOND
    words ^= words >> np.uint64(31)
    return int(words.sum(dtype=np.uint64))
