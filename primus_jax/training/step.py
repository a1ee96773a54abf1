"""One update and one validation batch: objective inside `shard_map`, gradient outside it."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from jax.sharding import Mesh, PartitionSpec

from primus_jax.objectives.base import Objective
from primus_jax.training.sharding import AXIS
from primus_jax.training.state import TrainState

# Numbers that no step reaches keep other keys apart from those of training.
VALIDATION_STREAM = 2**32 - 2
# (tower parameters, batch) -> batch: what towers inside the step make of a device's rows.
Embed = Callable[[Any, dict[str, jax.Array]], dict[str, jax.Array]]


def stored(towers: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The batch as it is: its embeddings are those of the data set."""
    return batch


def sharded_loss(objective: Objective, mesh: Mesh, embed: Embed = stored) -> Callable[..., Any]:
    """The objective's loss as a function of global arrays: batch sharded, the rest replicated.

    The replication check stays on (`check_vma`), so that the transpose sums the gradient over
    devices exactly once; nothing here adds a `psum` of its own.
    """

    def loss(params, extra, towers, batch, key):
        batch = embed(towers, batch)
        return objective.loss(params, extra, towers, batch, key, axis_name=AXIS)

    everywhere, rows = PartitionSpec(), PartitionSpec(AXIS)
    return jax.shard_map(
        loss,
        mesh=mesh,
        in_specs=(everywhere, everywhere, everywhere, rows, everywhere),
        out_specs=(everywhere, (everywhere, everywhere)),
    )


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    seed: int,
    embed: Embed = stored,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """`step(state, towers, batch) -> (state, metrics)`; the state is donated."""
    loss = sharded_loss(objective, mesh, embed)

    def step(state: TrainState, towers, batch):
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        (value, (extra, metrics)), grads = jax.value_and_grad(loss, has_aux=True)(
            state.params, state.extra, towers, batch, key
        )
        # optax mixes integers and floats; everything of ours keeps strict promotion
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = objective.constrain(optax.apply_updates(state.params, updates))
        metrics = {"loss": value, **metrics, "grad_norm": optax.tree.norm(grads)}
        return TrainState(state.step + 1, params, opt_state, extra), metrics

    return jax.jit(step, donate_argnums=0)


def make_eval_step(
    objective: Objective, mesh: Mesh, seed: int, embed: Embed = stored
) -> Callable[..., dict[str, jax.Array]]:
    """`eval(params, extra, towers, batch, number) -> metrics` of validation batch `number`.

    The key depends on the batch's number only, so that the validation loss of two checkpoints
    differs by their weights and not by the draw. What the loss would write to `extra` is dropped.
    """
    loss = sharded_loss(objective, mesh, embed)

    def evaluate(params, extra, towers, batch, number):
        key = jax.random.fold_in(jax.random.key(seed), VALIDATION_STREAM)
        value, (_, metrics) = loss(params, extra, towers, batch, jax.random.fold_in(key, number))
        return {"loss": value, **metrics}

    return jax.jit(evaluate)
