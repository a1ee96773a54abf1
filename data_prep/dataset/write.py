"""Recordings -> a dataset folder, in one pass and one process."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from data_prep.dataset.assembly import SHARD_BYTES, assemble
from data_prep.dataset.parts import part_path, write_part
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.files import new_folder
from primus_jax.models.clip.tokenizer import Tokenizer
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec


def write_dataset(
    recordings: Iterable[Recording],
    out: str | os.PathLike[str],
    *,
    source: str,
    licence: str,
    name: str = "",
    spec: WindowSpec | None = None,
    splits: Splits | None = None,
    tokenizer: Tokenizer | None = None,
    text_embeddings: Mapping[str, np.ndarray] | None = None,
    extra_drops: Mapping[str, int] | None = None,
    simulated: bool = False,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    log: Callable[[str], None] = lambda line: None,
) -> DatasetFolder:
    """Write a dataset folder, whole or not at all.

    Args:
        recordings: iterated once.
        out: the folder to make.
        source: where the recordings come from, in words.
        licence: of the recordings, in words.
        name: of the dataset; from the folder's name if "".
        spec: rate, length, hop and frames of the windows.
        splits: fractions by group, and seed.
        tokenizer: gives `tokens`; none are stored without one.
        text_embeddings: by sentence, for windows whose recording brings none.
        extra_drops: what the source left out, read after the last recording.
        simulated: nothing was measured.
        overwrite: replace an existing folder.
        shard_bytes: about the size of a shard before compression.
        log: takes progress lines.

    Raises:
        PrimusError: no windows at all, two recordings of one id, embeddings of different widths,
            too few groups for the splits, or a folder that exists or cannot be written.
    """
    recipe = Recipe(spec or WindowSpec(), tokenizer, text_embeddings or {})
    about = {"name": tfds_name(name or Path(out).name), "simulated": simulated}
    about |= {"source": source, "licence": licence, "corpus": None, "failed": {}}
    with dataset_folder(out, overwrite=overwrite) as folder:
        path = part_path(folder, "")
        part = write_part(path, "", recordings, recipe, Counter(), log)
        assemble(
            folder,
            [part],
            about,
            recipe=recipe,
            splits=splits or Splits(),
            drops=extra_drops,
            shard_bytes=shard_bytes,
            log=log,
        )
        for file in (path, path.with_suffix(".json")):
            file.unlink()
    return DatasetFolder(out)


@contextmanager
def dataset_folder(out: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder that becomes the dataset folder `out` if nothing goes wrong.

    Raises:
        PrimusError: a folder that exists, is not a dataset, or cannot be written.
    """
    out = Path(out)
    check_out(out, overwrite=overwrite)
    try:
        with new_folder(out, overwrite=overwrite) as folder:
            yield folder
    except OSError as error:
        raise PrimusError(f"cannot prepare {out}: {error}") from error


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that may not be written, before hours of work.

    Raises:
        PrimusError: `out` exists and may not be replaced, or is no dataset.
    """
    filled = out.is_dir() and any(out.iterdir())
    if overwrite and filled and not (out / "metadata.json").is_file():
        raise PrimusError(f"{out} is not a dataset folder, so it is not replaced. Choose another.")
    if filled and not overwrite:
        raise PrimusError(
            f"{out} already exists. Choose another output folder, or pass --overwrite."
        )


def tfds_name(name: str) -> str:
    """A name as TFDS wants it: a lower-case identifier."""
    name = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_") or "windows"
    return name if name[0].isalpha() else f"windows_{name}"
