"""The settings of contrastive learning with distillation, and what they refuse."""

import dataclasses
import math
from typing import ClassVar

from primus_jax.augment import AugmentConfig
from primus_jax.data.inputs import Input, imu
from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import check_contrastive
from primus_jax.losses.temperature import check_temperature
from primus_jax.losses.triplet import NEGATIVES, REDUCTIONS
from primus_jax.models.base import EncoderConfig
from primus_jax.objectives.base import ObjectiveConfig
from primus_jax.objectives.distill_terms import (
    OVER_BATCH,
    PROJECTED,
    UNIT_BY_UNIT,
    LossOptions,
    LossWeights,
    default_weights,
    weights_from,
)
from primus_jax.objectives.targets import TARGETS, StoredTarget

LOSSES = ("info_nce", "sigmoid", "triplet", "none")
DIRECTIONS = {"both": "both", "from_imu": "a_to_b"}
BALANCES = ("none", "gradient")


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
class DistillSettings(ObjectiveConfig):
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
        check_contrastive(self.contrastive, self.contrastive_block)
        if not math.isfinite(self.bias_initial):
            raise PrimusError(f"objective.bias_initial is {self.bias_initial}; expected a number.")
        check_temperature(
            "log" if self.temperature == "fixed" else self.temperature,
            self.temperature_initial,
            self.temperature_low,
            self.temperature_high,
        )
