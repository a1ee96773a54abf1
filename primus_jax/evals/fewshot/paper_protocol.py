"""The paper's protocol: a linear head from class prompts or at random, AdamW, best epoch.

PRIMUS, downstream evaluation; the encoder frozen, or everything fine-tuned. What its published
script gets wrong is right here: the last batch counts, the learning rate never rises again, every
head has as many rows as the dataset has classes, and every method gets normalised features.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features
from primus_jax.evals.fewshot.draws import DrawOptions, Draws, make_draws
from primus_jax.evals.fewshot.paper_training import (
    Model,
    Network,
    PaperConfig,
    PaperDraws,
    Start,
    fit_draws,
)
from primus_jax.evals.fewshot.sampling import padded_rows
from primus_jax.evals.fewshot.scores import FewShotResult, score
from primus_jax.reports.rows import FitDetails, FittedClassifier
from primus_jax.trees import Params

_VALIDATION = 1000  # at most so many validation windows choose the epoch


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
) -> FewShotResult:
    """Train and test all shots and seeds; all seeds of a shot count run together.

    A fifth of every draw's training people (or the dataset's validation people) choose the best
    epoch by accuracy, with their labels: the protocol sees more labels than the shots.

    Args:
        features: of the whole dataset; their embedding is used while the encoder is frozen.
        shots, seeds, people: see `draws.DrawOptions`.
        config: how to train.
        class_embedding: float `[classes, dim]`, the head's first weights (`class_prompts`); None:
            a random head, uniform within 1 / sqrt(dim) as PyTorch's.
        finetuning: train this encoder as well; None: it stays frozen.

    Raises:
        PrimusError: what `draws.make_draws` raises, or class embeddings of another width than the
            features.
    """
    config = config or PaperConfig()
    config.validate()
    draws = make_draws(features, DrawOptions(shots, seeds, people), validation=True)
    classes = len(features.label_names)
    encoder: Params = {}
    if finetuning is None:
        inputs, what = features.embedding, "frozen features"
        model = Model(features.embedding.shape[1], classes, config)
    else:
        scratch, own = finetuning.from_scratch, finetuning.encoder
        inputs, encoder = finetuning.imu, {} if scratch else own.params
        what = "from scratch" if scratch else "full fine-tuning"
        network = Network(own.config, finetuning.head)
        model = Model(own.config.width(finetuning.head), classes, config, network)
    if class_embedding is not None and class_embedding.shape != (classes, model.width):
        raise PrimusError(
            f"class embeddings {class_embedding.shape}; expected ({classes}, {model.width}): one "
            f"row per class, as wide as the encoder's output. Use --head mmcl, or no prompts (a "
            f"random head)."
        )
    kernel = None if class_embedding is None else jnp.asarray(class_embedding.T, jnp.float32)
    predicted, details = _all_shots(
        features, draws, np.asarray(inputs, np.float32), Start(encoder, kernel), model
    )
    classifier: FittedClassifier = {
        "protocol": "paper",
        "name": f"linear head, {what}",
        "head_init": "random" if class_embedding is None else "class prompts",
        "lr": config.lr,
        "weight_decay": config.weight_decay,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
    }
    return score(features, draws, predicted, classifier, details)


def _all_shots(
    features: Features, draws: Draws, inputs: np.ndarray, start: Start, model: Model
) -> tuple[np.ndarray, list[FitDetails]]:
    """Predictions `[draws, shots, tested]` and what the fits report, one entry per shot count.

    A frozen encoder's fits are one program. With an encoder in the loop there is one program per
    shot count, so that few windows do not pay for the batch of many.
    """
    groups = [draws.shots] if model.network is None else [(k,) for k in draws.shots]
    predicted: list[np.ndarray] = []
    details: list[FitDetails] = []
    for group in groups:
        lanes = _lanes(features, draws, group)
        together = 1 if jax.default_backend() == "cpu" else len(lanes.rows)
        found = fit_draws(
            inputs, np.maximum(features.label, 0), lanes, start, model=model, together=together
        )
        shape = (len(draws.sides.seed), len(group))
        predicted.append(np.asarray(found.predicted).reshape(*shape, -1))
        epoch, accuracy = (np.asarray(x).reshape(shape) for x in (found.epoch, found.accuracy))
        for j in range(len(group)):
            details.append(
                {
                    "best_epoch": epoch[:, j].tolist(),
                    "validation_accuracy": [round(float(a), 6) for a in accuracy[:, j]],
                }
            )
    return np.concatenate(predicted, 1), details


def _lanes(features: Features, draws: Draws, shots: tuple[int, ...]) -> PaperDraws:
    """The draws once for each of `shots`: arrays `[draws * shots, ...]`, shot counts innermost."""
    seeds, labelled = draws.sides.seed, features.label >= 0
    most = min(max(shots), draws.labelled.rows.shape[-1])
    rows, valid = draws.labelled.rows[:, :, :most], draws.labelled.valid[:, :, :most]
    valid = np.stack([valid & (np.arange(most) < k) for k in shots], 1)
    validation = padded_rows(_at_most(draws.sides.validation & labelled, seeds, _VALIDATION))
    test, _ = padded_rows(draws.sides.test & labelled)
    keys = jax.vmap(jax.random.key)(np.asarray(seeds, np.uint32))
    lane = np.arange(len(seeds)).repeat(len(shots))
    return PaperDraws(
        rows=jnp.asarray(rows[lane].reshape(len(lane), -1)),
        valid=jnp.asarray(valid.reshape(len(lane), -1)),
        validation=jnp.asarray(validation[0][lane]),
        validation_valid=jnp.asarray(validation[1][lane]),
        test=jnp.asarray(test[lane]),
        key=keys[lane],
    )


def _at_most(mask: np.ndarray, seeds: np.ndarray, most: int) -> np.ndarray:
    """`mask` bool `[draws, n]` with at most `most` windows of each draw left, a seeded choice."""
    kept = np.zeros_like(mask)
    for row, seed, own in zip(mask, seeds, kept, strict=True):
        own[np.random.default_rng([int(seed), 5]).permutation(np.flatnonzero(row))[:most]] = True
    return kept
