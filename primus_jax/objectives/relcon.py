"""Stage 2 of RelCon: an encoder whose similarities rank windows as a learned distance does.

RelCon (Xu et al., ICLR 2025, arXiv 2411.18822), the released recipe. The candidates of an anchor
are the other anchors of the global batch, and windows of the same person. The frozen distance is
an argument of the step (law 4), read from its exported folder.

The normalisation of an encoder with batch statistics is that of anchors and candidates together,
on all devices (`statistics`). Validation normalises by the running ones, as the released program
does.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import jax
import jax.numpy as jnp

from primus_jax.data.folder import DatasetFolder
from primus_jax.data.inputs import Input
from primus_jax.data.people import NEAR
from primus_jax.data.same_person import Motion, SamePerson
from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import gather
from primus_jax.losses.relative import (
    KINDS,
    TIES,
    Ranking,
    agreement,
    hard_loss,
    log_ratio_loss,
    relative_loss,
)
from primus_jax.models.base import EncoderConfig
from primus_jax.models.batch_norm import join, sown, split
from primus_jax.models.compute import DTYPES, PLAIN, ComputeConfig, Forward, mark_varying
from primus_jax.models.motif import CHANNELS, MotifConfig, MotifDist, architecture
from primus_jax.models.motif_matrix import motif_distances
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.models.window_distance import PLAIN_DISTANCES, plain_distances
from primus_jax.objectives.base import (
    AxisName,
    Batch,
    Frozen,
    Metrics,
    Objective,
    ObjectiveConfig,
)
from primus_jax.trees import Tree
from primus_jax.window import same_rate

DISTANCE = "distance"
NONE = "none"
# What exported folders of this project state of the accelerometer.
ACC_UNIT = "m/s2 with gravity"
CHOICES = {
    "loss": KINDS,
    "ties": TIES,
    "near": NEAR,
    "attention": ("sparsemax", "softmax"),
    "statistics": ("together", "apart"),
    "distance_dtype": DTYPES,
    "channels": CHANNELS,
}


@dataclasses.dataclass
class RelConConfig(ObjectiveConfig):
    """How windows are ranked.

    Attributes:
        distance: exported folder of the frozen distance; or a distance that is not learned:
            "euclidean", "dtw" (`models/window_distance.py`), or "none": the person's candidates
            are equally near, everybody else is equally far. The relative loss with fair ties is
            then InfoNCE with K positives, each against the other anchors of the batch.
        attention: how a learned one measures, "sparsemax" or "softmax"; as its folder states.
        channels: of the windows: 3, the accelerometer; 6, with the gyroscope.
        candidates: windows of the same person that are drawn for every anchor.
        near, minutes: which windows of the person; see `data/people.py`.
        loss: "relative", as published; "hard" and "log_ratio", of its ablation.
        ties: of the relative loss, "fair" or "released".
        temperature: divisor of the cosines.
        statistics: of normalisations by the batch: of anchors and candidates "together", or
            "apart", as released: one pass for each.
        distance_dtype: of the products of a learned one, "float32" or "bfloat16".
        pairs: distances that are computed at once.
    """

    kind: ClassVar[str] = "relcon"
    free: ClassVar[tuple[str, ...]] = ("pairs",)
    keeps_statistics: ClassVar[bool] = True

    distance: str = ""
    attention: str = "sparsemax"
    channels: int = 3
    candidates: int = 20
    near: str = "minutes"
    minutes: float = 60.0
    loss: str = "relative"
    ties: str = "fair"
    temperature: float = 0.1
    statistics: str = "together"
    distance_dtype: str = "float32"
    pairs: int = 256

    def validate(self, batch_size: int) -> None:
        """Raise PrimusError for a field that means nothing."""
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                raise PrimusError(
                    f"objective.{field} is {getattr(self, field)!r}; expected one of {allowed}."
                )
        for field, low in (("candidates", 0), ("pairs", 1)):
            if getattr(self, field) < low:
                raise PrimusError(
                    f"objective.{field} is {getattr(self, field)}; expected at least {low}."
                )
        for field in ("temperature", "minutes"):
            if not 0 < getattr(self, field) < math.inf:
                raise PrimusError(
                    f"objective.{field} is {getattr(self, field)}; expected more than 0."
                )
        if not self.distance:
            raise PrimusError(
                "objective.distance is empty; name the exported folder of a distance. Train one "
                "with configs/motif.py, and export it with `primus-jax export`. 'euclidean', "
                "'dtw' and 'none' need no folder."
            )
        if self.distance == NONE and (
            self.candidates < 1 or (self.loss, self.ties) != ("relative", "fair")
        ):
            raise PrimusError(
                f"objective.distance is 'none', which leaves InfoNCE: every window of the same "
                f"person is a positive. It needs candidates of at least 1, loss 'relative' and "
                f"ties 'fair'; they are {self.candidates}, {self.loss!r} and {self.ties!r}."
            )

    def inputs(self, window_samples: int, embedding_dim: int) -> tuple[Input, ...]:
        """Return the window's channels, and further windows of the same person."""
        shape = window_samples, self.channels
        own = SamePerson(*shape, self.candidates, self.near, self.minutes)
        return (Motion(*shape), own) if self.candidates else (Motion(*shape),)

    def check_encoder(self, encoder: EncoderConfig, embedding_dim: int) -> None:
        """Raise PrimusError for an encoder of other channels, or a distance in its place."""
        if isinstance(encoder, MotifConfig):
            raise PrimusError(
                "config.encoder.kind is 'motif', which is the distance; the objective 'relcon' "
                "trains an encoder, as --config.encoder.kind=resnet1d."
            )
        needs = encoder.channels if isinstance(encoder, ResNet1DConfig) else 6
        if needs != self.channels:
            raise PrimusError(
                f"config.objective.channels is {self.channels}, but the encoder reads {needs} "
                f"channels. Set it to {needs}."
            )

    @property
    def frozen(self) -> Mapping[str, str]:
        """The folder of the distance, where it is learned."""
        return {DISTANCE: self.distance} if self.learned else {}

    @property
    def frozen_configs(self) -> Mapping[str, EncoderConfig]:
        """The published distance, of these channels."""
        published = MotifConfig(attention=self.attention, channels=self.channels)
        return {DISTANCE: published} if self.learned else {}

    @property
    def learned(self) -> bool:
        """Whether the distance is the folder of a network."""
        return self.distance not in (NONE, *PLAIN_DISTANCES)

    def check_frozen(
        self, networks: Mapping[str, Frozen], folders: Sequence[DatasetFolder]
    ) -> None:
        """Raise PrimusError unless the distance was trained on windows like these."""
        if not self.learned:
            return
        network = networks[DISTANCE]
        where, config = f"config.objective.distance {network.path}", network.config
        if not isinstance(config, MotifConfig):
            raise PrimusError(
                f"{where} holds an encoder of the kind {config.kind!r}; expected the distance "
                f"'motif', as configs/motif.py trains it."
            )
        if config.channels > self.channels:
            raise PrimusError(
                f"{where} reads {config.channels} channels, config.objective.channels is "
                f"{self.channels}. Take a distance of the accelerometer alone, or set it to 6."
            )
        if config.attend(training=False) != self.attention:
            raise PrimusError(
                f"{where} measures by {config.attend(training=False)} (its attention is "
                f"{config.attention!r}), but config.objective.attention is {self.attention!r}. "
                f"Set it to {config.attend(training=False)!r}."
            )
        unit = network.description["units"]["acc"]
        if unit != ACC_UNIT:
            raise PrimusError(
                f"{where} was trained on accelerations in {unit!r}; the windows of datasets are "
                f"in {ACC_UNIT!r}. Train a distance on such windows (configs/motif.py)."
            )
        rate = network.description["rate_hz"]
        if not same_rate(rate, folders[0].rate_hz):
            raise PrimusError(
                f"{where} was trained at {rate:g} Hz, {folders[0].path} has "
                f"{folders[0].rate_hz:g} Hz. Prepare the dataset with --target-rate {rate:g}, or "
                f"train a distance on it."
            )
        low, _ = config.sample_range()
        if folders[0].window_samples < low:
            raise PrimusError(
                f"{folders[0].path} has windows of {folders[0].window_samples} samples, but the "
                f"distance takes at least {low}. Prepare it with a longer --window."
            )

    def build(self, encoder: EncoderConfig, compute: ComputeConfig = PLAIN) -> "RelCon":
        """The objective that trains this encoder."""
        return RelCon(self, encoder, compute)


