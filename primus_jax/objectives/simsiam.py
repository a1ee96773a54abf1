"""SimSiam on pictures: two views of one picture predict each other, without negatives.

Chen & He, "Exploring Simple Siamese Representation Learning" (2021), a baseline of IMG2IMU's
table II. With z the projection of a view, p the prediction from it, and no gradient through z,

    L = - (cos(p_1, z_2) + cos(p_2, z_1)) / 2

As released, each view is normalised by statistics of its own, here those of the global batch.
IMG2IMU does not state the widths; the defaults are SimSiam's. Deviation: the predictor has the
learning rate of the rest, where the released program keeps it constant. Layers in front of a
normalisation have biases, which it cancels.
"""

import dataclasses
from typing import ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import total
from primus_jax.models.base import EncoderConfig
from primus_jax.models.batch_norm import BatchNorm, join, split
from primus_jax.models.compute import PLAIN, ComputeConfig, Forward, mark_varying
from primus_jax.models.layers import dense
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.numerics import normalize
from primus_jax.objectives.base import AxisName, Batch, Metrics
from primus_jax.objectives.image_views import (
    IMAGE,
    ImageObjective,
    ImageObjectiveConfig,
    pixels,
    see,
)
from primus_jax.trees import Params, Tree


@dataclasses.dataclass
class SimSiamConfig(ImageObjectiveConfig):
    """How pictures predict their views; augmentations: see `ImageObjectiveConfig`.

    Attributes:
        dim: values of projection and prediction.
        hidden: values between the two layers of the predictor.
    """

    kind: ClassVar[str] = "simsiam"
    keeps_statistics: ClassVar[bool] = True

    dim: int = 2048
    hidden: int = 512

    def validate(self, batch_size: int) -> None:
        """Raise PrimusError for a value that means nothing; any batch size will do."""
        super().validate(batch_size)
        for name in ("dim", "hidden"):
            if getattr(self, name) < 1:
                raise PrimusError(
                    f"objective.{name} is {getattr(self, name)}; expected at least 1."
                )

    def build(self, encoder: EncoderConfig, compute: ComputeConfig = PLAIN) -> "SimSiam":
        """The objective that trains this encoder."""
        assert isinstance(encoder, VisionConfig)  # `check_encoder`
        return SimSiam(self, encoder, compute)


class Projector(nn.Module):
    """Features `[rows, width]` -> `[rows, dim]`: three linear layers, each normalised."""

    dim: int

    @nn.compact
    def __call__(
        self, x: jax.Array, training: bool = False, axis_name: AxisName = None
    ) -> jax.Array:
        width = x.shape[-1]
        for name in ("first", "second"):
            x = dense(width, width, name)(x)
            x = nn.relu(BatchNorm(training, axis_name, name=f"{name}_norm")(x))
        x = dense(self.dim, width, "out")(x)
        return BatchNorm(training, axis_name, affine=False, name="out_norm")(x)


class Predictor(nn.Module):
    """Projections `[rows, dim]` -> predictions of the other view's, `[rows, dim]`."""

    hidden: int

    @nn.compact
    def __call__(
        self, x: jax.Array, training: bool = False, axis_name: AxisName = None
    ) -> jax.Array:
        dim = x.shape[-1]
        x = dense(self.hidden, dim, "hidden")(x)
        x = nn.relu(BatchNorm(training, axis_name, name="hidden_norm")(x))
        return dense(dim, self.hidden, "out")(x)


