"""One update and one validation batch: objective inside `shard_map`, gradient outside it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from primus_jax.models.compute import micro_batched
from primus_jax.objectives.base import Batch, Metrics, Objective
from primus_jax.parallel.sharding import batch_axes, extra_specs, gather, rows, split_specs
from primus_jax.training.state import TrainState, state_specs
from primus_jax.trees import Tree

# Numbers that no step reaches keep other keys apart from those of training.
VALIDATION_STREAM = 2**32 - 2
# (tower parameters, batch) -> batch: what towers inside the step make of a device's rows.
Embed = Callable[[Any, dict[str, jax.Array]], dict[str, jax.Array]]


def stored(towers: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The batch as it is: its embeddings are those of the dataset."""
    return batch


def sharded_loss(
    objective: Objective,
    mesh: Mesh,
    embed: Embed = stored,
    *,
    fsdp: bool = False,
    micro_batches: int = 1,
    validation: bool = False,
) -> Callable[..., Any]:
    """The objective's loss as a function of global arrays, laid out as `parallel/sharding.py` says;
    with `validation`, what validation measures.

    The replication check stays on (`check_vma`), so that the transpose sums the gradient over
    devices exactly once; nothing here adds a `psum` of its own.
    """
    everywhere = PartitionSpec()
    forward = micro_batched(objective.forward, micro_batches)
    of_batch = objective.validation_loss if validation else objective.loss

    def loss(
        params: Tree, extra: Tree, towers: Tree, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
        split = split_specs(params, mesh, fsdp)
        kept = extra_specs(objective.extra_rows(extra), mesh)

        def local(
            params: Tree, extra: Tree, towers: Tree, batch: Batch, key: jax.Array
        ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
            return of_batch(
                gather(params, split, batch["index"]),
                extra,
                towers,
                embed(towers, batch),
                key,
                axis_name=batch_axes(mesh),
                forward=forward,
            )

        return jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(split, kept, everywhere, rows(mesh), everywhere),
            out_specs=(everywhere, (kept, everywhere)),
        )(params, extra, towers, batch, key)

    return loss


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    seed: int,
    embed: Embed = stored,
    *,
    fsdp: bool = False,
    micro_batches: int = 1,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """`step(state, towers, batch, stop) -> (state, metrics)`; the state is donated.

    `stop` is bool `[devices]` (`sharding.stop_flags`): what each process wants. `metrics["stop"]`
    is 1 where any wants to stop, so that all of them learn it with the same step.
    """
    loss = sharded_loss(objective, mesh, embed, fsdp=fsdp, micro_batches=micro_batches)

    def step(
        state: TrainState, towers: Tree, batch: Batch, stop: jax.Array
    ) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        (value, (extra, metrics)), grads = jax.value_and_grad(loss, has_aux=True)(
            state.params, state.extra, towers, batch, key
        )
        # optax mixes integers and floats; everything of ours keeps strict promotion
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = objective.constrain(optax.apply_updates(state.params, updates))
        state = TrainState(state.step + 1, params, opt_state, extra)
        metrics = {
            "loss": value,
            **metrics,
            "grad_norm": optax.tree.norm(grads),
            "stop": jnp.any(stop).astype(jnp.float32),
        }
        specs = (
            state_specs(objective, state, mesh, fsdp),
            jax.tree.map(lambda _: PartitionSpec(), metrics),
        )
        shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
        return jax.lax.with_sharding_constraint((state, metrics), shardings)

    return jax.jit(step, donate_argnums=0)


def make_eval_step(
    objective: Objective,
    mesh: Mesh,
    seed: int,
    embed: Embed = stored,
    *,
    fsdp: bool = False,
) -> Callable[..., dict[str, jax.Array]]:
    """`eval(params, extra, towers, batch, number) -> metrics` of validation batch `number`.

    The key depends on the batch's number only, so that the validation loss of two checkpoints
    differs by their weights and not by the draw. What the loss would write to `extra` is dropped.
    """
    loss = sharded_loss(objective, mesh, embed, fsdp=fsdp, validation=True)

    def evaluate(
        params: Tree, extra: Tree, towers: Tree, batch: Batch, number: jax.Array
    ) -> Metrics:
        key = jax.random.fold_in(jax.random.key(seed), VALIDATION_STREAM)
        value, (_, metrics) = loss(params, extra, towers, batch, jax.random.fold_in(key, number))
        return {"loss": value, **metrics}

    return jax.jit(evaluate)
