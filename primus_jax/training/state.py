"""The train state: everything a restart needs, and nothing frozen (laws 2 and 4)."""

from collections.abc import Callable
from typing import Any, cast

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from primus_jax.errors import PrimusError
from primus_jax.objectives.base import Objective
from primus_jax.parallel.sharding import extra_specs, split_specs

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


def state_specs(
    objective: Objective, state: TrainState, mesh: Mesh, fsdp: bool = False
) -> TrainState:
    """The PartitionSpec of every leaf of a state, which may be abstract.

    Raises:
        PrimusError: the objective splits rows that the devices cannot share evenly.
    """
    split = objective.extra_rows(state.extra)
    for (path, leaf), is_split in zip(
        jax.tree_util.tree_leaves_with_path(state.extra), jax.tree.leaves(split), strict=True
    ):
        if is_split and leaf.shape[0] % mesh.size:
            raise PrimusError(
                f"{jax.tree_util.keystr(path)} has {leaf.shape[0]} rows, which {mesh.size} devices "
                f"cannot share evenly. Use a multiple of {mesh.size}."
            )
    return TrainState(
        step=cast(Any, PartitionSpec()),
        params=split_specs(state.params, mesh, fsdp),
        opt_state=split_specs(state.opt_state, mesh, fsdp),
        extra=extra_specs(split, mesh),
    )


def abstract_state(
    make: Callable[[], TrainState], objective: Objective, mesh: Mesh, fsdp: bool = False
) -> TrainState:
    """Shapes, dtypes and shardings of the state, without computing it."""
    shapes = jax.eval_shape(make)
    return jax.tree.map(
        lambda x, spec: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec)),
        shapes,
        state_specs(objective, shapes, mesh, fsdp),
    )


def init_state(make: Callable[[], TrainState], abstract: TrainState) -> TrainState:
    """Run `make` under one jit, so that the state is born where `abstract` says it will live."""
    return jax.jit(make, out_shardings=jax.tree.map(lambda x: x.sharding, abstract))()
