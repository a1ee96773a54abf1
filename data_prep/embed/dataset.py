"""Run the frozen towers once over a dataset: the same windows with embeddings beside them."""

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from data_prep.dataset.work_folder import open_work_folder
from data_prep.dataset.write import check_out, dataset_folder
from data_prep.embed.parts import embed_parts
from data_prep.embed.plan import KINDS, EmbedOptions, Plan, check_towers
from data_prep.embed.write import write_embedded
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.models.clip.tokenizer import Tokenizer
from primus_jax.models.clip.towers import Towers
from primus_jax.parallel.sharding import make_mesh


def embed_dataset(
    data: str | os.PathLike[str],
    towers: Towers,
    out: str | os.PathLike[str],
    options: EmbedOptions | None = None,
    *,
    overwrite: bool = False,
    log: Callable[[str], None] = lambda line: None,
) -> DatasetFolder:
    """Write a dataset folder with the windows of `data`, in its shards and order, and embeddings.

    Finished parts are kept in `OUT.partial`: the same call after a stop goes on, and ends with the
    same values as one that was not stopped. Equal sentences are embedded once. Embeddings are
    float16; windows without a sentence (frames) have zeros and `has_text_embedding`
    (`has_video_embedding`) False.

    Args:
        data: a dataset folder, with frames for video and token ids or sentences for text.
        towers: from `load_towers`.
        out: the folder to make, whole or not at all.
        options: what is embedded, and how; None: the defaults.
        overwrite: replace an existing `out`.
        log: takes progress lines.

    Raises:
        PrimusError: nothing to embed; no token ids and no tokenizer, or both; no such tower; frames
            or widths that do not fit it; embeddings that are there already; unfinished work with
            other settings; a folder that exists or cannot be written.
    """
    folder, out = DatasetFolder(data), Path(out)
    if out.resolve() == folder.path.resolve():
        raise PrimusError(f"{out} is the dataset itself. Choose another output folder.")
    check_out(out, overwrite=overwrite)
    options = _resolved(options or EmbedOptions(), folder)
    plan = Plan(folder, towers, options)
    check_towers(plan)
    mesh = make_mesh(options.devices)
    work = open_work_folder(out.with_name(f"{out.name}.partial"), plan.identity)
    embed_parts(plan, work, mesh, log)
    with dataset_folder(out, overwrite=overwrite) as target:
        write_embedded(plan, work, target, log)
    shutil.rmtree(work)
    return DatasetFolder(out)


def _resolved(options: EmbedOptions, folder: DatasetFolder) -> EmbedOptions:
    """The options with the kinds that the dataset has, and a tokenizer only for text.

    Raises:
        PrimusError: the dataset cannot be embedded so.
    """
    kinds = _kinds(folder, options.kinds)
    _check_stored(folder, kinds, options.replace)
    if "text" not in kinds:
        return dataclasses.replace(options, kinds=kinds, tokenizer=None)
    _check_tokens(folder, options.tokenizer)
    return dataclasses.replace(options, kinds=kinds)


def _kinds(folder: DatasetFolder, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """What of `KINDS` the dataset has and `wanted` names (all if empty)."""
    there = {
        "text": folder.metadata.windows_with_text > 0,
        "video": "frames" in folder.metadata.tensors,
    }
    for kind in wanted:
        if not there[kind]:
            lacks = "a sentence" if kind == "text" else "frames (`primus-jax prepare --frames N`)"
            raise PrimusError(f"{folder.path}: no window has {lacks}; there is no {kind} to embed.")
    kinds = tuple(kind for kind in KINDS if there[kind] and (not wanted or kind in wanted))
    if not kinds:
        raise PrimusError(
            f"{folder.path} has neither sentences nor frames, so there is nothing to embed. "
            f"Prepare it again with texts, or with video and `--frames N`."
        )
    return kinds


def _check_stored(folder: DatasetFolder, kinds: tuple[str, ...], replace: bool) -> None:
    """Raise PrimusError where embeddings are stored that may not be replaced."""
    stored = [kind for kind in kinds if f"{kind}_embedding" in folder.metadata.tensors]
    if stored and not replace:
        others = [kind for kind in kinds if kind not in stored]
        keep = f", or --only {others[0]} to keep them" if others else ""
        raise PrimusError(
            f"{folder.path} has {' and '.join(stored)} embeddings already. Pass "
            f"--overwrite-embeddings to replace them{keep}."
        )


def _check_tokens(folder: DatasetFolder, tokenizer: Tokenizer | None) -> None:
    """Raise PrimusError unless the token ids come from the dataset or from the tokenizer."""
    if "tokens" not in folder.metadata.tensors:
        if tokenizer is None:
            raise PrimusError(
                f"{folder.path} stores sentences but no token ids. Give --tokenizer "
                f"(bpe_simple_vocab_16e6.txt.gz, or a folder with vocab.json and merges.txt)."
            )
    elif tokenizer is not None:
        stored = folder.metadata.tokenizer
        raise PrimusError(
            f"{folder.path} stores token ids of {stored.name if stored else 'a model'} already. "
            f"Leave --tokenizer out, or prepare the dataset again with another one."
        )
