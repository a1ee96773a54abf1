"""A batch of random windows with text and video embeddings, some absent and some equal."""

import jax
import jax.numpy as jnp
import numpy as np

BATCH, TIME = 16, 130


def make_batch(seed=0):
    """The tensors that PRIMUS reads."""
    rng = np.random.default_rng(seed)
    batch = {
        "imu": rng.normal(size=(BATCH, TIME, 6)).astype(np.float32),
        "index": np.arange(BATCH, dtype=np.int32),
        "has_gyro": np.ones(BATCH, bool),
    }
    for name in ("text", "video"):
        batch[f"{name}_mask"] = rng.random(BATCH) < 0.7
        embedding = rng.normal(size=(BATCH, 16)) * batch[f"{name}_mask"][:, None]
        batch[f"{name}_embedding"] = embedding.astype(np.float16)
        batch[f"{name}_id"] = np.where(batch[f"{name}_mask"], rng.integers(0, 9, BATCH), -1).astype(
            np.int32
        )
    return jax.tree.map(jnp.asarray, batch)
