"""Contrastive predictive coding: which piece of a window comes next, among those of the batch.

van den Oord et al., "Representation Learning with Contrastive Predictive Coding" (2018), for motion
as Haresamudram et al., "Contrastive Predictive Coding for Human Activity Recognition" (2021). A
window is cut into pieces. The encoder embeds every piece, a GRU reads the embeddings in order, and
a linear map of its state predicts each of the next pieces. The logit of a piece is its product with
the prediction. The right piece competes with the pieces at the same place in all other windows of
the global batch.

The method deviates from the papers, since it shares encoder, loop and budget with other methods:

- The encoder is the configured one, and sees a piece at a time, without overlap. The published
  encoder is a convolution whose steps overlap.
- All places of a window predict, in place of one drawn place.
- The encoder is exported without the GRU, and later embeds a whole window at once.
"""

import dataclasses
from typing import ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from primus_jax.data.inputs import Input, imu
from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import gather, own_places
from primus_jax.models.base import EncoderConfig
from primus_jax.models.compute import PLAIN, ComputeConfig, Forward, mark_varying
from primus_jax.models.gru import Gru
from primus_jax.models.motif import MotifConfig
from primus_jax.objectives.base import AxisName, Batch, Metrics, Objective, ObjectiveConfig
from primus_jax.trees import Tree


@dataclasses.dataclass
class CPCConfig(ObjectiveConfig):
    """How a window is cut, and how far ahead it is predicted."""

    kind: ClassVar[str] = "cpc"

    pieces: int = 6  # of a window, of equal length; samples that are left over are not used
    future: int = 3  # pieces ahead that are predicted
    hidden: int = 256  # units of the GRU

    def validate(self, batch_size: int) -> None:
        """Raise PrimusError for a field that means nothing, or a batch without other windows."""
        if not 1 <= self.future < self.pieces or self.hidden < 1:
            raise PrimusError(
                f"objective.pieces {self.pieces}, future {self.future}, hidden {self.hidden}; "
                f"expected at least one unit, and fewer pieces ahead than there are."
            )
        if batch_size < 2:
            raise PrimusError(
                f"data.batch_size is {batch_size}; objective 'cpc' needs other windows in the "
                f"batch, so at least 2."
            )

    def inputs(self, window_samples: int, embedding_dim: int) -> tuple[Input, ...]:
        """Return the window."""
        return (imu(window_samples),)

    def check_encoder(self, encoder: EncoderConfig, embedding_dim: int) -> None:
        """Raise PrimusError for a distance in place of an encoder."""
        if isinstance(encoder, MotifConfig):
            raise PrimusError(
                "config.encoder.kind is 'motif', which is a distance; the objective 'cpc' trains "
                "an encoder, as --config.encoder.kind=motion."
            )

    def build(self, encoder: EncoderConfig, compute: ComputeConfig = PLAIN) -> "CPC":
        """The objective that trains this encoder."""
        return CPC(self, encoder, compute)


class Predictor(nn.Module):
    """Pieces `[rows, pieces, dim]` -> predictions `[future, rows, pieces, dim]`.

    Row t of prediction k is of piece t + 1 + k, from the pieces up to t.
    """

    hidden: int
    future: int

    @nn.compact
    def __call__(self, pieces: jax.Array) -> jax.Array:
        context = Gru(self.hidden, every=True, name="gru")(pieces.swapaxes(0, 1))
        init = nn.initializers.lecun_normal(batch_axis=0)
        shape = (self.future, self.hidden, pieces.shape[-1])
        return jnp.einsum("tbh,khd->kbtd", context, self.param("ahead", init, shape))


class CPC(Objective):
    """The objective protocol (`objectives/base.py`) for contrastive predictive coding."""

    def __init__(self, config: CPCConfig, encoder: EncoderConfig, compute: ComputeConfig = PLAIN):
        self.config = config
        self.encoder = encoder.build(compute)
        self.predictor = Predictor(config.hidden, config.future)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Encoder and predictor; nothing else is kept. `batch` gives shapes only.

        Raises:
            PrimusError: pieces that are too short for the encoder.
        """
        samples, pieces = batch["imu"].shape[1], self.config.pieces
        low, _ = self.encoder.config.sample_range()
        if samples // pieces < low:
            raise PrimusError(
                f"objective.pieces is {pieces}, so pieces of a window have {samples // pieces} "
                f"samples; this encoder takes at least {low}. Use fewer pieces (at most "
                f"{samples // low}), longer windows, or another encoder."
            )
        encoder_key, predictor_key = jax.random.split(key)
        width = self.encoder.config.embed_dim
        example = jnp.zeros((1, self.config.pieces, width), jnp.float32)
        return {
            "encoder": self.encoder.init(encoder_key, self._cut(batch["imu"][:1]))["params"],
            "predictor": self.predictor.init(predictor_key, example)["params"],
        }, {}

    def forward(self, params: Tree, batch: Batch, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Embeddings `[rows, pieces, dim]` and predictions `[rows, future, pieces, dim]`."""
        params = mark_varying(params, batch["index"])
        windows = batch["imu"]
        outputs = self.encoder.apply({"params": params["encoder"]}, self._cut(windows))
        embedding = cast(dict[str, jax.Array], outputs)["emb"]
        pieces = embedding.reshape(len(windows), self.config.pieces, -1)
        ahead = self.predictor.apply({"params": params["predictor"]}, pieces)
        return pieces, cast(jax.Array, ahead).swapaxes(0, 1)

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
        """See `objectives/base.py`; metrics hold loss and accuracy of every piece ahead."""
        pieces, ahead = (forward or self.forward)(params, batch, key)
        every = gather(pieces, axis_name)
        own = own_places(len(pieces), axis_name)
        metrics: Metrics = {}
        losses = []
        for k in range(self.config.future):
            places = self.config.pieces - 1 - k
            logits = jnp.einsum("btd,ntd->btn", ahead[:, k, :places], every[:, k + 1 :])
            truth = jnp.broadcast_to(own[:, None], logits.shape[:2])
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, truth).mean()
            right = (jnp.argmax(logits, -1) == truth).mean(dtype=loss.dtype)
            if axis_name is not None:
                loss, right = lax.pmean((loss, right), axis_name)
            losses.append(loss)
            metrics |= {f"loss_ahead{k + 1}": loss, f"accuracy_ahead{k + 1}": right}
        return jnp.stack(losses).mean(), (extra, metrics)

    def _cut(self, windows: jax.Array) -> jax.Array:
        """`[rows, time, 6]` -> `[rows * pieces, samples, 6]`."""
        rows, time, channels = windows.shape
        samples = time // self.config.pieces
        used = windows[:, : samples * self.config.pieces]
        return used.reshape(rows * self.config.pieces, samples, channels)
