"""Weights of any architecture, without the compilation that `Encoder.random` needs."""

import math
from pathlib import Path

import jax
import numpy as np

from primus_jax.hub.layout import layout

# `sine_tensors(tiny_config.IMU2CLIP)` as PyTorch writes them.
GOLDEN = Path(__file__).parents[1] / "golden" / "tiny_imu2clip.pt"


def random_params(config, seed=0):
    """Parameters of `config`, float32, standard normal."""
    window = np.zeros((1, config.sample_range()[0], 6), np.float32)
    shapes = jax.eval_shape(config.build().init, jax.random.key(0), window)["params"]
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def random_tensors(config, seed=0):
    """Tensors of `config` by PyTorch's names, float32, standard normal."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=shape).astype(np.float32)
        for name, (_, shape) in layout(config).items()
    }


def sine_tensors(config):
    """Tensors of `config` by PyTorch's names: the sine of each value's place."""
    return {
        name: np.sin(np.arange(math.prod(shape), dtype=np.float32)).reshape(shape)
        for name, (_, shape) in layout(config).items()
    }


def assert_equal_trees(a, b):
    """The same structure, and the same values in it."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)
