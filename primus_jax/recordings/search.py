"""Where in a recording a sentence happens: cosine of windows and sentence, peaks over time."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from primus_jax.errors import PrimusError
from primus_jax.models.base import EncoderConfig
from primus_jax.models.heads import cross_modal_head
from primus_jax.numerics import unit_rows
from primus_jax.recordings.arrays import warn
from primus_jax.recordings.embedding import RecordingEncoder, collect
from primus_jax.recordings.sentences import TextTower, sentence_rows
from primus_jax.recordings.table_format import TableFormat


class TextSearchEncoder(RecordingEncoder, Protocol):
    """A `RecordingEncoder` whose architecture and training are known."""

    config: EncoderConfig
    metadata: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Match:
    """A window that a sentence was found in; `score` is their cosine, -1 to 1."""

    start_seconds: float
    end_seconds: float
    score: float


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """What a recording is searched with, and how.

    Attributes:
        text: embeddings of the sentences, float `[sentences, dim]`, or the tower that embeds them.
        top: most matches per sentence.
        separation_seconds: between the starts of matches of one sentence, at least; None: the
            length of a window, so that matches do not overlap.
        hop_seconds: between the starts of neighbouring windows.

    Raises:
        PrimusError: `top` is less than 1.
    """

    text: ArrayLike | TextTower
    top: int = 5
    separation_seconds: float | None = None
    hop_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.top < 1:
            raise PrimusError(f"top is {self.top}; expected at least 1.")


def search(
    encoder: TextSearchEncoder,
    sentences: Sequence[str],
    recording: Any,
    layout: TableFormat,
    options: SearchOptions,
) -> dict[str, list[Match]]:
    """The best matches of each sentence in `recording`; see `Encoder.search`.

    Raises:
        PrimusError: no sentences, an encoder that was not pretrained with text, embeddings of
            another shape, or anything wrong with the recording.
    """
    if isinstance(sentences, str) or not (sentences := list(sentences)) or not all(sentences):
        raise PrimusError("expected a list of one or more sentences.")
    head = trained_head(encoder)
    text = sentence_rows(options.text, sentences, encoder.config.width(head), head)
    times, scores = collect(
        encoder, recording, layout, options.hop_seconds, head, lambda rows: unit_rows(rows) @ text.T
    )
    length = encoder.window_seconds
    separation = length if options.separation_seconds is None else options.separation_seconds
    return {
        sentence: [
            Match(float(times[i]), float(times[i]) + length, float(scores[i, column]))
            for i in peaks(times, scores[:, column], separation, options.top)
        ]
        for column, sentence in enumerate(sentences)
    }


def peaks(times: np.ndarray, scores: np.ndarray, separation: float, top: int) -> list[int]:
    """Non-maximum suppression over time: the best window, then the best of those that start at
    least `separation` seconds from all chosen before, and so on, at most `top`; equal scores, the
    earlier first.

    Args:
        times: float `[n]`.
        scores: float `[n]`.
        separation: seconds.
        top: most windows.
    """
    left = np.asarray(scores, np.float64).copy()
    chosen: list[int] = []
    while len(chosen) < top and len(left):
        best = int(left.argmax())
        if left[best] == -np.inf:
            break
        chosen.append(best)
        # rounding of times must not suppress the neighbour exactly one separation away
        near = np.abs(times - times[best]) < separation - 1e-6
        left[near] = -np.inf
        left[best] = -np.inf
    return chosen


def trained_head(encoder: TextSearchEncoder) -> str:
    """The head that pretraining compared with sentences; warns where its training is not known.

    Raises:
        PrimusError: the encoder is known not to have been trained with text.
    """
    head = cross_modal_head(encoder.config.heads, encoder.metadata)
    if head.trained is False:
        raise PrimusError(
            f"this encoder knows nothing of sentences: it {head.reason}. Search needs an encoder "
            f"pretrained with text (objective.multimodal, objective.targets with 'text')."
        )
    if head.trained is None:
        warn(f"the encoder {head.reason}. Its scores mean nothing if it was not.")
    return head.name
