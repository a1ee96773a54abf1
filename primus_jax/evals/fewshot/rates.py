"""The learning rates of a classifier that is trained by gradient, step by step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from primus_jax.evals.fewshot.paper_config import PaperConfig


class Rates(NamedTuple):
    """Learning rate of the `head` and of the `encoder` at one step, float32 scalars."""

    head: jax.Array
    encoder: jax.Array


def learning_rates(config: PaperConfig, step: jax.Array, steps: jax.Array) -> Rates:
    """The rates at a step, counted from 0, where an epoch has `steps` of them; int32 scalars.

    With `head_epochs` the head trains first and alone: at `head_lr`, and a tenth of it in the last
    fifth of those epochs.
    """
    alone = steps * config.head_epochs
    total, after = steps * (config.epochs - config.head_epochs), jnp.maximum(step - alone, 0)
    if config.schedule == "epochs":
        both = by_epochs(config, after.astype(jnp.float32) / steps.astype(jnp.float32))
    else:
        both = config.lr * schedule(after, total)
    if not config.head_epochs:
        return Rates(both, both)
    head = config.head_lr * jnp.where(5 * step < 4 * alone, 1.0, 0.1)
    return Rates(jnp.where(step < alone, head, both), jnp.where(step < alone, 0.0, both))


def by_epochs(config: PaperConfig, epoch: jax.Array) -> jax.Array:
    """The rate of schedule "epochs" after `epoch` epochs, float32, fractions included.

    A line from `lr_start` to `lr` over `warmup_epochs`, then a cosine to `lr_end` at the last epoch
    (IMG2IMU, arXiv 2209.00945 v2). The paper states the rate of whole epochs; between them the
    rate follows the same curve.
    """
    warm, length = config.warmup_epochs, config.epochs - config.head_epochs
    rise = config.lr_start + (config.lr - config.lr_start) * epoch / max(warm, 1)
    past = jnp.clip((epoch - warm) / max(length - warm, 1), 0, 1)
    fall = config.lr_end + (config.lr - config.lr_end) * 0.5 * (1 + jnp.cos(jnp.pi * past))
    return jnp.where(epoch < warm, rise, fall)


def schedule(step: jax.Array, total: jax.Array) -> jax.Array:
    """Share of the base rate at `step` of `total`: linear warm-up, then cosine to 0.

    The warm-up takes max(total // 100, 10) steps as in PRIMUS, at most half of all.
    """
    warmup = jnp.minimum(jnp.maximum(total // 100, 10), total // 2).astype(jnp.float32)
    step, total = step.astype(jnp.float32), total.astype(jnp.float32)
    rise = (step + 1) / jnp.maximum(warmup, 1)
    past = jnp.clip((step - warmup) / jnp.maximum(total - warmup, 1), 0, 1)
    return jnp.where(step < warmup, rise, 0.5 * (1 + jnp.cos(jnp.pi * past)))
