"""What a method of pretraining is: its settings, what it reads, and what it minimises.

The loop, the pipeline, the export and the roofline know a method by these two protocols alone.
docs/architecture.md, "Add a method", builds one.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import jax

from primus_jax.data.folder import DatasetFolder
from primus_jax.data.inputs import Input
from primus_jax.models.base import EncoderConfig
from primus_jax.models.compute import PLAIN, ComputeConfig, Forward
from primus_jax.trees import Tree

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]
AxisName = str | tuple[str, ...] | None


@dataclasses.dataclass(frozen=True)
class Frozen:
    """What the exported folder of a frozen network states.

    Attributes:
        path: the folder.
        config: the architecture.
        description: the content of its config.json.
    """

    path: str
    config: EncoderConfig
    description: Mapping[str, Any]


class ObjectiveConfig(Protocol):
    """The settings of a method: a dataclass, listed in `OBJECTIVES` under its `kind`.

    A class that names this protocol as its base inherits the bodies below.

    Attributes:
        kind: the name of the method in config files and run folders.
        free: fields that may change when a run resumes, because they do not change what is
            trained.
        keeps_statistics: whether the method trains encoders that normalise by statistics of the
            batch, and keeps their running statistics in `extra`.
        reads_windows: whether the method trains on windows, whose rate the exported folder states.
            Pictures have none.
    """

    kind: ClassVar[str]
    free: ClassVar[tuple[str, ...]] = ()
    keeps_statistics: ClassVar[bool] = False
    reads_windows: ClassVar[bool] = True

    def inputs(self, window_samples: int, embedding_dim: int) -> Sequence[Input]:
        """Return what the method reads of every window, in the order in which batches hold it.

        Args:
            window_samples: of the windows of the datasets.
            embedding_dim: width of the stored text and video embeddings.
        """
        ...

    def open_folder(self, path: str) -> DatasetFolder:
        """Return a dataset of `config.data.train`, as the method reads it.

        Raises:
            PrimusError: no such folder, or one of another kind.
        """
        return DatasetFolder(path)

    def build(self, encoder: EncoderConfig, compute: ComputeConfig = PLAIN) -> "Objective":
        """Return the objective that trains this encoder."""
        ...

    def validate(self, batch_size: int) -> None:
        """Raise PrimusError for a field that means nothing, or does not fit the global batch."""
        return

    def check_encoder(self, encoder: EncoderConfig, embedding_dim: int) -> None:
        """Raise PrimusError for an encoder whose outputs the method cannot use."""
        return

    @property
    def frozen(self) -> Mapping[str, str]:
        """Exported folders of frozen networks that the step takes as `towers`, by name there."""
        return {}

    @property
    def frozen_configs(self) -> Mapping[str, EncoderConfig]:
        """Usual architectures of the same: a step is compiled for them where no folder is yet."""
        return {}

    def check_frozen(
        self, networks: Mapping[str, Frozen], folders: Sequence[DatasetFolder]
    ) -> None:
        """Raise PrimusError for frozen networks that fit neither the method nor the datasets."""
        return


class Objective(Protocol):
    """A method of pretraining, as pure functions on trees.

    `params` is trained by gradient. `extra` is not, but must survive a restart (a queue, a
    momentum encoder). `towers` is frozen: an argument, never part of the train state (law 4).
    A batch is a dict of arrays whose first axis is this device's part of the global batch: the
    arrays of `ObjectiveConfig.inputs`, and "index" int32 `[rows]`, the place of every row in the
    global batch. A class that names this protocol as its base inherits the bodies below.
    """

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Return fresh `params` and `extra`, from the shapes of a batch."""
        ...

    def forward(self, params: Tree, batch: Batch, key: jax.Array) -> Tree:
        """Return what treats every window by itself: leaves `[rows, ...]`, no collectives.

        `key` belongs to the step; what is random about a window comes from
        `fold_in(key, its index in the global batch)` (law 2).
        """
        ...

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
        """Return the loss of the global batch, the next `extra`, and scalar metrics.

        Args:
            params, extra, towers, batch: see above; inside `jax.shard_map` what this device holds.
            key: as of `forward`.
            axis_name: the mesh axes over which the batch is split.
            forward: computes what `self.forward` does, in another way.
        """
        ...

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
        """Return what validation measures; that of training, unless the method differs there."""
        return self.loss(params, extra, towers, batch, key, axis_name=axis_name, forward=forward)

    def extra_rows(self, extra: Tree) -> Tree:
        """Return True for the leaves of `extra` whose first axis is split over the devices."""
        return jax.tree.map(lambda leaf: False, extra)

    def constrain(self, params: Tree) -> Tree:
        """Return `params` within their bounds; called after every update."""
        return params

    def encoder_params(self, params: Tree) -> Tree:
        """Return the trained part of what is exported: the encoder with its heads."""
        return params["encoder"]

    def exported(self, params: Tree, extra: Tree) -> Tree:
        """Return what is exported: the encoder, with the statistics that `extra` keeps of it."""
        return self.encoder_params(params)
