"""MotifDist: how well can one window be rebuilt from the motifs of another?

RelCon (Xu et al., ICLR 2025, arXiv 2411.18822), section "learnable distance". The anchor asks, the
candidate answers: every moment of the anchor is rebuilt from few moments of the candidate, and the
squared error of the rebuilt window is the distance.
"""

import dataclasses
import math
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from primus_jax.errors import PrimusError
from primus_jax.models.base import HeadOptions, check_sizes, check_window
from primus_jax.models.compute import PLAIN, ComputeConfig
from primus_jax.models.layers import at_least_float32, dense, gelu, symmetric_uniform
from primus_jax.models.sparsemax import sparsemax
from primus_jax.trees import Params

KERNEL = 15  # taps of every convolution over time
BOTTLENECK = 8  # of whose width a block's convolution reads one part
EPSILON = 1e-5  # of both normalisations
ATTENTIONS = ("sparsemax", "softmax", "released")
CHANNELS = (3, 6)


@dataclasses.dataclass(unsafe_hash=True)
class MotifConfig(HeadOptions):
    """The architecture of the distance; the defaults are the published recipe.

    Attributes:
        features: of every moment, after each of the three stacks; a multiple of 8.
        blocks: residual blocks of each stack, of dilation 1, 2, 4, ...
        attention: weights over the candidate's moments. "sparsemax": few moments, in training and
            measurement; "softmax": all moments, in both; "released": sparsemax in training and
            softmax in measurement, as the released code does.
        channels: 3, the accelerometer, as published; 6, with the gyroscope.
    """

    kind: ClassVar[str] = "motif"

    features: int = 64
    blocks: int = 2
    attention: str = "sparsemax"
    channels: int = 3
    multihead: bool = False

    @property
    def embed_dim(self) -> int:
        """Values of the embedding: one for every feature of a key."""
        return self.features

    def attend(self, *, training: bool) -> str:
        """Return "sparsemax" or "softmax": the weights in training or in measurement."""
        if self.attention != "released":
            return self.attention
        return "sparsemax" if training else "softmax"

    def validate(self) -> None:
        """Raise PrimusError for a field with a value that the attributes do not allow."""
        check_sizes(self, "features", "blocks")
        if self.features % BOTTLENECK:
            raise PrimusError(
                f"encoder.features is {self.features}; expected a multiple of {BOTTLENECK}."
            )
        if self.attention not in ATTENTIONS:
            raise PrimusError(
                f"encoder.attention is {self.attention!r}; expected one of {ATTENTIONS}."
            )
        if self.channels not in CHANNELS:
            raise PrimusError(f"encoder.channels is {self.channels!r}; expected one of {CHANNELS}.")
        if self.multihead:
            raise PrimusError("encoder.multihead is True; a motif distance has no heads.")
        self.validate_heads()

    def sample_range(self) -> tuple[int, int | None]:
        """Smallest window (samples): one kernel, so that some moment sees no border."""
        return KERNEL, None

    def build(self, compute: ComputeConfig = PLAIN) -> "MotifDist":
        """Return the Flax module."""
        return MotifDist(self, compute)


def architecture(params: Params, attention: str) -> MotifConfig:
    """Return the config of a distance with these parameters, from their shapes."""
    features, channels = params["out_proj"]["kernel"].shape
    blocks = sum(name.startswith("bottle") for name in params["q_func"])
    return MotifConfig(features=features, blocks=blocks, attention=attention, channels=channels)


class Statistics(NamedTuple):
    """Mean and deviation of each channel of a candidate over time, `[..., 1, channels]`."""

    mean: jax.Array
    deviation: jax.Array


class Memory(NamedTuple):
    """What a candidate offers to every anchor.

    statistics: by which anchor and candidate are normalised.
    key, value: `[..., time, features]`.
    """

    statistics: Statistics
    key: jax.Array
    value: jax.Array


