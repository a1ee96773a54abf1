"""ResNet1D, the encoder of RelCon: pre-activation residual blocks over time, and their mean.

RelCon (Xu et al., ICLR 2025, arXiv 2411.18822), the released architecture: 3,635,840 parameters.
"""

import dataclasses
import math
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from primus_jax.errors import PrimusError
from primus_jax.models.base import HeadOptions, apply_heads, check_sizes
from primus_jax.models.batch_norm import AxisName, BatchNorm
from primus_jax.models.compute import PLAIN, ComputeConfig
from primus_jax.models.layers import at_least_float32, symmetric_uniform

STEM_KERNEL = 7
# Kernel and number of the blocks of each stage.
STAGES = ((3, 3), (4, 4), (4, 6))
# The stem's convolution takes every second of 7 samples, its pooling every second of 3.
MIN_SAMPLES = 11
INPUTS = (3, 6)


@dataclasses.dataclass(unsafe_hash=True)
class ResNet1DConfig(HeadOptions):
    """The architecture; the defaults are the published one.

    Attributes:
        width1, width2, width3: channels of each stage; the last is the embedding's.
        channels: 3, the accelerometer, as published; 6, with the gyroscope.
    """

    kind: ClassVar[str] = "resnet1d"
    batch_statistics: ClassVar[bool] = True

    width1: int = 64
    width2: int = 128
    width3: int = 256
    channels: int = 3
    multihead: bool = False

    @property
    def widths(self) -> tuple[int, int, int]:
        """Channels of each stage."""
        return self.width1, self.width2, self.width3

    @property
    def embed_dim(self) -> int:
        """Values of the embedding."""
        return self.width3

    def validate(self) -> None:
        """Raise PrimusError for a field with a value that the attributes do not allow."""
        check_sizes(self, "width1", "width2", "width3")
        if self.channels not in INPUTS:
            raise PrimusError(f"encoder.channels is {self.channels!r}; expected one of {INPUTS}.")
        self.validate_heads()

    def sample_range(self) -> tuple[int, int | None]:
        """Smallest window (samples), one step behind the stem; None: there is no largest."""
        return MIN_SAMPLES, None

    def build(self, compute: ComputeConfig = PLAIN) -> "ResNet1D":
        """Return the Flax module."""
        return ResNet1D(self, compute)


class ResNet1D(nn.Module):
    """Windows `[batch, time, 6]` (or their first channels alone) -> {"emb": `[batch, width3]`}.

    The input is not normalised, as published. With bfloat16 in `compute`, products and what flows
    between layers are bfloat16; parameters, statistics and outputs stay float32.

    Raises:
        PrimusError: an invalid config, an input without the channels, or a window that is too
            short.
    """

    config: ResNet1DConfig
    compute: ComputeConfig = PLAIN

    @nn.compact
    def __call__(
        self, imu: jax.Array, training: bool = False, axis_name: AxisName = None
    ) -> dict[str, jax.Array]:
        """Return the outputs; with `training` by statistics of the batch, see `BatchNorm`."""
        config, dtype = self.config, self.compute.activations
        check_input(config, imu.shape)
        x = imu[..., : config.channels].astype(dtype or imu.dtype)
        x = conv(config.width1, STEM_KERNEL, config.channels, "stem", dtype, 2, "VALID")(x)
        x = nn.relu(BatchNorm(training, axis_name, name="stem_norm")(x))
        x = nn.max_pool(x, (3,), (2,), "VALID")
        block_of = nn.remat(Block) if self.compute.remat else Block
        number = 0
        for width, (kernel, blocks) in zip(config.widths, STAGES, strict=True):
            for _ in range(blocks):
                x = block_of(width, kernel, training, axis_name, dtype, name=f"block{number}")(x)
                number += 1
        embedding = jnp.mean(at_least_float32(x), 1)
        return {"emb": embedding, **apply_heads(config, embedding, dtype)}


class Block(nn.Module):
    """`[batch, time, channels]` -> `[batch, time, width]`: twice norm, ReLU, convolution; a sum."""

    width: int
    kernel: int
    training: bool
    axis_name: AxisName
    dtype: DTypeLike | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        before, y = x.shape[-1], x
        for number, channels in ((1, before), (2, self.width)):
            y = nn.relu(BatchNorm(self.training, self.axis_name, name=f"norm{number}")(y))
            y = conv(self.width, self.kernel, channels, f"conv{number}", self.dtype)(y)
        if before != self.width:
            x = conv(self.width, 1, before, "projection", self.dtype)(x)
        return y + x


def conv(
    width: int,
    kernel: int,
    fan_in: int,
    name: str,
    dtype: DTypeLike | None,
    stride: int = 1,
    padding: str = "SAME",
) -> nn.Conv:
    """Convolution over time, initialised as `nn.Conv1d`; an even kernel reaches further right."""
    init = symmetric_uniform(1 / math.sqrt(fan_in * kernel))
    return nn.Conv(
        width, (kernel,), (stride,), padding, dtype=dtype, kernel_init=init, bias_init=init,
        name=name,
    )  # fmt: skip


def check_input(config: ResNet1DConfig, shape: tuple[int, ...]) -> None:
    """Raise PrimusError unless the encoder can take windows of `shape`."""
    config.validate()
    if len(shape) != 3 or shape[-1] not in (6, config.channels):
        raise PrimusError(
            f"imu has shape {tuple(shape)}; expected [batch, time, 6], or its first "
            f"{config.channels} channels."
        )
    if shape[1] < MIN_SAMPLES:
        raise PrimusError(
            f"windows of {shape[1]} samples; this encoder takes at least {MIN_SAMPLES}. "
            f"Use another window length or rate, or another encoder."
        )
