"""A classifier of embeddings that travels as numbers: fitted, saved, loaded, applied."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

from primus_jax.encoder import Encoder, load_encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot.convex import CLASSIFIERS, ChosenFit, Labelled, fit_chosen
from primus_jax.evals.fewshot.probe import CLIP, Scaler, fit_scaler
from primus_jax.recordings.table_format import TableFormat, format_from_row
from primus_jax.weights.safetensors import read_safetensors

FORMAT = "primus-jax classifier 1"
WEIGHTS, DESCRIPTION, ENCODER = "classifier.safetensors", "classifier.json", "encoder"
INNER = 3
TENSORS = ("mean", "deviation", "kernel", "bias")
HIDDEN = ("hidden_kernel", "hidden_bias")


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Multinomial logistic regression on standardised embeddings, or on a hidden layer of them.

    Attributes:
        labels: names of the classes.
        mean: and deviation, float32 `[dim]`: of the training windows; standardised values are
            clipped to +-8, as in `evals/fewshot/probe.py`.
        deviation: see mean.
        kernel: float32 `[dim, classes]`, or `[hidden, classes]` behind a hidden layer.
        bias: float32 `[classes]`.
        description: the rest of classifier.json: window_seconds, hop_seconds, head, gyro, c, how it
            was evaluated, and recordings: the format of those that it was adapted on.
        hidden_kernel: and hidden_bias, float32 `[dim, hidden]` and `[hidden]`, of a layer of ReLU
            that `primus-jax finetune` trained; None: there is none.
        hidden_bias: see hidden_kernel.
    """

    labels: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    description: dict[str, Any]
    hidden_kernel: np.ndarray | None = None
    hidden_bias: np.ndarray | None = None

    @property
    def layout(self) -> TableFormat:
        """The format of the recordings that the classifier was adapted on.

        A classifier of an earlier version remembers the gyroscope alone: the usual format stands
        for the rest.
        """
        row = self.description.get("recordings")
        if row is None:
            return TableFormat(gyro=TableFormat.gyro if self.description["gyro"] else ())
        return format_from_row(row)

    def probabilities(self, embedding: np.ndarray) -> np.ndarray:
        """Embeddings `[n, dim]` -> float32 `[n, classes]`, rows that sum to 1."""
        x = np.clip((embedding - self.mean) / self.deviation, -CLIP, CLIP)
        if self.hidden_kernel is not None and self.hidden_bias is not None:
            x = np.maximum(x @ self.hidden_kernel + self.hidden_bias, 0)
        logits = x @ self.kernel + self.bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        return (p / p.sum(1, keepdims=True)).astype(np.float32)

    def save(self, folder: Path, encoder: Encoder) -> None:
        """Write numbers, description and the encoder into an existing folder.

        Raises:
            PrimusError: the folder holds an encoder already.
        """
        names = TENSORS if self.hidden_kernel is None else (*TENSORS, *HIDDEN)
        tensors = {name: np.asarray(getattr(self, name), np.float32) for name in names}
        save_file(tensors, folder / WEIGHTS)
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        row = {"format": FORMAT, "labels": list(self.labels), "weights_sha256": digest}
        row |= self.description
        (folder / DESCRIPTION).write_text(json.dumps(row, indent=1, allow_nan=False) + "\n")
        encoder.save(folder / ENCODER)


