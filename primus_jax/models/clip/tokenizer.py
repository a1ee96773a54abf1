"""Sentences to 77 CLIP token ids, from a vocabulary that the user brings."""

import dataclasses
import gzip
import hashlib
import json
import os
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from primus_jax.errors import PrimusError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

LENGTH = 77
VOCABULARY = 49408
EXPECTED = (
    "Expected the file bpe_simple_vocab_16e6.txt.gz (in the repository openai/CLIP), a folder with "
    "vocab.json and merges.txt, or a Hugging Face name."
)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_FILES = (".gz", ".txt", ".json", ".zip")
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
        _check_name(str(source))
        try:
            clip = CLIPTokenizer.from_pretrained(str(source))
        except (OSError, ValueError, TypeError) as error:
            raise PrimusError(
                f"tokenizer {str(source)!r} cannot be loaded: {error} {EXPECTED}"
            ) from error
    if len(clip) != VOCABULARY:
        # what transformers makes of a repository without a vocabulary has two words
        raise PrimusError(
            f"tokenizer {source}: {len(clip)} words; expected CLIP's {VOCABULARY}. {EXPECTED}"
        )
    words = json.dumps(sorted(clip.get_vocab().items())).encode()
    name = path.name if path.exists() else str(source)
    return Tokenizer(name, hashlib.blake2b(words, digest_size=16).hexdigest(), clip)


def _check_name(source: str) -> None:
    """Refuse at once what cannot be loaded: the hub's client would try for minutes.

    Raises:
        PrimusError: a file or folder that is not there, or a name that is neither stored here nor
            can be downloaded.
    """
    path = Path(source)
    if path.is_dir():
        missing = [name for name in ("vocab.json", "merges.txt") if not (path / name).is_file()]
        if missing and not (path / "tokenizer.json").is_file():
            raise PrimusError(f"tokenizer {source}: the folder has no {missing[0]}. {EXPECTED}")
        return
    if source.endswith(_FILES) or not _HUB_NAME.fullmatch(source):
        raise PrimusError(f"tokenizer {source}: no such file or folder. {EXPECTED}")
    from huggingface_hub import constants, try_to_load_from_cache

    stored = (try_to_load_from_cache(source, name) for name in ("vocab.json", "tokenizer.json"))
    if any(isinstance(found, str) for found in stored):
        return
    why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _unreachable(constants.ENDPOINT)
    if why:
        raise PrimusError(
            f"tokenizer {source}: not stored on this machine, and it cannot be downloaded ({why}). "
            f"{EXPECTED}"
        )


def _unreachable(address: str) -> str:
    """Why a server cannot be reached, "" if it can."""
    parts = urllib.parse.urlsplit(address)
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        socket.create_connection((parts.hostname or "", port), timeout=5).close()
    except OSError as error:
        # a proxy may reach what this machine does not
        proxied = urllib.request.getproxies().get(parts.scheme)
        return "" if proxied else f"{parts.hostname}: {error.strerror or error}"
    return ""
