"""The encoder of IMG2IMU: windows to spectrograms, and a ResNet that sees them.

IMG2IMU (arXiv 2209.00945) pretrains the ResNet on pictures and freezes it, so that no window was
ever used to train the encoder.
"""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from primus_jax.models.base import HeadOptions, apply_heads, check_sizes, check_window
from primus_jax.models.batch_norm import AxisName
from primus_jax.models.compute import PLAIN, ComputeConfig
from primus_jax.models.vision.resnet import ResNet, ResNetConfig, standardise
from primus_jax.models.vision.spectrogram import SpectrogramConfig, spectrograms


@dataclasses.dataclass(unsafe_hash=True)
class VisionConfig(HeadOptions):
    """The architecture; the defaults are the paper's.

    Attributes:
        depth: 18 or 50.
        channels: of the first stage; every later stage has twice as many.
        form, nfft, overlap, joint, gyroscope: see `SpectrogramConfig`. With gyroscope "image" the
            same ResNet sees both images, and the embedding is their features one after the other.
    """

    kind: ClassVar[str] = "vision"
    batch_statistics: ClassVar[bool] = True

    depth: int = 18
    channels: int = 64
    form: str = "paper"
    nfft: int = 128
    overlap: int = 120
    joint: bool = False
    gyroscope: str = "none"
    multihead: bool = False

    @property
    def spectrogram(self) -> SpectrogramConfig:
        """How windows become images."""
        return SpectrogramConfig(self.form, self.nfft, self.overlap, self.joint, self.gyroscope)

    @property
    def resnet(self) -> ResNetConfig:
        """The network that sees the images."""
        return ResNetConfig(self.depth, self.channels, 6 if self.gyroscope == "channels" else 3)

    @property
    def embed_dim(self) -> int:
        """Values of the embedding, 512 by default."""
        return self.resnet.features * (2 if self.gyroscope == "image" else 1)

    def validate(self) -> None:
        """Raise PrimusError for a field with a value that the attributes do not allow."""
        check_sizes(self, "channels")
        self.spectrogram.validate()
        self.resnet.validate()
        self.validate_heads()

    def sample_range(self) -> tuple[int, int | None]:
        """Smallest window (samples), one frame of the spectrogram; None: there is no largest."""
        return self.nfft, None

    def build(self, compute: ComputeConfig = PLAIN) -> "VisionEncoder":
        """Return the Flax module."""
        return VisionEncoder(self, compute)


class VisionEncoder(nn.Module):
    """Windows `[batch, time, 6]` -> {"emb": `[batch, config.embed_dim]`} and the heads.

    With bfloat16 in `compute`, products of the ResNet and what flows between its layers are
    bfloat16; spectrograms, parameters, statistics and outputs stay float32.

    Raises:
        PrimusError: an invalid config, an input that is not `[batch, time, 6]`, or a window that is
            shorter than a frame of the spectrogram.
    """

    config: VisionConfig
    compute: ComputeConfig = PLAIN

    @nn.compact
    def __call__(
        self, imu: jax.Array, training: bool = False, axis_name: AxisName = None
    ) -> dict[str, jax.Array]:
        """Return the outputs; with `training` by statistics of the batch, see `BatchNorm`."""
        config = self.config
        check_window(config, imu.shape)
        images = standardise(spectrograms(imu, config.spectrogram))
        images = images.reshape(-1, *images.shape[-3:])
        resnet = ResNet(config.resnet, self.compute, name="vision")
        features = resnet(images, training, axis_name)["features"]
        embedding = jnp.reshape(features, (imu.shape[0], config.embed_dim))
        return {"emb": embedding, **apply_heads(config, embedding, self.compute.activations)}
