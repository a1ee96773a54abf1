"""Where the embeddings of searched sentences come from: stored ones, or a text tower."""

import dataclasses
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from primus_jax.errors import PrimusError
from primus_jax.models.clip.tokenizer import Tokenizer, load_tokenizer
from primus_jax.models.clip.towers import Towers, embed_text, load_towers
from primus_jax.numerics import unit_rows


@dataclasses.dataclass(frozen=True)
class TextTower:
    """The text tower that the encoder was pretrained with, to embed sentences.

    Attributes:
        towers: a folder in Hugging Face's layout, or `models.clip.towers.load_towers`'s result.
        tokenizer: argument or result of `models.clip.tokenizer.load_tokenizer`; None: files in the
            towers' folder.
    """

    towers: Towers | str | os.PathLike[str]
    tokenizer: Tokenizer | str | os.PathLike[str] | None = None

    def embed(self, sentences: list[str]) -> np.ndarray:
        """Sentences -> float32 `[n, dim]`.

        Raises:
            PrimusError: towers or tokenizer cannot be loaded, or have no text.
        """
        towers, tokenizer = self.towers, self.tokenizer
        if tokenizer is None:
            if isinstance(towers, Towers) or not (Path(towers) / "vocab.json").is_file():
                raise PrimusError(
                    "no tokenizer: the towers' folder holds no vocab.json; pass tokenizer, the "
                    "file bpe_simple_vocab_16e6.txt.gz or a folder with vocab.json and merges.txt."
                )
            tokenizer = towers
        if not isinstance(towers, Towers):
            towers = load_towers(towers)
        if not isinstance(tokenizer, Tokenizer):
            tokenizer = load_tokenizer(tokenizer)
        return np.asarray(embed_text(towers.params, towers.config, tokenizer(sentences)))


def text_source(
    text_embeddings: ArrayLike | None,
    towers: Towers | str | os.PathLike[str] | None,
    tokenizer: Tokenizer | str | os.PathLike[str] | None,
) -> ArrayLike | TextTower:
    """`SearchOptions.text` of the keywords of `Encoder.search`.

    Raises:
        PrimusError: both embeddings and towers, or neither.
    """
    if text_embeddings is not None and towers is None:
        return text_embeddings
    if text_embeddings is None and towers is not None:
        return TextTower(towers, tokenizer)
    raise PrimusError(
        "expected either text_embeddings, an array [sentences, dim], or towers, the folder of "
        "the text tower that the encoder was pretrained with (and its tokenizer)."
    )


def sentence_rows(
    text: ArrayLike | TextTower, sentences: list[str], width: int, head: str
) -> np.ndarray:
    """Embeddings of the sentences, float32 `[sentences, width]`, of unit length.

    Raises:
        PrimusError: another shape, values that are not finite, or a tower that cannot be used.
    """
    embeddings = text.embed(sentences) if isinstance(text, TextTower) else text
    rows = np.asarray(embeddings, np.float32)
    shape = len(sentences), width
    if rows.shape != shape or not np.isfinite(rows).all():
        raise PrimusError(
            f"text embeddings of shape {rows.shape} for {len(sentences)} sentences and an encoder "
            f"whose head {head!r} has {width} values; expected finite numbers {shape}, of the "
            f"tower that it was pretrained with."
        )
    return unit_rows(rows)
