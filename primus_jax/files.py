"""Results appear whole or not at all: written under a temporary name beside it, then renamed."""

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from primus_jax.errors import PrimusError

# It cannot be read without being set, so it is read once, before there are threads.
UMASK = os.umask(0o077)
os.umask(UMASK)

# An address anywhere in what a user gave, as in `NAME=gs://bucket` or `('s3://bucket',)`.
_ADDRESS = re.compile(r"(?<![\w./+-])[A-Za-z][A-Za-z0-9+.-]*://")
# `Path("gs://bucket")` has lost a slash; only the schemes of storage are recognised then.
_SCHEMES = (
    *("gs", "gcs", "s3", "s3a", "az", "abfs", "abfss", "wasb", "wasbs", "hf", "hdfs", "r2"),
    *("dbfs", "file", "http", "https", "ftp", "sftp", "ssh", "memory", "webhdfs"),
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def local_path(path: str | os.PathLike[str], name: str) -> Path:
    """Return `path` as a path of this machine.

    Args:
        path: a path, or an option's value that holds one, as `NAME=PATH`.
        name: of the option, for the message.

    Raises:
        PrimusError: it is the address of a bucket or the like, such as gs://bucket/run.
    """
    text = os.fspath(path)
    first = text.split("/")[0] if isinstance(path, os.PathLike) else ""
    if _ADDRESS.search(text) or (first.endswith(":") and first[:-1].casefold() in _SCHEMES):
        raise PrimusError(
            f"{name} is {text}, an address; expected a folder or file of this machine. Mount the "
            f"bucket as a folder, or copy what is in it (docs/corpora.md), and give that path."
        )
    return Path(text)


@contextlib.contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends without an exception.

    Raises:
        PrimusError: nothing can be written there, or `path` is an address.
    """
    target = local_path(path, "the output")
    if target.is_dir():
        raise PrimusError(f"{target} is a folder. Choose another output file.")
    with _writable(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent
        )
        os.close(handle)
    temporary = Path(name)
    try:
        with _room(target):
            yield temporary
            set_mode(temporary)
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(
    path: str | os.PathLike[str], *, overwrite: bool = False, own: Collection[str] | None = None
) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an exception.

    Whatever wrote the folder and the files in it, their modes follow the umask.

    Args:
        path: the folder to make.
        overwrite: replace an existing folder.
        own: names of what an earlier result consists of; a folder that holds anything else is
            somebody's, and is never replaced.

    Raises:
        PrimusError: `path` exists and is not an empty folder, unless `overwrite` is set, or holds
            what is not `own`; it is a file or an address; or nothing can be written there.
    """
    target = local_path(path, "the output")
    with _writable(target):
        inside = {entry.name for entry in target.iterdir()} if target.is_dir() else set()
    if overwrite and own is not None:
        strangers = sorted(inside - set(own))
        if strangers:
            raise PrimusError(
                f"{target} holds {strangers[0]}, which this command did not write; it is not "
                f"replaced. Choose another output folder."
            )
    if os.path.lexists(target) and not target.is_dir():
        raise PrimusError(
            f"{target} already exists and is no folder. Choose another output folder."
        )
    if inside and not overwrite:
        raise PrimusError(
            f"{target} already exists. Choose another output folder, or pass --overwrite."
        )
    with _writable(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with _room(target):
            yield temporary
        for entry in (temporary, *temporary.rglob("*")):
            set_mode(entry)
        with _writable(target):
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_json(path: Path, missing: str = "") -> Any:
    """Return what a JSON file holds.

    Args:
        path: the file.
        missing: a sentence for the error where there is no such file: what was expected.

    Raises:
        PrimusError: the file does not exist, cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PrimusError(f"{path} does not exist. {missing}".strip()) from None
    except OSError as error:
        raise PrimusError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise PrimusError(f"{path} is not JSON: {error}. Copy or make the file again.") from error


def set_mode(path: Path) -> None:
    """Give a file or folder the mode that any program's would have: all that the umask leaves.

    Temporary files, and those of the safetensors library, are made for their owner alone.
    """
    path.chmod((0o777 if path.is_dir() else 0o666) & ~UMASK)


@contextlib.contextmanager
def _room(target: Path) -> Iterator[None]:
    """Turn what a full disk raises while `target` is written into a PrimusError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise PrimusError(
            f"cannot write {target}: {error.strerror}. Make room, or choose another output path."
        ) from error


@contextlib.contextmanager
def _writable(target: Path) -> Iterator[None]:
    """Turn what the system says against writing `target` into a PrimusError."""
    try:
        yield
    except OSError as error:
        where = next((parent for parent in target.parents if os.path.lexists(parent)), target)
        reason = (
            f"{where} is no folder" if not where.is_dir() else f"{where}: {error.strerror or error}"
        )
        raise PrimusError(
            f"cannot write {target}: {reason}. Choose another output path."
        ) from error