class RelCon(Objective):
    """The objective protocol (`objectives/base.py`) for the relative losses.

    `extra` holds the running statistics of an encoder that has any.
    """

    def __init__(
        self, config: RelConConfig, encoder: EncoderConfig, compute: ComputeConfig = PLAIN
    ):
        self.config, self.batch_statistics = config, encoder.batch_statistics
        self.encoder = encoder.build(compute)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """The encoder, and its running statistics apart; `batch` gives shapes only."""
        params = self.encoder.init(key, batch["motion"][:1])["params"]
        if not self.batch_statistics:
            return {"encoder": params}, {}
        trained, running = split(params)
        return {"encoder": trained}, {"statistics": running}

    def forward(self, params: Tree, batch: Batch, key: jax.Array) -> jax.Array:
        """Embeddings of the anchor and its candidates, `[rows, 1 + K, dim]`.

        An encoder with batch statistics sees the whole batch at once, so `loss` embeds by itself.
        With running statistics, as in validation, it treats every window by itself.
        """
        params = mark_varying(params, batch["index"])
        windows, own = self._windows(batch)
        flat = jnp.concatenate([windows[:, None], own], 1).reshape(-1, *windows.shape[1:])
        outputs = self.encoder.apply({"params": params["encoder"]}, flat)
        embedding = cast(dict[str, jax.Array], outputs)["emb"]
        return embedding.reshape(len(windows), -1, embedding.shape[-1])

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

        The metric `nearest_is_most_similar` is the share of anchors whose most similar candidate is
        at the least distance.
        """
        if self.batch_statistics:
            anchors, candidates, extra = self._embed(params, extra, batch, axis_name)
        else:
            both = (forward or self.forward)(params, batch, key)
            anchors, candidates = both[:, 0], both[:, 1:]
        return self._rank(anchors, candidates, extra, towers, batch, axis_name)

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
        """As `loss`, by the running statistics."""
        if not self.batch_statistics:
            return self.loss(
                params, extra, towers, batch, key, axis_name=axis_name, forward=forward
            )
        whole = {"encoder": join(params["encoder"], extra["statistics"])}
        both = self.forward(whole, batch, key)
        return self._rank(both[:, 0], both[:, 1:], extra, towers, batch, axis_name)

    def _rank(
        self,
        anchors: jax.Array,
        candidates: jax.Array,
        extra: Tree,
        towers: Tree,
        batch: Batch,
        axis_name: AxisName,
    ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
        """The loss of embeddings, the next `extra`, and metrics."""
        config = self.config
        ranking = Ranking(
            anchors,
            candidates,
            self._distances(towers, batch, axis_name),
            self._there(batch, axis_name),
            axis_name,
        )
        if config.loss == "relative":
            loss = relative_loss(ranking, config.temperature, config.ties)
        elif config.loss == "hard":
            loss = hard_loss(ranking, config.temperature)
        else:
            loss = log_ratio_loss(ranking)
        return loss, (extra, {"nearest_is_most_similar": agreement(ranking)})

    def exported(self, params: Tree, extra: Tree) -> Tree:
        """The encoder with its running statistics."""
        if not self.batch_statistics:
            return params["encoder"]
        return join(params["encoder"], extra["statistics"])

    def _windows(self, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Anchors `[rows, time, channels]` and their own candidates `[rows, K, ...]`."""
        anchors = batch["motion"]
        none = jnp.zeros((len(anchors), 0, *anchors.shape[1:]), anchors.dtype)
        return anchors, batch.get("candidates", none)

    def _there(self, batch: Batch, axis_name: AxisName) -> jax.Array | None:
        """Own candidates that count, bool `[rows, K]`: no anchor of the batch is one of them.

        A window that is both counts once. Twice, it would be at one distance but for rounding,
        and the order of the two would depend on how many devices there are.
        """
        if "candidates" not in batch:
            return None
        contents = batch["contents"]
        anchors = jnp.sort(gather(contents[:, 0], axis_name))
        place = jnp.searchsorted(anchors, contents[:, 1:], method="sort")
        twice = anchors[jnp.minimum(place, len(anchors) - 1)] == contents[:, 1:]
        return batch["candidates_there"] & ~twice

    def _embed(
        self, params: Tree, extra: Tree, batch: Batch, axis_name: AxisName
    ) -> tuple[jax.Array, jax.Array, Tree]:
        """Embeddings of anchors and candidates by batch statistics, and `extra` after them."""
        trained = mark_varying(params["encoder"], batch["index"])
        anchors, own = self._windows(batch)
        flat = own.reshape(-1, *own.shape[2:])

        def embed(running: Tree, windows: jax.Array) -> tuple[jax.Array, Tree]:
            outputs, collections = self.encoder.apply(
                {"params": join(trained, running)}, windows, True, axis_name, mutable=["running"]
            )
            return outputs["emb"], sown(collections["running"])

        running = extra["statistics"]
        if self.config.statistics == "apart" and len(flat):
            first, running = embed(running, anchors)
            second, running = embed(running, flat)
        else:
            both, running = embed(running, jnp.concatenate([anchors, flat]))
            first, second = both[: len(anchors)], both[len(anchors) :]
        candidates = second.reshape(*own.shape[:2], first.shape[-1])
        return first, candidates, {"statistics": running}

    def _distances(self, towers: Tree, batch: Batch, axis_name: AxisName) -> jax.Array:
        """The frozen distance of each anchor from all anchors and its candidates."""
        config = self.config
        anchors, own = self._windows(batch)
        everybody = gather(anchors, axis_name)
        if config.distance == NONE:
            far = jnp.ones((len(anchors), len(everybody)), anchors.dtype)
            return jnp.concatenate([far, jnp.zeros(own.shape[:2], anchors.dtype)], 1)
        if not config.learned:
            return plain_distances(config.distance, anchors, everybody, own, pairs=config.pairs)
        params = towers[DISTANCE]
        found = architecture(params, config.attention)
        return motif_distances(
            MotifDist(found, ComputeConfig(dtype=config.distance_dtype)),
            params,
            *(x[..., : found.channels] for x in (anchors, everybody, own)),
            attention=config.attention,
            pairs=config.pairs,
        )