class MotifDist(nn.Module):
    """The distance between windows `[..., time, channels]`, of any equal leading axes.

    `apply(..., method="remember")` prepares candidates, `method="rebuild"` rebuilds anchors from
    them, `method="distance"` measures. Called on windows `[batch, time, 6]`, as an encoder is, it
    returns {"emb": the largest response of every feature of the keys over time}.

    With bfloat16 in `compute` products and activations are bfloat16; statistics, attention weights
    and the squared error stay float32.
    """

    config: MotifConfig
    compute: ComputeConfig = PLAIN

    def setup(self) -> None:
        """Make the layers; names are the published ones."""
        config, dtype = self.config, self.compute.activations
        self.revin = RevIN(config.channels, name="revin")
        self.q_func = Stack(config.features, config.blocks, dtype, name="q_func")
        self.k_func = Stack(config.features, config.blocks, dtype, name="k_func")
        self.v_func = Stack(config.features, config.blocks, dtype, name="v_func")
        self.out_proj = dense(config.channels, config.features, "out_proj")

    def __call__(self, imu: jax.Array) -> dict[str, jax.Array]:
        """Return {"emb": `[batch, features]`}; every layer is used, so that `init` makes it."""
        check_window(self.config, imu.shape)
        window = imu[..., : self.config.channels]
        memory = self.remember(window)
        if self.is_initializing():
            self.rebuild(window, memory, "softmax")
        return {"emb": jnp.max(at_least_float32(memory.key), -2)}

    def remember(self, candidate: jax.Array) -> Memory:
        """Return statistics, keys and values of candidates `[..., time, channels]`.

        The statistics are constants of the gradient, as published.
        """
        statistics = channel_statistics(candidate)
        normed = self.revin(candidate, statistics)
        return Memory(statistics, self.k_func(normed), self.v_func(normed))

    def rebuild(
        self, anchor: jax.Array, memory: Memory, attention: str, keep: jax.Array | None = None
    ) -> jax.Array:
        """Return the anchors as candidates can tell them, `[..., time, channels]`, float32.

        Args:
            anchor: `[..., time, channels]`.
            memory: of the candidates, with leading axes that broadcast against the anchor's.
            attention: "sparsemax" or "softmax".
            keep: dropout, `[..., time of the anchor, time of the candidate]`, 0 or 1 over the
                share that is kept: weights are multiplied by it, and not scaled back to sum 1.
        """
        query = self.q_func(self.revin(anchor, memory.statistics))
        weights = self._weights(query, memory.key, attention)
        weights = weights if keep is None else weights * keep
        told = jnp.matmul(weights.astype(memory.value.dtype), memory.value, precision="highest")
        return self.revin.inverse(self.out_proj(at_least_float32(told)), memory.statistics)

    def distance(self, anchor: jax.Array, memory: Memory, attention: str) -> jax.Array:
        """Return the squared error of the rebuilt anchors, summed over time and channels, `[...]`.

        No metric: not symmetric, and not zero from a window to itself.
        """
        error = self.rebuild(anchor, memory, attention) - at_least_float32(anchor)
        return jnp.sum(jnp.square(error), (-2, -1))

    def attention(self, anchor: jax.Array, memory: Memory, attention: str) -> jax.Array:
        """Return the weights of the candidate's moments, `[..., time, time]`, rows of sum 1."""
        query = self.q_func(self.revin(anchor, memory.statistics))
        return self._weights(query, memory.key, attention)

    def _weights(self, query: jax.Array, key: jax.Array, attention: str) -> jax.Array:
        """Weights from scores q k / sqrt(features)."""
        scores = jnp.einsum("...tf,...sf->...ts", query, key, precision="highest")
        scores = at_least_float32(scores) / math.sqrt(self.config.features)
        return sparsemax(scores) if attention == "sparsemax" else jax.nn.softmax(scores, -1)


