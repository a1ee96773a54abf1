"""The JSON files of an Ego-Exo4D download."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from primus_jax.errors import PrimusError
from primus_jax.files import read_json

T = TypeVar("T")
# What is missing where a file of the download is.
DOWNLOADED = "Expected the folder that the `egoexo` downloader filled."
MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


def version_of(path: Path) -> tuple[int, int]:
    """Values that differ between a changed file and the remembered one."""
    found = path.stat() if path.is_file() else None
    return (found.st_mtime_ns, found.st_size) if found else (0, 0)


def in_words(error: Exception) -> str:
    """Return the error that reading an entry raised, in words."""
    if isinstance(error, KeyError):
        return f"the field {error.args[0]} is missing"
    return f"a field has another form ({error})"


def read_by_take(raw: Path, kind: str, parse: Callable[[Any], T]) -> dict[str, T]:
    """Read `annotations/KIND_train.json` and `KIND_val.json`, and `parse` the entry of each take.

    Remember the last result in each process, since the files are large.

    Args:
        raw: the download.
        kind: start of the files' names.
        parse: a module's function; takes any JSON value, and counts entries that it cannot read.

    Raises:
        PrimusError: neither file is there, or one is not an object with annotations by take.
    """
    paths = [raw / "annotations" / f"{kind}_{split}.json" for split in ("train", "val")]
    present = tuple((path, version_of(path)) for path in paths if path.is_file())
    if not present:
        raise PrimusError(
            f"neither {paths[0]} nor {paths[1].name} is there. Download the part `annotations`."
        )
    return _by_take(present, parse)


@functools.lru_cache(maxsize=1)
def _by_take(
    files: tuple[tuple[Path, tuple[int, int]], ...], parse: Callable[[Any], T]
) -> dict[str, T]:
    result: dict[str, T] = {}
    for path, _ in files:
        content = read_json(path, DOWNLOADED)
        takes = content.get("annotations") if isinstance(content, dict) else None
        if not isinstance(takes, dict):
            raise PrimusError(f"{path}: expected an object with annotations by take uid.")
        result |= {uid: parse(entry) for uid, entry in takes.items()}
    return result
