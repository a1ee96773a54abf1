"""The inertial encoder of IMU2CLIP and PRIMUS, and the variants that later work needs."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from primus_jax.errors import PrimusError
from primus_jax.models.compute import PLAIN, ComputeConfig
from primus_jax.models.gru import Gru
from primus_jax.models.layers import (
    GroupNorm,
    adaptive_mean,
    at_least_float32,
    dense,
    dilated_conv,
    extreme,
    gelu,
    max_pool3,
)
from primus_jax.models.motion import MIN_SAMPLES, MotionTrunk, Projector, embedding_size
from primus_jax.window import GRAVITY

KERNELS = (10, 5, 5)
HEADS = ("ssl", "mmcl")
CHOICES = {
    "trunk": ("released", "motion"),
    "input_norm": ("group", "fixed"),
    "activation": ("none", "gelu"),
    "readout": ("gru_channels", "gru_time", "pool"),
    "third_pool": ("adaptive", "max"),
}
RELEASED_ONLY = ("input_norm", "activation", "readout", "third_pool", "bins")
# m/s^2 and rad/s that make typical body movement about one
FIXED_SCALE = np.array([GRAVITY] * 3 + [2.0] * 3)
DEVIATION_EPSILON = 1e-5


@dataclasses.dataclass(unsafe_hash=True)
class EncoderConfig:
    """The architecture. The defaults are the released multi-head PRIMUS encoder.

    Attributes:
        trunk: "released", the convolutions and read-outs that the next fields describe; "motion",
            `models/motion.py`, which keeps gravity and amplitude and reads out every scale. The
            fields marked * belong to "released", and must keep their defaults with "motion".
        blocks: residual blocks per stage of "motion".
        head_layers: 1, one linear layer, as released; 2, linear, GELU, linear.
        input_norm: * "group", GroupNorm(2, 6) per window and sensor, as released; "fixed", division
            by (9.80665 m/s^2, 2 rad/s) and a learned scale and offset per channel, which keeps
            gravity and amplitude.
        activation: * after each of the three blocks: "none", as released; "gelu", the exact GELU.
        readout: * "gru_channels", as released: a GRU over the channels in order, whose features are
            the time bins; "gru_time": a GRU over time, whose features are the channels; "pool":
            mean, standard deviation, maximum and minimum over time, then one linear layer.
        third_pool: * after the third convolution: "max" (IMU2CLIP), the maximum of every three;
            "adaptive" (PRIMUS), the average into `bins`. No read-out but "gru_channels" repeats
            steps to fill bins: "gru_time" averages into at most `bins`, "pool" keeps every step.
        bins: * time bins before the read-out.
        channels: of each convolution, or of the first stage of "motion"; a multiple of 4, the
            groups of the second GroupNorm.
        embed_dim: of the embedding.
        multihead: add the linear heads "ssl" and "mmcl".
        head_dim: of the outputs of both heads; 0: embed_dim, as released.
    """

    trunk: str = "released"
    input_norm: str = "group"
    activation: str = "none"
    readout: str = "gru_channels"
    third_pool: str = "adaptive"
    bins: int = 32
    channels: int = 32
    embed_dim: int = 512
    multihead: bool = True
    blocks: int = 1
    head_layers: int = 1
    head_dim: int = 0

    def validate(self) -> None:
        """Raise PrimusError if a value is not one of those that the attributes allow."""
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                raise PrimusError(
                    f"encoder.{field} is {getattr(self, field)!r}; expected one of {allowed}."
                )
        for field in ("bins", "channels", "embed_dim", "blocks"):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise PrimusError(f"encoder.{field} is {value!r}; expected a positive integer.")
        if self.channels % 4:
            raise PrimusError(
                f"encoder.channels is {self.channels}; expected a multiple of 4 (normalisation "
                f"groups)."
            )
        if self.head_layers not in (1, 2):
            raise PrimusError(f"encoder.head_layers is {self.head_layers!r}; expected 1 or 2.")
        if self.trunk == "motion" and self.embed_dim != embedding_size(self.channels):
            raise PrimusError(
                f"encoder.embed_dim is {self.embed_dim}, but the embedding of encoder.trunk "
                f"'motion' with encoder.channels {self.channels} is its read-out of "
                f"{embedding_size(self.channels)} values. Set encoder.embed_dim to that."
            )
        for field in RELEASED_ONLY if self.trunk == "motion" else ():
            if getattr(self, field) != getattr(EncoderConfig, field):
                raise PrimusError(
                    f"encoder.{field} is {getattr(self, field)!r}, but encoder.trunk 'motion' has "
                    f"no such choice. Leave it at {getattr(EncoderConfig, field)!r}."
                )
        if not isinstance(self.multihead, bool):
            raise PrimusError(f"encoder.multihead is {self.multihead!r}; expected True or False.")
        wide = self.head_dim
        if not isinstance(wide, int) or isinstance(wide, bool) or wide < 0:
            raise PrimusError(
                f"encoder.head_dim is {wide!r}; expected a positive integer, or 0 for the width "
                f"of the embedding."
            )
        if wide and not self.multihead:
            raise PrimusError(
                f"encoder.head_dim is {wide}, but encoder.multihead is False: there is no head. "
                f"Leave it at 0."
            )

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the outputs: "emb", and "ssl" and "mmcl" with `multihead`."""
        return ("emb", *HEADS) if self.multihead else ("emb",)

    def width(self, head: str) -> int:
        """Values of one output of `heads`."""
        return self.embed_dim if head == "emb" else self.head_dim or self.embed_dim


