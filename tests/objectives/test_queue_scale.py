"""Split or whole, on any devices, in any blocks: the same neighbours and the same queue."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from primus_jax.objectives.neighbors import TIE, nearest
from primus_jax.objectives.queue import Queue, Rows, enqueue, gather, order_after, read
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
        place = gather(order_after(place, index, *jax.tree.leaves(neighbor)), names)
        return index, found, neighbor, enqueue(queue, whole, place, shards)

    one = rows if split else PartitionSpec()
    kept = Queue(PartitionSpec(), {name: Rows(one, one, one) for name in DIMS})
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
            stored, asked = queue.rows[name], batch[name]
            valid = stored.mask | (not ignore_empty)
            if asked.mask[i] and valid.any():
                cosine = unit(stored.embedding) @ unit(asked.embedding[i])
                cosine = np.where(valid, cosine, -np.inf)
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
    stored, batch = {}, {}
    written = np.arange(SIZE) < (SIZE if seed % 2 else 50)
    for name, dim in DIMS.items():
        things = rng.normal(size=(9, dim)).astype(np.float32)
        on = written & (rng.random(SIZE) < (1 if name == "imu" else 0.6)) & (seed != 4)
        copies = things[rng.integers(0, 9, SIZE)] * on[:, None]
        stored[name] = Rows(copies, on, rng.integers(-1, 99, SIZE).astype(np.int32))
        noise = rng.normal(size=(BATCH, dim)) * rng.choice([0, 0.1], (BATCH, 1))
        asked = 3 * things[rng.integers(0, 9, BATCH)] + noise
        mask = rng.random(BATCH) < (0.9 if name == "imu" else 0.4)
        number = rng.integers(-1, 99, BATCH).astype(np.int32)
        batch[name] = Rows(asked.astype(np.float32), mask, number)
    return Queue(np.int32(SIZE - 5), stored), batch, rng.permutation(BATCH).astype(np.int32)


def every_row(embedding):
    """Rows that are all there, and equal to nothing."""
    count = len(embedding)
    return Rows(jnp.asarray(embedding), jnp.ones(count, bool), jnp.full(count, -1, jnp.int32))


@pytest.mark.parametrize(("devices", "split", "block"), LAYOUTS)
def test_every_layout_finds_reads_and_writes_what_the_definition_says(devices, split, block):
    search = jax.jit(consult(devices, split, block))
    for seed in range(8):  # one has an empty queue
        queue, batch, place = full_of_copies(seed)
        index, found = slow(queue, batch)
        got = jax.tree.map(np.asarray, search(queue, batch, place))
        np.testing.assert_array_equal(got[1], found)
        np.testing.assert_array_equal(got[0][found], index[found])
        for values, stored in zip(*map(jax.tree.leaves, (got[2], queue.rows)), strict=True):
            np.testing.assert_array_equal(values[found], stored[index[found]])
        written = jax.tree.map(np.array, queue.rows)
        for stored, values in zip(*map(jax.tree.leaves, (written, batch)), strict=True):
            stored[(SIZE - 5 + place) % SIZE] = values
        expected = Queue(np.int32((SIZE - 5 + BATCH) % SIZE), written)
        jax.tree.map(np.testing.assert_array_equal, got[3], expected)


def test_rows_never_written_compete_where_that_is_asked_for():
    queue, batch, place = full_of_copies(2)
    asked, stored = batch["video"], queue.rows["video"]
    asked = asked._replace(embedding=-abs(asked.embedding), mask=np.ones(BATCH, bool))
    stored = stored._replace(embedding=abs(stored.embedding))
    batch, queue = batch | {"video": asked}, Queue(queue.next, queue.rows | {"video": stored})
    # every written row has a negative cosine: the first empty row is the nearest
    index = int(np.argmin(stored.mask))
    for devices, split, block in LAYOUTS[1], LAYOUTS[4]:
        got, found, *_ = jax.jit(consult(devices, split, block, False))(queue, batch, place)
        assert np.asarray(found).all()
        np.testing.assert_array_equal(got, index)


def test_what_is_found_among_crowded_rows_is_never_far_from_the_best():
    rng = np.random.default_rng(7)
    rows, asked = (rng.normal(size=(n, 3)).astype(np.float32) for n in (20_000, 64))
    queue = Queue(jnp.int32(0), {"imu": every_row(rows)})
    query = {"imu": every_row(asked)}
    cosine = unit(asked) @ unit(rows).T
    assert (np.diff(np.sort(cosine)[:, -2:]) < TIE * 1e-7).any()  # crowded, indeed
    for block in (50, 999, 20_000):
        index, _ = jax.jit(functools.partial(nearest, order=("imu",), block=block))(queue, query)
        chosen = cosine[np.arange(64), np.asarray(index)]
        assert (chosen >= cosine.max(1) - 3.1 * TIE * np.finfo(np.float32).eps).all()


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("devices", [pytest.param(4, marks=pytest.mark.slow), 8])
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
    queue = Queue(jnp.int32(0), {"imu": every_row(rows)})
    query = {"imu": every_row(rows[5:])}
    for block in (1, 4, 6):
        index, _ = jax.jit(functools.partial(nearest, order=("imu",), block=block))(queue, query)
        assert int(index[0]) == 2
