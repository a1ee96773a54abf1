"""Files that Git LFS left as pointers."""

import os
from pathlib import Path

from primus_jax.errors import PrimusError

_START = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(path: str | os.PathLike[str]) -> None:
    """Refuse a file that is a pointer of Git LFS in place of its content.

    Raises:
        PrimusError: it is one, and how to get the content.
    """
    path = Path(path)
    if not path.is_file() or path.stat().st_size > 1024:
        return
    if path.read_bytes().startswith(_START):
        raise PrimusError(
            f"{path} is a Git LFS pointer of {path.stat().st_size} bytes, not the weights: run "
            f"`git lfs pull` in the repository that it came with."
        )
