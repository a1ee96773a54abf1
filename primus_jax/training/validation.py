"""The mean loss over the same batches of the validation split, at every checkpoint."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from primus_jax.config import Config
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.inputs import Input
from primus_jax.data.pipeline import Pipeline
from primus_jax.parallel import sharding
from primus_jax.training.setup import Setup
from primus_jax.training.state import TrainState
from primus_jax.trees import Tree


def open_pipeline(
    config: Config,
    folders: Sequence[DatasetFolder],
    inputs: Sequence[Input],
    split: str,
    batch_size: int,
) -> Pipeline:
    """Return this process's batches of a split, as the config mixes the datasets."""
    return Pipeline(
        folders,
        split,
        batch_size,
        config.seed,
        inputs,
        weights=config.data.weights,
        skip_damaged=config.data.skip_damaged,
        host=jax.process_index(),
        hosts=jax.process_count(),
    )


@dataclasses.dataclass(frozen=True)
class Validation:
    """The first `batches` batches of a pipeline."""

    pipeline: Pipeline
    batches: int

    def loss(self, setup: Setup, state: TrainState, towers: Tree) -> float:
        """Return the mean loss; what the loss would write to `extra` is dropped."""
        losses = []
        for number, rows in zip(range(self.batches), self.pipeline.from_step(0), strict=False):
            batch = sharding.global_batch(setup.mesh, rows)
            metrics = setup.eval_step(state.params, state.extra, towers, batch, np.int32(number))
            losses.append(metrics["loss"])
        return float(np.mean([float(loss) for loss in losses]))


def open_validation(
    config: Config, folders: Sequence[DatasetFolder], inputs: Sequence[Input], devices: int
) -> Validation | None:
    """Return the validation of a run; None where the split has too few windows for a batch."""
    windows = sum(folder.splits.get("validation", 0) for folder in folders)
    size = min(config.data.batch_size, windows // devices * devices)
    if size < 2:
        return None
    count = min(windows // size, config.data.validation_batches)
    return Validation(open_pipeline(config, folders, inputs, "validation", size), count)
