"""A trunk that keeps what the released one throws away: gravity, amplitude, rhythm, time scales.

Moments and band powers of the raw and of orientation-free channels stand beside what a small
residual network learns. The embedding is this read-out itself, without a matrix behind it: what
the losses throw away is thrown away by the projector, which only the heads see.
"""

import dataclasses
import itertools
import math
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from primus_jax.errors import PrimusError
from primus_jax.models.base import HeadOptions, apply_heads, check_sizes, check_window
from primus_jax.models.compute import PLAIN, ComputeConfig
from primus_jax.models.layers import at_least_float32, dense, extreme, gelu, symmetric_uniform
from primus_jax.window import GRAVITY

# m/s^2 and rad/s that make typical body movement about one
SCALE = np.array([GRAVITY] * 3 + [2.0] * 3, np.float32)
CHANNELS = 12
BANDS = 12
# Band edges in cycles per sample, evenly spaced in octaves: 0.3 to 25 Hz at 50 samples a second.
EDGES = np.geomspace(0.006, 0.5, BANDS + 1)
# Width of each stage as a multiple of the first; every stage but the first halves the rate.
WIDTHS = (1.0, 1.5, 2.5)
MIN_SAMPLES = 32
# Values of the embedding that no weight but a scale stands before.
STATISTICS = CHANNELS * (4 + BANDS)


@dataclasses.dataclass(unsafe_hash=True)
class MotionConfig(HeadOptions):
    """The architecture; the embedding has `embedding_size(channels)` values.

    Attributes:
        channels: of the first stage; a multiple of 4.
        blocks: residual blocks per stage.
    """

    kind: ClassVar[str] = "motion"

    channels: int = 32
    blocks: int = 1

    @property
    def embed_dim(self) -> int:
        """Values of the embedding, 512 with 32 channels."""
        return embedding_size(self.channels)

    def validate(self) -> None:
        """Raise PrimusError for a field with a value that the attributes do not allow."""
        check_sizes(self, "channels", "blocks")
        if self.channels % 4:
            raise PrimusError(
                f"encoder.channels is {self.channels}; expected a multiple of 4, which keeps the "
                f"widths of the stages whole."
            )
        self.validate_heads()

    def sample_range(self) -> tuple[int, int | None]:
        """Smallest window (samples), and None: there is no largest."""
        return MIN_SAMPLES, None

    def build(self, compute: ComputeConfig = PLAIN) -> "MotionEncoder":
        """Return the Flax module."""
        return MotionEncoder(self, compute)


class MotionEncoder(nn.Module):
    """Windows `[batch, time, 6]` -> {"emb", "ssl", "mmcl"}, each `[batch, config.width(name)]`.

    With bfloat16 in `compute`, products and what flows between blocks are bfloat16; parameters,
    statistics, the layers that give outputs and the outputs stay float32.

    Raises:
        PrimusError: an invalid config, an input that is not `[batch, time, 6]`, or a window that is
            too short.
    """

    config: MotionConfig
    compute: ComputeConfig = PLAIN

    @nn.compact
    def __call__(self, imu: jax.Array) -> dict[str, jax.Array]:
        config, dtype = self.config, self.compute.activations
        check_window(config, imu.shape)
        trunk = MotionTrunk(config.channels, config.blocks, dtype, self.compute.remat, name="trunk")
        readout = trunk(imu)
        outputs = {"emb": readout[..., : config.embed_dim]}
        if config.multihead:
            shared = Projector(config.embed_dim, dtype, name="projector")(readout)
            outputs |= apply_heads(config, shared, dtype)
        return outputs


