"""Stored tower embeddings: an .npz file of arrays made once by frozen towers."""

import dataclasses
import zipfile
import zlib
from pathlib import Path

import numpy as np

from primus_jax.errors import PrimusError


def load_arrays(path: Path, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """Read the named arrays (all if None) that an .npz file has; pickled objects are refused.

    Raises:
        PrimusError: no such file, not an .npz file, a damaged one, or one with pickled objects.
    """
    if not path.is_file():
        raise PrimusError(f"{path}: no such file.")
    try:
        if not zipfile.is_zipfile(path):
            raise PrimusError(f"{path}: not an .npz file (or a truncated one).")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if names is None or name in names}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, PrimusError):
            raise
        reason = "it holds pickled objects, which are refused" if "pickle" in str(error) else error
        raise PrimusError(f"{path}: not a readable .npz file ({reason}).") from error


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Text embeddings by sentence, and video embeddings `[rows, dim]` by pack name."""

    text: dict[str, np.ndarray]
    video: dict[str, np.ndarray]


def load_embeddings(path: Path) -> Embeddings:
    """Read `text` [n], `text_embedding` [n, dim] and `<pack>_video_embedding` [rows, dim].

    Raises:
        PrimusError: not such a file, arrays of other shapes, or values that are not finite.
    """
    arrays = load_arrays(path)
    suffix = "_video_embedding"
    video = {name[: -len(suffix)]: a for name, a in arrays.items() if name.endswith(suffix)}
    text = arrays.get("text", np.empty(0, np.str_))
    vectors = arrays.get("text_embedding", np.empty((0, 1), np.float16))
    if text.ndim != 1 or vectors.ndim != 2 or len(text) != len(vectors):
        raise PrimusError(
            f"{path}: text {text.shape} and text_embedding {vectors.shape}; expected [n] and "
            f"[n, dim]."
        )
    for name, array in {"text_embedding": vectors, **video}.items():
        if array.ndim != 2 or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise PrimusError(f"{path}: {name}; expected finite numbers [rows, dim].")
    if not len(text) and not video:
        raise PrimusError(f"{path}: neither text and text_embedding nor any *{suffix}.")
    return Embeddings(dict(zip(text.tolist(), vectors, strict=True)), video)
