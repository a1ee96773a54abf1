"""Stage 1 of RelCon: a distance that learns to rebuild windows from augmented copies of themselves.

RelCon (Xu et al., ICLR 2025, arXiv 2411.18822), the released recipe. The anchor is the window, the
candidate its copy after two of eight changes, so that the distance hardly sees what the changes
change: the direction of the axes, the order of time, the gain. The run is exported as a folder of
kind "motif", which stage 2 (`objectives/relcon.py`) takes.

Validation measures as training does, with copies and dropout, drawn by its own keys. The released
program validates without dropout, and by its softmax.
"""

import dataclasses
from typing import ClassVar, cast

import jax
import jax.numpy as jnp

from primus_jax.data.inputs import Input
from primus_jax.data.same_person import Motion
from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import total
from primus_jax.models.base import EncoderConfig
from primus_jax.models.compute import PLAIN, ComputeConfig, Forward, mark_varying
from primus_jax.models.motif import CHANNELS, MotifConfig
from primus_jax.objectives.base import AxisName, Batch, Metrics, Objective, ObjectiveConfig
from primus_jax.objectives.motif_views import ViewConfig, view
from primus_jax.trees import Tree


@dataclasses.dataclass
class MotifObjectiveConfig(ObjectiveConfig):
    """How the distance is trained.

    Attributes:
        channels: of the windows, as of the encoder: 3, the accelerometer; 6, with the gyroscope.
        dropout: share of the attention's weights that a step leaves out.
        views: of the copies.
    """

    kind: ClassVar[str] = "motif"

    channels: int = 3
    dropout: float = 0.1
    views: ViewConfig = dataclasses.field(default_factory=ViewConfig)

    def validate(self, batch_size: int) -> None:
        """Raise PrimusError for values that mean nothing; any batch size will do."""
        if self.channels not in CHANNELS:
            raise PrimusError(
                f"objective.channels is {self.channels!r}; expected one of {CHANNELS}."
            )
        if not 0 <= self.dropout < 1:
            raise PrimusError(f"objective.dropout is {self.dropout}; expected 0 to less than 1.")
        self.views.validate()

    def inputs(self, window_samples: int, embedding_dim: int) -> tuple[Input, ...]:
        """Return the window's channels."""
        return (Motion(window_samples, self.channels),)

    def check_encoder(self, encoder: EncoderConfig, embedding_dim: int) -> None:
        """Raise PrimusError unless a motif distance of the same channels is trained."""
        if not isinstance(encoder, MotifConfig):
            raise PrimusError(
                f"config.encoder.kind is {encoder.kind!r}; the objective 'motif' trains the "
                f"distance 'motif' (--config.encoder.kind=motif)."
            )
        if encoder.channels != self.channels:
            raise PrimusError(
                f"config.encoder.channels is {encoder.channels}, config.objective.channels "
                f"{self.channels}; expected one number."
            )

    def build(self, encoder: EncoderConfig, compute: ComputeConfig = PLAIN) -> "MotifObjective":
        """The objective that trains this distance."""
        return MotifObjective(self, encoder, compute)


class MotifObjective(Objective):
    """The objective protocol (`objectives/base.py`) for the distance."""

    def __init__(
        self, config: MotifObjectiveConfig, encoder: EncoderConfig, compute: ComputeConfig = PLAIN
    ):
        assert isinstance(encoder, MotifConfig)  # `check_encoder`
        self.config = config
        self.attention = encoder.attend(training=True)
        self.distance = encoder.build(compute)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """The distance's parameters; nothing else is kept. `batch` gives shapes only."""
        samples = batch["motion"].shape[1]
        return {"encoder": self.distance.init(key, jnp.zeros((1, samples, 6)))["params"]}, {}

    def forward(self, params: Tree, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        """Squared error of each rebuilt window, and of its own mean in its place, `[rows]`."""
        variables = {"params": mark_varying(params["encoder"], batch["index"])}
        anchor, samples = batch["motion"], batch["motion"].shape[1]
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(batch["index"])
        copy = jax.vmap(lambda k, x: view(k, x, self.config.views))(keys[:, 0], anchor)
        kept, shape = 1 - self.config.dropout, (samples, samples)
        drop = jax.vmap(lambda k: jax.random.bernoulli(k, kept, shape).astype(anchor.dtype) / kept)
        memory = self.distance.apply(variables, copy, method="remember")
        keep = drop(keys[:, 1]) if self.config.dropout else None
        rebuilt = cast(
            jax.Array,
            self.distance.apply(variables, anchor, memory, self.attention, keep, method="rebuild"),
        )
        flat = anchor - jnp.mean(anchor, 1, keepdims=True)
        return {
            "error": jnp.sum(jnp.square(rebuilt - anchor), (1, 2)),
            "spread": jnp.sum(jnp.square(flat), (1, 2)),
        }

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
        """The sum over windows, time and channels, as released; see `objectives/base.py`.

        The metric `relative_error` is 1 for a distance that rebuilds each window's mean.
        """
        outputs = (forward or self.forward)(params, batch, key)
        loss = total(outputs["error"], axis_name)
        return loss, (extra, {"relative_error": loss / total(outputs["spread"], axis_name)})