class MotionTrunk(nn.Module):
    """Windows `[batch, time, 6]` (m/s^2, rad/s) -> read-out `[batch, readout_size(width)]`.

    The statistics of the input, then mean and deviation of every stage, then maximum and minimum
    of every stage, together of unit root mean square. The embedding is all but the last.

    Attributes:
        width: channels of the first stage.
        blocks: residual blocks per stage.
        dtype: of what flows between convolutions; None: of the input. Statistics are float32.
        remat: compute blocks and statistics of stages again in the backward pass.
    """

    width: int
    blocks: int
    dtype: DTypeLike | None = None
    remat: bool = False

    @nn.compact
    def __call__(self, imu: jax.Array) -> jax.Array:
        x = imu / SCALE.astype(imu.dtype)
        x = jnp.concatenate([x, orientation_free(x)], -1)
        features = [level_and_spread(x), extremes(x), band_powers(x)]
        ends = []
        block_of = nn.remat(residual_block, static_argnums=2) if self.remat else residual_block
        again = self.remat or self.dtype is not None
        statistics = jax.checkpoint(stage_statistics) if again else stage_statistics
        h = _conv(self.width, 7, CHANNELS, "stem", self.dtype, stride=2)(x)
        for stage, width in enumerate(stage_widths(self.width)):
            if stage:
                h = _conv(width, 3, h.shape[-1], f"down{stage}", self.dtype, stride=2)(gelu(h))
            for block in range(self.blocks):
                h = block_of(self, h, f"block{stage}{block}")
            spread, end = statistics(h)
            features.append(spread)
            ends.append(end)
        norm = RootMeanSquareNorm(first=True, name="feature_norm")
        return norm(jnp.concatenate(features + ends, -1))


def residual_block(trunk: MotionTrunk, h: jax.Array, name: str) -> jax.Array:
    """`[batch, time, width]` plus what two convolutions make of it; layers begin with `name`."""
    width = h.shape[-1]
    y = RootMeanSquareNorm(name=f"{name}_norm")(h)
    y = gelu(_conv(width, 5, width, f"{name}_conv0", trunk.dtype)(y))
    return h + _conv(width, 5, width, f"{name}_conv1", trunk.dtype)(y)


