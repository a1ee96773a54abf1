"""Ambient AI: contrastive learning with distillation from the frozen text and video towers.

"Ambient AI: Multimodal Sensor Understanding" (UMass Amherst, 2023), on IMU2CLIP:

    L = L_contrastive + sum over losses k and teachers m of lambda_k L_k(student, teacher_m)

The student is the encoder's output that is compared with the targets; a teacher is the embedding
of the window's text or video by a frozen tower, as the tower gives it (not of unit length).
L_contrastive is InfoNCE in both directions or one (equation 2), the sigmoid loss, the triplet loss
(equation 13), or nothing. Deviations from the released code: the losses are those of the global
batch, the forms are those of the cited papers (`form`), several losses may be on, and absent or
equal targets are no negatives.

With `balance="gradient"` a weight is the share of the contrastive gradient that its loss gets: its
factor is weight * |g_contrastive| / |g_loss|, of the gradients with respect to the embedding, both
averaged over steps. The loss then is a sum with factors that move, so its values at different
steps cannot be compared.
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
from primus_jax.losses.distillation.pointwise import Regressor, regress
from primus_jax.losses.pairs import FORMS, Pairs
from primus_jax.losses.sigmoid import sigmoid_with_accuracy
from primus_jax.losses.temperature import check_temperature, clamp, init_temperature, temperature
from primus_jax.losses.triplet import NEGATIVES, REDUCTIONS, triplet
from primus_jax.models.base import EncoderConfig
from primus_jax.models.compute import PLAIN, ComputeConfig, Forward, mark_varying
from primus_jax.models.layers import dense
from primus_jax.objectives.base import AxisName, Batch, Metrics, Objective, ObjectiveConfig
from primus_jax.objectives.distill_terms import (
    OVER_BATCH,
    PROJECTED,
    UNIT_BY_UNIT,
    LossOptions,
    LossWeights,
    default_weights,
    loss_functions,
    weights_from,
)
from primus_jax.objectives.targets import TARGETS, StoredTarget
from primus_jax.objectives.term_gradients import Measured, add, measure, norm, shares
from primus_jax.trees import Tree

LOSSES = ("info_nce", "sigmoid", "triplet", "none")
DIRECTIONS = {"both": "both", "from_imu": "a_to_b"}
BALANCES = ("none", "gradient")
CONTRASTIVE = "contrastive"
# No place in a batch reaches the number: negatives are drawn apart from augmentations.
NEGATIVE_STREAM = 2**32 - 3


@dataclasses.dataclass
class TripletOptions:
    """See `losses.triplet.triplet`; the report states neither the margin nor the negatives."""

    margin: float = 0.2
    negatives: str = "cyclic"  # or "random", "hardest", "all"
    unit: bool = True  # rows of unit norm, or else the units of CLIP decide
    reduction: str = "sum"  # or "mean"

    def validate(self) -> None:
        """Raise PrimusError for a field that means nothing."""
        if self.negatives not in NEGATIVES or self.reduction not in REDUCTIONS:
            raise PrimusError(
                f"objective.triplet: negatives {self.negatives!r}, reduction {self.reduction!r}; "
                f"expected one of {NEGATIVES} and of {REDUCTIONS}."
            )
        if not 0 < self.margin < math.inf:
            raise PrimusError(
                f"objective.triplet.margin is {self.margin}; expected more than 0, since equal "
                f"distances would cost nothing."
            )


@dataclasses.dataclass
class DistillConfig(ObjectiveConfig):
    """The contrastive loss, the losses beside it with their weights, and who teaches."""

    kind: ClassVar[str] = "distill"
    free: ClassVar[tuple[str, ...]] = ("contrastive", "contrastive_block")

    loss: str = "info_nce"  # or "sigmoid", "triplet", "none": distillation alone
    direction: str = "both"  # of InfoNCE, or "from_imu": the report's equation 2
    targets: tuple[str, ...] = ("text",)  # of the contrastive loss
    teachers: tuple[str, ...] = ()  # of distillation; (): the targets
    weights: LossWeights = dataclasses.field(default_factory=lambda: default_weights("at"))
    options: LossOptions = dataclasses.field(default_factory=LossOptions)
    form: str = "paper"  # or "released": the losses as the released code computes them
    balance: str = "none"  # or "gradient": weights are shares of the contrastive gradient
    balance_momentum: float = 0.95  # of the averages of both norms
    balance_limit: float = 1e6  # the largest factor of a loss
    teacher_projection: bool = False  # hints and logits see the student through a trained layer
    temperature: str = "fixed"  # or "log", "raw": learned
    temperature_initial: float = 0.1
    temperature_low: float = 0.01
    temperature_high: float = 1.0
    bias_initial: float = -10.0  # of the sigmoid loss alone
    triplet: TripletOptions = dataclasses.field(default_factory=TripletOptions)
    mask_equal_text: bool = True  # windows of equal text are not negatives of each other
    mask_equal_video: bool = True  # nor are windows of one video
    masked_negatives: bool = False  # an absent target stays as a negative, as released
    contrastive: str = "auto"  # how: "dense", "gathered", "ring" (losses/); never what
    contrastive_block: int = 1024  # rows of a block of the ring
    view: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        """Take the weights as a dictionary by name too, as in `weights={"at": 1.0}`."""
        self.weights = weights_from(self.weights)

    @property
    def compared_targets(self) -> tuple[str, ...]:
        """The targets of the contrastive loss; () without one."""
        return () if self.loss == "none" else self.targets

    @property
    def teaching(self) -> tuple[str, ...]:
        """The teachers, where a distillation loss is on."""
        return (self.teachers or self.targets) if self.weights.chosen else ()

    @property
    def projected(self) -> tuple[str, ...]:
        """Names of the losses that see the student through a trained layer."""
        return tuple(
            name for name in PROJECTED
            if name in self.weights.chosen
            and (self.teacher_projection or (name, self.form) == ("hints", "paper"))
        )  # fmt: skip

    def inputs(self, window_samples: int, embedding_dim: int) -> tuple[Input, ...]:
        """Return the window, and the embedding of every target and teacher."""
        names = dict.fromkeys((*self.compared_targets, *self.teaching))
        targets = (StoredTarget(TARGETS[name], embedding_dim) for name in names)
        return (imu(window_samples), *targets)

    def check_encoder(self, encoder: EncoderConfig, embedding_dim: int) -> None:
        """Raise PrimusError unless the encoder's output is as wide as what it is compared with."""
        head = "mmcl" if encoder.multihead else "emb"
        width = encoder.width(head)
        if width == embedding_dim:
            return
        widths = (
            f"the output {head!r} of config.encoder is {width} wide, config.data.embedding_dim "
            f"{embedding_dim}"
        )
        if self.compared_targets:
            raise PrimusError(
                f"{widths}; the contrastive loss compares them. Set config.encoder.head_dim (or, "
                f"without heads, embed_dim) to {embedding_dim}."
            )
        for name in self.weights.chosen:
            if name in UNIT_BY_UNIT and name not in self.projected:
                raise PrimusError(
                    f"{widths}; the loss {name!r} compares unit with unit. Set "
                    f"config.encoder.head_dim (or, without heads, embed_dim) to {embedding_dim}"
                    + (
                        ", or objective.teacher_projection to True."
                        if name in PROJECTED
                        else f", or take one of {', '.join(OVER_BATCH)}."
                    )
                )

    def validate(self, batch_size: int) -> None:
        """Raise PrimusError when nothing is trained, or a value means nothing."""
        self.weights.validate()
        self.options.validate()
        self.triplet.validate()
        for field, allowed in (
            ("loss", LOSSES),
            ("direction", tuple(DIRECTIONS)),
            ("form", ("paper", "released")),
            ("balance", BALANCES),
        ):
            if getattr(self, field) not in allowed:
                raise PrimusError(
                    f"objective.{field} is {getattr(self, field)!r}; expected one of {allowed}."
                )
        chosen = self.weights.chosen
        if self.loss == "none" and not chosen:
            raise PrimusError(
                "objective.loss is 'none' and all objective.weights are 0; there is nothing to "
                "train."
            )
        self._check_targets()
        if self.direction != "both" and self.loss != "info_nce":
            raise PrimusError(
                f"objective.direction is {self.direction!r}, but objective.loss {self.loss!r} has "
                f"no direction; expected 'both'."
            )
        if "nst" in chosen and self.form == "released":
            raise PrimusError(
                "objective.weights.nst with objective.form 'released': that loss and its gradient "
                "are zero for every embedding, so it trains nothing. Take form 'paper'."
            )
        alone = [name for name in chosen if name in OVER_BATCH or self._energies(name)]
        if alone and batch_size < 2:
            raise PrimusError(
                f"config.data.batch_size is {batch_size}, but the loss {alone[0]!r} compares the "
                f"windows of a batch with each other; expected at least 2."
            )
        if self.teacher_projection and not self.projected:
            raise PrimusError(
                f"objective.teacher_projection is on, but no loss of {', '.join(PROJECTED)} has a "
                f"weight; nothing would be projected."
            )
        self._check_balance()
        self._check_contrastive()
        self.view.validate("objective.view")

    def build(self, encoder: EncoderConfig, compute: ComputeConfig = PLAIN) -> "Distill":
        """The objective that trains this encoder."""
        return Distill(self, encoder, compute)

    def _energies(self, name: str) -> bool:
        """Whether a loss compares energies over the batch."""
        return self.form == "released" and name in ("at", "focused_at")

    def _check_targets(self) -> None:
        for field in ("targets", "teachers"):
            names = getattr(self, field)
            if any(name not in TARGETS for name in names) or len(set(names)) != len(names):
                raise PrimusError(
                    f"objective.{field} {names}; expected some of {tuple(TARGETS)}, each once."
                )
        if self.loss != "none" and not self.targets:
            raise PrimusError(
                f"objective.targets is empty, but objective.loss {self.loss!r} compares windows "
                f"with targets; expected some of {tuple(TARGETS)}."
            )
        if self.weights.chosen and not self.teaching:
            raise PrimusError(
                "objective.teachers and objective.targets are empty, so that nobody teaches; "
                f"expected some of {tuple(TARGETS)}."
            )

    def _check_balance(self) -> None:
        if self.balance == "gradient" and (self.loss == "none" or not self.weights.chosen):
            raise PrimusError(
                "objective.balance 'gradient' weighs distillation against the contrastive loss; "
                "set objective.loss and a weight, or take 'none'."
            )
        if not 0 <= self.balance_momentum < 1 or not 0 < self.balance_limit < math.inf:
            raise PrimusError(
                f"objective.balance_momentum is {self.balance_momentum}, balance_limit "
                f"{self.balance_limit}; expected 0 to below 1, and a positive number."
            )

    def _check_contrastive(self) -> None:
        if self.contrastive not in FORMS or self.contrastive_block < 1:
            raise PrimusError(
                f"objective.contrastive {self.contrastive!r}, contrastive_block "
                f"{self.contrastive_block}; expected one of {FORMS}, and a positive number."
            )
        if not math.isfinite(self.bias_initial):
            raise PrimusError(f"objective.bias_initial is {self.bias_initial}; expected a number.")
        check_temperature(
            "log" if self.temperature == "fixed" else self.temperature,
            self.temperature_initial,
            self.temperature_low,
            self.temperature_high,
        )


