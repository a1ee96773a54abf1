"""Split or whole, on any devices, in any blocks: the same neighbours and the same queue."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from primus_jax.objectives.neighbors import (
    TIE,
    enqueue,
    gather,
    init_queue,
    nearest,
    order_after,
    read,
)
from primus_jax.roofline.traffic import bytes_sent

DIMS = {"video": 24, "text": 40, "imu": 16}
SIZE, BATCH = 88, 16
LAYOUTS = [  # devices (two numbers: slices of devices), rows split or whole, block
    ((1,), False, 8192),
    ((1,), False, 1),
    ((1,), True, 7),
    ((2,), True, 16),
    ((4,), True, 5),
    ((8,), True, 3),
    ((2, 4), True, 8192),
    ((2, 4), False, 30),
]


def consult(devices, split, block, ignore_empty=True):
    """Search, read and write, as the objective does: -> row numbers, found, contents, the queue."""
    names = ("replica", "data")[-len(devices) :]
    count = int(np.prod(devices))
    mesh = jax.make_mesh(
        devices, names, axis_types=(AxisType.Auto,) * len(devices), devices=jax.devices()[:count]
    )
    rows = PartitionSpec(names)
    shards = names if split else None

    def local(queue, batch, place):
        whole = gather(batch, names)
        index, found = nearest(
            queue,
            whole if split else batch,
            tuple(DIMS),
            ignore_empty=ignore_empty,
            block=block,
            shards=shards,
        )
        neighbor = read(queue, index, shards)
        place = gather(order_after(place, index, *neighbor.values()), names)
        return index, found, neighbor, enqueue(queue, whole, place, shards)

    kept = {name: rows if split else PartitionSpec() for name in init_queue(1, DIMS)}
    kept["next"] = PartitionSpec()
    return jax.shard_map(
        local, mesh=mesh, in_specs=(kept, rows, rows), out_specs=(rows, rows, rows, kept)
    )


def unit(x):
    x = np.asarray(x, np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def slow(queue, batch, ignore_empty=True):
    """The definition, one window at a time in float64: first of the copies of the best row."""
    index, found = [], []
    for i in range(BATCH):
        for name in DIMS:
            valid = queue[f"{name}_mask"] | (not ignore_empty)
            if batch[f"{name}_mask"][i] and valid.any():
                cosine = np.where(valid, unit(queue[name]) @ unit(batch[name][i]), -np.inf)
                copies = cosine >= cosine.max() - 1e-12
                gap = cosine.max() - cosine[~copies].max(initial=-2)
                assert gap > 2.5 * TIE * np.finfo(np.float32).eps
                index.append(int(copies.argmax()))
                found.append(True)
                break
        else:
            index.append(0)
            found.append(False)
    return np.array(index), np.array(found)


def full_of_copies(seed):
    """A queue of a few things many times over, partly empty, and a batch that resembles them."""
    rng = np.random.default_rng(seed)
    queue, batch = {"next": np.int32(SIZE - 5)}, {}
    written = np.arange(SIZE) < (SIZE if seed % 2 else 50)
    for name, dim in DIMS.items():
        things = rng.normal(size=(9, dim)).astype(np.float32)
        on = written & (rng.random(SIZE) < (1 if name == "imu" else 0.6)) & (seed != 4)
        queue[name] = things[rng.integers(0, 9, SIZE)] * on[:, None]
        queue[f"{name}_mask"] = on
        queue[f"{name}_id"] = rng.integers(-1, 99, SIZE).astype(np.int32)
        noise = rng.normal(size=(BATCH, dim)) * rng.choice([0, 0.1], (BATCH, 1))
        asked = 3 * things[rng.integers(0, 9, BATCH)] + noise
        batch[name] = asked.astype(np.float32)
        batch[f"{name}_mask"] = rng.random(BATCH) < (0.9 if name == "imu" else 0.4)
        batch[f"{name}_id"] = rng.integers(-1, 99, BATCH).astype(np.int32)
    return queue, batch, rng.permutation(BATCH).astype(np.int32)


@pytest.mark.parametrize(("devices", "split", "block"), LAYOUTS)
def test_every_layout_finds_reads_and_writes_what_the_definition_says(devices, split, block):
    search = jax.jit(consult(devices, split, block))
    for seed in range(8):  # one has an empty queue
        queue, batch, place = full_of_copies(seed)
        index, found = slow(queue, batch)
        got = jax.tree.map(np.asarray, search(queue, batch, place))
        np.testing.assert_array_equal(got[1], found)
        np.testing.assert_array_equal(got[0][found], index[found])
        for name, values in got[2].items():
            np.testing.assert_array_equal(values[found], queue[name][index[found]])
        expected = {name: np.array(values) for name, values in queue.items()}
        for name, values in batch.items():
            expected[name][(SIZE - 5 + place) % SIZE] = values
        expected["next"] = np.int32((SIZE - 5 + BATCH) % SIZE)
        jax.tree.map(np.testing.assert_array_equal, got[3], expected)


def test_rows_never_written_compete_where_that_is_asked_for():
    queue, batch, place = full_of_copies(2)
    batch = {**batch, "video": -abs(batch["video"]), "video_mask": np.ones(BATCH, bool)}
    queue = {**queue, "video": abs(queue["video"])}
    # every written row has a negative cosine: the first empty row is the nearest
    index = int(np.argmin(queue["video_mask"]))
    for devices, split, block in LAYOUTS[1], LAYOUTS[4]:
        got, found, *_ = jax.jit(consult(devices, split, block, False))(queue, batch, place)
        assert np.asarray(found).all()
        np.testing.assert_array_equal(got, index)


def test_what_is_found_among_crowded_rows_is_never_far_from_the_best():
    rng = np.random.default_rng(7)
    rows, asked = (rng.normal(size=(n, 3)).astype(np.float32) for n in (20_000, 64))
    queue = {"imu": jnp.asarray(rows), "imu_mask": jnp.ones(len(rows), bool)}
    query = {"imu": jnp.asarray(asked), "imu_mask": jnp.ones(64, bool)}
    cosine = unit(asked) @ unit(rows).T
    assert (np.diff(np.sort(cosine)[:, -2:]) < TIE * 1e-7).any()  # crowded, indeed
    for block in (50, 999, 20_000):
        index, _ = jax.jit(functools.partial(nearest, order=("imu",), block=block))(queue, query)
        chosen = cosine[np.arange(64), np.asarray(index)]
        assert (chosen >= cosine.max(1) - 3.1 * TIE * np.finfo(np.float32).eps).all()


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("devices", [4, 8])
def test_bytes_sent_are_those_of_the_docstring(devices, split):
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), full_of_copies(0))
    compiled = jax.jit(consult((devices,), split, 8192)).lower(*shapes).compile()
    b, dims, count = BATCH // devices, sum(DIMS.values()), len(DIMS)
    expected = (devices - 1) * b * (4 * (dims + count + 1) + count)
    if split:
        expected += (devices - 1) * b * (8 * count + 4 + 4 * (dims + 2 * count))
    assert bytes_sent(compiled.as_text()).total() == expected


def test_cosines_that_only_rounding_tells_apart_are_equal():
    rows = np.zeros((6, 8), np.float32)
    rows[:, 0], rows[2, 1] = (-1, -1, 1, -1, -1, 1), 2e-3  # cosines with the query: 1 - 2e-6 and 1
    queue = {"imu": jnp.asarray(rows), "imu_mask": jnp.ones(6, bool)}
    query = {"imu": jnp.asarray(rows[5:]), "imu_mask": jnp.ones(1, bool)}
    for block in (1, 4, 6):
        index, _ = jax.jit(functools.partial(nearest, order=("imu",), block=block))(queue, query)
        assert int(index[0]) == 2
