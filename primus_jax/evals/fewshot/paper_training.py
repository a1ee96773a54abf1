"""Training of the paper's protocol: one head per draw, and the encoder where asked.

All draws of a shot count are one compiled program.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from primus_jax.encoder import initialise
from primus_jax.evals.fewshot.criterion import each_loss, score
from primus_jax.evals.fewshot.head import HeadShape, head_logits, initial_head
from primus_jax.evals.fewshot.network import Network, Parts, encode, part
from primus_jax.evals.fewshot.paper_config import PaperConfig
from primus_jax.evals.fewshot.probe import Scaler, fit_scaler
from primus_jax.evals.fewshot.rates import learning_rates
from primus_jax.trees import Params

MOMENTUM = 0.9
_BLOCK = 512  # windows predicted at once


class Model(NamedTuple):
    """What is trained, and how; static and hashable.

    Attributes:
        width: values that the classifier reads.
        classes: that it tells apart; 1 where it predicts a number.
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
        pool: int32 `[draws, p]`, windows of training people that standardise the head's inputs;
            None where these are unit vectors.
    """

    rows: jax.Array
    valid: jax.Array
    validation: jax.Array
    validation_valid: jax.Array
    test: jax.Array
    key: jax.Array
    pool: jax.Array | None = None


class PaperFits(NamedTuple):
    """`logits` float32 `[draws, t, classes]`; the best `epoch` (from 1), its validation `score`,
    and the epochs that were `trained`, `[draws]` each."""

    logits: jax.Array
    epoch: jax.Array
    score: jax.Array
    trained: jax.Array

    @property
    def predicted(self) -> jax.Array:
        """The class of every tested window, int32 `[draws, t]`."""
        return jnp.argmax(self.logits, -1).astype(jnp.int32)


class Start(NamedTuple):
    """Where training starts: the `encoder`'s parameters (empty: initialised by the draw's key) and
    the head's `kernel` `[width, classes]` (None: random)."""

    encoder: Params
    kernel: jax.Array | None = None


class Weights(NamedTuple):
    """The whole classifier: `head`, the `encoder` in parts (of empty trees where inputs are
    features), and the `scaler` of the head's inputs (None: unit vectors, or as they are)."""

    head: dict[str, jax.Array]
    encoder: Parts
    scaler: Scaler | None


class _Task(NamedTuple):
    """One draw to train for; the arrays of `draw` have no leading `[draws]`."""

    inputs: jax.Array
    label: jax.Array
    draw: PaperDraws
    model: Model


