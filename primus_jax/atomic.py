"""Results appear whole or not at all: written under a temporary name beside it, then renamed."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from primus_jax.errors import PrimusError


@contextlib.contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends without an exception."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(
    path: str | os.PathLike[str], *, overwrite: bool = False, own: Collection[str] | None = None
) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an exception.

    Args:
        path: the folder to make.
        overwrite: replace an existing folder.
        own: names of what an earlier result consists of; a folder that holds anything else is
            somebody's, and is never replaced.

    Raises:
        PrimusError: `path` exists and is not an empty folder, unless `overwrite` is set, or holds
            what is not `own`.
    """
    target = Path(path)
    if overwrite and own is not None and target.is_dir():
        strangers = sorted({entry.name for entry in target.iterdir()} - set(own))
        if strangers:
            raise PrimusError(
                f"{target} holds {strangers[0]}, which this command did not write; it is not "
                f"replaced. Choose another output folder."
            )
    if target.exists() and not overwrite and not (target.is_dir() and not any(target.iterdir())):
        raise PrimusError(
            f"{target} already exists. Choose another output folder, or pass --overwrite."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
