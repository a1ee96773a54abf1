"""The inertial encoder of IMU2CLIP and PRIMUS as released, and variants of its parts."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.models.base import HeadOptions, apply_heads, check_sizes, check_window
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
from primus_jax.window import GRAVITY

KERNELS = (10, 5, 5)
CHOICES = {
    "norm": ("group", "layer", "instance"),
    "input_norm": ("group", "fixed"),
    "activation": ("none", "gelu"),
    "readout": ("gru_channels", "gru_time", "pool"),
    "third_pool": ("adaptive", "max"),
}
# m/s^2 and rad/s that make typical body movement about one
FIXED_SCALE = np.array([GRAVITY] * 3 + [2.0] * 3)
DEVIATION_EPSILON = 1e-5


@dataclasses.dataclass(unsafe_hash=True)
class ReleasedConfig(HeadOptions):
    """The architecture. The defaults are the released multi-head PRIMUS encoder.

    Attributes:
        input_norm: "group", the first place is the layer that `norm` names, as released; "fixed",
            division by (9.80665 m/s^2, 2 rad/s) and a learned scale and offset per channel, which
            keeps gravity and amplitude. `norm` then names the second place only.
        activation: after each of the three blocks: "none", as released; "gelu", the exact GELU.
        readout: "gru_channels", as released: a GRU over the channels in order, whose features are
            the time bins; "gru_time": a GRU over time, whose features are the channels; "pool":
            mean, standard deviation, maximum and minimum over time, then one linear layer.
        third_pool: after the third convolution: "max" (IMU2CLIP), the maximum of every three;
            "adaptive" (PRIMUS), the average into `bins`. Only the read-out "gru_channels" repeats
            steps to fill bins: "gru_time" averages into at most `bins`, "pool" keeps every step.
        bins: time bins before the read-out.
        channels: of each convolution; with `norm` "group" a multiple of 4, the number of groups.
        embed_dim: of the embedding.
        norm: in both places, over time and "group", one sensor of the input and a quarter of the
            convolutions' channels, as released; "layer", all channels; "instance", each channel by
            itself. Every channel has a learned scale and offset. With the read-out "pool",
            "instance" leaves nothing to the mean and the deviation over time.
    """

    kind: ClassVar[str] = "released"

    input_norm: str = "group"
    activation: str = "none"
    readout: str = "gru_channels"
    third_pool: str = "adaptive"
    bins: int = 32
    channels: int = 32
    embed_dim: int = 512
    norm: str = "group"

    def validate(self) -> None:
        """Raise PrimusError for a field with a value that the attributes do not allow."""
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                raise PrimusError(
                    f"encoder.{field} is {getattr(self, field)!r}; expected one of {allowed}."
                )
        check_sizes(self, "bins", "channels", "embed_dim")
        if self.channels % self.norm_groups[1]:
            raise PrimusError(
                f"encoder.channels is {self.channels}; expected a multiple of 4 (normalisation "
                f"groups), or another encoder.norm than 'group'."
            )
        self.validate_heads()

    @property
    def norm_groups(self) -> tuple[int, int]:
        """Groups of channels that are normalised together: of the six, and of the convolutions'.

        One group of all channels is layer normalisation, and a group for each channel is instance
        normalisation (Ambient AI report, section 4.2 b, which names the three and no more).
        """
        return {"group": (2, 4), "layer": (1, 1), "instance": (6, self.channels)}[self.norm]

    def sample_range(self) -> tuple[int, int | None]:
        """Smallest and largest window (samples): from 123 as in PRIMUS, from 978 in IMU2CLIP.

        Only max-pooling before the GRU over channels has a largest: its bins must come out exactly.
        """
        exact = self.third_pool == "max" and self.readout == "gru_channels"
        low = high = self.bins if exact else 1
        for i, kernel in reversed(tuple(enumerate(KERNELS))):
            if i < 2 or self.third_pool == "max":
                low, high = 3 * low, 3 * high + 2
            low, high = low + 2 * (kernel - 1), high + 2 * (kernel - 1)
        return low, high if exact else None

    def build(self, compute: ComputeConfig = PLAIN) -> "ReleasedEncoder":
        """Return the Flax module."""
        return ReleasedEncoder(self, compute)


class FixedScale(nn.Module):
    """`[batch, time, 6]` in m/s^2 and rad/s -> about one, then a learned scale and offset."""

    @nn.compact
    def __call__(self, imu: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (6,))
        bias = self.param("bias", nn.initializers.zeros, (6,))
        return imu / FIXED_SCALE.astype(imu.dtype) * scale + bias


class ReleasedEncoder(nn.Module):
    """Windows `[batch, time, 6]` -> {"emb", "ssl", "mmcl"}, each `[batch, config.width(name)]`.

    The layers, their order and initial values are those of IMU2CLIP (arXiv 2210.14395) and PRIMUS
    (arXiv 2411.15127), the GRU over channels included; other settings of `config` are deviations by
    choice. With bfloat16 in `compute`, products and what flows between blocks are bfloat16;
    parameters, statistics, normalisations, the state of the GRU, the layers that give outputs and
    the outputs stay float32.

    Raises:
        PrimusError: an invalid config, an input that is not `[batch, time, 6]`, or a window that is
            too short (or, see `ReleasedConfig.sample_range`, too long).
    """

    config: ReleasedConfig
    compute: ComputeConfig = PLAIN

    @nn.compact
    def __call__(self, imu: jax.Array) -> dict[str, jax.Array]:
        config = self.config
        check_window(config, imu.shape)
        fixed, (first, second) = config.input_norm == "fixed", config.norm_groups
        x = (FixedScale(name="norm0") if fixed else GroupNorm(first, name="norm0"))(imu)
        block = nn.remat(conv_block, static_argnums=2) if self.compute.remat else conv_block
        for i in range(len(KERNELS)):
            x = block(self, x, i)
        embedding = self.read_out(GroupNorm(second, name="norm1")(x))
        return {"emb": embedding, **apply_heads(config, embedding, self.compute.activations)}

    def read_out(self, x: jax.Array) -> jax.Array:
        """`[batch, bins, channels]` -> `[batch, embed_dim]`."""
        if self.config.readout == "pool":
            deviation = jnp.sqrt(x.var(1) + DEVIATION_EPSILON)
            parts = [x.mean(1), deviation, extreme(x, largest=True), extreme(x, largest=False)]
            pooled = jnp.concatenate(parts, axis=-1)
            return dense(self.config.embed_dim, pooled.shape[-1], "pool")(pooled)
        # The released encoder hands [batch, channels, time] to a batch-first GRU.
        steps_first = (2, 0, 1) if self.config.readout == "gru_channels" else (1, 0, 2)
        sequence = x.transpose(steps_first).astype(self.compute.activations or x.dtype)
        return Gru(self.config.embed_dim, self.compute.remat, name="gru")(sequence)


def conv_block(encoder: ReleasedEncoder, x: jax.Array, number: int) -> jax.Array:
    """Convolution `number` of the released trunk, its pooling and its activation."""
    config, kernel = encoder.config, KERNELS[number]
    name = f"conv{number + 1}"
    x = dilated_conv(config.channels, kernel, x.shape[-1], name, encoder.compute.activations)(x)
    x = max_pool3(x) if number < 2 else pool_third(config, x)
    return gelu(x) if config.activation == "gelu" else x


def pool_third(config: ReleasedConfig, x: jax.Array) -> jax.Array:
    """Pool the third convolution's `[batch, time, channels]` by `third_pool` and `readout`."""
    if config.third_pool == "max":
        return max_pool3(x)
    if config.readout == "gru_channels":
        return adaptive_mean(at_least_float32(x), config.bins)
    if config.readout == "gru_time" and x.shape[1] > config.bins:
        return adaptive_mean(at_least_float32(x), config.bins)
    return x
