"""The paper's protocol: a linear head from class prompts or at random, AdamW, best epoch.

PRIMUS, downstream evaluation; the encoder frozen, or everything fine-tuned. What its published
script gets wrong is right here: the last batch counts, the learning rate never rises again, every
head has as many rows as the dataset has classes, and every method gets normalised features.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from primus_jax.encoder import Encoder, initialise
from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features
from primus_jax.evals.fewshot.fewshot import Draws, FewShotResult, make_draws, score
from primus_jax.evals.fewshot.sampling import padded_rows
from primus_jax.models.base import EncoderConfig

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_BLOCK = 512  # windows predicted at once
_VALIDATION = 1000  # at most so many validation windows choose the epoch


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
    """What is trained together with the head: nothing (None), or an encoder of `config`.

    `head` is the encoder's output that the classifier reads. Static, hashable.
    """

    config: EncoderConfig
    head: str


def paper_fewshot(
    features: Features,
    shots: Sequence[int] = (1, 5, 10, 20, 50),
    seeds: int | Sequence[int] = 5,
    people: str = "resampled",
    config: PaperConfig | None = None,
    class_embedding: np.ndarray | None = None,
    encoder: Encoder | None = None,
    head: str = "emb",
    imu: np.ndarray | None = None,
    from_scratch: bool = False,
) -> FewShotResult:
    """The paper's protocol for all shots and seeds; all seeds of a shot count run together.

    A fifth of every draw's training people (or the dataset's validation people) choose the best
    epoch by accuracy, with their labels: the protocol sees more labels than the shots.

    Args:
        features: of the whole dataset; their embedding is used while the encoder is frozen.
        shots, seeds, people: see `fewshot.fewshot`.
        config: how to train.
        class_embedding: float `[classes, dim]`, the head's initial weights (`prompts`); None:
            a random head, uniform within 1 / sqrt(dim) as PyTorch's.
        encoder: fine-tune this encoder as well.
        head: the output of `encoder` that is classified.
        imu: float32 `[n, time, 6]`, the windows of `features`; needed with `encoder`.
        from_scratch: start from a random initialisation of `encoder`'s architecture, another for
            every draw.

    Raises:
        PrimusError: as `fewshot.fewshot`, or class embeddings of another width than the features.
    """
    config = config or PaperConfig()
    config.validate()
    draws = make_draws(features, shots, seeds, people, validation=True)
    inputs = np.asarray(features.embedding if encoder is None else imu, np.float32)
    width = features.embedding.shape[1] if encoder is None else encoder.config.width(head)
    classes = len(features.label_names)
    if class_embedding is not None and class_embedding.shape != (classes, width):
        raise PrimusError(
            f"class embeddings {class_embedding.shape}; expected ({classes}, {width}): one row per "
            f"class, as wide as the encoder's output. Use --head mmcl, or no prompts (a random "
            f"head)."
        )
    network = None if encoder is None else Network(encoder.config, head)
    start = {} if encoder is None or from_scratch else encoder.params
    kernel = None if class_embedding is None else np.asarray(class_embedding.T, np.float32)
    predicted, details = _all_shots(features, draws, inputs, width, config, network, start, kernel)
    what = "frozen features" if encoder is None else "full fine-tuning"
    classifier = {
        "protocol": "paper",
        "name": f"linear head, {'from scratch' if from_scratch else what}",
        "head_init": "random" if class_embedding is None else "class prompts",
        **dataclasses.asdict(config),
    }
    return score(features, draws, predicted, classifier, details)


def _all_shots(features, draws: Draws, inputs, width, config, network, start, kernel):
    """Predictions `[draws, shots, tested]` and what the fits report, one entry per shot count.

    A frozen encoder's fits are one program. With an encoder in the loop there is one program per
    shot count, so that few windows do not pay for the batch of many.
    """
    label = features.label
    seeds, most = draws.sides.seed, draws.shown.rows.shape[-1]
    groups = [draws.shots] if network is None else [(k,) for k in draws.shots]
    keys = jax.vmap(jax.random.key)(np.asarray(seeds, np.uint32))
    validation = padded_rows(_at_most(draws.sides.validation & (label >= 0), seeds, _VALIDATION))
    test, _ = padded_rows(draws.sides.test & (label >= 0))
    predicted, details = [], []
    for group in groups:
        width_of = min(max(group), most)
        rows = draws.shown.rows[:, :, :width_of]
        valid = np.stack(
            [draws.shown.valid[:, :, :width_of] & (np.arange(width_of) < k) for k in group], 1
        )
        lanes = len(seeds) * len(group)

        lane = np.arange(len(seeds)).repeat(len(group))
        found, epoch, accuracy = fit_draws(
            inputs, np.maximum(label, 0), rows[lane].reshape(lanes, -1),
            valid.reshape(lanes, -1), *(x[lane] for x in validation), test[lane], keys[lane],
            start, kernel, width=width, classes=len(features.label_names), config=config,
            network=network, together=1 if jax.default_backend() == "cpu" else lanes,
        )  # fmt: skip
        predicted.append(np.asarray(found).reshape(len(seeds), len(group), -1))
        epoch, accuracy = (np.asarray(x).reshape(len(seeds), -1) for x in (epoch, accuracy))
        for j in range(len(group)):
            details.append(
                {
                    "best_epoch": epoch[:, j].tolist(),
                    "validation_accuracy": [round(float(a), 6) for a in accuracy[:, j]],
                }
            )
    return np.concatenate(predicted, 1), details


@functools.partial(jax.jit, static_argnames=("width", "classes", "config", "network", "together"))
def fit_draws(
    inputs: jax.Array,
    label: jax.Array,
    rows: jax.Array,
    valid: jax.Array,
    validation: jax.Array,
    validation_valid: jax.Array,
    test: jax.Array,
    keys: jax.Array,
    start: Any,
    kernel: jax.Array | None,
    *,
    width: int,
    classes: int,
    config: PaperConfig,
    network: Network | None,
    together: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Train one classifier per draw and predict its test windows.

    Args:
        inputs: features `[n, dim]`, or windows `[n, time, 6]` with a `network`.
        label: int32 `[n]`.
        rows, valid: `[draws, m]`, the windows shown.
        validation, validation_valid: `[draws, v]`; test: `[draws, t]`.
        keys: one per draw.
        start: the encoder's parameters; empty: initialised by the draw's key.
        kernel: the head's initial weights `[width, classes]`; None: random.
        together: draws trained at once by `vmap`; 1 takes them one after another, which is faster
            for a whole encoder on a CPU (a convolution with other weights for every draw is slow
            there). The result is the same.

    Returns:
        predicted int32 `[draws, t]`, best epoch (from 1) and its validation accuracy `[draws]`.
    """
    batch = min(config.batch_size, rows.shape[1])
    steps = -(-rows.shape[1] // batch)

    def logits(params, x):
        if network is not None:
            x = network.config.build().apply({"params": params["encoder"]}, x)[network.head]
        x = x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
        head = params["head"]
        product = jnp.matmul(x, head["kernel"], precision=jax.lax.Precision.HIGHEST)
        return product + head["bias"]

    def predict(params, rows):
        blocks = jnp.pad(rows, (0, -len(rows) % min(_BLOCK, len(rows))))
        blocks = blocks.reshape(-1, min(_BLOCK, len(rows)))
        best = jax.lax.map(lambda b: jnp.argmax(logits(params, inputs[b]), -1), blocks)
        return best.reshape(-1)[: len(rows)].astype(jnp.int32)

    def loss(params, rows, weight):
        each = optax.softmax_cross_entropy_with_integer_labels(
            logits(params, inputs[rows]), label[rows]
        )
        return (weight * each).sum() / jnp.maximum(weight.sum(), 1)

    def one_draw(draw):
        rows, valid, validation, validation_valid, test, key = draw
        head_key, encoder_key, order_key = jax.random.split(key, 3)
        params = {"head": _initial_head(head_key, kernel, width, classes)}
        if network is not None:
            fresh = start or initialise(encoder_key, inputs[:1], network.config)
            params["encoder"] = fresh
        count = valid.sum().astype(jnp.int32)
        per_epoch = (count + batch - 1) // batch
        total = per_epoch * config.epochs

        def epoch(state, number):
            params, moments, best, best_params, best_epoch = state
            uniform = jax.random.uniform(jax.random.fold_in(order_key, number), valid.shape)
            order = jnp.argsort(jnp.where(valid, uniform, 2.0))
            order = jnp.pad(order, (0, steps * batch - len(order)))
            place = jnp.arange(steps * batch, dtype=jnp.int32)
            weight = (place < count).astype(jnp.float32)

            def step(i, state):
                params, moments = state
                chosen = jax.lax.dynamic_slice_in_dim(order, i * batch, batch)
                share = jax.lax.dynamic_slice_in_dim(weight, i * batch, batch)
                gradient = jax.grad(loss)(params, rows[chosen], share)
                done = number * per_epoch + i
                rate = config.lr * schedule(done, total)
                return _adamw(params, gradient, moments, done, rate, config.weight_decay)

            params, moments = jax.lax.fori_loop(0, per_epoch, step, (params, moments))
            right = (predict(params, validation) == label[validation]) & validation_valid
            right = right.sum().astype(jnp.float32)
            accuracy = right / validation_valid.sum().astype(jnp.float32)
            better = accuracy > best
            best_params = jax.tree.map(lambda a, b: jnp.where(better, a, b), params, best_params)
            best_epoch = jnp.where(better, number + 1, best_epoch)
            return (params, moments, jnp.maximum(best, accuracy), best_params, best_epoch), None

        nothing = jax.tree.map(jnp.zeros_like, params)
        begin = (params, (nothing, nothing), jnp.float32(-1), params, jnp.int32(0))
        end, _ = jax.lax.scan(epoch, begin, jnp.arange(config.epochs, dtype=jnp.int32))
        _, _, accuracy, params, best_epoch = end
        return predict(params, test), best_epoch, accuracy

    draws = (rows, valid, validation, validation_valid, test, keys)
    if together == 1:
        return jax.lax.map(one_draw, draws)
    return jax.lax.map(one_draw, draws, batch_size=together)


def schedule(step: jax.Array, total: jax.Array) -> jax.Array:
    """Share of the base rate at `step` of `total`: linear warm-up, then cosine to 0.

    The warm-up takes max(total // 100, 10) steps as in the paper, at most half of all.
    """
    warmup = jnp.minimum(jnp.maximum(total // 100, 10), total // 2).astype(jnp.float32)
    step, total = step.astype(jnp.float32), total.astype(jnp.float32)
    rise = (step + 1) / jnp.maximum(warmup, 1)
    past = jnp.clip((step - warmup) / jnp.maximum(total - warmup, 1), 0, 1)
    return jnp.where(step < warmup, rise, 0.5 * (1 + jnp.cos(jnp.pi * past)))


def _adamw(params, gradient, moments, done, rate, decay):
    """One step of AdamW, PyTorch's constants; `done` steps came before."""
    first, second = moments
    first = jax.tree.map(lambda m, g: _BETA1 * m + (1 - _BETA1) * g, first, gradient)
    second = jax.tree.map(lambda v, g: _BETA2 * v + (1 - _BETA2) * g * g, second, gradient)
    count = done.astype(jnp.float32) + 1
    unbias1, unbias2 = 1 - _BETA1**count, 1 - _BETA2**count

    def moved(p, m, v):
        return p - rate * (m / unbias1 / (jnp.sqrt(v / unbias2) + _EPSILON) + decay * p)

    return jax.tree.map(moved, params, first, second), (first, second)


def _initial_head(key, kernel, width: int, classes: int) -> dict[str, jax.Array]:
    bound = 1 / np.sqrt(width)
    if kernel is None:
        kernel = jax.random.uniform(key, (width, classes), jnp.float32, -bound, bound)
    return {"kernel": kernel, "bias": jnp.zeros(classes)}


def _at_most(mask: np.ndarray, seeds: np.ndarray, most: int) -> np.ndarray:
    """`mask` bool `[draws, n]` with at most `most` windows of each draw left, a seeded choice."""
    kept = np.zeros_like(mask)
    for row, seed, own in zip(mask, seeds, kept, strict=True):
        own[np.random.default_rng([int(seed), 5]).permutation(np.flatnonzero(row))[:most]] = True
    return kept
