"""The classifier of a whole dataset, with its encoder trained: what `predict` applies."""

import dataclasses
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.classify.classifier import Classifier
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import SPLITS, Features
from primus_jax.evals.fewshot.draws import everyone
from primus_jax.evals.fewshot.network import Network, check_layers, whole
from primus_jax.evals.fewshot.paper_config import PaperConfig
from primus_jax.evals.fewshot.paper_protocol import lanes_of
from primus_jax.evals.fewshot.paper_training import Model, Start, fit_weights


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """A classifier, the encoder that it reads, the people that chose the epoch, that epoch, and
    its validation score."""

    classifier: Classifier
    encoder: Encoder
    validation_people: tuple[str, ...]
    epoch: int
    score: float


@dataclasses.dataclass(frozen=True)
class FinetuneOptions:
    """What is trained.

    Attributes:
        config: how; its inputs are "standard".
        head: output of the encoder.
        frozen: train the head alone.
        from_scratch: start from a random encoder.
        shots: most windows of each class; None: all.
        seed: of people, windows, head and order.
    """

    config: PaperConfig
    head: str = "emb"
    frozen: bool = False
    from_scratch: bool = False
    shots: int | None = None
    seed: int = 0


def finetune(
    encoder: Encoder,
    folder: DatasetFolder,
    features: Features,
    imu: np.ndarray,
    options: FinetuneOptions,
    description: dict[str, Any],
) -> Finetuned:
    """Train on everybody but a fifth of the people, who choose the epoch.

    Args:
        encoder: where training starts.
        folder: the dataset.
        features: its windows, embedded by `encoder` at `options.head`.
        imu: float32 `[n, time, 6]`, the same windows.
        options: what is trained, and how.
        description: more keys of classifier.json.

    Raises:
        PrimusError: head inputs of unit length, fewer than two people or classes, more layers than
            there are, or training that diverged.
    """
    config, head = options.config, options.head
    if config.inputs != "standard":
        raise PrimusError(
            f"inputs {config.inputs!r}; a saved classifier reads standardised features. "
            f"Set inputs to 'standard'."
        )
    draws = everyone(features, options.shots, options.seed)
    lanes = lanes_of(features, draws, draws.shots, config)
    lane = jax.tree.map(lambda leaf: leaf[0], lanes)
    network, start, inputs = None, Start({}), features.embedding
    if not options.frozen:
        layers = None if options.from_scratch else config.layers
        check_layers(encoder.config, head, imu.shape[1], layers)
        network, inputs = Network(encoder.config, head, layers), imu
        start = start if options.from_scratch else Start(encoder.params)
    classes = len(features.label_names)
    model = Model(encoder.config.width(head), classes, config, network)
    label = np.maximum(features.label, 0)
    weights, epoch, score = fit_weights(
        jnp.asarray(inputs, jnp.float32), jnp.asarray(label), lane, start, model=model
    )
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(weights)):
        raise PrimusError("training diverged: a weight is not finite. Take a lower --lr.")
    tuned = encoder
    if network is not None:
        params = jax.device_get(whole(weights.encoder))
        seen = _metadata(encoder, folder, options)
        tuned = Encoder(encoder.config, params, encoder.rate_hz, encoder.window_seconds, seen, head)
    rows = np.asarray(lane.rows)[np.asarray(lane.valid)]
    shown = Counter(features.label_names[k] for k in features.label[rows])
    classifier = Classifier(
        labels=features.label_names,
        mean=np.asarray(weights.scaler.mean),
        deviation=np.asarray(weights.scaler.deviation),
        kernel=np.asarray(weights.head["kernel"]),
        bias=np.asarray(weights.head["bias"]),
        description={"head": head, "training_windows": shown, **description},
        hidden_kernel=_there(weights.head, "hidden_kernel"),
        hidden_bias=_there(weights.head, "hidden_bias"),
    )
    people = tuple(np.unique(features.group[draws.sides.validation[0]]).tolist())
    return Finetuned(classifier, tuned, people, int(epoch), float(score))


def _there(head: dict[str, jax.Array], name: str) -> np.ndarray | None:
    return np.asarray(head[name]) if name in head else None


def _metadata(encoder: Encoder, folder: DatasetFolder, options: FinetuneOptions) -> dict[str, Any]:
    """What is known of the training, so that no later evaluation tests on these people."""
    known = {} if options.from_scratch else dict(encoder.metadata)
    known.pop("random_seed", None)
    seen = {
        "content_hash": folder.content_hash,
        "splits": dict(folder.splits),
        "simulated": folder.simulated,
        "trained_on": [name for name in SPLITS if name in folder.splits],
    }
    known["data"] = {**(known.get("data") or {}), str(folder.path.resolve()): seen}
    return known | {"finetuned": dataclasses.asdict(options.config) | {"seed": options.seed}}
