"""A corpus that is prepared unit by unit -> a dataset folder, in parallel and restartable."""

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.dataset.assembly import assemble
from data_prep.dataset.origin import Origin
from data_prep.dataset.parts import FORMAT, Part, part_path, read_part
from data_prep.dataset.recipe import OFFICIAL, Recipe
from data_prep.dataset.units import Corpus, Engine, UnitJob
from data_prep.dataset.work_folder import open_work_folder
from data_prep.dataset.write import check_out, dataset_folder
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.metadata import CorpusVersion
from primus_jax.errors import PrimusError


def write_corpus(
    corpus: Corpus,
    out: str | os.PathLike[str],
    recipe: Recipe,
    engine: Engine,
    *,
    overwrite: bool = False,
    log: Callable[[str], None] = print,
) -> DatasetFolder:
    """Prepare a corpus into a dataset folder, going on where an earlier run was stopped.

    Every unit becomes a part in the work folder `OUT.partial`; then shards are written in the
    order of the unit ids. The result does not depend on the engine, the number of workers or
    restarts. A unit that fails is left out and listed in `metadata.failed`; the work folder then
    stays, so that a run with `overwrite` prepares only the failed units. Without failures the work
    folder is removed.

    Args:
        corpus: the source.
        out: the folder to make.
        recipe: what becomes of the recordings.
        engine: prepares the units.
        overwrite: replace an existing folder.
        log: takes progress lines.

    Raises:
        PrimusError: no units, no windows, a work folder of another recipe, no official split, a
            folder that exists or cannot be written, or too few groups for the splits.
    """
    out = Path(out)
    check_out(out, overwrite=overwrite)
    recipe = _with_splits(recipe.for_folder(out), corpus)
    units = sorted(corpus.units())
    if not units:
        raise PrimusError(f"{corpus.name} {corpus.version}: nothing to prepare was found.")
    work = out.with_name(f"{out.name}.partial")
    job = UnitJob(corpus, recipe, open_work_folder(work, _identity(corpus, recipe)))
    parts, failed = _prepare_units(job, units, engine, log)
    origin = Origin(
        corpus.source,
        corpus.licence,
        corpus=CorpusVersion(corpus.name, corpus.version),
        failed=failed,
        facts=corpus.facts(),
    )
    with dataset_folder(out, overwrite=overwrite) as folder:
        assemble(folder, parts, recipe, origin, beam=engine.beam, log=log)
    if failed:
        log(f"  {work} keeps the other units: repair the files, and pass --overwrite")
    else:
        shutil.rmtree(work)
    return DatasetFolder(out)


def _prepare_units(
    job: UnitJob, units: Sequence[str], engine: Engine, log: Callable[[str], None]
) -> tuple[list[Part], dict[str, str]]:
    """Prepare the units that are not done yet.

    Returns:
        The parts of all units that have one, and of the others the reason, in the order of `units`.

    Raises:
        PrimusError: every unit failed.
    """
    waiting = [unit for unit in units if not job.done(unit)]
    for unit in waiting:
        job.forget(unit)
    if len(waiting) < len(units):
        log(f"  going on: {len(units) - len(waiting):,} of {len(units):,} units are done")
    if waiting:
        engine.run(job, waiting, log)
    parts = {unit: read_part(part_path(job.work, unit)) for unit in units}
    failed = {unit: job.failure(unit) for unit, part in parts.items() if part is None}
    for unit, message in failed.items():
        log(f"  FAILED {unit}: {message}")
    if len(failed) == len(units):
        first = next(iter(failed.values()))
        raise PrimusError(f"all {len(units)} units of {job.corpus.name} failed; the first: {first}")
    return [part for part in parts.values() if part is not None], failed


def _with_splits(recipe: Recipe, corpus: Corpus) -> Recipe:
    """The recipe with the corpus's own split in place of `OFFICIAL`.

    Raises:
        PrimusError: the corpus publishes no split.
    """
    if recipe.splits != OFFICIAL:
        return recipe
    official = corpus.official_split()
    if not official:
        raise PrimusError(f"{corpus.name} has no official split. Give three fractions.")
    return dataclasses.replace(recipe, splits=official)


def _identity(corpus: Corpus, recipe: Recipe) -> dict[str, Any]:
    """What the parts depend on, as JSON: the corpus with its settings, windows, tokenizer."""
    stated = ("name", "version", "source", "licence")
    fields: tuple[dataclasses.Field[Any], ...] = ()
    if dataclasses.is_dataclass(corpus):
        fields = dataclasses.fields(corpus)
    settings = {f.name: _plain(getattr(corpus, f.name)) for f in fields if f.name not in stated}
    return {
        "corpus": corpus.name,
        "corpus version": corpus.version,
        **{f"setting {name}": value for name, value in settings.items()},
        "windows": dataclasses.asdict(recipe.spec),
        "tokenizer": recipe.tokenizer and recipe.tokenizer.digest,
        "part format": FORMAT,
    }


def _plain(value: Any) -> Any:
    """A setting as JSON, the same in every process."""
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
