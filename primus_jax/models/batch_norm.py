"""Batch normalisation over the global batch, on one device or inside `jax.shard_map`.

The running statistics are leaves `running_mean` and `running_var` beside scale and bias, so that
an exported encoder is one tree. An objective that trains with batch statistics keeps these leaves
in `extra` (`split`, `join`), where no gradient reaches them.
"""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax

from primus_jax.models.layers import at_least_float32
from primus_jax.trees import Params, Tree

AxisName = str | tuple[str, ...] | None
MOMENTUM = 0.1  # share of the new batch in the running statistics, as PyTorch counts it
EPSILON = 1e-5
RUNNING = ("running_mean", "running_var")


class BatchNorm(nn.Module):
    """Normalise channels, the last axis of windows or images; statistics are float32.

    With `training` the statistics are those of the batch, of all devices along `axis_name`, and
    the running ones that follow are sown into the collection "running": the old ones by 0.9, the
    batch's mean and unbiased variance by 0.1, as PyTorch counts. Otherwise the running statistics
    normalise. Without `affine` there are no scale and bias.
    """

    training: bool = False
    axis_name: AxisName = None
    affine: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = (x.shape[-1],)
        if self.affine:
            scale = self.param("scale", nn.initializers.ones, channels)
            bias = self.param("bias", nn.initializers.zeros, channels)
        mean = self.param("running_mean", nn.initializers.zeros, channels)
        variance = self.param("running_var", nn.initializers.ones, channels)
        wide = at_least_float32(x)
        if self.training and not self.is_initializing():
            before = mean, variance
            mean, variance, unbiased = _moments(wide, self.axis_name)
            for name, old, new in zip(RUNNING, before, (mean, unbiased), strict=True):
                self.sow("running", name, (1 - MOMENTUM) * old + MOMENTUM * lax.stop_gradient(new))
        normed = (wide - mean) * lax.rsqrt(variance + EPSILON)
        if self.affine:
            normed = normed * scale + bias
        return normed.astype(x.dtype)


def _moments(x: jax.Array, axis_name: AxisName) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean, biased and unbiased variance of the channels over all other axes and the devices."""
    devices = 1 if axis_name is None else lax.axis_size(axis_name)
    axes = tuple(range(x.ndim - 1))
    count = math.prod(x.shape[:-1]) * devices

    def whole(local: jax.Array) -> jax.Array:
        return local if axis_name is None else lax.psum(local, axis_name)

    mean = whole(jnp.sum(x, axes)) / count
    # About the mean of all devices, so that gravity does not cost the variance its digits.
    squares = whole(jnp.sum(jnp.square(x - mean), axes))
    return mean, squares / count, squares / max(count - 1, 1)


def split(params: Params) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is trained, and the running statistics: two trees."""
    flat = flatten_dict(params)
    trained = {path: x for path, x in flat.items() if path[-1] not in RUNNING}
    running = {path: x for path, x in flat.items() if path[-1] in RUNNING}
    return unflatten_dict(trained), unflatten_dict(running)


def join(trained: Params, running: Params) -> dict[str, Any]:
    """Return the whole tree again; the running statistics never take a gradient."""
    kept = lax.stop_gradient(running)
    return unflatten_dict({**flatten_dict(trained), **flatten_dict(kept)})


def sown(collection: Mapping[str, Any]) -> Tree:
    """Return the running statistics that a training pass sowed, as `split` returns them."""
    return unflatten_dict({path: x for path, (x,) in flatten_dict(collection).items()})
