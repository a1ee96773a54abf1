"""The paper's protocol: a head from class prompts or at random, AdamW, the best epoch.

PRIMUS, downstream evaluation; the encoder frozen, or everything fine-tuned. What its published
script gets wrong is right here: the last batch counts, the learning rate never rises again, every
head has as many rows as the dataset has classes, and every method gets normalised features.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features
from primus_jax.evals.fewshot.draws import DrawOptions, Draws, make_draws
from primus_jax.evals.fewshot.network import Network, check_layers
from primus_jax.evals.fewshot.paper_config import PaperConfig
from primus_jax.evals.fewshot.paper_training import (
    Model,
    PaperDraws,
    Start,
    fit_draws,
)
from primus_jax.evals.fewshot.sampling import padded_rows
from primus_jax.evals.fewshot.scores import FewShotResult, score
from primus_jax.reports.rows import FitDetails, FittedClassifier
from primus_jax.trees import Params

_VALIDATION = 1000  # at most so many validation windows choose the epoch
_POOL = 512  # at most so many windows standardise the head's inputs
_WORDS = {"accuracy": "accuracy", "macro_f1": "macro-F1"}


@dataclasses.dataclass(frozen=True)
class Finetuning:
    """An encoder that is trained together with the classifier.

    Attributes:
        encoder: where its training starts.
        head: its output that is classified.
        imu: float32 `[n, time, 6]`, the windows of the features, at the encoder's rate.
        from_scratch: start from a random initialisation of the architecture, another for every
            draw.
    """

    encoder: Encoder
    head: str
    imu: np.ndarray
    from_scratch: bool = False


def paper_fewshot(
    features: Features,
    shots: Sequence[int] = (1, 5, 10, 20, 50),
    seeds: int | Sequence[int] = 5,
    people: str = "resampled",
    config: PaperConfig | None = None,
    class_embedding: np.ndarray | None = None,
    finetuning: Finetuning | None = None,
    *,
    detail: bool = False,
    log: Callable[[str], None] = lambda line: None,
) -> FewShotResult:
    """Train and test all shots and seeds; all seeds of a shot count run together.

    A share of every draw's training people (or the dataset's validation people) choose the best
    epoch, with their labels: the protocol sees more labels than the shots.

    Args:
        features: of the whole dataset; their embedding is used while the encoder is frozen.
        shots, seeds, people: see `draws.DrawOptions`.
        config: how to train.
        class_embedding: float `[classes, dim]`, the head's first weights (`class_prompts`); None:
            a random head, uniform within 1 / sqrt(dim) as PyTorch's.
        finetuning: train this encoder as well; None: it stays frozen.
        detail: see `draws.DrawOptions`.
        log: takes a line for every draw that trains an encoder.

    Raises:
        PrimusError: what `draws.make_draws` raises, class embeddings of another width than the
            features or for a head that has no such kernel, or more layers than the encoder has.
    """
    config = config or PaperConfig()
    config.validate()
    if config.chosen_by not in _WORDS:
        raise PrimusError(f"chosen_by {config.chosen_by!r}; expected one of {tuple(_WORDS)}.")
    options = DrawOptions(shots, seeds, people, detail)
    draws = make_draws(features, options, config.validation_share)
    classes = len(features.label_names)
    encoder: Params = {}
    if finetuning is None:
        inputs, what = features.embedding, "frozen features"
        model = Model(features.embedding.shape[1], classes, config)
    else:
        scratch, own = finetuning.from_scratch, finetuning.encoder
        inputs, encoder = finetuning.imu, {} if scratch else own.params
        layers = None if scratch else config.layers
        check_layers(own.config, finetuning.head, inputs.shape[1], layers)
        what = "from scratch" if scratch else _tuned(layers)
        network = Network(own.config, finetuning.head, layers)
        model = Model(own.config.width(finetuning.head), classes, config, network)
    if class_embedding is not None and (config.hidden or config.inputs != "unit"):
        raise PrimusError(
            "class prompts start a linear head on unit vectors; leave the hidden layer and the "
            "standardised inputs out, or the prompts."
        )
    if class_embedding is not None and class_embedding.shape != (classes, model.width):
        raise PrimusError(
            f"class embeddings {class_embedding.shape}; expected ({classes}, {model.width}): one "
            f"row per class, as wide as the encoder's output. Use --head mmcl, or no prompts (a "
            f"random head)."
        )
    kernel = None if class_embedding is None else jnp.asarray(class_embedding.T, jnp.float32)
    logits, details = _all_shots(
        features, draws, np.asarray(inputs, np.float32), Start(encoder, kernel), model, log
    )
    if not np.isfinite(logits).all():
        raise PrimusError(
            f"training diverged at a learning rate of {config.lr:g}; take a lower one (--lr)."
        )
    classifier = cast(
        FittedClassifier,
        {
            "protocol": "paper",
            "name": f"{f'MLP of {config.hidden}' if config.hidden else 'linear head'}, {what}",
            "head_init": "random" if class_embedding is None else "class prompts",
            **dataclasses.asdict(config),
        },
    )
    return score(features, draws, logits, classifier, details)


def _tuned(layers: int | None) -> str:
    if layers is None:
        return "full fine-tuning"
    return "last layer fine-tuned" if layers == 1 else f"last {layers} layers fine-tuned"


def _all_shots(
    features: Features,
    draws: Draws,
    inputs: np.ndarray,
    start: Start,
    model: Model,
    log: Callable[[str], None],
) -> tuple[np.ndarray, list[FitDetails]]:
    """Logits `[draws, shots, tested, classes]` and what the fits report, one entry per shot count.

    A frozen encoder's fits are one program. With an encoder in the loop there is one program per
    shot count, so that few windows do not pay for the batch of many. On a CPU it takes one draw
    after the other, with a line for each.
    """
    groups = [draws.shots] if model.network is None else [(k,) for k in draws.shots]
    logits: list[np.ndarray] = []
    details: list[FitDetails] = []
    windows, label = jnp.asarray(inputs), jnp.asarray(np.maximum(features.label, 0))
    for group in groups:
        lanes = lanes_of(features, draws, group, model.config)
        if model.network is None or jax.default_backend() != "cpu":
            together = 1 if jax.default_backend() == "cpu" else len(lanes.rows)
            found = fit_draws(windows, label, lanes, start, model=model, together=together)
        else:
            parts = []
            for i in range(len(lanes.rows)):
                lane = jax.tree.map(lambda leaf: leaf[i : i + 1], lanes)  # noqa: B023
                parts.append(fit_draws(windows, label, lane, start, model=model, together=1))
                log(
                    f"{group[0]} shots, draw {i + 1} of {len(lanes.rows)}: best epoch "
                    f"{int(parts[-1].epoch[0])} of {int(parts[-1].trained[0])}, validation "
                    f"{_WORDS[model.config.chosen_by]} {100 * float(parts[-1].score[0]):.1f}"
                )
            found = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
        shape = (len(draws.sides.seed), len(group))
        logits.append(np.asarray(found.logits).reshape(*shape, -1, model.classes))
        epoch, reached, trained = (np.asarray(x).reshape(shape) for x in found[1:])
        for j in range(len(group)):
            scores = [round(float(a), 6) for a in reached[:, j]]
            row = {"best_epoch": epoch[:, j].tolist(), "trained_epochs": trained[:, j].tolist()}
            details.append(cast(FitDetails, row | {f"validation_{model.config.chosen_by}": scores}))
    return np.concatenate(logits, 1), details


def lanes_of(
    features: Features, draws: Draws, shots: tuple[int, ...], config: PaperConfig
) -> PaperDraws:
    """The draws once for each of `shots`: arrays `[draws * shots, ...]`, shot counts innermost."""
    seeds, labelled = draws.sides.seed, features.label >= 0
    most = min(max(shots), draws.labelled.rows.shape[-1])
    rows, valid = draws.labelled.rows[:, :, :most], draws.labelled.valid[:, :, :most]
    valid = np.stack([valid & (np.arange(most) < k) for k in shots], 1)
    validation = padded_rows(_at_most(draws.sides.validation & labelled, seeds, _VALIDATION))
    test, _ = padded_rows(draws.sides.test & labelled)
    keys = jax.vmap(jax.random.key)(np.asarray(seeds, np.uint32))
    lane, pool = np.arange(len(seeds)).repeat(len(shots)), None
    if config.inputs == "standard":
        chosen = _at_most(draws.sides.train, seeds, _POOL)
        # A smaller pool comes round again: every place holds a window of the training people.
        size = int(chosen.sum(1).max())
        pool = jnp.asarray(np.stack([np.resize(np.flatnonzero(one), size) for one in chosen])[lane])
    return PaperDraws(
        rows=jnp.asarray(rows[lane].reshape(len(lane), -1)),
        valid=jnp.asarray(valid.reshape(len(lane), -1)),
        validation=jnp.asarray(validation[0][lane]),
        validation_valid=jnp.asarray(validation[1][lane]),
        test=jnp.asarray(test[lane]),
        key=keys[lane],
        pool=pool,
    )


def _at_most(mask: np.ndarray, seeds: np.ndarray, most: int) -> np.ndarray:
    """`mask` bool `[draws, n]` with at most `most` windows of each draw left, a seeded choice."""
    kept = np.zeros_like(mask)
    for row, seed, own in zip(mask, seeds, kept, strict=True):
        own[np.random.default_rng([int(seed), 5]).permutation(np.flatnonzero(row))[:most]] = True
    return kept
