"""Transformation prediction: eight binary tasks, "was this done to the window?".

Saeed et al., "Multi-task Self-Supervised Learning for Human Activity Detection" (2019). Originals
have the label 0 in every task, transformed copies the label 1 in their own task. One small network
per task reads the encoder's output "emb".

The method deviates from the paper, since it shares encoder, loop and budget with other methods:

- The encoder is the configured one.
- A step takes every original and one copy, of a task drawn for the window (`copies="drawn"`).
- Strengths are for m/s^2 and rad/s, not for normalised signals.
- The loss is weighted so that the few positives count as much as the negatives.
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from primus_jax import augment
from primus_jax.data.inputs import Input, has_gyro, imu
from primus_jax.errors import PrimusError
from primus_jax.models.base import EncoderConfig
from primus_jax.models.compute import PLAIN, ComputeConfig, Forward, mark_varying
from primus_jax.models.layers import dense
from primus_jax.objectives.base import AxisName, Batch, Metrics, Objective, ObjectiveConfig
from primus_jax.trees import Tree

TASKS = ("noise", "scale", "rotation", "negation", "flip", "permutation", "warp", "shuffle")
COPIES = ("drawn", "all")
Transform = Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass
class MultitaskConfig(ObjectiveConfig):
    """How strong each transformation is, and what a step sees."""

    kind: ClassVar[str] = "multitask"

    copies: str = "drawn"  # one transformed copy per window and step; "all": all eight
    hidden: int = 256  # width of each task's network
    positive_share: float = 0.5  # of a task's loss, carried by its transformed copies
    noise: float = 0.3  # standard deviation, m/s^2 and rad/s
    scale: float = 0.25  # standard deviation of the gain about 1
    rotation_degrees: float = 180.0  # largest angle
    segments: int = 5  # pieces that are shuffled
    warp: float = 0.2  # standard deviation of the local speed about 1
    warp_knots: int = 4

    def validate(self, batch_size: int) -> None:
        """Raise PrimusError for values that mean nothing; any batch size will do."""
        if self.copies not in COPIES:
            raise PrimusError(f"objective.copies is {self.copies!r}; expected one of {COPIES}.")
        if self.hidden < 1:
            raise PrimusError(f"objective.hidden is {self.hidden}; expected at least 1.")
        if not 0 < self.positive_share < 1:
            raise PrimusError(
                f"objective.positive_share is {self.positive_share}; expected between 0 and 1."
            )
        for name in ("noise", "scale", "rotation_degrees", "segments", "warp"):
            if not getattr(self, name) > 0:
                raise PrimusError(
                    f"objective.{name} is {getattr(self, name)}; expected more than 0, since a "
                    f"copy that equals its original cannot be told from it."
                )
        strengths = ("noise", "scale", "rotation_degrees", "segments", "warp", "warp_knots")
        values = {name: getattr(self, name) for name in strengths}
        augment.AugmentConfig(**values).validate("objective")

    def inputs(self, window_samples: int, embedding_dim: int) -> tuple[Input, ...]:
        """Return the window, and whether it has a gyroscope."""
        return imu(window_samples), has_gyro()

    def build(self, encoder: EncoderConfig, compute: ComputeConfig = PLAIN) -> "Multitask":
        """The objective that trains this encoder."""
        return Multitask(self, encoder, compute)


class TaskHeads(nn.Module):
    """One network per task: linear, ReLU, one logit; `[n, dim]` -> `[n, 8]`."""

    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        tasks = len(TASKS)
        # Eight layers side by side are one layer; the second layer keeps the tasks apart.
        x = nn.relu(dense(tasks * self.hidden, x.shape[-1], "hidden")(x))
        weight = self.param("weight", nn.initializers.lecun_normal(), (self.hidden, tasks))
        bias = self.param("bias", nn.initializers.zeros, (tasks,))
        return jnp.einsum("nth,ht->nt", x.reshape(-1, tasks, self.hidden), weight) + bias


class Multitask(Objective):
    """The objective protocol (`objectives/base.py`) for transformation prediction."""

    def __init__(
        self, config: MultitaskConfig, encoder: EncoderConfig, compute: ComputeConfig = PLAIN
    ):
        self.config = config
        self.encoder = encoder.build(compute)
        self.heads = TaskHeads(config.hidden)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Encoder and task networks; nothing else is kept. `batch` gives shapes only."""
        encoder_key, heads_key = jax.random.split(key)
        width = self.encoder.config.embed_dim
        return {
            "encoder": self.encoder.init(encoder_key, batch["imu"][:1])["params"],
            "tasks": self.heads.init(heads_key, jnp.zeros((1, width), jnp.float32))["params"],
        }, {}

    def forward(self, params: Tree, batch: Batch, key: jax.Array) -> tuple[jax.Array, ...]:
        """Logits and truth of every task, for each window's original and copies.

        Both float32 `[batch, 1 + copies, 8]`.
        """
        params = mark_varying(params, batch["index"])
        imu, truth = self.rows(batch, key)
        outputs = self.encoder.apply({"params": params["encoder"]}, imu)
        embedding = cast(dict[str, jax.Array], outputs)["emb"]
        logits = cast(jax.Array, self.heads.apply({"params": params["tasks"]}, embedding))
        by_window = (-1, batch["imu"].shape[0], len(TASKS))
        return tuple(x.reshape(by_window).transpose(1, 0, 2) for x in (logits, truth))

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
        """See `objectives/base.py`; metrics hold loss and balanced accuracy of every task."""
        outputs = (forward or self.forward)(params, batch, key)
        logits, truth = (x.reshape(-1, len(TASKS)) for x in outputs)
        entropy = optax.sigmoid_binary_cross_entropy(logits, truth)
        right = ((logits > 0) == (truth > 0)).astype(logits.dtype)
        sums = jnp.stack(
            [(value * side).sum(0) for side in (truth, 1 - truth) for value in (entropy, right)]
            + [truth.sum(0), (1 - truth).sum(0)]
        )
        if axis_name is not None:
            sums = lax.psum(sums, axis_name)
        entropy_one, right_one, entropy_zero, right_zero, ones, zeros = sums
        # Counts are expected ones, so that a step without a positive of some task weighs no more.
        share, rate = self.config.positive_share, self.positive_rate
        rows = ones + zeros
        tasks = entropy_one * (share / rate) / rows
        tasks = tasks + entropy_zero * ((1 - share) / (1 - rate)) / rows
        specific = right_zero / jnp.maximum(zeros, 1)
        sensitive = jnp.where(ones > 0, right_one / jnp.maximum(ones, 1), specific)
        metrics = {f"loss_{name}": tasks[i] for i, name in enumerate(TASKS)}
        metrics |= {
            f"balanced_accuracy_{name}": (sensitive[i] + specific[i]) / 2
            for i, name in enumerate(TASKS)
        }
        return tasks.mean(), (extra, metrics)

    @property
    def positive_rate(self) -> float:
        """Expected share of a task's rows that are transformed by it."""
        return 1 / (2 * len(TASKS)) if self.config.copies == "drawn" else 1 / (len(TASKS) + 1)

    def rows(self, batch: Batch, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Originals, then copies, `[rows, time, 6]`, and what was done to them, f32 `[rows, 8]`."""
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(batch["index"])
        originals, tasks = batch["imu"], len(TASKS)
        transforms = self._transforms()
        if self.config.copies == "drawn":
            task = jax.vmap(lambda k: jax.random.randint(k, (), 0, tasks))(keys[:, 0])
            apply = lambda t, k, window: lax.switch(t, transforms, k, window)  # noqa: E731
            copies = [jax.vmap(apply)(task, keys[:, 1], originals)]
            truth = [jax.nn.one_hot(task, tasks, dtype=jnp.float32)]
        else:
            copies = [jax.vmap(transform)(keys[:, 1], originals) for transform in transforms]
            everybody = jnp.ones_like(originals[:, :1, 0])
            truth = [everybody * row for row in jnp.eye(tasks, dtype=jnp.float32)]
        # A gyroscope that is not there stays silent; noise in it would give the copy away.
        there = batch["has_gyro"][:, None, None] | (jnp.arange(6) < 3)
        imu = jnp.concatenate([originals, *(jnp.where(there, copy, 0.0) for copy in copies)])
        return imu, jnp.concatenate([jnp.zeros_like(truth[0]), *truth])

    def _transforms(self) -> tuple[Transform, ...]:
        """One function (key, window) -> window per task, in the order of `TASKS`."""
        config = self.config
        return (
            lambda key, imu: augment.noise(key, imu, config.noise),
            lambda key, imu: augment.scale(key, imu, config.scale),
            lambda key, imu: augment.rotate(key, imu, config.rotation_degrees),
            lambda key, imu: augment.negate(key, imu, 1.0),
            lambda key, imu: augment.flip(key, imu, 1.0),
            lambda key, imu: augment.permute_segments(key, imu, config.segments),
            lambda key, imu: augment.warp_time(key, imu, config.warp, config.warp_knots),
            augment.shuffle_axes,
        )
