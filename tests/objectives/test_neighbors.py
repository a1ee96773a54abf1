"""The queue: first in first out, read before written, empty rows ignored, searched in order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.objectives.neighbors import nearest
from primus_jax.objectives.queue import Rows, enqueue, init_queue, read

DIMS = {"imu": 4, "video": 3, "text": 5}


def rows_of(rng, batch, video=True, text=True):
    on = {"imu": True, "video": video, "text": text}
    return {
        name: Rows(
            jnp.asarray(rng.normal(size=(batch, dim)), jnp.float32),
            jnp.full((batch,), on[name]),
            jnp.arange(batch, dtype=jnp.int32),
        )
        for name, dim in DIMS.items()
    }


def test_oldest_rows_are_overwritten_in_order_and_wrap_around():
    rng = np.random.default_rng(0)
    queue, write = init_queue(10, DIMS), jax.jit(enqueue)
    batches = [rows_of(rng, 4) for _ in range(4)]
    for rows in batches:
        queue = write(queue, rows, jnp.arange(4, dtype=jnp.int32))
    assert int(queue.next) == 16 % 10
    everything = np.concatenate([rows["imu"].embedding for rows in batches])
    expected = np.zeros((10, 4))
    for i, row in enumerate(everything):
        expected[i % 10] = row
    np.testing.assert_array_equal(queue.rows["imu"].embedding, expected.astype(np.float32))


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
    stored, asked = (np.asarray(x["video"].embedding) for x in (queue.rows, query))
    stored = stored[:12]
    cosine = (asked / np.linalg.norm(asked, axis=1, keepdims=True)) @ (
        stored / np.linalg.norm(stored, axis=1, keepdims=True)
    ).T
    np.testing.assert_array_equal(index, cosine.argmax(1))
    assert found.all()
    texts = queue.rows["text"].embedding
    np.testing.assert_array_equal(read(queue, index)["text"].embedding, texts[np.asarray(index)])


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
    copies = {  # row of the query, row of the stored batch, which windows have the modality
        "video": (0, 5, [True, False, False]),
        "text": (1, 4, [True, True, False]),
        "imu": (2, 3, [True, True, True]),
    }
    for name, (row, source, mask) in copies.items():
        rows = query[name]
        embedding = rows.embedding.at[row].set(stored[name].embedding[source])
        query[name] = rows._replace(embedding=embedding, mask=jnp.asarray(mask))
    index, found = jax.jit(lambda q, x: nearest(q, x, ("video", "text", "imu")))(queue, query)
    np.testing.assert_array_equal(index, [5, 4, 3])
    assert found.all()


def test_a_checkpoint_has_one_name_for_each_array_of_the_queue():
    queue = init_queue(3, {"video": 4, "imu": 2})
    paths = jax.tree_util.tree_leaves_with_path(queue)
    names = ["imu", "imu_id", "imu_mask", "next", "video", "video_id", "video_mask"]
    assert [jax.tree_util.keystr(path) for path, _ in paths] == [f"['{name}']" for name in names]
    again = jax.tree.map(lambda x: x, queue)
    assert again.rows["video"].embedding.shape == (3, 4)
    assert again.rows["imu"].id.tolist() == [-1, -1, -1]


def test_the_caller_names_the_modalities():
    rng = np.random.default_rng(6)
    embedding = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
    rows = {"key": Rows(embedding, jnp.ones(4, bool), jnp.full(4, -1, jnp.int32))}
    queue = jax.jit(enqueue)(init_queue(6, {"key": 3}), rows, jnp.arange(4, dtype=jnp.int32))
    index, found = jax.jit(functools.partial(nearest, order=("key",)))(queue, rows)
    np.testing.assert_array_equal(index, np.arange(4))
    assert found.all()
    np.testing.assert_array_equal(read(queue, index)["key"].embedding, embedding)
