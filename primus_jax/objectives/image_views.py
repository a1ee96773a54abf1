"""What the methods that learn from pictures share: their input, their two views, their encoder.

IMG2IMU (arXiv 2209.00945) pretrains the ResNet of the vision encoder on pictures, and shows it
spectrograms afterwards. So a picture has the height and width of a spectrogram.
"""

import dataclasses
from typing import Any, ClassVar, Generic, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from primus_jax.data.folder import DatasetFolder
from primus_jax.data.images import ImageFolder
from primus_jax.data.inputs import Field, Input
from primus_jax.errors import PrimusError
from primus_jax.models.base import EncoderConfig
from primus_jax.models.batch_norm import AxisName, sown
from primus_jax.models.compute import PLAIN, ComputeConfig
from primus_jax.models.vision.augment import (
    ALL,
    MOCO_V1,
    MOCO_V2,
    SENSOR_AWARE,
    ImageAugmentConfig,
    augment_images,
)
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.models.vision.resnet import ResNet, standardise
from primus_jax.models.vision.spectrogram import HEIGHT, WIDTH
from primus_jax.objectives.base import Batch, Objective, ObjectiveConfig
from primus_jax.trees import Params, Tree

IMAGE = "image"
OWN = "own"
SETS = {"sensor": SENSOR_AWARE, "moco": MOCO_V1, "moco_v2": MOCO_V2, "all": ALL}


@dataclasses.dataclass
class ImageObjectiveConfig(ObjectiveConfig):
    """Which augmentations make the views.

    Attributes:
        augment: "sensor", the four of IMG2IMU; "moco" and "moco_v2", the default sets of MoCo;
            "all", both; or "own".
        own: strengths of the set "own". The default is the sensor-aware set, from which
            `--config.objective.own.translate=0` leaves one out.
    """

    reads_windows: ClassVar[bool] = False

    augment: str = "sensor"
    own: ImageAugmentConfig = dataclasses.field(
        default_factory=lambda: dataclasses.replace(SENSOR_AWARE)
    )

    def open_folder(self, path: str) -> DatasetFolder:
        """Return a folder of pictures.

        Raises:
            PrimusError: no such folder, or one of another kind.
        """
        return ImageFolder(path)

    @property
    def strengths(self) -> ImageAugmentConfig:
        """The augmentations of both views."""
        return self.own if self.augment == OWN else SETS[self.augment]

    def validate(self, batch_size: int) -> None:
        """Raise PrimusError for a set that does not exist, or strengths that mean nothing."""
        if self.augment not in (*SETS, OWN):
            raise PrimusError(
                f"objective.augment is {self.augment!r}; expected one of {(*SETS, OWN)}."
            )
        self.own.validate("objective.own")
        if self.own.segments > WIDTH:
            raise PrimusError(
                f"objective.own.segments is {self.own.segments}; expected at most {WIDTH}, the "
                f"columns of a picture."
            )

    def inputs(self, window_samples: int, embedding_dim: int) -> tuple[Input, ...]:
        """Return the picture; windows and embeddings are not read."""
        return (Field(IMAGE, (HEIGHT, WIDTH, 3), "uint8"),)

    def check_encoder(self, encoder: EncoderConfig, embedding_dim: int) -> None:
        """Raise PrimusError for an encoder that cannot see pictures."""
        if not isinstance(encoder, VisionConfig):
            raise PrimusError(
                f"config.encoder.kind is {encoder.kind!r}; the objective {self.kind!r} learns from "
                f"pictures, which need --config.encoder.kind=vision."
            )
        if encoder.gyroscope == "channels":
            raise PrimusError(
                "config.encoder.gyroscope is 'channels', which makes images of six channels; "
                "pictures have three. Set it to 'none' or 'image'."
            )
        if encoder.multihead:
            raise PrimusError(
                f"config.encoder.multihead is True, but the objective {self.kind!r} has a head of "
                f"its own and would not train them. Set it to False."
            )


Method = TypeVar("Method", bound=ImageObjectiveConfig)


def pixels(images: jax.Array) -> jax.Array:
    """Pictures uint8 `[rows, height, width, 3]` as float32, 0 to 1."""
    return images.astype(jnp.float32) / 255


def two_views(batch: Batch, key: jax.Array, config: ImageAugmentConfig) -> Tree:
    """Two augmented copies of every picture, standardised: a pair of `[rows, height, width, 3]`.

    Both are drawn by keys of the picture's place in the global batch (law 2).
    """
    keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(batch["index"])
    images = pixels(batch[IMAGE])
    return tuple(standardise(augment_images(keys[:, i], images, config)) for i in range(2))


class ImageObjective(Objective, Generic[Method]):
    """The part of the protocol (`objectives/base.py`) that is the same for every such method.

    Attributes:
        config: of the method.
        width: values of the ResNet's features.
        resnet: of the vision encoder.
    """

    def __init__(self, config: Method, encoder: VisionConfig, compute: ComputeConfig = PLAIN):
        self.config = config
        self.width = encoder.resnet.features
        self.resnet = ResNet(encoder.resnet, compute)

    def forward(self, params: Tree, batch: Batch, key: jax.Array) -> Tree:
        """Two views of every picture, `[rows, height, width, 3]`.

        The networks see the whole batch at once, for its statistics, so `loss` embeds by itself.
        """
        return two_views(batch, key, self.config.strengths)


def see(
    module: nn.Module, params: Params, x: jax.Array, axis_name: AxisName, *, training: bool
) -> tuple[Any, Tree]:
    """Outputs of a network, and the running statistics that follow.

    Args:
        module: called as `module(x, training, axis_name)`.
        params: of the module, with running statistics.
        x: `[rows, ...]`.
        axis_name: of the devices that share the batch.
        training: normalise by the global batch; else by the running statistics, which no others
            follow.
    """
    if not training:
        return module.apply({"params": params}, x), {}
    outputs, collections = module.apply({"params": params}, x, True, axis_name, mutable=["running"])
    return outputs, sown(collections["running"])
