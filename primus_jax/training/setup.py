"""One set-up of an experiment: what the loop, the export and the compiler need of a config."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from jax.sharding import Mesh, NamedSharding

from primus_jax.config import Config
from primus_jax.data.inputs import example_batch
from primus_jax.objectives.base import Objective
from primus_jax.optim import make_optimizer
from primus_jax.parallel import sharding
from primus_jax.training.state import TrainState, abstract_state, init_state, state_maker
from primus_jax.training.step import Embed, make_eval_step, make_train_step, stored


@dataclasses.dataclass(frozen=True)
class Setup:
    """The functions of one experiment on one mesh; nothing is compiled before it is called.

    Attributes:
        config: the experiment.
        mesh: the devices.
        objective: what is minimised.
        optimizer: the updates, with their schedule.
        make_state: makes the state of step 0.
        embed: what towers in the step make of a batch; `step.stored` without any.
        example: a batch of one window of zeros, as the objective reads it.
    """

    config: Config
    mesh: Mesh
    objective: Objective
    optimizer: optax.GradientTransformation
    make_state: Callable[[], TrainState]
    embed: Embed
    example: Mapping[str, Any]

    @functools.cached_property
    def abstract(self) -> TrainState:
        """Shapes, dtypes and shardings of the state."""
        return abstract_state(self.make_state, self.objective, self.mesh, self.config.mesh.fsdp)

    @functools.cached_property
    def train_step(self) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
        """One update, jitted; see `step.make_train_step`."""
        return make_train_step(
            self.objective,
            self.optimizer,
            self.mesh,
            self.config.seed,
            self.embed,
            fsdp=self.config.mesh.fsdp,
            micro_batches=self.config.compute.micro_batches,
        )

    @functools.cached_property
    def eval_step(self) -> Callable[..., dict[str, jax.Array]]:
        """Metrics of a validation batch, jitted; see `step.make_eval_step`."""
        return make_eval_step(
            self.objective, self.mesh, self.config.seed, self.embed, fsdp=self.config.mesh.fsdp
        )

    def init_state(self) -> TrainState:
        """Return the state of step 0, born where it will live."""
        return init_state(self.make_state, self.abstract)

    def abstract_batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return shapes, dtypes and shardings of the global batch, as the objective reads it."""
        split = NamedSharding(self.mesh, sharding.rows(self.mesh))
        size = self.config.data.batch_size
        return {
            name: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype, sharding=split)
            for name, x in self.example.items()
        }


def set_up(config: Config, mesh: Mesh, window_samples: int, embed: Embed = stored) -> Setup:
    """Return the functions of an experiment.

    Args:
        config: a valid config.
        mesh: the devices.
        window_samples: of the windows of the datasets.
        embed: of towers in the step (`InStepTowers.embed`).
    """
    objective = config.objective.build(config.encoder, config.compute)
    optimizer = make_optimizer(config.optim, config.steps)
    example = example_batch(config.objective.inputs(window_samples, config.data.embedding_dim))
    make_state = state_maker(objective, optimizer, config.seed, example)
    return Setup(config, mesh, objective, optimizer, make_state, embed, example)
