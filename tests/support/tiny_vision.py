"""Small stand-ins for what learns from pictures: one layer for the ResNet, and coloured noise."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.models.batch_norm import BatchNorm
from primus_jax.models.vision.augment import ImageAugmentConfig
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.parallel.sharding import global_batch, make_mesh, stop_flags
from primus_jax.training.setup import set_up
from primus_jax.training.step import sharded_loss

TINY = VisionConfig(channels=1)
# The set of augmentations that compiles at once.
ONLY_NOISE = ImageAugmentConfig(jitter=0.1)


class Layer(nn.Module):
    """One layer in the ResNet's place, with normalisation, or without as in the golden program."""

    width: int = 5
    normed: bool = True

    @nn.compact
    def __call__(self, x, training=False, axis_name=None):
        x = nn.Dense(self.width, name="body")(x.reshape(len(x), -1))
        if self.normed:
            x = BatchNorm(training, axis_name, name="bn")(x)
        else:
            self.sow("running", "running_mean", jnp.zeros(()))
        return {"features": nn.relu(x)}


def batch_of(first, second):
    """A batch of views, in the order of the global batch."""
    index = jnp.arange(len(first), dtype=jnp.int32)
    return {"first": jnp.asarray(first), "second": jnp.asarray(second), "index": index}


def assert_close(ours, theirs, tolerance):
    """Equal to `tolerance`, relative to the largest entry."""
    worst = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs)).max()
    assert worst <= tolerance * np.abs(theirs).max(), worst


def sharded(objective, devices):
    """Loss, next `extra`, metrics and gradient of the global batch on a mesh."""
    loss = sharded_loss(objective, make_mesh(devices))
    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def pictures(seed, count=8):
    """Blurred noise of many colours, with the index that the pipeline would give."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 12, 16, 3), np.uint8)
    image = small.repeat(8, 1).repeat(8, 2)
    return {"image": image, "index": np.arange(count, dtype=np.int32)}


def train(config, devices, steps=2):
    """The state, and the metrics of each step, of the loop's train step on pictures."""
    config.validate()
    mesh = make_mesh(devices)
    setup = set_up(config, mesh, 130)
    state, found = setup.init_state(), []
    start = jax.tree.map(np.asarray, state)
    for number in range(steps):
        batch = global_batch(mesh, pictures(number))
        state, metrics = setup.train_step(state, {}, batch, stop_flags(mesh, False))
        found.append({name: float(x) for name, x in metrics.items()})
    return setup, start, state, found
