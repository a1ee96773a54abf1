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
from collections.abc import Mapping
from typing import ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp

from primus_jax.augment import AugmentConfig, augment_batch
from primus_jax.data.inputs import Input, imu
from primus_jax.errors import PrimusError
from primus_jax.losses.contrastive import info_nce_with_accuracy
from primus_jax.losses.pairs import Pairs, check_contrastive
from primus_jax.losses.sigmoid import sigmoid_with_accuracy
from primus_jax.losses.temperature import check_temperature, clamp, init_temperature, temperature
from primus_jax.models.base import EncoderConfig
from primus_jax.models.compute import PLAIN, ComputeConfig, Forward, mark_varying
from primus_jax.objectives.base import AxisName, Batch, Metrics, Objective, ObjectiveConfig
from primus_jax.objectives.neighbors import nearest
from primus_jax.objectives.queue import Queue, Rows, enqueue, gather, init_queue, order_after, read
from primus_jax.objectives.targets import TARGETS, StoredTarget
from primus_jax.trees import Tree

LOSSES = ("info_nce", "sigmoid")
# The modalities by which a neighbour is searched, most trusted first.
SEARCHED = ("video", "text", "imu")


@dataclasses.dataclass
class PrimusConfig(ObjectiveConfig):
    """Which terms are on, and how they are weighted and masked."""

    kind: ClassVar[str] = "primus"
    free: ClassVar[tuple[str, ...]] = (
        "contrastive",
        "contrastive_block",
        "queue_block",
        "queue_sharded",
    )

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

    def inputs(self, window_samples: int, embedding_dim: int) -> tuple[Input, ...]:
        """Return the window, and the embedding of every target that is compared."""
        targets = (StoredTarget(TARGETS[name], embedding_dim) for name in self.compared_targets)
        return (imu(window_samples), *targets)

    def check_encoder(self, encoder: EncoderConfig, embedding_dim: int) -> None:
        """Raise PrimusError unless the encoder's output is as wide as what it is compared with."""
        head = "mmcl" if encoder.multihead else "emb"
        if self.compared_targets and encoder.width(head) != embedding_dim:
            raise PrimusError(
                f"the output {head!r} of config.encoder is {encoder.width(head)} wide, "
                f"config.data.embedding_dim {embedding_dim}; they are compared. Set the latter to "
                f"the width of the stored embeddings, and config.encoder.head_dim (or, without "
                f"heads, embed_dim) to the same."
            )

    def validate(self, batch_size: int) -> None:
        """Raise PrimusError when nothing is trained, or a value means nothing."""
        if not (self.multimodal or self.self_supervised or self.neighbors):
            raise PrimusError("objective: all three terms are off; there is nothing to train.")
        if not 0 <= self.alpha <= 1:
            raise PrimusError(f"objective.alpha is {self.alpha}; expected 0 to 1.")
        unknown = [name for name in self.targets if name not in TARGETS]
        if unknown or len(set(self.targets)) != len(self.targets):
            raise PrimusError(
                f"objective.targets {self.targets}; expected some of {tuple(TARGETS)}."
            )
        if self.multimodal and not self.targets:
            raise PrimusError("objective.multimodal is on but objective.targets is empty.")
        if self.loss not in LOSSES:
            raise PrimusError(f"objective.loss is {self.loss!r}; expected one of {LOSSES}.")
        if not math.isfinite(self.bias_initial):
            raise PrimusError(f"objective.bias_initial is {self.bias_initial}; expected a number.")
        check_contrastive(self.contrastive, self.contrastive_block)
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


class Compared(NamedTuple):
    """The other side of a term.

    rows: `[rows, dim]`, compared with the windows of the same places.
    mask: bool `[rows]`, which rows are there; None: all.
    number: int32 `[rows]`, shared by equal things, which are not negatives of each other; None: no
        two are equal.
    """

    rows: jax.Array
    mask: jax.Array | None = None
    number: jax.Array | None = None


