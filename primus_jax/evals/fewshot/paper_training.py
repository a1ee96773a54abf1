"""Training of the paper's protocol: one linear head per draw, and the encoder where asked.

All draws of a shot count are one compiled program.
"""

import dataclasses
import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from primus_jax.encoder import initialise
from primus_jax.errors import PrimusError
from primus_jax.models.base import EncoderConfig
from primus_jax.numerics import dot, normalize
from primus_jax.trees import Params

_BLOCK = 512  # windows predicted at once


@dataclasses.dataclass(frozen=True)
class PaperConfig:
    """How the head (and, fine-tuned, the encoder) is trained.

    The paper's rate, decay and batch; its epochs differ by dataset (10 to 50).
    """

    lr: float = 1e-4
    weight_decay: float = 1e-4
    epochs: int = 20
    batch_size: int = 256

    def validate(self) -> None:
        """Raise PrimusError for values that mean nothing."""
        if not 0 < self.lr < float("inf") or not 0 <= self.weight_decay < float("inf"):
            raise PrimusError(
                f"lr {self.lr}, weight decay {self.weight_decay}; expected lr above 0, decay 0 or "
                f"more."
            )
        if self.epochs < 1 or self.batch_size < 1:
            raise PrimusError(
                f"epochs {self.epochs}, batch size {self.batch_size}; expected at least 1 each."
            )


class Network(NamedTuple):
    """An encoder of `config` that is trained together with the classifier of its output `head`."""

    config: EncoderConfig
    head: str


class Model(NamedTuple):
    """What is trained, and how; static and hashable.

    Attributes:
        width: values that the classifier reads.
        classes: that it tells apart.
        config: how it is trained.
        network: the encoder that is trained as well; None: inputs are features.
    """

    width: int
    classes: int
    config: PaperConfig
    network: Network | None = None


class PaperDraws(NamedTuple):
    """The windows of every draw, by number.

    Attributes:
        rows: int32 `[draws, m]`, the labelled windows.
        valid: bool `[draws, m]`.
        validation: int32 `[draws, v]`, the windows that choose the epoch.
        validation_valid: bool `[draws, v]`.
        test: int32 `[draws, t]`, the windows to predict.
        key: `[draws]`, of the head, the encoder and the order of the windows.
    """

    rows: jax.Array
    valid: jax.Array
    validation: jax.Array
    validation_valid: jax.Array
    test: jax.Array
    key: jax.Array


class PaperFits(NamedTuple):
    """`predicted` int32 `[draws, t]`, the best `epoch` (from 1) and its validation `accuracy`
    `[draws]`."""

    predicted: jax.Array
    epoch: jax.Array
    accuracy: jax.Array


class Start(NamedTuple):
    """Where training starts: the `encoder`'s parameters (empty: initialised by the draw's key) and
    the head's `kernel` `[width, classes]` (None: random)."""

    encoder: Params
    kernel: jax.Array | None = None


class _Task(NamedTuple):
    """One draw to train for; the arrays of `draw` have no leading `[draws]`."""

    inputs: jax.Array
    label: jax.Array
    draw: PaperDraws
    model: Model


class _Progress(NamedTuple):
    """What an epoch hands to the next; `best` is the highest validation accuracy so far."""

    params: Params
    moments: optax.OptState
    best: jax.Array
    best_params: Params
    best_epoch: jax.Array


@functools.partial(jax.jit, static_argnames=("model", "together"))
def fit_draws(
    inputs: jax.Array,
    label: jax.Array,
    draws: PaperDraws,
    start: Start,
    *,
    model: Model,
    together: int,
) -> PaperFits:
    """Train one classifier per draw and predict its test windows.

    Args:
        inputs: features `[n, dim]`, or windows `[n, time, 6]` where the model has a network.
        label: int32 `[n]`.
        draws: the windows of every draw.
        start: the same for every draw.
        model: what is trained, and how.
        together: draws trained at once by `vmap`; 1 takes them one after another, which is faster
            for a whole encoder on a CPU (a convolution with other weights for every draw is slow
            there). The result is the same.
    """

    def one_draw(draw: PaperDraws) -> PaperFits:
        return _fit_draw(_Task(inputs, label, draw, model), start)

    if together == 1:
        return jax.lax.map(one_draw, draws)
    return jax.lax.map(one_draw, draws, batch_size=together)


def _fit_draw(task: _Task, start: Start) -> PaperFits:
    """Train for all epochs and keep the parameters of the best one."""
    draw, model = task.draw, task.model
    head_key, encoder_key, order_key = jax.random.split(draw.key, 3)
    params: dict[str, Any] = {"head": _initial_head(head_key, start.kernel, model)}
    if model.network is not None:
        fresh = start.encoder or initialise(encoder_key, task.inputs[:1], model.network.config)
        params["encoder"] = fresh
    optimizer = _adamw(model.config)

    def epoch(progress: _Progress, number: jax.Array) -> tuple[_Progress, None]:
        order = _shuffled(draw.valid, jax.random.fold_in(order_key, number))
        params, moments = _train_epoch(
            task, optimizer, order, number, progress.params, progress.moments
        )
        accuracy = _validation_accuracy(params, task)
        better = accuracy > progress.best
        best_params = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), params, progress.best_params
        )
        best_epoch = jnp.where(better, number + 1, progress.best_epoch)
        best = jnp.maximum(progress.best, accuracy)
        return _Progress(params, moments, best, best_params, best_epoch), None

    begin = _Progress(params, optimizer.init(params), jnp.float32(-1), params, jnp.int32(0))
    epochs = jnp.arange(model.config.epochs, dtype=jnp.int32)
    end, _ = jax.lax.scan(epoch, begin, epochs)
    return PaperFits(_predict(end.best_params, task, draw.test), end.best_epoch, end.best)


