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
import functools
from collections.abc import Mapping
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from primus_jax.augment import augment_batch
from primus_jax.losses.contrastive import info_nce_with_accuracy
from primus_jax.losses.distillation.pointwise import Regressor, regress
from primus_jax.losses.pairs import Pairs
from primus_jax.losses.sigmoid import sigmoid_with_accuracy
from primus_jax.losses.temperature import clamp, init_temperature, temperature
from primus_jax.losses.triplet import triplet
from primus_jax.models.base import EncoderConfig
from primus_jax.models.compute import PLAIN, ComputeConfig, Forward, mark_varying
from primus_jax.models.layers import dense
from primus_jax.objectives.base import AxisName, Batch, Metrics, Objective
from primus_jax.objectives.distill_settings import DIRECTIONS, DistillSettings
from primus_jax.objectives.distill_terms import loss_functions
from primus_jax.objectives.term_gradients import Measured, add, measure, norm, shares
from primus_jax.trees import Tree

CONTRASTIVE = "contrastive"
# No place in a batch reaches the number: negatives are drawn apart from augmentations.
NEGATIVE_STREAM = 2**32 - 3


@dataclasses.dataclass
class DistillConfig(DistillSettings):
    """The settings with the objective that they describe."""

    def build(self, encoder: EncoderConfig, compute: ComputeConfig = PLAIN) -> "Distill":
        """The objective that trains this encoder."""
        return Distill(self, encoder, compute)


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
            contrastive = functools.partial(self._contrastive, seen, key, axis_name)
            terms[CONTRASTIVE] = measure(contrastive, inputs)
        for name in self.distilled:
            terms[name] = measure(functools.partial(self._distilled, name, seen, axis_name), inputs)
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
        self, seen: Mapping[str, Taught], key: jax.Array, axis_name: AxisName, inputs: Tree
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
        self, name: str, seen: Mapping[str, Taught], axis_name: AxisName, inputs: Tree
    ) -> tuple[jax.Array, Metrics]:
        """One distillation loss from one teacher."""
        loss, teacher = self.distilled[name]
        student, taught = inputs["embedding"], seen[teacher]
        if loss in self.config.projected:
            student = regress(student, Regressor(**inputs["projection"][name]))
        value = self.losses[loss](student, taught.rows, mask=taught.mask, axis_name=axis_name)
        return value, {}

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
