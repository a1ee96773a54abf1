"""Safetensors files: names and shapes first, numbers on demand."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from primus_jax.errors import PrimusError
from primus_jax.weights.lfs import refuse_pointer
from primus_jax.weights.printable import MOST_SAID, shown


class SafetensorsFile:
    """An open file: every name and shape, numbers on demand.

    Attributes:
        shapes: of every tensor, by name.
        description: what `write_folder` put in the header, or None.
    """

    def __init__(self, file: Any):
        header = (file.metadata() or {}).get("primus_jax")
        self._file = file
        self.shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        self.description = None if header is None else json.loads(header)

    def read(self, name: str) -> np.ndarray:
        """The numbers of one tensor, of the dtype in the file."""
        return self._file.get_tensor(name)


@contextlib.contextmanager
def open_safetensors(path: str | os.PathLike[str]) -> Iterator[SafetensorsFile]:
    """Open a safetensors file.

    Raises:
        PrimusError: no such file, a pointer of Git LFS, damaged, or of a dtype that numpy does not
            know.
    """
    refuse_pointer(path)
    try:
        with safe_open(path, framework="numpy") as file:
            yield SafetensorsFile(file)
    except PrimusError:
        raise
    except OSError as error:
        raise PrimusError(f"cannot read {path}: {error.strerror or error}.") from error
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        said = shown(str(error), MOST_SAID)
        raise PrimusError(f"{path} is not a whole safetensors file: {said}.") from error


def read_safetensors(
    path: str | os.PathLike[str],
) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    """Tensors by name, and the description that `write_folder` put in the header, if any.

    Raises:
        PrimusError: as `open_safetensors`.
    """
    with open_safetensors(path) as file:
        return {name: file.read(name) for name in file.shapes}, file.description


def write_safetensors(
    tensors: Mapping[str, np.ndarray], path: Path, metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file whose bytes depend on nothing but the arguments.

    The safetensors library writes the metadata in an order that changes from file to file.

    Args:
        tensors: by name; float32 or float16, of any shape.
        path: of the file.
        metadata: for the header.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name, tensor in sorted(tensors.items()):
        begin, end = end, end + tensor.nbytes
        kind = {"float32": "F32", "float16": "F16"}[tensor.dtype.name]
        offsets = [begin, end]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in sorted(tensors.items()):
            file.write(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes())


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
