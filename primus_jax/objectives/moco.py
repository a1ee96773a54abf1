"""Momentum contrast on pictures: MoCo, with which IMG2IMU pretrains its ResNet.

He et al., "Momentum Contrast" (2020); Chen et al., "Improved Baselines with Momentum Contrastive
Learning" (2020); IMG2IMU (arXiv 2209.00945), section "Sensor-aware pre-training". With unit rows,
and the queue's rows n of earlier batches,

    L = - log exp(q . k / T) / (exp(q . k / T) + sum over n of exp(q . n / T))

for a query q of the first view and its key k of the second. A step moves the key encoder towards
the query encoder, computes the keys, contrasts with the queue as it was, and writes the keys over
the oldest rows, in the order of the global batch.

Deviation: no batch is shuffled. The released program normalises each device's pictures by their
own statistics. A query and its key would then share those of one device, which gives the key away,
so the program computes keys on other devices. Here all devices share the statistics of the global
batch, so no picture's place among them leaves a trace. All keys of a step share one set of
statistics, which the queue's rows do not. The metric `batch_trace` shows whether the network learns
to read it: the mean cosine of queries with keys of other pictures, less that with the queue's keys.

Memory: a row of 64 values takes 261 bytes, 1.1 MB for the published 4,096 rows, on every device.
"""

import dataclasses
import math
from typing import ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import total
from primus_jax.models.base import EncoderConfig
from primus_jax.models.batch_norm import join, split
from primus_jax.models.compute import PLAIN, ComputeConfig, Forward, mark_varying
from primus_jax.models.layers import dense
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.numerics import dot, normalize, varying_axes
from primus_jax.objectives.base import AxisName, Batch, Metrics
from primus_jax.objectives.image_views import (
    IMAGE,
    ImageObjective,
    ImageObjectiveConfig,
    pixels,
    see,
)
from primus_jax.objectives.queue import Queue, Rows, enqueue, gather, init_queue
from primus_jax.trees import Params, Tree

HEADS = ("linear", "mlp")
KEY = "key"


@dataclasses.dataclass
class MocoConfig(ImageObjectiveConfig):
    """How pictures are contrasted; augmentations: see `ImageObjectiveConfig`.

    IMG2IMU states dim and queue_size. The other defaults are those of MoCo v1. Version 2 has the
    head "mlp" and temperature 0.2.

    Attributes:
        dim: values of queries and keys.
        queue_size: rows of the queue, a multiple of the global batch.
        head: behind the features, "linear", or "mlp": linear, ReLU, linear.
        temperature: divisor of the cosines.
        momentum: share of its own weights that the key encoder keeps in a step.
    """

    kind: ClassVar[str] = "moco"
    keeps_statistics: ClassVar[bool] = True

    dim: int = 64
    queue_size: int = 4096
    head: str = "linear"
    temperature: float = 0.07
    momentum: float = 0.999

    def validate(self, batch_size: int) -> None:
        """Raise PrimusError for a value that means nothing, or a batch that the queue cannot take.

        The batch must divide the queue, as in the released program, so that every row has a
        whole number of batches to live.
        """
        super().validate(batch_size)
        if self.head not in HEADS:
            raise PrimusError(f"objective.head is {self.head!r}; expected one of {HEADS}.")
        if self.dim < 1:
            raise PrimusError(f"objective.dim is {self.dim}; expected at least 1.")
        if not 0 < self.temperature < math.inf:
            raise PrimusError(f"objective.temperature is {self.temperature}; expected more than 0.")
        if not 0 <= self.momentum < 1:
            raise PrimusError(
                f"objective.momentum is {self.momentum}; expected 0 to less than 1, since with 1 "
                f"the key encoder would never move."
            )
        if self.queue_size < 1 or self.queue_size % batch_size:
            near = max(1, round(self.queue_size / batch_size)) * batch_size
            raise PrimusError(
                f"objective.queue_size is {self.queue_size}, which data.batch_size {batch_size} "
                f"does not divide. Set it to a multiple, as {near}."
            )

    def build(self, encoder: EncoderConfig, compute: ComputeConfig = PLAIN) -> "Moco":
        """The objective that trains this encoder."""
        assert isinstance(encoder, VisionConfig)  # `check_encoder`
        return Moco(self, encoder, compute)


class Head(nn.Module):
    """Features `[rows, width]` -> `[rows, dim]`, before they are of unit length."""

    dim: int
    kind: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        if self.kind == "mlp":
            x = nn.relu(dense(width, width, "hidden")(x))
        return dense(self.dim, width, "out")(x)


def logits(query: jax.Array, key: jax.Array, negatives: jax.Array, temperature: float) -> jax.Array:
    """Cosines over the temperature, `[rows, 1 + size]`; the first column is the row's own key.

    Args:
        query, key: `[rows, dim]`, of unit norm, of one dtype.
        negatives: `[size, dim]`, the rows of the queue.
        temperature: above 0.
    """
    own = jnp.sum(query * key, -1, keepdims=True)
    return jnp.concatenate([own, dot(query, negatives.astype(query.dtype).T)], 1) / temperature


