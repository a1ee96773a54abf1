"""The queue: first in first out, read before written, empty rows ignored, searched in order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.objectives.neighbors import enqueue, init_queue, nearest, read

DIMS = {"imu": 4, "video": 3, "text": 5}


def rows_of(rng, batch, video=True, text=True):
    rows = {}
    for name, dim in DIMS.items():
        rows[name] = jnp.asarray(rng.normal(size=(batch, dim)), jnp.float32)
        on = {"imu": True, "video": video, "text": text}[name]
        rows[f"{name}_mask"] = jnp.full((batch,), on)
        rows[f"{name}_id"] = jnp.arange(batch, dtype=jnp.int32)
    return rows


def test_oldest_rows_are_overwritten_in_order_and_wrap_around():
    rng = np.random.default_rng(0)
    queue, write = init_queue(10, DIMS), jax.jit(enqueue)
    batches = [rows_of(rng, 4) for _ in range(4)]
    for rows in batches:
        queue = write(queue, rows, jnp.arange(4, dtype=jnp.int32))
    assert int(queue["next"]) == 16 % 10
    everything = np.concatenate([rows["imu"] for rows in batches])
    expected = np.zeros((10, 4))
    for i, row in enumerate(everything):
        expected[i % 10] = row
    np.testing.assert_array_equal(queue["imu"], expected.astype(np.float32))


def test_the_place_of_a_row_is_its_place_in_the_global_batch():
    rng = np.random.default_rng(1)
    rows = rows_of(rng, 6)
    order = jnp.asarray([3, 0, 5, 1, 4, 2], jnp.int32)
    shuffled = jax.tree.map(lambda x: x[order], rows)
    one = jax.jit(enqueue)(init_queue(8, DIMS), rows, jnp.arange(6, dtype=jnp.int32))
    two = jax.jit(enqueue)(init_queue(8, DIMS), shuffled, order)
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_nearest_is_the_largest_cosine_among_written_rows():
    rng = np.random.default_rng(3)
    queue = jax.jit(enqueue)(init_queue(32, DIMS), rows_of(rng, 12), jnp.arange(12))
    query = rows_of(rng, 7)
    index, found = jax.jit(lambda q, x: nearest(q, x, ("video", "text", "imu")))(queue, query)
    stored, asked = np.asarray(queue["video"][:12]), np.asarray(query["video"])
    cosine = (asked / np.linalg.norm(asked, axis=1, keepdims=True)) @ (
        stored / np.linalg.norm(stored, axis=1, keepdims=True)
    ).T
    np.testing.assert_array_equal(index, cosine.argmax(1))
    assert found.all()
    np.testing.assert_array_equal(read(queue, index)["text"], queue["text"][np.asarray(index)])


def test_an_empty_queue_has_no_neighbours_unless_zero_rows_may_compete():
    rng = np.random.default_rng(4)
    queue, query = init_queue(8, DIMS), rows_of(rng, 3)
    search = functools.partial(nearest, order=("video", "text", "imu"))
    _, found = jax.jit(search)(queue, query)
    assert not found.any()
    index, found = jax.jit(functools.partial(search, ignore_empty=False))(queue, query)
    assert found.all()
    np.testing.assert_array_equal(index, 0)


def test_search_falls_back_to_text_and_then_imu():
    rng = np.random.default_rng(5)
    stored = rows_of(rng, 6)
    queue = jax.jit(enqueue)(init_queue(8, DIMS), stored, jnp.arange(6))
    # row 0 has video, row 1 only text, row 2 only IMU; each is the copy of another stored row
    query = rows_of(rng, 3)
    query["video"] = query["video"].at[0].set(stored["video"][5])
    query["text"] = query["text"].at[1].set(stored["text"][4])
    query["imu"] = query["imu"].at[2].set(stored["imu"][3])
    query["video_mask"] = jnp.asarray([True, False, False])
    query["text_mask"] = jnp.asarray([True, True, False])
    index, found = jax.jit(lambda q, x: nearest(q, x, ("video", "text", "imu")))(queue, query)
    np.testing.assert_array_equal(index, [5, 4, 3])
    assert found.all()
