"""The residual blocks of ResNet on images, with torchvision's names for their layers."""

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from primus_jax.models.batch_norm import AxisName, BatchNorm

# Variance 2 / (outputs x kernel), as torchvision initialises every convolution of a ResNet.
_HE_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def conv(width: int, kernel: int, name: str, dtype: DTypeLike | None, stride: int = 1) -> nn.Conv:
    """Square convolution without bias, padded by half its kernel at every edge."""
    pad = (kernel // 2, kernel // 2)
    return nn.Conv(
        width, (kernel, kernel), (stride, stride), (pad, pad), use_bias=False, dtype=dtype,
        kernel_init=_HE_FAN_OUT, name=name,
    )  # fmt: skip


class Block(nn.Module):
    """`[batch, height, width, channels]` -> the ReLU of what the convolutions add to the input.

    He et al., "Deep Residual Learning" (2016): two convolutions of 3 x 3, or with `bottleneck`
    three of 1, 3 and 1, of which the last has four times `width` channels. Deviation of the second,
    as torchvision: the convolution of 3 x 3 has the stride ("ResNet v1.5").

    Attributes:
        width: channels of the convolutions of 3 x 3.
        stride: of the block; the input follows through a convolution of 1 x 1 where it has another
            shape.
        bottleneck: three convolutions in place of two.
        training: normalise by statistics of the batch, see `BatchNorm`.
        axis_name: of the devices that share the batch.
        dtype: of what flows between layers; None: of the input.
    """

    width: int
    stride: int
    bottleneck: bool
    training: bool
    axis_name: AxisName
    dtype: DTypeLike | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        layers = [(self.width, 3, self.stride), (self.width, 3, 1)]
        if self.bottleneck:
            layers = [(self.width, 1, 1), (self.width, 3, self.stride), (4 * self.width, 1, 1)]
        y = x
        for number, (width, kernel, stride) in enumerate(layers, 1):
            y = nn.relu(y) if number > 1 else y
            y = conv(width, kernel, f"conv{number}", self.dtype, stride)(y)
            y = BatchNorm(self.training, self.axis_name, name=f"bn{number}")(y)
        if x.shape != y.shape:
            x = conv(y.shape[-1], 1, "downsample_0", self.dtype, self.stride)(x)
            x = BatchNorm(self.training, self.axis_name, name="downsample_1")(x)
        return nn.relu(x + y)