def follow(key: Tree, query: Tree, momentum: float) -> Tree:
    """The weights of the key encoder, after it moved towards those of the query encoder."""

    def move(old: jax.Array, new: jax.Array) -> jax.Array:
        new = lax.stop_gradient(new)
        if axes := varying_axes(new):
            # Weights that `fsdp` gathered are equal, but not typed so; this changes no value.
            new = lax.pmax(new, tuple(sorted(axes)))
        return momentum * old + (1 - momentum) * new

    return jax.tree.map(move, key, query)


class Moco(ImageObjective[MocoConfig]):
    """The objective protocol (`objectives/base.py`) for momentum contrast.

    `params` is the query encoder with its head. `extra` holds the key encoder with its head, the
    running statistics of both, and the queue. The exported encoder is the query's.
    """

    def __init__(self, config: MocoConfig, encoder: VisionConfig, compute: ComputeConfig = PLAIN):
        super().__init__(config, encoder, compute)
        self.head = Head(config.dim, config.head)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Two equal encoders, and a queue of random unit rows; `batch` gives shapes only."""
        encoder_key, head_key, queue_key = jax.random.split(key, 3)
        whole = {"vision": self.resnet.init(encoder_key, pixels(batch[IMAGE][:1]))["params"]}
        encoder, running = split(whole)
        width = jnp.zeros((1, self.width), jnp.float32)
        params = {"encoder": encoder, "head": self.head.init(head_key, width)["params"]}
        return params, {
            KEY: params,
            "key_statistics": running,
            "statistics": running,
            "queue": self.full_queue(queue_key),
        }

    def full_queue(self, key: jax.Array) -> Queue:
        """A queue of random unit rows, which are negatives like any other, as released."""
        config = self.config
        queue = init_queue(config.queue_size, {KEY: config.dim})
        empty = queue.rows[KEY]
        random = normalize(jax.random.normal(key, empty.embedding.shape, empty.embedding.dtype))
        return Queue(queue.next, {KEY: empty._replace(embedding=random)})

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

        The metric `accuracy` is the share of queries that no row of the queue is nearer to than
        the own key. `batch_trace`: see the file; 0 while the queue holds no keys.
        """
        first, second = (forward or self.forward)(params, batch, key)
        moved = follow(extra[KEY], params, self.config.momentum)
        query, statistics = self._embed(params, extra["statistics"], first, axis_name)
        own, key_statistics = self._embed(moved, extra["key_statistics"], second, axis_name)
        own = lax.stop_gradient(own)
        loss, metrics = self._contrast(query, own, extra["queue"], axis_name)
        everybody = jnp.ones_like(batch["index"], dtype=bool)
        rows = gather({KEY: Rows(own, everybody, jnp.full_like(batch["index"], -1))}, axis_name)
        place = gather(batch["index"], axis_name)
        return loss, (
            {
                KEY: moved,
                "key_statistics": key_statistics,
                "statistics": statistics,
                "queue": enqueue(extra["queue"], rows, place),
            },
            metrics,
        )

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
        """As `loss`, by the running statistics, with the key encoder and the queue as they are."""
        first, second = (forward or self.forward)(params, batch, key)
        query, _ = self._embed(params, extra["statistics"], first, axis_name, training=False)
        own, _ = self._embed(extra[KEY], extra["key_statistics"], second, axis_name, training=False)
        loss, metrics = self._contrast(query, own, extra["queue"], axis_name)
        return loss, (extra, metrics)

    def exported(self, params: Tree, extra: Tree) -> Tree:
        """The query encoder with its running statistics, without the head."""
        return join(params["encoder"], extra["statistics"])

    def _embed(
        self,
        params: Params,
        running: Params,
        views: jax.Array,
        axis_name: AxisName,
        *,
        training: bool = True,
    ) -> tuple[jax.Array, Tree]:
        """Unit rows `[rows, dim]` of views, and the running statistics that follow."""
        trained = mark_varying(params, views)
        encoder = join(trained["encoder"], running)
        outputs, running = see(self.resnet, encoder["vision"], views, axis_name, training=training)
        projected = self.head.apply({"params": trained["head"]}, outputs["features"])
        return normalize(cast(jax.Array, projected)), {"vision": running}

    def _contrast(
        self, query: jax.Array, own: jax.Array, queue: Queue, axis_name: AxisName
    ) -> tuple[jax.Array, Metrics]:
        """The mean loss of the global batch, and its metrics."""
        stored = queue.rows[KEY]
        negatives = lax.stop_gradient(stored.embedding)
        scores = logits(query, own, negatives, self.config.temperature)
        losses = jax.nn.logsumexp(scores, 1) - scores[:, 0]
        right = (scores[:, 0] > scores[:, 1:].max(1)).astype(scores.dtype)
        keys, written = gather(own, axis_name), stored.mask.astype(own.dtype)
        others = (keys.sum(0) - own) / max(len(keys) - 1, 1)
        count = written.sum()
        earlier = dot(written, negatives.astype(own.dtype)) / jnp.maximum(count, 1)
        trace = jnp.sum(lax.stop_gradient(query) * (others - earlier), 1) * jnp.minimum(count, 1)
        loss, accuracy, trace = (total(x, axis_name) / len(keys) for x in (losses, right, trace))
        return loss, {"accuracy": accuracy, "batch_trace": trace}
