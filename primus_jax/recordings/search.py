"""Where in a recording a sentence happens: cosine of windows and sentence, peaks over time."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.models.base import EncoderConfig
from primus_jax.models.clip.tokenizer import Tokenizer, load_tokenizer
from primus_jax.models.clip.towers import Towers, embed_text, load_towers
from primus_jax.numerics import unit_rows
from primus_jax.recordings.embedding import RecordingEncoder, collect
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


def search(
    encoder: TextSearchEncoder,
    sentences: Sequence[str],
    recording: Any,
    layout: TableFormat,
    *,
    hop_seconds: float,
    top: int,
    separation_seconds: float | None = None,
    text_embeddings: np.ndarray | None = None,
    towers: Towers | str | os.PathLike[str] | None = None,
    tokenizer: Tokenizer | str | os.PathLike[str] | None = None,
) -> dict[str, list[Match]]:
    """See `Encoder.search`."""
    sentences = list(sentences)
    if isinstance(sentences, str) or not sentences or not all(map(str, sentences)):
        raise PrimusError("expected a list of one or more sentences.")
    if top < 1:
        raise PrimusError(f"top is {top}; expected at least 1.")
    head = trained_head(encoder)
    if (text_embeddings is None) == (towers is None):
        raise PrimusError(
            "expected either text_embeddings, an array [sentences, dim], or towers, the folder of "
            "the text tower that the encoder was pretrained with (and its tokenizer)."
        )
    if towers is not None:
        text_embeddings = embed_sentences(sentences, towers, tokenizer)
    text = np.asarray(text_embeddings, np.float32)
    shape = len(sentences), encoder.config.width(head)
    if text.shape != shape or not np.isfinite(text).all():
        raise PrimusError(
            f"text embeddings of shape {text.shape} for {len(sentences)} sentences and an encoder "
            f"whose head {head!r} has {shape[1]} values; expected finite numbers {shape}, of the "
            f"tower that it was pretrained with."
        )
    text = unit_rows(text)
    times, scores = collect(
        encoder, recording, layout, hop_seconds, head, lambda rows: unit_rows(rows) @ text.T
    )
    length = encoder.window_seconds
    separation = length if separation_seconds is None else separation_seconds
    return {
        sentence: [
            Match(float(times[i]), float(times[i]) + length, float(scores[i, column]))
            for i in peaks(times, scores[:, column], separation, top)
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
    """The head that pretraining compared with sentences: "mmcl", or the only one of IMU2CLIP.

    Raises:
        PrimusError: the encoder is known not to have been trained with text.
    """
    config: EncoderConfig = encoder.config
    objective = encoder.metadata.get("config", {}).get("objective", {})
    targets = objective.get("targets", ("text",)) if objective else ("text",)
    multimodal = objective.get("multimodal", not objective)
    reason = ""
    if "random_seed" in encoder.metadata:
        reason = "it was never trained (random initialisation)"
    elif not multimodal or "text" not in targets:
        reason = "its objective did not compare windows with sentences"
    if reason:
        raise PrimusError(
            f"this encoder knows nothing of sentences: {reason}. Search needs an encoder "
            f"pretrained with text (objective.multimodal, objective.targets with 'text')."
        )
    return "mmcl" if "mmcl" in config.heads else "emb"


def embed_sentences(
    sentences: list[str],
    towers: Towers | str | os.PathLike[str],
    tokenizer: Tokenizer | str | os.PathLike[str] | None,
) -> np.ndarray:
    """Sentences -> float32 `[n, dim]`; the tokenizer is looked for in the towers' folder.

    Raises:
        PrimusError: towers or tokenizer cannot be loaded, or have no text.
    """
    if tokenizer is None:
        if isinstance(towers, Towers) or not (Path(towers) / "vocab.json").is_file():
            raise PrimusError(
                "no tokenizer: the towers' folder holds no vocab.json; pass tokenizer, the file "
                "bpe_simple_vocab_16e6.txt.gz or a folder with vocab.json and merges.txt."
            )
        tokenizer = towers
    if not isinstance(towers, Towers):
        towers = load_towers(towers)
    if not isinstance(tokenizer, Tokenizer):
        tokenizer = load_tokenizer(tokenizer)
    return np.asarray(embed_text(towers.params, towers.config, tokenizer(sentences)))
