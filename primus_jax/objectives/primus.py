"""PRIMUS: self-supervised, multimodal and nearest-neighbour supervision in one objective.

Section 2.3 of Das et al., "PRIMUS: Pretraining IMU Encoders with Multimodal Self-Supervision"
(ICASSP 2025). With unit-normalised rows and InfoNCE the sum of both directions,

    L_MM = sum over m of InfoNCE(z_mm, f_m)                     m in targets (text, video)
    L_SS = InfoNCE(z_ssl(view 0), z_ssl(view 1))
    L_NN = (1 - alpha) sum over m of InfoNCE(z_mm, q_m) + alpha InfoNCE(z_ssl(view 0), q_imu)
    L    = (1 - alpha) L_MM + alpha L_SS + L_NN

where q are the queue's rows of the window's nearest neighbour. Each term has its switch: L_SS alone
is SimCLR's loss with cross-view negatives, L_MM alone is IMU2CLIP. `loss="sigmoid"` puts the
sigmoid loss in InfoNCE's place in every term, with one bias beside each temperature. Deviations
from the released code, each with its switch: absent targets are no negatives, equal targets are no
negatives, empty queue rows are not neighbours, the neighbour terms carry masks, the temperature is
a clamped logarithm.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from primus_jax.augment import AugmentConfig, augment_batch
from primus_jax.errors import PrimusError
from primus_jax.losses.contrastive import info_nce_with_accuracy
from primus_jax.losses.pairs import FORMS, Pairs
from primus_jax.losses.sigmoid import sigmoid_with_accuracy
from primus_jax.losses.temperature import check_temperature, clamp, init_temperature, temperature
from primus_jax.models.compute import PLAIN, ComputeConfig, mark_varying
from primus_jax.models.imu_encoder import EncoderConfig, ImuEncoder
from primus_jax.objectives.neighbors import (
    Rows,
    enqueue,
    gather,
    init_queue,
    nearest,
    order_after,
    read,
)

TARGETS = ("video", "text")
LOSSES = ("info_nce", "sigmoid")
# The modalities by which a neighbour is searched, most trusted first.
SEARCHED = ("video", "text", "imu")


@dataclasses.dataclass
class PrimusConfig:
    """Which terms are on, and how they are weighted and masked."""

    multimodal: bool = True
    self_supervised: bool = True
    neighbors: bool = True
    alpha: float = 0.5  # weight of what is self-supervised
    targets: tuple[str, ...] = ("text", "video")
    loss: str = "info_nce"  # or "sigmoid" (SigLIP), in every term
    bias_initial: float = -10.0  # of the sigmoid loss alone: added to its logits, and learned
    temperature: str = "log"  # or "raw", as released
    temperature_initial: float = 0.1
    temperature_low: float = 0.01
    temperature_high: float = 1.0
    mask_equal_text: bool = True  # windows of equal text are not negatives of each other
    mask_equal_video: bool = True  # nor are windows of one video
    mask_equal_neighbors: bool = True  # nor are windows that found the same neighbour
    masked_negatives: bool = False  # an absent target stays as a negative, as released
    contrastive: str = "auto"  # how: "dense", "gathered", "ring" (losses/); never what
    contrastive_block: int = 1024  # rows of a block of the ring
    queue_size: int = 8192
    queue_sharded: bool = False  # rows split over the devices; never changes what is found
    queue_block: int = 8192  # rows that are searched at once
    ignore_empty_rows: bool = True  # False: unwritten queue rows are neighbours, as released
    first_view: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    second_view: AugmentConfig = dataclasses.field(
        default_factory=lambda: AugmentConfig(scale=0.25, segments=5)
    )

    @property
    def compared_targets(self) -> tuple[str, ...]:
        """Those of `targets` that a term which is on reads."""
        return self.targets if self.multimodal or self.neighbors else ()

    def validate(self, batch_size: int) -> None:
        """Raise PrimusError when nothing is trained, or a value means nothing."""
        if not (self.multimodal or self.self_supervised or self.neighbors):
            raise PrimusError("objective: all three terms are off; there is nothing to train.")
        if not 0 <= self.alpha <= 1:
            raise PrimusError(f"objective.alpha is {self.alpha}; expected 0 to 1.")
        unknown = [name for name in self.targets if name not in TARGETS]
        if unknown or len(set(self.targets)) != len(self.targets):
            raise PrimusError(f"objective.targets {self.targets}; expected some of {TARGETS}.")
        if self.multimodal and not self.targets:
            raise PrimusError("objective.multimodal is on but objective.targets is empty.")
        if self.loss not in LOSSES:
            raise PrimusError(f"objective.loss is {self.loss!r}; expected one of {LOSSES}.")
        if not math.isfinite(self.bias_initial):
            raise PrimusError(f"objective.bias_initial is {self.bias_initial}; expected a number.")
        if self.contrastive not in FORMS or self.contrastive_block < 1:
            raise PrimusError(
                f"objective.contrastive {self.contrastive!r}, contrastive_block "
                f"{self.contrastive_block}; expected one of {FORMS}, and a positive number."
            )
        if self.neighbors and self.queue_size < batch_size:
            raise PrimusError(
                f"objective.queue_size {self.queue_size} is smaller than the batch {batch_size}."
            )
        if self.queue_block < 1:
            raise PrimusError(f"objective.queue_block is {self.queue_block}; expected 1 or more.")
        check_temperature(
            self.temperature,
            self.temperature_initial,
            self.temperature_low,
            self.temperature_high,
        )
        self.first_view.validate("objective.first_view")
        self.second_view.validate("objective.second_view")

    def build(self, encoder: EncoderConfig, compute: ComputeConfig = PLAIN) -> "Primus":
        """The objective that trains this encoder."""
        return Primus(self, encoder, compute)


class Primus:
    """The objective protocol (`objectives/base.py`) for PRIMUS, SimCLR, IMU2CLIP and ablations."""

    def __init__(
        self, config: PrimusConfig, encoder: EncoderConfig, compute: ComputeConfig = PLAIN
    ):
        self.config = config
        self.encoder = ImuEncoder(encoder, compute)
        self.multihead = encoder.multihead

    def init(self, key, batch):
        """Encoder, temperatures and biases; the queue is empty. `batch` gives shapes only."""
        config = self.config
        start = init_temperature(config.temperature_initial, config.temperature)
        params = {
            "encoder": self.encoder.init(key, batch["imu"][:1])["params"],
            "temperature_mm": start,
            "temperature_ssl": start,
        }
        if config.loss == "sigmoid":
            bias = jnp.asarray(config.bias_initial, jnp.float32)
            params |= {"bias_mm": bias, "bias_ssl": bias}
        if not config.neighbors:
            return params, {}
        dims = {"imu": self.encoder.config.width("ssl" if self.multihead else "emb")}
        dims |= {name: batch[f"{name}_embedding"].shape[-1] for name in config.targets}
        return params, {"queue": init_queue(config.queue_size, dims)}

    def loss(self, params, extra, towers, batch, key, *, axis_name=None, forward=None):
        """See `objectives/base.py`; metrics hold each term, temperatures and retrieval accuracy."""
        config = self.config
        alpha = config.alpha
        views = (forward or self.forward)(params, batch, key)
        targets = self._targets(batch)
        terms: list[tuple[float, str, jax.Array]] = []
        metrics = {
            name: temperature(params[name], config.temperature)
            for name in ("temperature_mm", "temperature_ssl")
        }

        if config.loss == "sigmoid":
            metrics |= {name: params[name] for name in ("bias_mm", "bias_ssl")}

        def add(weight, name, head, a, b, mask=None, equal=None):
            scalars = (metrics[f"temperature_{head}"],)
            function = info_nce_with_accuracy
            if config.loss == "sigmoid":
                scalars, function = (*scalars, params[f"bias_{head}"]), sigmoid_with_accuracy
            pairs = Pairs(
                mask,
                equal,
                masked_negatives=config.masked_negatives,
                axis_name=axis_name,
                form=config.contrastive,
                block=config.contrastive_block,
            )
            value, forward, backward = function(a, b, *scalars, pairs)
            terms.append((weight, name, value))
            metrics[f"accuracy_{name}_from_imu"] = forward
            metrics[f"accuracy_imu_from_{name}"] = backward

        if config.multimodal:
            for name, (target, mask, number) in targets.items():
                equal = self._equal(name, number)
                add(1 - alpha, name, "mm", views["mm"], target, mask, equal)
        if config.self_supervised:
            add(alpha, "view", "ssl", views["ssl"], views["ssl_second"])
        if config.neighbors:
            found, extra = self._neighbors(extra["queue"], views, targets, batch, axis_name)
            for name, (target, mask, number) in found.items():
                weight, head = (alpha, "ssl") if name == "imu" else (1 - alpha, "mm")
                add(weight, f"neighbor_{name}", head, views[head], target, mask, number)
        loss = jnp.zeros((), jnp.float32)
        for weight, name, value in terms:
            loss = loss + weight * value
            metrics[f"loss_{name}"] = value
        return loss, (extra, metrics)

    def extra_rows(self, extra):
        """The rows of the queue, where the config splits them over the devices."""
        split = self.config.queue_sharded
        return jax.tree.map(lambda leaf: split and jnp.ndim(leaf) > 0, extra)

    def constrain(self, params):
        """Keep both temperatures inside their bounds."""
        config = self.config
        bounds = (config.temperature, config.temperature_low, config.temperature_high)
        return params | {
            name: clamp(params[name], *bounds) for name in ("temperature_mm", "temperature_ssl")
        }

    def encoder_params(self, params):
        """Encoder with its heads."""
        return params["encoder"]

    def forward(self, params, batch, key):
        """Head outputs "mm" and "ssl" of view 0 and, where a term needs it, "ssl_second" of view 1.

        Both views of a window go through the encoder in one pass.
        """
        config, params = self.config, mark_varying(params, batch["index"])
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(batch["index"])
        imu = augment_batch(keys[:, 0], batch["imu"], config.first_view)
        rows = imu.shape[0]
        if config.self_supervised:
            second = augment_batch(keys[:, 1], batch["imu"], config.second_view)
            imu = jnp.concatenate([imu, second])
        out: dict[str, Any] = self.encoder.apply({"params": params["encoder"]}, imu)
        mm, ssl = (out["mmcl"], out["ssl"]) if self.multihead else (out["emb"], out["emb"])
        views = {"mm": mm[:rows], "ssl": ssl[:rows]}
        return views | {"ssl_second": ssl[rows:]} if config.self_supervised else views

    def _targets(self, batch):
        return {
            name: (
                batch[f"{name}_embedding"].astype(jnp.float32),
                batch[f"{name}_mask"],
                batch[f"{name}_id"],
            )
            for name in self.config.targets
        }

    def _equal(self, name, number):
        on = self.config.mask_equal_text if name == "text" else self.config.mask_equal_video
        return number if on else None

    def _neighbors(self, queue, views, targets, batch, axis_name):
        """Targets of the nearest neighbours, and `extra` with the batch written after the read."""
        config = self.config
        everybody = jnp.ones_like(batch["index"], dtype=bool)
        rows = {
            "imu": Rows(views["ssl"], everybody, jnp.full_like(batch["index"], -1)),
            **{name: Rows(*target) for name, target in targets.items()},
        }
        order = [name for name in SEARCHED if name == "imu" or name in targets]
        if config.alpha == 1:
            order = ["imu"]
        rows = jax.lax.stop_gradient(rows)
        whole = gather(rows, axis_name)
        shards = axis_name if config.queue_sharded else None
        index, found = nearest(
            queue,
            rows if shards is None else whole,
            tuple(order),
            ignore_empty=config.ignore_empty_rows,
            block=config.queue_block,
            shards=shards,
        )
        neighbor = read(queue, index, shards)
        result = {}
        for name in (*targets, "imu"):
            if (config.alpha == 1) if name != "imu" else (config.alpha == 0):
                continue
            mask = found & neighbor[name].mask if config.ignore_empty_rows else None
            if name == "imu":
                equal = index if config.mask_equal_neighbors else None
            else:
                equal = self._equal(name, neighbor[name].id)
                if config.mask_equal_neighbors and equal is None:
                    equal = index
            result[name] = (neighbor[name].embedding, mask, equal)
        place = gather(order_after(batch["index"], index, *jax.tree.leaves(result)), axis_name)
        return result, {"queue": enqueue(queue, whole, place, shards)}