def _shuffled(valid: jax.Array, key: jax.Array) -> jax.Array:
    """Places of the labelled windows in a random order, int32 `[m]`, those not `valid` last."""
    return jnp.argsort(jnp.where(valid, jax.random.uniform(key, valid.shape), 2.0))


def _train_epoch(
    task: _Task,
    optimizer: optax.GradientTransformation,
    order: jax.Array,
    number: jax.Array,
    params: Params,
    moments: optax.OptState,
) -> tuple[Params, optax.OptState]:
    """Take every labelled window once, in `order`; the last batch of epoch `number` may be small.

    Steps are as many as the valid windows need, so that few of them take few steps.
    """
    rows, config = task.draw.rows, task.model.config
    batch = min(config.batch_size, len(rows))
    count = task.draw.valid.sum().astype(jnp.int32)
    steps = (count + batch - 1) // batch
    places = -(-len(rows) // batch) * batch
    order = jnp.pad(order, (0, places - len(rows)))
    weight = (jnp.arange(places, dtype=jnp.int32) < count).astype(jnp.float32)

    def loss(params: Params, rows: jax.Array, weight: jax.Array) -> jax.Array:
        logits = _logits(params, task.inputs[rows], task.model)
        each = optax.softmax_cross_entropy_with_integer_labels(logits, task.label[rows])
        return (weight * each).sum() / jnp.maximum(weight.sum(), 1)

    def step(i: jax.Array, state: tuple[Params, optax.OptState]) -> tuple[Params, optax.OptState]:
        params, moments = state
        chosen = jax.lax.dynamic_slice_in_dim(order, i * batch, batch)
        share = jax.lax.dynamic_slice_in_dim(weight, i * batch, batch)
        gradient = jax.grad(loss)(params, rows[chosen], share)
        rate = config.lr * schedule(number * steps + i, steps * config.epochs)
        # optax mixes dtypes, which strict promotion refuses
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = optimizer.update(gradient, moments, params)
        return jax.tree.map(lambda p, u: p - rate * u, params, updates), moments

    return jax.lax.fori_loop(0, steps, step, (params, moments))


def _adamw(config: PaperConfig) -> optax.GradientTransformation:
    """AdamW with PyTorch's constants, before the rate, which depends on the windows of a draw."""
    return optax.chain(
        optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
        optax.add_decayed_weights(config.weight_decay),
    )


def _logits(params: Params, x: jax.Array, model: Model) -> jax.Array:
    """`[batch, classes]` of features `[batch, dim]`, or of windows `[batch, time, 6]`."""
    if model.network is not None:
        outputs = model.network.config.build().apply({"params": params["encoder"]}, x)
        x = cast(dict[str, jax.Array], outputs)[model.network.head]
    return dot(normalize(x), params["head"]["kernel"]) + params["head"]["bias"]


def _predict(params: Params, task: _Task, rows: jax.Array) -> jax.Array:
    """The class of every window of `rows` int32 `[n]`, in blocks; int32 `[n]`."""
    block = min(_BLOCK, len(rows))
    blocks = jnp.pad(rows, (0, -len(rows) % block)).reshape(-1, block)

    def best(rows: jax.Array) -> jax.Array:
        return jnp.argmax(_logits(params, task.inputs[rows], task.model), -1)

    return jax.lax.map(best, blocks).reshape(-1)[: len(rows)].astype(jnp.int32)


def _validation_accuracy(params: Params, task: _Task) -> jax.Array:
    """Share of the draw's validation windows predicted right, a scalar."""
    rows, valid = task.draw.validation, task.draw.validation_valid
    right = (_predict(params, task, rows) == task.label[rows]) & valid
    return right.sum().astype(jnp.float32) / valid.sum().astype(jnp.float32)


def _initial_head(key: jax.Array, kernel: jax.Array | None, model: Model) -> dict[str, jax.Array]:
    bound = 1 / np.sqrt(model.width)
    if kernel is None:
        shape = (model.width, model.classes)
        kernel = jax.random.uniform(key, shape, jnp.float32, -bound, bound)
    return {"kernel": kernel, "bias": jnp.zeros(model.classes)}


def schedule(step: jax.Array, total: jax.Array) -> jax.Array:
    """Share of the base rate at `step` of `total`: linear warm-up, then cosine to 0.

    The warm-up takes max(total // 100, 10) steps as in the paper, at most half of all.
    """
    warmup = jnp.minimum(jnp.maximum(total // 100, 10), total // 2).astype(jnp.float32)
    step, total = step.astype(jnp.float32), total.astype(jnp.float32)
    rise = (step + 1) / jnp.maximum(warmup, 1)
    past = jnp.clip((step - warmup) / jnp.maximum(total - warmup, 1), 0, 1)
    return jnp.where(step < warmup, rise, 0.5 * (1 + jnp.cos(jnp.pi * past)))