class Taught(NamedTuple):
    """The embeddings of one target or teacher.

    rows: float32 `[rows, dim]`.
    mask: bool `[rows]`, which windows have one.
    number: int32 `[rows]`, shared by equal ones; None: no two are equal.
    """

    rows: jax.Array
    mask: jax.Array
    number: jax.Array | None


class Distill(Objective):
    """The objective protocol (`objectives/base.py`) for contrastive learning with distillation."""

    def __init__(
        self, config: DistillConfig, encoder: EncoderConfig, compute: ComputeConfig = PLAIN
    ):
        self.config = config
        self.encoder = encoder.build(compute)
        self.head = "mmcl" if encoder.multihead else "emb"
        self.width = encoder.width(self.head)
        self.losses = loss_functions(config.options, config.form)
        # (loss, teacher) by the name that metrics have
        self.distilled = {
            f"{loss}_{teacher}": (loss, teacher)
            for loss in config.weights.chosen
            for teacher in config.teaching
        }

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Return encoder, temperature, bias and projections; `extra` has averages of norms."""
        config = self.config
        params: dict[str, Tree] = {"encoder": self.encoder.init(key, batch["imu"][:1])["params"]}
        if config.temperature != "fixed" and config.loss in ("info_nce", "sigmoid"):
            params["temperature"] = init_temperature(config.temperature_initial, config.temperature)
        if config.loss == "sigmoid":
            params["bias"] = jnp.asarray(config.bias_initial, jnp.float32)
        projections = {}
        for number, (name, (loss, teacher)) in enumerate(self.distilled.items()):
            if loss in config.projected:
                wide = batch[f"{teacher}_embedding"].shape[-1]
                layer = dense(wide, self.width, "projection")
                row = jnp.zeros((1, self.width), jnp.float32)
                made = layer.init(jax.random.fold_in(key, number), row)
                projections[name] = made["params"]
        if projections:
            params["projection"] = projections
        if config.balance == "none":
            return params, {}
        names = (CONTRASTIVE, *self.distilled)
        return params, {"gradient_norms": dict.fromkeys(names, jnp.zeros((), jnp.float32))}

    def forward(self, params: Tree, batch: Batch, key: jax.Array) -> jax.Array:
        """Return the embedding that is trained, `[rows, dim]`."""
        params = mark_varying(params, batch["index"])
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(batch["index"])
        rows = augment_batch(keys, batch["imu"], self.config.view)
        out = self.encoder.apply({"params": params["encoder"]}, rows)
        return cast(dict[str, jax.Array], out)[self.head]

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

        Metrics hold every term, and of every distillation loss its factor and, with a contrastive
        loss, the norm of its gradient with that factor over the norm of the contrastive one.
        """
        config = self.config
        embedding = (forward or self.forward)(params, batch, key)
        inputs = {name: x for name, x in params.items() if name != "encoder"}
        inputs["embedding"] = embedding.astype(jnp.float32)
        seen = {
            name: Taught(
                batch[f"{name}_embedding"].astype(jnp.float32),
                batch[f"{name}_mask"],
                batch[f"{name}_id"],
            )
            for name in dict.fromkeys((*config.compared_targets, *config.teaching))
        }
        terms: dict[str, Measured] = {}
        if config.loss != "none":
            terms[CONTRASTIVE] = measure(
                lambda x: self._contrastive(x, seen, key, axis_name), inputs
            )
        for name, (loss, teacher) in self.distilled.items():
            terms[name] = measure(
                lambda x, name=name, loss=loss, teacher=teacher: (
                    self._distilled(x, name, loss, seen[teacher], axis_name),
                    {},
                ),
                inputs,
            )
        norms = {name: norm(term.gradient["embedding"]) for name, term in terms.items()}
        factors, extra = self._factors(norms, extra)
        metrics = self._metrics(terms, norms, factors)
        return add(terms, {CONTRASTIVE: 1.0, **factors}, inputs), (extra, metrics)

    def constrain(self, params: Tree) -> Tree:
        """Return the parameters with a learned temperature inside its bounds."""
        config = self.config
        if "temperature" not in params:
            return params
        bounds = (config.temperature, config.temperature_low, config.temperature_high)
        return params | {"temperature": clamp(params["temperature"], *bounds)}

    def _contrastive(
        self, inputs: Tree, seen: Mapping[str, Taught], key: jax.Array, axis_name: AxisName
    ) -> tuple[jax.Array, Metrics]:
        """The sum over targets of the contrastive loss, and each with its accuracies."""
        config, metrics = self.config, {}
        value = jnp.zeros((), jnp.float32)
        for place, name in enumerate(config.targets):
            target = seen[name]
            pairs = Pairs(
                target.mask,
                self._equal(name, target.number),
                masked_negatives=config.masked_negatives,
                axis_name=axis_name,
                form=config.contrastive,
                block=config.contrastive_block,
                direction=DIRECTIONS[config.direction],
            )
            sides = inputs["embedding"], target.rows
            if config.loss == "triplet":
                one = triplet(
                    *sides, pairs, key=jax.random.fold_in(key, NEGATIVE_STREAM - place),
                    **dataclasses.asdict(config.triplet),
                )  # fmt: skip
            else:
                divisor = self._temperature(inputs)
                if config.loss == "sigmoid":
                    found = sigmoid_with_accuracy(*sides, divisor, inputs["bias"], pairs)
                else:
                    found = info_nce_with_accuracy(*sides, divisor, pairs)
                one, from_imu, to_imu = found
                metrics[f"accuracy_{name}_from_imu"] = from_imu
                metrics[f"accuracy_imu_from_{name}"] = to_imu
                metrics["temperature"] = divisor
            metrics[f"loss_{name}"] = one
            value = value + one
        return value, metrics

    def _distilled(
        self, inputs: Tree, name: str, loss: str, teacher: Taught, axis_name: AxisName
    ) -> jax.Array:
        """One distillation loss from one teacher."""
        student = inputs["embedding"]
        if loss in self.config.projected:
            student = regress(student, Regressor(**inputs["projection"][name]))
        return self.losses[loss](student, teacher.rows, mask=teacher.mask, axis_name=axis_name)

    def _factors(
        self, norms: Mapping[str, jax.Array], extra: Tree
    ) -> tuple[dict[str, jax.Array | float], Tree]:
        """What each distillation loss is multiplied by, and the next averages of the norms."""
        config = self.config
        weights = {name: config.weights.chosen[loss] for name, (loss, _) in self.distilled.items()}
        if config.balance == "none":
            return dict(weights), extra
        keep = config.balance_momentum
        # Both averages start at zero, and their ratio is what counts: no correction is needed.
        averages = {
            name: keep * extra["gradient_norms"][name] + (1 - keep) * value
            for name, value in norms.items()
        }
        factors = shares(averages, CONTRASTIVE, weights, config.balance_limit)
        return dict(factors), {"gradient_norms": averages}

    def _metrics(
        self,
        terms: Mapping[str, Measured],
        norms: Mapping[str, jax.Array],
        factors: Mapping[str, jax.Array | float],
    ) -> Metrics:
        metrics: Metrics = {}
        if CONTRASTIVE in terms:
            metrics |= terms[CONTRASTIVE].aux
        for name, factor in factors.items():
            metrics[f"loss_{name}"] = terms[name].value
            metrics[f"weight_{name}"] = jnp.asarray(factor, jnp.float32)
            if CONTRASTIVE in terms:
                whole = norms[CONTRASTIVE]
                ratio = factor * norms[name] / jnp.where(whole > 0, whole, 1)
                metrics[f"gradient_ratio_{name}"] = jnp.where(whole > 0, ratio, 0)
        return metrics

    def _temperature(self, inputs: Tree) -> jax.Array:
        config = self.config
        if config.temperature == "fixed":
            return jnp.asarray(config.temperature_initial, jnp.float32)
        return temperature(inputs["temperature"], config.temperature)

    def _equal(self, name: str, number: jax.Array | None) -> jax.Array | None:
        """The numbers of a target where the config masks equal ones, else None."""
        on = self.config.mask_equal_text if name == "text" else self.config.mask_equal_video
        return number if on else None