def channel_statistics(candidate: jax.Array) -> Statistics:
    """Return mean and sqrt(biased variance + 1e-5) over time, without gradient."""
    wide = lax.stop_gradient(at_least_float32(candidate))
    mean = jnp.mean(wide, -2, keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), -2, keepdims=True)
    return Statistics(mean, jnp.sqrt(variance + EPSILON))


class RevIN(nn.Module):
    """Reversible normalisation by given statistics, then a learned scale and offset per channel."""

    channels: int

    def setup(self) -> None:
        """Make scale (1) and offset (0)."""
        self.affine_weight = self.param("affine_weight", nn.initializers.ones, (self.channels,))
        self.affine_bias = self.param("affine_bias", nn.initializers.zeros, (self.channels,))

    def __call__(self, window: jax.Array, statistics: Statistics) -> jax.Array:
        """Return the normalised window `[..., time, channels]`."""
        normed = (at_least_float32(window) - statistics.mean) / statistics.deviation
        return normed * self.affine_weight + self.affine_bias

    def inverse(self, normed: jax.Array, statistics: Statistics) -> jax.Array:
        """Return the window that the candidate's statistics give back; eps^2 as published."""
        plain = (normed - self.affine_bias) / (self.affine_weight + EPSILON**2)
        return plain * statistics.deviation + statistics.mean


class Stack(nn.Module):
    """Windows `[..., time, channels]` -> features of every moment `[..., time, features]`."""

    features: int
    blocks: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        lead = x.shape[:-2]
        x = x.reshape(-1, *x.shape[-2:]).astype(self.dtype or x.dtype)
        channels, bias = x.shape[-1], symmetric_uniform(1 / math.sqrt(x.shape[-1] * KERNEL))
        h = _conv(self.features, KERNEL, channels, "layer0", self.dtype, use_bias=False)(x)
        # Borders see fewer taps; the sum is scaled as if all were there (partial convolution).
        h = h * jnp.asarray(border_gain(x.shape[1], channels), h.dtype)
        h = h + self.param("layer0_bias", bias, (self.features,)).astype(h.dtype)
        h = instance_norm(gelu(h))
        for block in range(self.blocks):
            narrow = self.features // BOTTLENECK
            y = _conv(narrow, 1, self.features, f"bottle{block}", self.dtype)(h)
            y = _conv(self.features, KERNEL, narrow, f"conv{block}", self.dtype, 2**block)(y)
            h = instance_norm(gelu(y + h))
        return h.reshape(*lead, *h.shape[-2:])


def instance_norm(x: jax.Array) -> jax.Array:
    """Normalise every channel of `[batch, time, channels]` over time; nothing is learned."""
    wide = at_least_float32(x)
    mean = jnp.mean(wide, 1, keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), 1, keepdims=True)
    return ((wide - mean) * lax.rsqrt(variance + EPSILON)).astype(x.dtype)


def border_gain(time: int, channels: int) -> np.ndarray:
    """Taps of a kernel over those of them that lie inside, float64 `[time, 1]`.

    The 1e-8 is that of the released code: without it the middle differs in the ninth digit.
    """
    half, moments = KERNEL // 2, np.arange(time)
    inside = np.minimum(moments + half, time - 1) - np.maximum(moments - half, 0) + 1
    return (KERNEL * channels / (inside * channels + 1e-8))[:, None]


def _conv(
    width: int,
    kernel: int,
    fan_in: int,
    name: str,
    dtype: DTypeLike | None,
    dilation: int = 1,
    use_bias: bool = True,
) -> nn.Conv:
    """Convolution over time that keeps its length by zeros, initialised as `nn.Conv1d`."""
    init, pad = symmetric_uniform(1 / math.sqrt(fan_in * kernel)), dilation * (kernel // 2)
    return nn.Conv(
        width, (kernel,), padding=[(pad, pad)], kernel_dilation=dilation, use_bias=use_bias,
        dtype=dtype, kernel_init=init, bias_init=init, precision="highest", name=name,
    )  # fmt: skip