class Term(NamedTuple):
    """One contrastive term: weight times the loss of (ours, theirs) at the head's temperature."""

    name: str
    weight: float
    head: str
    ours: jax.Array
    theirs: Compared


class Primus(Objective):
    """The objective protocol (`objectives/base.py`) for PRIMUS, SimCLR, IMU2CLIP and ablations."""

    def __init__(
        self, config: PrimusConfig, encoder: EncoderConfig, compute: ComputeConfig = PLAIN
    ):
        self.config = config
        self.encoder = encoder.build(compute)
        self.multihead = encoder.multihead
        self.imu_dim = encoder.width("ssl" if encoder.multihead else "emb")

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Return encoder, temperatures and biases, and an empty queue where a term reads one."""
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
        dims = {"imu": self.imu_dim}
        dims |= {name: batch[f"{name}_embedding"].shape[-1] for name in config.compared_targets}
        return params, {"queue": init_queue(config.queue_size, dims)}

    def forward(self, params: Tree, batch: Batch, key: jax.Array) -> dict[str, jax.Array]:
        """Return "mm" and "ssl" of view 0 and, where a term needs it, "ssl_second" of view 1.

        Each `[rows, dim]`. Both views of a window go through the encoder in one pass.
        """
        config, params = self.config, mark_varying(params, batch["index"])
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(batch["index"])
        imu = augment_batch(keys[:, 0], batch["imu"], config.first_view)
        rows = imu.shape[0]
        if config.self_supervised:
            second = augment_batch(keys[:, 1], batch["imu"], config.second_view)
            imu = jnp.concatenate([imu, second])
        out = cast(dict[str, jax.Array], self.encoder.apply({"params": params["encoder"]}, imu))
        mm, ssl = (out["mmcl"], out["ssl"]) if self.multihead else (out["emb"], out["emb"])
        views = {"mm": mm[:rows], "ssl": ssl[:rows]}
        return views | {"ssl_second": ssl[rows:]} if config.self_supervised else views

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
        """See `objectives/base.py`; metrics hold each term, temperatures and retrieval accuracy."""
        config, alpha = self.config, self.config.alpha
        views = (forward or self.forward)(params, batch, key)
        targets = self._targets(batch)
        terms = []
        if config.multimodal:
            for name, target in targets.items():
                theirs = target._replace(number=self._equal(name, target.number))
                terms.append(Term(name, 1 - alpha, "mm", views["mm"], theirs))
        if config.self_supervised:
            terms.append(Term("view", alpha, "ssl", views["ssl"], Compared(views["ssl_second"])))
        if config.neighbors:
            found, extra = self._neighbors(extra["queue"], views, targets, batch, axis_name)
            for name, theirs in found.items():
                weight, head = (alpha, "ssl") if name == "imu" else (1 - alpha, "mm")
                terms.append(Term(f"neighbor_{name}", weight, head, views[head], theirs))

        scalars = self._scalars(params)
        metrics, loss = dict(scalars), jnp.zeros((), jnp.float32)
        for term in terms:
            value, from_imu, to_imu = self._value(term, scalars, axis_name)
            loss = loss + term.weight * value
            metrics[f"loss_{term.name}"] = value
            metrics[f"accuracy_{term.name}_from_imu"] = from_imu
            metrics[f"accuracy_imu_from_{term.name}"] = to_imu
        return loss, (extra, metrics)

    def extra_rows(self, extra: Tree) -> Tree:
        """Return True for the rows of the queue, where the config splits them over the devices."""
        split = self.config.queue_sharded
        return jax.tree.map(lambda leaf: split and jnp.ndim(leaf) > 0, extra)

    def constrain(self, params: Tree) -> Tree:
        """Return the parameters with both temperatures inside their bounds."""
        config = self.config
        bounds = (config.temperature, config.temperature_low, config.temperature_high)
        return params | {
            name: clamp(params[name], *bounds) for name in ("temperature_mm", "temperature_ssl")
        }

    def _scalars(self, params: Tree) -> dict[str, jax.Array]:
        """The temperature and, with the sigmoid loss, the bias of each head, by name."""
        scalars = {
            name: temperature(params[name], self.config.temperature)
            for name in ("temperature_mm", "temperature_ssl")
        }
        if self.config.loss == "sigmoid":
            scalars |= {name: params[name] for name in ("bias_mm", "bias_ssl")}
        return scalars

    def _value(
        self, term: Term, scalars: Mapping[str, jax.Array], axis_name: AxisName
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """A term's loss, and the retrieval accuracies from and to the windows."""
        config = self.config
        pairs = Pairs(
            term.theirs.mask,
            term.theirs.number,
            masked_negatives=config.masked_negatives,
            axis_name=axis_name,
            form=config.contrastive,
            block=config.contrastive_block,
        )
        sides = term.ours, term.theirs.rows
        divisor = scalars[f"temperature_{term.head}"]
        if config.loss == "sigmoid":
            return sigmoid_with_accuracy(*sides, divisor, scalars[f"bias_{term.head}"], pairs)
        return info_nce_with_accuracy(*sides, divisor, pairs)

    def _targets(self, batch: Batch) -> dict[str, Compared]:
        """The targets of the batch, by name, with their masks and numbers."""
        return {
            name: Compared(
                batch[f"{name}_embedding"].astype(jnp.float32),
                batch[f"{name}_mask"],
                batch[f"{name}_id"],
            )
            for name in self.config.compared_targets
        }

    def _equal(self, name: str, number: jax.Array | None) -> jax.Array | None:
        """The numbers of a target where the config masks equal ones, else None."""
        on = self.config.mask_equal_text if name == "text" else self.config.mask_equal_video
        return number if on else None

    def _neighbors(
        self,
        queue: Queue,
        views: Mapping[str, jax.Array],
        targets: Mapping[str, Compared],
        batch: Batch,
        axis_name: AxisName,
    ) -> tuple[dict[str, Compared], Tree]:
        """The rows of the nearest neighbours, by modality, and `extra` after the write.

        The queue is read first and written afterwards, so that no window finds itself.
        """
        config = self.config
        rows = jax.lax.stop_gradient(self._queue_rows(views, targets, batch))
        whole = gather(rows, axis_name)
        shards = axis_name if config.queue_sharded else None
        # With alpha 1 only the windows' own neighbours count, so only they are searched.
        searched = ["imu"] if config.alpha == 1 else ["imu", *targets]
        index, found = nearest(
            queue,
            rows if shards is None else whole,
            tuple(name for name in SEARCHED if name in searched),
            ignore_empty=config.ignore_empty_rows,
            block=config.queue_block,
            shards=shards,
        )
        neighbor = read(queue, index, shards)
        weights = {**dict.fromkeys(targets, 1 - config.alpha), "imu": config.alpha}
        result = {
            name: self._neighbor(name, neighbor[name], index, found)
            for name, weight in weights.items()
            if weight
        }
        place = gather(order_after(batch["index"], index, *jax.tree.leaves(result)), axis_name)
        return result, {"queue": enqueue(queue, whole, place, shards)}

    def _queue_rows(
        self, views: Mapping[str, jax.Array], targets: Mapping[str, Compared], batch: Batch
    ) -> dict[str, Rows]:
        """What the batch searches the queue with, and writes to it, by modality."""
        everybody = jnp.ones_like(batch["index"], dtype=bool)
        return {
            "imu": Rows(views["ssl"], everybody, jnp.full_like(batch["index"], -1)),
            **{
                name: Rows(target.rows, batch[f"{name}_mask"], batch[f"{name}_id"])
                for name, target in targets.items()
            },
        }

    def _neighbor(self, name: str, neighbor: Rows, index: jax.Array, found: jax.Array) -> Compared:
        """One modality of the neighbours that were found, with what is masked of it."""
        config = self.config
        mask = found & neighbor.mask if config.ignore_empty_rows else None
        number = None if name == "imu" else self._equal(name, neighbor.id)
        if number is None and config.mask_equal_neighbors:
            # Windows that found the same row are not negatives of each other.
            number = index
        return Compared(neighbor.embedding, mask, number)
