"""Sentences to 77 CLIP token ids, from a vocabulary that the user brings."""

import dataclasses
import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from primus_jax.errors import PrimusError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

LENGTH = 77
VOCABULARY = 49408
_MERGES = VOCABULARY - 2 * 256 - 2


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """CLIP's byte-pair tokenizer with what identifies it.

    `__call__(texts)` gives int32 `[n, 77]`: start id 49406, the sentence, end id 49407, then the
    end id again up to 77, as `transformers` pads (OpenAI's own code pads with 0; a text tower that
    pools at the first end id and attends causally gives the same for both). Longer sentences are
    cut so that the end id stays.
    """

    name: str
    digest: str
    clip: "CLIPTokenizer"

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        if not texts:
            return np.empty((0, LENGTH), np.int32)
        ids = self.clip(list(texts), padding="max_length", truncation=True, max_length=LENGTH)[
            "input_ids"
        ]
        return np.asarray(ids, np.int32)


def _byte_symbols() -> list[str]:
    """The 256 characters that stand for bytes in CLIP's vocabulary, in vocabulary order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in printable] + [chr(0x100 + i) for i in range(256 - len(printable))]


def _read_merges(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = file.read().split("\n")[1 : _MERGES + 1]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise PrimusError(f"{path}: not a gzip file of byte-pair merges ({error}).") from error
    merges = [(pair[0], pair[1]) for line in lines if len(pair := line.split()) == 2]
    if not len(merges) == len(lines) == _MERGES:
        raise PrimusError(
            f"{path}: {len(merges)} merges; expected the {_MERGES} pairs of "
            f"bpe_simple_vocab_16e6.txt.gz."
        )
    symbols = _byte_symbols()
    words = [*symbols, *(s + "</w>" for s in symbols), *("".join(pair) for pair in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return {word: index for index, word in enumerate(words)}, merges


def load_tokenizer(source: str | os.PathLike[str]) -> Tokenizer:
    """Load CLIP's tokenizer.

    Args:
        source: `bpe_simple_vocab_16e6.txt.gz` (OpenAI's file), a folder with vocab.json and
            merges.txt, or a Hugging Face name such as openai/clip-vit-base-patch32.

    Raises:
        PrimusError: a file that is not such a vocabulary, or a name that cannot be loaded.
    """
    from transformers import CLIPTokenizer

    path = Path(source)
    if path.is_file():
        vocabulary, merges = _read_merges(path)
        # It takes pairs, which its annotation leaves out.
        clip = CLIPTokenizer(vocab=vocabulary, merges=merges)  # type: ignore[arg-type]
    else:
        try:
            clip = CLIPTokenizer.from_pretrained(str(source))
        except (OSError, ValueError, TypeError) as error:
            raise PrimusError(
                f"tokenizer {str(source)!r} cannot be loaded: {error} Expected the file "
                f"bpe_simple_vocab_16e6.txt.gz, a folder with vocab.json and merges.txt, or a "
                f"Hugging Face name."
            ) from error
    if len(clip) != VOCABULARY:
        raise PrimusError(f"tokenizer {source}: {len(clip)} words; expected CLIP's {VOCABULARY}.")
    words = json.dumps(sorted(clip.get_vocab().items())).encode()
    name = path.name if path.exists() else str(source)
    return Tokenizer(name, hashlib.blake2b(words, digest_size=16).hexdigest(), clip)