def sample_range(config: EncoderConfig) -> tuple[int, int | None]:
    """Smallest and largest window (samples) that the encoder accepts; None: no largest.

    Only max-pooling before the GRU over channels has a largest: its bins must come out exactly.
    """
    if config.trunk == "motion":
        return MIN_SAMPLES, None
    exact = config.third_pool == "max" and config.readout == "gru_channels"
    low = high = config.bins if exact else 1
    for i, kernel in reversed(tuple(enumerate(KERNELS))):
        if i < 2 or config.third_pool == "max":
            low, high = 3 * low, 3 * high + 2
        low, high = low + 2 * (kernel - 1), high + 2 * (kernel - 1)
    return low, high if exact else None


def min_samples(config: EncoderConfig) -> int:
    """Smallest window (samples) that the encoder accepts: 123 as in PRIMUS, 978 in IMU2CLIP."""
    return sample_range(config)[0]


class FixedScale(nn.Module):
    """`[batch, time, 6]` in m/s^2 and rad/s -> about one, then a learned scale and offset."""

    @nn.compact
    def __call__(self, imu: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (6,))
        bias = self.param("bias", nn.initializers.zeros, (6,))
        return imu / FIXED_SCALE.astype(imu.dtype) * scale + bias


class ImuEncoder(nn.Module):
    """Windows `[batch, time, 6]` -> {"emb", "ssl", "mmcl"}, each `[batch, config.width(name)]`.

    Input float32: accelerometer x, y, z in m/s^2, gyroscope x, y, z in rad/s; the outputs are not
    of unit length. Without `config.multihead` there is only "emb". The layers, their order and
    initial values are those of IMU2CLIP (arXiv 2210.14395) and PRIMUS (arXiv 2411.15127), the GRU
    over channels included; other settings of `config` are deviations by choice. Works inside
    `shard_map(check_vma=True)`. `compute` says how, never what: with bfloat16, products and what
    flows between blocks are bfloat16; parameters, statistics, normalisations, the state of the
    GRU, the layers that give outputs and the outputs stay float32.

    Raises:
        PrimusError: an invalid config, an input that is not `[batch, time, 6]`, or a window that is
            too short (or, see `sample_range`, too long).
    """

    config: EncoderConfig
    compute: ComputeConfig = PLAIN

    @nn.compact
    def __call__(self, imu: jax.Array) -> dict[str, jax.Array]:
        config = self.config
        check_window(config, imu.shape)
        dtype, remat = self.dtype, self.compute.remat
        if config.trunk == "motion":
            trunk = MotionTrunk(config.channels, config.blocks, dtype, remat, name="trunk")
            readout = trunk(imu)
            outputs = {"emb": readout[..., : config.embed_dim]}
        else:
            outputs = {"emb": self.released_trunk(imu)}
        width, shared = config.embed_dim, outputs["emb"]
        if config.trunk == "motion" and config.multihead:
            shared = Projector(width, dtype, name="projector")(readout)
        for head in HEADS if config.multihead else ():
            x = shared
            if config.head_layers == 2:
                x = gelu(dense(width, width, f"{head}_head0", dtype)(x)).astype(x.dtype)
            outputs[head] = dense(config.width(head), width, f"{head}_head")(x)
        return outputs

    @property
    def dtype(self) -> DTypeLike | None:
        """Of products and of what flows between blocks; None: of the input."""
        return jnp.bfloat16 if self.compute.dtype == "bfloat16" else None

    def released_trunk(self, imu: jax.Array) -> jax.Array:
        """`[batch, time, 6]` -> `[batch, embed_dim]`."""
        config = self.config
        fixed = config.input_norm == "fixed"
        x = (FixedScale(name="norm0") if fixed else GroupNorm(2, name="norm0"))(imu)
        block = nn.remat(conv_block, static_argnums=2) if self.compute.remat else conv_block
        for i in range(len(KERNELS)):
            x = block(self, x, i)
        return self.read_out(GroupNorm(4, name="norm1")(x))

    def read_out(self, x: jax.Array) -> jax.Array:
        """`[batch, bins, channels]` -> `[batch, embed_dim]`."""
        if self.config.readout == "pool":
            deviation = jnp.sqrt(x.var(1) + DEVIATION_EPSILON)
            parts = [x.mean(1), deviation, extreme(x, largest=True), extreme(x, largest=False)]
            pooled = jnp.concatenate(parts, axis=-1)
            return dense(self.config.embed_dim, pooled.shape[-1], "pool")(pooled)
        # The released encoder hands [batch, channels, time] to a batch-first GRU.
        steps_first = (2, 0, 1) if self.config.readout == "gru_channels" else (1, 0, 2)
        sequence = x.transpose(steps_first).astype(self.dtype or x.dtype)
        return Gru(self.config.embed_dim, self.compute.remat, name="gru")(sequence)


