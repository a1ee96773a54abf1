"""The bytes of a text file as lines: packed or not, in the encoding that they have."""

import codecs
import gzip
import io
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, TextIO, cast

from primus_jax.errors import PrimusError

# Of the unpacked file; enough for the preamble of any logger and some hundred rows.
SAMPLE_BYTES = 1 << 18
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
# What a text in cp1252 hardly holds, and every binary file does.
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\r\x0b\x0c\x1b\x00")
_UTF16_SHARE = 0.25
# What reading a packed file that is damaged, or packed in another way, raises.
DAMAGED = (
    OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError
)  # fmt: skip


# Folders, and what macOS adds beside each file.
_HIDDEN = re.compile(r"/$|^__MACOSX/|(^|/)\._")


def packing(path: Path) -> str:
    """Return "gzip", "zip" or "", by the first bytes of a file.

    Raises:
        PrimusError: a zip file that is not one packed table.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(_GZIP):
        return "gzip"
    if start != _ZIP:
        return ""
    _member(path)
    return "zip"


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked."""
    kind = packing(path)
    if kind == "gzip":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if kind == "zip":
        return zipfile.ZipFile(path).open(_member(path))
    return path.open("rb")


def open_text(path: Path, encoding: str) -> TextIO:
    """Open a file for reading as text, line ends as they are."""
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline="")


def read_sample(path: Path) -> bytes:
    """Return the first `SAMPLE_BYTES` of the unpacked file.

    Raises:
        PrimusError: a packed file that is damaged.
    """
    try:
        with open_bytes(path) as file:
            return file.read(SAMPLE_BYTES)
    except DAMAGED as error:
        raise PrimusError(f"{path}: the packed file is damaged ({error}).") from error


def find_encoding(sample: bytes, where: str) -> str:
    """Return the encoding of a text by its first bytes.

    A byte-order mark decides; without one it is UTF-16 where every other byte is zero, UTF-8 where
    it can be that, and else cp1252, the Western encoding of Windows.

    Raises:
        PrimusError: not a text file.
    """
    if sample.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for name, first in (("utf-16-le", 1), ("utf-16-be", 0)):
        half = sample[first::2]
        if half and half.count(0) > _UTF16_SHARE * len(half):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
        return "utf-8"
    except UnicodeDecodeError:
        controls = sum(byte in _CONTROLS for byte in sample)
        if controls > len(sample) / 1000:
            raise PrimusError(
                f"{where}: not a text file, but binary data; expected CSV or Parquet. Export the "
                f"recording as CSV with the program that wrote it."
            ) from None
        return "cp1252"


def decode_sample(sample: bytes, encoding: str, where: str) -> list[str]:
    """The whole lines of a sample; the last one may be cut off where the file goes on.

    Raises:
        PrimusError: not text in that encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        text = decoder.decode(sample, final=len(sample) < SAMPLE_BYTES)
    except UnicodeError as error:
        raise PrimusError(
            f"{where}: not a text in {encoding} ({error}). State another with --encoding, such as "
            f"cp1252, or save the file in UTF-8."
        ) from error
    # lines end where a file that is open for reading ends them
    lines = list(io.StringIO(text, newline=""))
    return lines[:-1] if len(sample) == SAMPLE_BYTES and len(lines) > 1 else lines


def _member(path: Path) -> str:
    """The one table in a zip file."""
    try:
        with zipfile.ZipFile(path) as file:
            names = [name for name in file.namelist() if not _HIDDEN.search(name)]
    except zipfile.BadZipFile as error:
        raise PrimusError(f"{path}: the zip file is damaged ({error}).") from error
    if "[Content_Types].xml" in names:
        raise PrimusError(f"{path}: an Office document; save the sheet as CSV.")
    tables = [name for name in names if name.lower().endswith((".csv", ".txt", ".tsv"))]
    if len(tables) != 1:
        raise PrimusError(
            f"{path}: holds {len(tables)} tables ({', '.join(tables[:5])}); expected one. Unpack "
            f"it, and name its files."
        )
    return tables[0]