class _Progress(NamedTuple):
    """What an epoch hands to the next; `best` is the highest validation score so far."""

    epoch: jax.Array
    weights: Weights
    moments: optax.OptState
    best: jax.Array
    best_weights: Weights
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
        label: int32 `[n]`, or float32 numbers to predict.
        draws: the windows of every draw.
        start: the same for every draw.
        model: what is trained, and how.
        together: draws trained at once by `vmap`; 1 takes them one after another, which is faster
            for a whole encoder on a CPU (a convolution with other weights for every draw is slow
            there). The result is the same.
    """

    def one_draw(draw: PaperDraws) -> PaperFits:
        task = _Task(inputs, label, draw, model)
        end = _fit_draw(task, start)
        logits = _predict(end.best_weights, task, draw.test)
        return PaperFits(logits, end.best_epoch, end.best, end.epoch)

    if together == 1:
        return jax.lax.map(one_draw, draws)
    return jax.lax.map(one_draw, draws, batch_size=together)


@functools.partial(jax.jit, static_argnames="model")
def fit_weights(
    inputs: jax.Array, label: jax.Array, draw: PaperDraws, start: Start, *, model: Model
) -> tuple[Weights, jax.Array, jax.Array]:
    """Train the classifier of one draw: its weights, the best epoch and the validation score.

    Args:
        inputs: and label, start, model: see `fit_draws`.
        draw: arrays without a leading `[draws]`; `test` is not read.
    """
    end = _fit_draw(_Task(inputs, label, draw, model), start)
    return end.best_weights, end.best_epoch, end.best


def _fit_draw(task: _Task, start: Start) -> _Progress:
    """Train for the epochs that patience allows, and keep the weights of the best one."""
    draw, config = task.draw, task.model.config
    head_key, encoder_key, order_key = jax.random.split(draw.key, 3)
    weights = _initial_weights(task, start, head_key, encoder_key)
    optimizer = _optimizer(config)

    def unfinished(progress: _Progress) -> jax.Array:
        waited = progress.epoch - progress.best_epoch
        patient = waited < config.patience if config.patience else jnp.array(True)
        return (progress.epoch < config.epochs) & patient

    def epoch(progress: _Progress) -> _Progress:
        number = progress.epoch
        order = _shuffled(draw.valid, jax.random.fold_in(order_key, number))
        weights, moments = _train_epoch(
            task, optimizer, order, number, progress.weights, progress.moments
        )
        reached = _validation_score(weights, task)
        better = reached > progress.best
        best_weights = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), weights, progress.best_weights
        )
        best_epoch = jnp.where(better, number + 1, progress.best_epoch)
        best = jnp.maximum(progress.best, reached)
        return _Progress(number + 1, weights, moments, best, best_weights, best_epoch)

    moments = optimizer.init(_trained(weights))
    zero = jnp.int32(0)
    begin = _Progress(zero, weights, moments, jnp.float32(-jnp.inf), weights, zero)
    return jax.lax.while_loop(unfinished, epoch, begin)


def _initial_weights(
    task: _Task, start: Start, head_key: jax.Array, encoder_key: jax.Array
) -> Weights:
    """Head, encoder, and the scaler of the head's inputs as the encoder starts."""
    model, network, config = task.model, task.model.network, task.model.config
    encoder = Parts({}, {}, {})
    if network is not None:
        fresh = start.encoder or initialise(encoder_key, task.inputs[:1], network.config)
        encoder = part(fresh, network, task.inputs.shape[1])
    head = initial_head(
        head_key, HeadShape(model.width, config.hidden, model.classes), start.kernel
    )
    scaler = None
    if config.inputs == "standard" and task.draw.pool is not None:
        x = task.inputs[task.draw.pool]
        if network is not None:
            x, _ = encode(network, encoder, x, training=True)
        scaler = fit_scaler(x, jnp.ones(len(x), bool))
    return Weights(head, encoder, scaler)


def _trained(weights: Weights) -> Params:
    """What the optimizer sees."""
    return {"head": weights.head, "encoder": weights.encoder.trained}


def _replaced(weights: Weights, trained: Params) -> Weights:
    encoder = weights.encoder._replace(trained=trained["encoder"])
    return weights._replace(head=trained["head"], encoder=encoder)


def _shuffled(valid: jax.Array, key: jax.Array) -> jax.Array:
    """Places of the labelled windows in a random order, int32 `[m]`, those not `valid` last."""
    return jnp.argsort(jnp.where(valid, jax.random.uniform(key, valid.shape), 2.0))


