"""The train state: everything a restart needs, and nothing frozen (laws 2 and 4)."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from primus_jax.objectives.base import Objective
from primus_jax.training.sharding import replicated

# A number that no step reaches keeps this key apart from those of training.
INIT_STREAM = 2**32 - 1


@flax.struct.dataclass
class TrainState:
    """Every leaf is a global array; `step` counts the updates that were made."""

    step: jax.Array
    params: Any
    opt_state: Any
    extra: Any


def state_maker(
    objective: Objective, optimizer: optax.GradientTransformation, seed: int, batch: Any
) -> Callable[[], TrainState]:
    """A function that makes the state of step 0; `batch` gives shapes only."""
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), batch)

    def make() -> TrainState:
        example = {name: jnp.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()}
        params, extra = objective.init(
            jax.random.fold_in(jax.random.key(seed), INIT_STREAM), example
        )
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), extra)

    return make


def init_state(make: Callable[[], TrainState], mesh: Mesh) -> TrainState:
    """Run `make` under one jit, so that the state is born where it will live."""
    return jax.jit(make, out_shardings=replicated(mesh))()


def abstract_state(make: Callable[[], TrainState], mesh: Mesh) -> TrainState:
    """Shapes, dtypes and shardings of the state, without computing it."""
    sharding = replicated(mesh)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), jax.eval_shape(make)
    )
