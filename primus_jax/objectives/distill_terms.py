"""The distillation losses by name: their weights in a config, and what each needs."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import jax

from primus_jax.errors import PrimusError
from primus_jax.losses.distillation.attention import attention
from primus_jax.losses.distillation.neurons import neuron_selectivity
from primus_jax.losses.distillation.pointwise import (
    activation_boundaries,
    hints,
    logits,
    soft_target,
)
from primus_jax.losses.distillation.relational import relational
from primus_jax.losses.distillation.similarity import (
    correlation_congruence,
    probabilistic,
    similarity_preservation,
)

# Losses that compare rows of the batch with each other: one row teaches nothing.
OVER_BATCH = ("sp", "nst", "cc", "pkt", "rkd")
# Losses that compare unit with unit: student and teacher have one width, or the student is
# projected.
UNIT_BY_UNIT = ("st", "at", "focused_at", "hints", "ab", "logits")
PROJECTED = ("hints", "logits")


@dataclasses.dataclass
class LossWeights:
    """The factor of each distillation loss; 0 leaves it out. docs/distillation.md argues them."""

    st: float = 0.0  # soft target
    sp: float = 0.0  # similarity preservation
    nst: float = 0.0  # neuron selectivity
    at: float = 0.0  # attention transfer
    focused_at: float = 0.0  # the same with a larger power
    cc: float = 0.0  # correlation congruence
    pkt: float = 0.0  # probabilistic knowledge transfer
    rkd: float = 0.0  # distances and angles
    hints: float = 0.0  # FitNets
    ab: float = 0.0  # activation boundaries
    logits: float = 0.0

    @property
    def chosen(self) -> dict[str, float]:
        """The weights that are not 0, by name."""
        return {name: weight for name, weight in dataclasses.asdict(self).items() if weight}

    def validate(self) -> None:
        """Raise PrimusError for a weight below 0, or one that is not a number."""
        for name, weight in dataclasses.asdict(self).items():
            if not 0 <= weight < math.inf:
                raise PrimusError(
                    f"objective.weights.{name} is {weight}; expected 0 (off) or a positive number."
                )


# With these, each loss of form "paper" has about a tenth of the gradient of InfoNCE at the start of
# training (batch 256).
DEFAULT_WEIGHTS = LossWeights(
    st=3.0, sp=100.0, nst=100.0, at=250.0, focused_at=150.0, cc=50.0, pkt=1.0, rkd=1.0, hints=0.01,
    ab=1.0, logits=0.01,
)  # fmt: skip


def default_weights(*names: str) -> LossWeights:
    """The default weights of these losses, 0 for all others.

    Raises:
        PrimusError: a name that no loss has.
    """
    return weights_from({name: getattr(DEFAULT_WEIGHTS, name, 0.0) for name in names})


def weights_from(weights: LossWeights | Mapping[str, float]) -> LossWeights:
    """Weights by name as the config class.

    Raises:
        PrimusError: a name that no loss has.
    """
    if isinstance(weights, LossWeights):
        return weights
    known = [field.name for field in dataclasses.fields(LossWeights)]
    unknown = [name for name in weights if name not in known]
    if unknown:
        raise PrimusError(
            f"objective.weights: there is no distillation loss {unknown[0]!r}; expected some of "
            f"{', '.join(known)}."
        )
    return LossWeights(**weights)


@dataclasses.dataclass
class LossOptions:
    """The constants of the distillation losses, as their authors and the released code have them.

    Attributes:
        temperature: of soft targets.
        power, focused_power: of attention transfer, and of its focused variant.
        gamma, order: of correlation congruence.
        margin: of activation boundaries.
        distance, angle: weights of the two terms of rkd.
        rkd_form: "released", the means over pairs and triples, which do not grow with the batch;
            or "paper", their sums.
    """

    temperature: float = 4.0
    power: float = 2.0
    focused_power: float = 5.0
    gamma: float = 0.4
    order: int = 2
    margin: float = 2.0
    distance: float = 25.0
    angle: float = 50.0
    rkd_form: str = "released"

    def validate(self) -> None:
        """Raise PrimusError for a constant that means nothing."""
        for name, low in (("temperature", 0.0), ("gamma", 0.0), ("margin", 0.0)):
            value = getattr(self, name)
            if not low < value < math.inf:
                raise PrimusError(f"objective.options.{name} is {value}; expected more than 0.")
        for name in ("power", "focused_power", "order"):
            value = getattr(self, name)
            if not 1 <= value < math.inf:
                raise PrimusError(f"objective.options.{name} is {value}; expected 1 or more.")
        both = (self.distance, self.angle)
        if not all(0 <= value < math.inf for value in both) or not any(both):
            raise PrimusError(
                f"objective.options: distance {self.distance}, angle {self.angle}; expected 0 or "
                f"more, and not both 0."
            )
        if self.rkd_form not in ("paper", "released"):
            raise PrimusError(
                f"objective.options.rkd_form is {self.rkd_form!r}; expected 'paper' or 'released'."
            )


def loss_functions(options: LossOptions, form: str) -> dict[str, Callable[..., jax.Array]]:
    """Every loss by name: (student, teacher, *, mask, axis_name) -> scalar; hints: regressor."""
    functions: dict[str, Callable[..., jax.Array]] = {
        "st": functools.partial(soft_target, temperature=options.temperature),
        "sp": similarity_preservation,
        "nst": neuron_selectivity,
        "at": functools.partial(attention, power=options.power),
        "focused_at": functools.partial(attention, power=options.focused_power),
        "cc": functools.partial(correlation_congruence, gamma=options.gamma, order=options.order),
        "pkt": probabilistic,
        "rkd": functools.partial(
            relational, distance_weight=options.distance, angle_weight=options.angle
        ),
        "hints": hints,
        "ab": functools.partial(activation_boundaries, margin=options.margin),
        "logits": logits,
    }
    return {
        name: functools.partial(loss, form=options.rkd_form if name == "rkd" else form)
        for name, loss in functions.items()
    }