def _train_epoch(
    task: _Task,
    optimizer: optax.GradientTransformation,
    order: jax.Array,
    number: jax.Array,
    weights: Weights,
    moments: optax.OptState,
) -> tuple[Weights, optax.OptState]:
    """Take every labelled window once, in `order`; the last batch of epoch `number` may be small.

    Steps are as many as the valid windows need, so that few of them take few steps. The places
    that the last batch has left hold its windows again: they have no weight in the loss, and batch
    statistics never see a window that is not the draw's.
    """
    rows, config = task.draw.rows, task.model.config
    batch = min(config.batch_size, len(rows))
    count = task.draw.valid.sum().astype(jnp.int32)
    steps = (count + batch - 1) // batch
    places = jnp.arange(-(-len(rows) // batch) * batch, dtype=jnp.int32)
    order = order[places % jnp.maximum(count, 1)]
    label = task.label[rows]
    importance = _importance(label, task.draw.valid, task.model)[order]
    weight = jnp.where(places < count, importance, jnp.float32(0))

    def output(weights: Weights, x: jax.Array) -> tuple[jax.Array, Params]:
        both = [functools.partial(_logits, model=task.model, training=on) for on in (True, False)]
        if not config.head_epochs:
            return both[0](weights, x)
        # While the head trains alone, the encoder is in evaluation mode.
        return jax.lax.cond(number < config.head_epochs, both[1], both[0], weights, x)

    def loss(
        trained: Params, weights: Weights, rows: jax.Array, weight: jax.Array
    ) -> tuple[jax.Array, Params]:
        weights = _replaced(weights, trained)
        logits, running = output(weights, task.inputs[rows])
        each = each_loss(logits, task.label[rows], config.chosen_by)
        return (weight * each).sum() / jnp.maximum(weight.sum(), 1e-9), running

    def step(i: jax.Array, state: tuple[Weights, optax.OptState]) -> tuple[Weights, optax.OptState]:
        weights, moments = state
        chosen = jax.lax.dynamic_slice_in_dim(order, i * batch, batch)
        share = jax.lax.dynamic_slice_in_dim(weight, i * batch, batch)
        trained = _trained(weights)
        gradient, running = jax.grad(loss, has_aux=True)(trained, weights, rows[chosen], share)
        rates = learning_rates(config, number * steps + i, steps)._asdict()
        if config.head_epochs:
            # so that the optimizer remembers nothing of gradients that are not followed
            seen = (rates["encoder"] > 0).astype(jnp.float32)
            gradient["encoder"] = jax.tree.map(lambda g: seen * g, gradient["encoder"])
        # optax mixes dtypes, which strict promotion refuses
        with jax.numpy_dtype_promotion("standard"):
            updates, moments = optimizer.update(gradient, moments, trained)
        after = {
            name: jax.tree.map(lambda p, u: p - rates[name] * u, own, updates[name])  # noqa: B023
            for name, own in trained.items()
        }
        weights = _replaced(weights, after)
        return weights._replace(encoder=weights.encoder._replace(running=running)), moments

    return jax.lax.fori_loop(0, steps, step, (weights, moments))


def _importance(label: jax.Array, valid: jax.Array, model: Model) -> jax.Array:
    """The weight of every labelled window in the loss, `[m]`, with a mean of 1 over valid ones."""
    shown = valid.astype(jnp.float32)
    if not model.config.class_weights:
        return shown
    counts = jnp.zeros(model.classes).at[label].add(shown)
    there = (counts > 0).sum().astype(jnp.float32)
    return shown * (shown.sum() / (there * jnp.maximum(counts, 1)))[label]


def _optimizer(config: PaperConfig) -> optax.GradientTransformation:
    """AdamW or SGD as in PyTorch, before the rate, which depends on the windows of a draw."""
    if config.optimizer == "sgd":
        return optax.chain(
            optax.add_decayed_weights(config.weight_decay), optax.trace(decay=MOMENTUM)
        )
    return optax.chain(
        optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
        optax.add_decayed_weights(config.weight_decay),
    )


def _logits(
    weights: Weights, x: jax.Array, model: Model, *, training: bool = False
) -> tuple[jax.Array, Params]:
    """`[batch, classes]` of features `[batch, dim]`, or of windows `[batch, time, 6]`, and the
    statistics that follow."""
    running = weights.encoder.running
    if model.network is not None:
        x, running = encode(model.network, weights.encoder, x, training=training)
    return head_logits(weights.head, x, weights.scaler, model.config.inputs), running


def _predict(weights: Weights, task: _Task, rows: jax.Array) -> jax.Array:
    """The logits of every window of `rows` int32 `[n]`, in blocks; float32 `[n, classes]`."""
    block = min(_BLOCK, len(rows))
    blocks = jnp.pad(rows, (0, -len(rows) % block)).reshape(-1, block)

    def logits(rows: jax.Array) -> jax.Array:
        return _logits(weights, task.inputs[rows], task.model)[0]

    return jax.lax.map(logits, blocks).reshape(-1, task.model.classes)[: len(rows)]


def _validation_score(weights: Weights, task: _Task) -> jax.Array:
    """The score of the draw's validation windows, a scalar."""
    rows, chosen_by = task.draw.validation, task.model.config.chosen_by
    outputs = _predict(weights, task, rows)
    return score(outputs, task.label[rows], task.draw.validation_valid, chosen_by)