class SimSiam(ImageObjective[SimSiamConfig]):
    """The objective protocol (`objectives/base.py`); `extra` holds the running statistics."""

    def __init__(
        self, config: SimSiamConfig, encoder: VisionConfig, compute: ComputeConfig = PLAIN
    ):
        super().__init__(config, encoder, compute)
        self.projector = Projector(config.dim)
        self.predictor = Predictor(config.hidden)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Encoder, projector and predictor, and their running statistics apart."""
        keys = jax.random.split(key, 3)
        wide = jnp.zeros((1, self.width), jnp.float32)
        narrow = jnp.zeros((1, self.config.dim), jnp.float32)
        params, running = split(
            {
                "encoder": {
                    "vision": self.resnet.init(keys[0], pixels(batch[IMAGE][:1]))["params"]
                },
                "projector": self.projector.init(keys[1], wide)["params"],
                "predictor": self.predictor.init(keys[2], narrow)["params"],
            }
        )
        return params, {"statistics": running}

    def loss(
        self,
        params: Tree,
        extra: Tree,
        towers: Tree,
        batch: Batch,
        key: jax.Array,
        *,
        axis_name: AxisName = None,
        forward: Forward | None = None,
    ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
        """See `objectives/base.py`.

        The metric `spread` is about 1 for projections in all directions, and 0 where all are one:
        the standard deviation of unit rows times the root of `dim`.
        """
        return self._loss(params, extra, batch, key, axis_name, forward, training=True)

    def validation_loss(
        self,
        params: Tree,
        extra: Tree,
        towers: Tree,
        batch: Batch,
        key: jax.Array,
        *,
        axis_name: AxisName = None,
        forward: Forward | None = None,
    ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
        """As `loss`, by the running statistics."""
        return self._loss(params, extra, batch, key, axis_name, forward, training=False)

    def exported(self, params: Tree, extra: Tree) -> Tree:
        """The encoder with its running statistics, without projector and predictor."""
        return join(params["encoder"], extra["statistics"]["encoder"])

    def _loss(
        self,
        params: Tree,
        extra: Tree,
        batch: Batch,
        key: jax.Array,
        axis_name: AxisName,
        forward: Forward | None,
        *,
        training: bool,
    ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
        """The loss, the next `extra` and metrics, by either kind of statistics."""
        views = (forward or self.forward)(params, batch, key)
        trained, running = mark_varying(params, views[0]), extra["statistics"]
        projections, predictions = [], []
        for view in views:
            projection, prediction, running = self._embed(
                join(trained, running), running, view, axis_name, training
            )
            projections.append(normalize(lax.stop_gradient(projection)))
            predictions.append(normalize(prediction))
        cosines = [
            jnp.sum(p * z, -1) for p, z in zip(predictions, reversed(projections), strict=True)
        ]
        rows = total(jnp.ones_like(cosines[0]), axis_name)
        loss = -total(cosines[0] + cosines[1], axis_name) / (2 * rows)
        return loss, ({"statistics": running}, {"spread": _spread(projections[0], axis_name)})

    def _embed(
        self, params: Params, running: Tree, view: jax.Array, axis_name: AxisName, training: bool
    ) -> tuple[jax.Array, jax.Array, Tree]:
        """Projection and prediction of a view, and the running statistics that follow."""
        vision = params["encoder"]["vision"]
        outputs, seen = see(self.resnet, vision, view, axis_name, training=training)
        projection, projected = see(
            self.projector, params["projector"], outputs["features"], axis_name, training=training
        )
        prediction, predicted = see(
            self.predictor, params["predictor"], projection, axis_name, training=training
        )
        if training:
            running = {"encoder": {"vision": seen}, "projector": projected, "predictor": predicted}
        return cast(jax.Array, projection), cast(jax.Array, prediction), running


def _spread(unit: jax.Array, axis_name: AxisName) -> jax.Array:
    """Standard deviation of the columns of unit rows over the global batch, times sqrt(dim)."""
    mean = jnp.mean(unit, 0)
    mean = mean if axis_name is None else lax.pmean(mean, axis_name)
    variance = jnp.mean(jnp.square(unit - mean), 0)
    variance = variance if axis_name is None else lax.pmean(variance, axis_name)
    return jnp.mean(jnp.sqrt(variance)) * unit.shape[-1] ** 0.5