def load_classifier(folder: Path) -> tuple[Classifier, Encoder]:
    """What `Classifier.save` wrote.

    Raises:
        PrimusError: not such a folder, damaged, or of another version.
    """
    for name in (DESCRIPTION, WEIGHTS, ENCODER):
        if not (folder / name).exists():
            raise PrimusError(
                f"{folder} has no {name}; expected a folder that `primus-jax adapt` or "
                f"`primus-jax finetune` wrote."
            )
    try:
        row = json.loads((folder / DESCRIPTION).read_text())
    except (ValueError, RecursionError) as error:
        raise PrimusError(f"{folder / DESCRIPTION} is not JSON ({error}). Adapt again.") from error
    _check_description(row, folder / DESCRIPTION)
    if hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() != row["weights_sha256"]:
        raise PrimusError(
            f"{folder / WEIGHTS} is not the file that {DESCRIPTION} was written with: it is "
            f"damaged or was replaced. Adapt again."
        )
    tensors, _ = read_safetensors(folder / WEIGHTS)
    encoder = load_encoder(folder / ENCODER)
    head, classes = row["head"], len(row["labels"])
    width = encoder.config.width(head) if head in encoder.config.heads else None
    hidden = len(tensors["hidden_bias"]) if "hidden_bias" in tensors else None
    expected = {
        "mean": (width,),
        "deviation": (width,),
        "kernel": (width if hidden is None else hidden, classes),
        "bias": (classes,),
    }
    if hidden is not None:
        expected |= {"hidden_kernel": (width, hidden), "hidden_bias": (hidden,)}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != expected:
        raise PrimusError(
            f"{folder}: {classes} labels and the head {head!r} of an encoder with "
            f"{encoder.config.heads} do not go with tensors {found}. Adapt again."
        )
    return Classifier(tuple(row["labels"]), **tensors, description=row), encoder


def _check_description(row: Any, path: Path) -> None:
    """Raise PrimusError unless classifier.json holds what prediction needs."""
    if not isinstance(row, dict) or row.get("format") != FORMAT:
        raise PrimusError(f"{path}: expected the format {FORMAT!r}. Adapt again.")
    labels: Any = row.get("labels")
    seconds: Any = row.get("window_seconds")
    right = {
        "labels": isinstance(labels, list) and all(isinstance(name, str) for name in labels),
        "weights_sha256": isinstance(row.get("weights_sha256"), str),
        "window_seconds": type(seconds) in (int, float) and 0 < float(seconds) < float("inf"),
        "head": isinstance(row.get("head"), str),
        "gyro": isinstance(row.get("gyro"), bool),
        "rates_hz": _are_rates(row.get("rates_hz", [])),
    }
    if "recordings" in row:
        try:
            format_from_row(row["recordings"])
        except (PrimusError, TypeError, KeyError) as error:
            raise PrimusError(
                f"{path}: 'recordings' is no format of a table ({error}). Adapt again."
            ) from error
    for name, there in right.items():
        if not there:
            raise PrimusError(
                f"{path}: {name!r} is {row.get(name)!r:.80}, which `primus-jax adapt` does not "
                f"write. Adapt again."
            )


def _are_rates(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(rate) in (int, float) and 0 < rate < float("inf") for rate in value
    )


def fit(
    x: np.ndarray, label: np.ndarray, classes: int, rows: np.ndarray, fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Fit on some rows, with the penalty that `convex.fit_chosen` chooses on folds of them.

    Args:
        x: float32 `[n, dim]`.
        label: int `[n]`.
        classes: number of labels.
        rows: bool `[n]`, those to fit on.
        fold: int `[n]`, 0 to `INNER` - 1.

    Returns:
        mean, deviation, kernel, bias (as in `Classifier`; a class without rows has bias -inf), C.
    """
    centre = x[rows].mean(0)
    scaler, found = jax.device_get(
        _fit(
            (x - centre).astype(np.float32),
            np.eye(classes, dtype=np.float32)[label],
            rows.astype(np.float32),
            fold.astype(np.int32),
        )
    )
    kernel, bias, c = found.kernel[0], found.bias[0], float(found.c[0])
    return scaler.mean + centre, scaler.deviation, kernel, bias, c


@jax.jit
def _fit(
    x: jax.Array, target: jax.Array, weight: jax.Array, fold: jax.Array
) -> tuple[Scaler, ChosenFit]:
    """The scaler of the rows with a weight, and one fit on them, all standardised."""
    scaler = fit_scaler(x, weight > 0)
    rows = Labelled(scaler(x), target, weight[None], fold)
    return scaler, fit_chosen(rows, CLASSIFIERS["logistic"], INNER)
