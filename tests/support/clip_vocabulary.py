"""A stand-in for `bpe_simple_vocab_16e6.txt.gz`: as large as CLIP's, of two-letter words."""

import gzip
import itertools
from pathlib import Path

PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
LETTERS = [chr(i) for i in PRINTABLE] + [chr(0x100 + i) for i in range(256 - len(PRINTABLE))]


def write_vocabulary(path: Path) -> Path:
    """Write 48,894 merges in OpenAI's format and return the path."""
    pairs = itertools.islice(itertools.product(LETTERS, LETTERS), 48894)
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        file.write("#version: 0.2\n")
        file.writelines(f"{a} {b}\n" for a, b in pairs)
    return path
