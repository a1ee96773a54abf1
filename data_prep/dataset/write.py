"""Recordings -> a dataset folder, in one pass and one process."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from data_prep.dataset.assembly import assemble
from data_prep.dataset.origin import Origin
from data_prep.dataset.parts import part_path, write_part
from data_prep.dataset.recipe import Recipe
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.files import new_folder
from primus_jax.recordings.recording import Recording


def write_dataset(
    recordings: Iterable[Recording],
    out: str | os.PathLike[str],
    origin: Origin,
    recipe: Recipe,
    *,
    drops: Mapping[str, int] | None = None,
    overwrite: bool = False,
    log: Callable[[str], None] = lambda line: None,
) -> DatasetFolder:
    """Write a dataset folder, whole or not at all.

    Args:
        recordings: iterated once.
        out: the folder to make.
        origin: where the recordings come from.
        recipe: what becomes of them.
        drops: what the source left out by reason, read after the last recording.
        overwrite: replace an existing folder.
        log: takes progress lines.

    Raises:
        PrimusError: no windows at all, two recordings of one id, embeddings of different widths,
            too few groups for the splits, or a folder that exists or cannot be written.
    """
    recipe = recipe.for_folder(Path(out))
    with dataset_folder(out, overwrite=overwrite) as folder:
        path = part_path(folder, "")
        part = write_part(path, "", recordings, recipe, Counter(), log)
        assemble(folder, [part], recipe, origin, drops=drops, log=log)
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
        PrimusError: `out` exists and may not be replaced, or is not a dataset.
    """
    filled = out.is_dir() and any(out.iterdir())
    if overwrite and filled and not (out / "metadata.json").is_file():
        raise PrimusError(f"{out} is not a dataset folder, so it is not replaced. Choose another.")
    if filled and not overwrite:
        raise PrimusError(
            f"{out} already exists. Choose another output folder, or pass --overwrite."
        )
