"""ResNet-18 and ResNet-50 on images, equal to torchvision's.

He et al., "Deep Residual Learning for Image Recognition" (2016). IMG2IMU (arXiv 2209.00945)
pretrains ResNet-18 on pictures and shows it spectrograms.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.models.base import check_sizes
from primus_jax.models.batch_norm import AxisName, BatchNorm
from primus_jax.models.compute import PLAIN, ComputeConfig
from primus_jax.models.layers import at_least_float32, dense
from primus_jax.models.vision.blocks import Block, conv

# Blocks of each stage, by depth.
STAGES = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
STEM_KERNEL = 7
# Of the colours of ImageNet, 0 to 1: what torchvision's weights expect to be taken out.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


@dataclasses.dataclass(unsafe_hash=True)
class ResNetConfig:
    """The architecture; the defaults are torchvision's `resnet18` without its last layer.

    Attributes:
        depth: 18 or 50.
        width: channels of the stem and the first stage; every later stage has twice as many.
        channels: of the images, a multiple of 3.
        classes: outputs of the last layer, `fc`; 0: there is none.
    """

    depth: int = 18
    width: int = 64
    channels: int = 3
    classes: int = 0

    @property
    def bottleneck(self) -> bool:
        """Whether the blocks have three convolutions and four times the channels."""
        return self.depth == 50

    @property
    def stages(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return STAGES[self.depth]

    @property
    def features(self) -> int:
        """Values of the features, 512 of ResNet-18 and 2,048 of ResNet-50."""
        return 8 * self.width * (4 if self.bottleneck else 1)

    def validate(self) -> None:
        """Raise PrimusError for a field with a value that the attributes do not allow."""
        if self.depth not in STAGES:
            raise PrimusError(f"depth is {self.depth!r}; expected one of {tuple(STAGES)}.")
        check_sizes(self, "width", "channels")
        if self.channels % 3:
            raise PrimusError(f"channels is {self.channels}; expected a multiple of 3.")
        classes = self.classes
        if not isinstance(classes, int) or isinstance(classes, bool) or classes < 0:
            raise PrimusError(f"classes is {classes!r}; expected a whole number from 0.")


class ResNet(nn.Module):
    """Images `[batch, height, width, channels]`, standardised -> features, map and logits.

    The features `[batch, config.features]` are the mean over the last map `[batch, height / 32,
    width / 32, config.features]`; "logits" `[batch, classes]` are there with classes only. All of
    them are float32 at least. With bfloat16 in `compute`, products and what flows between layers
    are bfloat16; parameters and statistics stay float32. The running statistics are leaves of the
    parameters (`models/batch_norm.py`); a frozen encoder is one in evaluation mode.
    """

    config: ResNetConfig
    compute: ComputeConfig = PLAIN

    @nn.compact
    def __call__(
        self, images: jax.Array, training: bool = False, axis_name: AxisName = None
    ) -> dict[str, jax.Array]:
        """Return {"features", "map", "logits"}; with `training` by statistics of the batch."""
        config, dtype = self.config, self.compute.activations
        config.validate()
        if images.ndim != 4 or images.shape[-1] != config.channels:
            raise PrimusError(
                f"images have shape {tuple(images.shape)}; expected [batch, height, width, "
                f"{config.channels}]."
            )
        x = conv(config.width, STEM_KERNEL, "conv1", dtype, 2)(images.astype(dtype or images.dtype))
        x = nn.relu(BatchNorm(training, axis_name, name="bn1")(x))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        block_of = nn.remat(Block) if self.compute.remat else Block
        for stage, blocks in enumerate(config.stages):
            for number in range(blocks):
                x = block_of(
                    config.width << stage, 2 if stage and not number else 1, config.bottleneck,
                    training, axis_name, dtype, name=f"layer{stage + 1}_{number}",
                )(x)  # fmt: skip
        last = at_least_float32(x)
        features = jnp.mean(last, (1, 2))
        outputs = {"features": features, "map": last}
        if config.classes:
            outputs["logits"] = dense(config.classes, config.features, "fc")(features)
        return outputs


def standardise(images: jax.Array) -> jax.Array:
    """Images of values 0 to 1 `[..., channels]` less ImageNet's mean, by its deviation.

    Every three channels are one image's red, green and blue.
    """
    copies = images.shape[-1] // len(MEAN)
    mean, deviation = (jnp.asarray(np.tile(x, copies), images.dtype) for x in (MEAN, DEVIATION))
    return (images - mean) / deviation