def conv_block(encoder: ImuEncoder, x: jax.Array, number: int) -> jax.Array:
    """Convolution `number` of the released trunk, its pooling and its activation."""
    config, kernel = encoder.config, KERNELS[number]
    name = f"conv{number + 1}"
    x = dilated_conv(config.channels, kernel, x.shape[-1], name, encoder.dtype)(x)
    x = max_pool3(x) if number < 2 else pool_third(config, x)
    return gelu(x) if config.activation == "gelu" else x


def pool_third(config: EncoderConfig, x: jax.Array) -> jax.Array:
    """Pool the third convolution's `[batch, time, channels]` as `third_pool` and `readout` say."""
    if config.third_pool == "max":
        return max_pool3(x)
    if config.readout == "gru_channels":
        return adaptive_mean(at_least_float32(x), config.bins)
    if config.readout == "gru_time" and x.shape[1] > config.bins:
        return adaptive_mean(at_least_float32(x), config.bins)
    return x


def check_window(config: EncoderConfig, shape: tuple[int, ...]) -> None:
    """Raise PrimusError unless the encoder can take windows of `shape` `[batch, time, 6]`."""
    config.validate()
    low, high = sample_range(config)
    if len(shape) != 3 or shape[-1] != 6:
        raise PrimusError(f"imu has shape {tuple(shape)}; expected [batch, time, 6].")
    if shape[1] < low or (high is not None and shape[1] > high):
        limits = f"at least {low}" if high is None else f"{low} to {high}"
        raise PrimusError(
            f"windows of {shape[1]} samples; this encoder takes {limits}. "
            f"Use another window length or rate, or another encoder."
        )
