"""A recording becomes activity over time: by a classifier, or by the sentences of classes."""

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.classify.classifier import Classifier
from primus_jax.classify.predict import Prediction, predict
from primus_jax.data.embeddings import load_embeddings
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.prompts import ClassPrompts, embed_prompts, read_prompts
from primus_jax.numerics import unit_rows
from primus_jax.recordings.search import trained_head
from primus_jax.recordings.sentences import TextTower
from primus_jax.recordings.table_format import TableFormat
from primus_jax.summary.bouts import Bout, BoutRule, check_labels, find_bouts

# IMU2CLIP's temperature of training, at which cosines of windows and sentences were compared.
TEMPERATURE = 0.1


class PromptClassifier(Classifier):
    """The class whose prompts are nearest: `kernel` holds unit-norm class embeddings.

    Probabilities are the softmax of cosines over `description["temperature"]`. They rank the
    classes as zero-shot classification does, and are not calibrated.
    """

    def probabilities(self, embedding: np.ndarray) -> np.ndarray:
        """Embeddings `[n, dim]` -> float32 `[n, classes]`, rows that sum to 1."""
        logits = unit_rows(embedding) @ self.kernel / self.description["temperature"]
        p = np.exp(logits - logits.max(1, keepdims=True))
        return (p / p.sum(1, keepdims=True)).astype(np.float32)


def prompt_classifier(
    encoder: Encoder, prompts: ClassPrompts, gyro: bool, temperature: float = TEMPERATURE
) -> PromptClassifier:
    """The classifier that `prompts` are for this encoder.

    Args:
        encoder: pretrained with sentences; a warning where its training is not known.
        prompts: class names and their mean embeddings, of the text tower of its pretraining.
        gyro: whether recordings have a gyroscope.
        temperature: divides the cosines.

    Raises:
        PrimusError: the encoder was not trained with text, widths differ, or a temperature that
            is not positive.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise PrimusError(f"--temperature {temperature:g}; expected a positive number.")
    head = trained_head(encoder)
    width, dim = encoder.config.width(head), prompts.embedding.shape[1]
    if width != dim:
        raise PrimusError(
            f"the encoder's head {head!r} has {width} values, the prompts ({prompts.origin}) have "
            f"{dim}: they cannot be compared. Take the text tower of its pretraining."
        )
    kernel = unit_rows(prompts.embedding).T.astype(np.float32)
    none, one = np.zeros(width, np.float32), np.ones(width, np.float32)
    description = {
        "window_seconds": encoder.window_seconds,
        "head": head,
        "gyro": gyro,
        "temperature": temperature,
    }
    bias = np.zeros(len(prompts.names), np.float32)
    return PromptClassifier(prompts.names, none, one, kernel, bias, description)


def embedded_prompts(
    path: Path,
    embeddings: Path | None,
    towers: str | os.PathLike[str] | None,
    tokenizer: str | os.PathLike[str] | None = None,
) -> ClassPrompts:
    """Read {class: [sentence, ...]} and embed its sentences.

    Args:
        path: the JSON file.
        embeddings: an .npz with `text` and `text_embedding`; or
        towers: the folder of the text tower, and
        tokenizer: its vocabulary, if that lies elsewhere.

    Raises:
        PrimusError: both or neither of the two, or what their readers raise.
    """
    if (embeddings is None) == (towers is None):
        raise PrimusError(
            "--prompts needs the embeddings of its sentences: give --embeddings FILE.npz, or "
            "--towers DIR, the text tower that the encoder was pretrained with."
        )
    sentences = read_prompts(path)
    if embeddings is not None:
        return embed_prompts(sentences, load_embeddings(embeddings).text, str(path))
    every = list(dict.fromkeys(s for found in sentences.values() for s in found))
    assert towers is not None  # checked above
    rows = TextTower(towers, tokenizer).embed(every)
    return embed_prompts(sentences, dict(zip(every, rows, strict=True)), str(path))


@dataclasses.dataclass(frozen=True)
class Activity:
    """What a recording holds, as far as its windows tell.

    Attributes:
        name: of the recording.
        prediction: the probabilities of every window, and what was found while reading.
        bouts: in order of time.
        rule: by which the bouts were made.
        source: where the labels come from, in a sentence.
    """

    name: str
    prediction: Prediction
    bouts: tuple[Bout, ...]
    rule: BoutRule
    source: str

    @property
    def covered_seconds(self) -> float:
        """Time that windows cover."""
        return math.fsum(bout.seconds for bout in self.bouts)

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """Times (begin, end) between bouts that no window covers."""
        ends = zip(self.bouts[:-1], self.bouts[1:], strict=True)
        return [
            (left.end_seconds, right.start_seconds)
            for left, right in ends
            if right.start_seconds > left.end_seconds
        ]


def find_activity(
    classifier: Classifier,
    encoder: Encoder,
    recording: Any,
    layout: TableFormat,
    *,
    name: str,
    source: str,
    hop_seconds: float = 1.0,
    rule: BoutRule | None = None,
) -> Activity:
    """Predict every window of a recording, and make bouts of the predictions.

    The recording is read in pieces. What grows with it is a probability per window and class.

    Args:
        classifier: with encoder: of `load_classifier`, or `prompt_classifier`.
        encoder: see classifier.
        recording: see `Encoder.embed_recording`.
        layout: its rate, units and columns.
        name: of the recording, in words and figures.
        source: where the labels come from, in a sentence.
        hop_seconds: between the starts of windows.
        rule: of the bouts; None: the defaults.

    Raises:
        PrimusError: windows further apart than they are long, a class named "unsure", or what
            `predict` raises.
    """
    rule = rule or BoutRule()
    seconds = classifier.description["window_seconds"]
    if hop_seconds > seconds:
        raise PrimusError(
            f"--hop {hop_seconds:g} leaves time between windows of {seconds:g} s that none covers; "
            f"expected at most {seconds:g}."
        )
    check_labels(classifier.labels)
    found = predict(classifier, encoder, recording, layout, hop_seconds)
    # Starts lie on samples, at most half a one from the hop.
    tolerance = 1.5 / min(encoder.rate_hz, found.report.rate_hz)
    bouts = find_bouts(
        found.start_seconds, seconds, hop_seconds, found.probability, found.labels, rule, tolerance
    )
    return Activity(name, found, tuple(bouts), rule, source)


def classifier_source(classifier: Classifier) -> str:
    """The sentence on labels of a classifier of `primus-jax adapt`."""
    names = ", ".join(classifier.labels)
    measured = classifier.description.get("evaluation")
    sentence = f"The labels are of a classifier that was trained to tell apart {names}"
    if isinstance(measured, Mapping) and "accuracy" in measured and "held_out_by" in measured:
        sentence += (
            f"; held out by {measured['held_out_by']}, {100 * measured['accuracy']:.1f} % of its "
            f"windows were right"
        )
    return f"{sentence}."


def prompt_source(prompts: ClassPrompts, temperature: float) -> str:
    """The sentence on labels of prompts."""
    return (
        f"The labels are the nearest of the sentences for {', '.join(prompts.names)} "
        f"(zero-shot, temperature {temperature:g}). No labelled window was used, and the "
        f"probabilities are not calibrated."
    )