def stage_statistics(h: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`level_and_spread` and `extremes` of a stage `[batch, time, width]` behind its GELU."""
    active = at_least_float32(gelu(h))
    return level_and_spread(active), extremes(active)


class Projector(nn.Module):
    """Read-out `[batch, readout_size]` -> what both heads see, `[batch, embed_dim]`.

    A hidden layer and a linear path beside it; the statistics go by unchanged. `dtype` is that of
    the products; None: of the read-out.
    """

    embed_dim: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, readout: jax.Array) -> jax.Array:
        size, learned = readout.shape[-1], self.embed_dim - STATISTICS
        hidden = gelu(dense(self.embed_dim, size, "hidden", self.dtype)(readout))
        out = dense(learned, self.embed_dim, "out", self.dtype)(hidden)
        out = out + dense(learned, size, "skip", self.dtype)(readout)
        return jnp.concatenate([out.astype(readout.dtype), readout[..., :STATISTICS]], -1)


def stage_widths(width: int) -> tuple[int, ...]:
    """Channels of every stage."""
    return tuple(int(width * factor) for factor in WIDTHS)


def embedding_size(width: int) -> int:
    """Values of the embedding."""
    return STATISTICS + 2 * sum(stage_widths(width))


def readout_size(width: int) -> int:
    """Values that the projector sees."""
    return STATISTICS + 4 * sum(stage_widths(width))


def orientation_free(x: jax.Array) -> jax.Array:
    """Six channels that turning the sensor does not change, `[batch, time, 6]` -> the same shape.

    For each sensor: its magnitude, its part along gravity (the window's mean acceleration) and the
    magnitude of what is left.
    """
    up = x[..., :3].mean(1, keepdims=True)
    up = up / _length(up)
    parts = []
    for vector in (x[..., :3], x[..., 3:]):
        along = jnp.sum(vector * up, -1, keepdims=True)
        parts += [_length(vector), along, _length(vector - along * up)]
    return jnp.concatenate(parts, -1)


def level_and_spread(x: jax.Array) -> jax.Array:
    """Mean and standard deviation over time: `[batch, time, c]` -> `[batch, 2 c]`."""
    return jnp.concatenate([x.mean(1), jnp.sqrt(x.var(1) + 1e-5)], -1)


def extremes(x: jax.Array) -> jax.Array:
    """Maximum and minimum over time: `[batch, time, c]` -> `[batch, 2 c]`."""
    return jnp.concatenate([extreme(x, True), extreme(x, False)], -1)


def band_powers(x: jax.Array) -> jax.Array:
    """A quarter of the log power in every band: `[batch, time, c]` -> `[batch, c * BANDS]`.

    Of the deviation from the mean, under a Hann window of unit energy. The transform is a product
    with a constant matrix, which every runtime has.
    """
    transform, bands = band_matrices(x.shape[1])
    parts = jnp.einsum("btc,tf->bcf", x - x.mean(1, keepdims=True), transform.astype(x.dtype))
    cosine, sine = jnp.split(jnp.square(parts), 2, axis=-1)
    power = jnp.einsum("bcf,fk->bck", cosine + sine, bands.astype(x.dtype))
    return (jnp.log(power + 1e-4) / 4).reshape(x.shape[0], -1)


def band_matrices(time: int) -> tuple[np.ndarray, np.ndarray]:
    """Windowed cosines and sines `[time, 2 f]`, and the mean over each band `[f, BANDS]`.

    A band without a frequency of its own takes the nearest one.
    """
    steps, frequency = np.arange(time), np.arange(1, time // 2)
    window = np.hanning(time)
    angle = 2 * np.pi * np.outer(steps, frequency) / time
    transform = np.concatenate([np.cos(angle), np.sin(angle)], 1)
    transform *= (window / np.linalg.norm(window))[:, None]
    cycles = frequency / time
    bands = np.zeros((len(frequency), BANDS))
    for band, (low, high) in enumerate(itertools.pairwise(EDGES)):
        inside = (cycles >= low) & (cycles < high)
        if not inside.any():
            inside[np.argmin(np.abs(np.log(cycles / math.sqrt(low * high))))] = True
        bands[inside, band] = 1 / inside.sum()
    return transform, bands


class RootMeanSquareNorm(nn.Module):
    """Divide by the root mean square over channels and multiply by a learned scale.

    `first` scales before the division, where the scale weighs channels of different kinds. The
    arithmetic is float32, the result in the dtype of `x`.
    """

    first: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        if at_least_float32(x) is x:
            return self.normalize(x, scale)
        # The backward pass keeps the narrow input, not its float32 copies.
        return jax.checkpoint(self.normalize)(x, scale)

    def normalize(self, x: jax.Array, scale: jax.Array) -> jax.Array:
        """The pure function, of `x` `[..., channels]` and `scale` `[channels]`."""
        dtype, x = x.dtype, at_least_float32(x)
        x = x * scale if self.first else x
        x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + 1e-3)
        return (x if self.first else x * scale).astype(dtype)


def _length(x: jax.Array) -> jax.Array:
    """Euclidean length of the last axis, kept; a finite gradient at zero."""
    return jnp.sqrt(jnp.sum(jnp.square(x), -1, keepdims=True) + 1e-6)


def _conv(
    width: int, kernel: int, fan_in: int, name: str, dtype: DTypeLike | None, stride: int = 1
) -> nn.Conv:
    """Convolution padded by half its kernel at both ends, as PyTorch's `padding=kernel // 2`."""
    init = symmetric_uniform(math.sqrt(3 / (fan_in * kernel)))
    pad = (kernel // 2, kernel // 2)
    return nn.Conv(
        width, (kernel,), strides=(stride,), padding=(pad,), dtype=dtype, kernel_init=init,
        name=name,
    )  # fmt: skip
