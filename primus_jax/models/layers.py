"""Layers with PyTorch's defaults: initial values, group normalisation, pooling over time."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.nn.initializers import Initializer
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import DTypeLike


def symmetric_uniform(bound: float) -> Initializer:
    """Initialiser: uniform in [-bound, bound)."""

    def init(
        key: jax.Array,
        shape: Sequence[int],
        dtype: DTypeLike | None = jnp.float32,
        out_sharding: NamedSharding | PartitionSpec | None = None,
    ) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def at_least_float32(x: jax.Array) -> jax.Array:
    """What statistics are taken of: `x`, or its float32 copy where it holds fewer bits."""
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


def dense(width: int, fan_in: int, name: str, dtype: DTypeLike | None = None) -> nn.Dense:
    """Linear layer, weight and bias uniform in +-1/sqrt(fan_in) as PyTorch's `nn.Linear`.

    `dtype` is that of the arithmetic; None: of the input.
    """
    init = symmetric_uniform(1 / math.sqrt(fan_in))
    return nn.Dense(width, dtype=dtype, kernel_init=init, bias_init=init, name=name)


def dilated_conv(
    width: int, kernel: int, fan_in: int, name: str, dtype: DTypeLike | None = None
) -> nn.Conv:
    """Convolution over time, dilation 2, no padding, no bias, initialised as `nn.Conv1d`."""
    init = symmetric_uniform(1 / math.sqrt(fan_in * kernel))
    return nn.Conv(
        width, (kernel,), kernel_dilation=2, padding="VALID", use_bias=False, dtype=dtype,
        kernel_init=init, name=name,
    )  # fmt: skip


class GroupNorm(nn.Module):
    """Group normalisation of `[batch, time, channels]`: epsilon 1e-5, biased variance, float32.

    Statistics are pooled from those of each channel, which are taken about its first step: a sum
    over all values would round a still window (gravity and little else) to 3e-5 in 1,000 steps.
    """

    groups: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, _, channels = x.shape
        x = at_least_float32(x)
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        grouped = (batch, self.groups, channels // self.groups)
        # The first step cancels in the mean, so its gradient is zero.
        first = lax.stop_gradient(x[:, :1])
        means = first + (x - first).mean(1, keepdims=True)
        variances = jnp.square(x - means).mean(1).reshape(grouped)
        means = means.reshape(grouped)
        mean = means.mean(-1, keepdims=True)
        variance = (variances + jnp.square(means - mean)).mean(-1, keepdims=True)

        def spread(value: jax.Array) -> jax.Array:
            return jnp.broadcast_to(value, grouped).reshape(batch, 1, channels)

        return (x - spread(mean)) * spread(lax.rsqrt(variance + 1e-5)) * scale + bias


@jax.custom_jvp
def gelu(x: jax.Array) -> jax.Array:
    """The exact Gaussian error linear unit, x Phi(x), of any shape; float32 inside.

    The derivative is written out, so that the backward pass keeps one array, of the dtype of x.
    """
    wide = at_least_float32(x)
    return (wide * _normal_cdf(wide)).astype(x.dtype)


@gelu.defjvp
def _gelu_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (x,), (dx,) = primals, tangents
    wide = at_least_float32(x)
    cdf = _normal_cdf(wide)
    density = jnp.exp(-jnp.square(wide) / 2) * (1 / math.sqrt(2 * math.pi))
    return (wide * cdf).astype(x.dtype), (cdf + wide * density).astype(x.dtype) * dx


def _normal_cdf(x: jax.Array) -> jax.Array:
    # Not (1 + erf) / 2, which loses the digits of a strongly negative x: a normalisation behind
    # the GELU makes them large again (models/motif.py).
    return lax.erfc(x * -math.sqrt(0.5)) / 2


def max_pool3(x: jax.Array) -> jax.Array:
    """Maximum of every three steps: `[batch, time, channels]` -> `[batch, time // 3, channels]`.

    As PyTorch's `MaxPool1d(3)`: NaN wins, and among equal values the first takes the gradient.
    """
    steps = x.shape[1] // 3
    first, second, third = (x[:, i : 3 * steps : 3] for i in range(3))
    best = jnp.where((second > first) | jnp.isnan(second), second, first)
    return jnp.where((third > best) | jnp.isnan(third), third, best)


def extreme(x: jax.Array, largest: bool) -> jax.Array:
    """Maximum (or minimum) over time: `[batch, time, channels]` -> `[batch, channels]`.

    The gradient goes to the first such step. That of `jnp.max` goes wherever `x == max` holds, and
    a compiler that computes `x` twice, rounded differently, finds it nowhere.
    """
    place = jnp.argmax(x, 1) if largest else jnp.argmin(x, 1)
    chosen = jnp.arange(x.shape[1])[:, None] == place[:, None]
    return jnp.where(chosen, x, 0).sum(1)


def adaptive_mean(x: jax.Array, bins: int) -> jax.Array:
    """Average time into `bins`: `[batch, time, channels]` -> `[batch, bins, channels]`.

    As PyTorch's `AdaptiveAvgPool1d`: bin i covers floor(i T / bins) .. ceil((i + 1) T / bins) - 1;
    with fewer steps than bins, steps repeat.
    """
    time = x.shape[1]
    weights = np.zeros((bins, time))
    for i in range(bins):
        start, stop = i * time // bins, -(-(i + 1) * time // bins)
        weights[i, start:stop] = 1 / (stop - start)
    return jnp.einsum("ot,btc->boc", weights.astype(x.dtype), x)
