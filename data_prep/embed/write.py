"""Windows of a dataset and their embeddings -> a new dataset folder."""

import dataclasses
import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.dataset.recipe import stored_tokens
from data_prep.dataset.shards import Schema
from data_prep.dataset.tfds import Examples, build
from data_prep.embed.parts import PART, Windows, read_part
from data_prep.embed.plan import Plan
from primus_jax.data.metadata import Counts, Embedded, Metadata, write_metadata
from primus_jax.data.people import FILE as PEOPLE
from primus_jax.errors import PrimusError
from primus_jax.provenance import provenance


def write_embedded(plan: Plan, work: Path, target: Path, log: Callable[[str], None]) -> None:
    """Write shards and metadata.json into `target`, an existing folder.

    Args:
        plan: what was embedded.
        work: holds all parts.
        target: gets as many shards as the dataset, with the same windows in the same order.
        log: takes progress lines.

    Raises:
        PrimusError: a part is missing, or a shard of the dataset is damaged.
    """
    folder = plan.folder
    log(f"  writing {sum(folder.splits.values()):,} windows")
    vectors = _Vectors(plan, work)
    windows = Windows(folder)
    shards: dict[str, list[Examples]] = {}
    first = 0
    for split, old in folder.metadata.shards.items():
        shards[split] = []
        for shard in old:
            examples = functools.partial(_examples, plan, windows, vectors, first, shard.examples)
            shards[split].append(examples)
            first += shard.examples
    build(target, folder.name, shards, Schema(plan.tensors, folder.label_names))
    if (folder.path / PEOPLE).is_file():
        shutil.copyfile(folder.path / PEOPLE, target / PEOPLE)
    write_metadata(target, _metadata(plan, vectors, target))


class _Vectors:
    """Embeddings by the number of the window; one part in memory, and the distinct sentences."""

    def __init__(self, plan: Plan, work: Path) -> None:
        self._work = work
        self._number = -1
        self._part: dict[str, np.ndarray] = {}
        digest = hashlib.blake2b(digest_size=16)
        digest.update(json.dumps([plan.folder.content_hash, plan.tensors]).encode())
        texts, has_text, has_video = [], [], []
        for number in range(-(-sum(plan.folder.splits.values()) // PART)):
            part = self._load(number)
            for name in sorted(part):
                digest.update(part[name].tobytes())
            texts.append(part["text"])
            has_text.append(part["text_row"] >= 0)
            has_video.append(part["has_video"])
        self._texts = np.concatenate(texts)
        self.has = {"text": np.concatenate(has_text), "video": np.concatenate(has_video)}
        self.digest = digest.hexdigest()

    def vector(self, kind: str, number: int) -> np.ndarray:
        """Float16 `[dim]`; zeros where the window has none."""
        part = self._load(number // PART)
        if kind == "video":
            return part["video"][number % PART]
        row = part["text_row"][number % PART]
        return self._texts[row] if row >= 0 else np.zeros(self._texts.shape[1], np.float16)

    def _load(self, number: int) -> dict[str, np.ndarray]:
        if number != self._number:
            part = read_part(self._work, number)
            if part is None:
                raise PrimusError(f"{self._work}: part {number} is damaged. Start again.")
            self._number, self._part = number, part
        return self._part


def _examples(
    plan: Plan, windows: Windows, vectors: _Vectors, first: int, count: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    tensors = plan.tensors
    for number, window in enumerate(windows.read(first, count), first):
        if "frames" not in tensors:
            window.pop("frames", None)
            window.pop("has_frames", None)
        if plan.tokenizer is not None:
            window["tokens"] = plan.tokenizer([window["text"]])[0]
        for kind in plan.kinds:
            window[f"{kind}_embedding"] = vectors.vector(kind, number)
            window[f"has_{kind}_embedding"] = bool(vectors.has[kind][number])
        yield number, window


def _metadata(plan: Plan, vectors: _Vectors, target: Path) -> Metadata:
    """What the dataset stated, with what embedding it changed."""
    before = plan.folder.metadata
    made = dataclasses.replace(
        before,
        tensors=plan.tensors,
        embedding_dim=plan.width,
        towers=plan.stored_towers,
        counts=_counts(plan, vectors),
        shards={
            split: tuple(
                dataclasses.replace(shard, bytes=(target / shard.file).stat().st_size)
                for shard in shards
            )
            for split, shards in before.shards.items()
        },
        content_hash=vectors.digest,
        embedded=Embedded(
            plan.kinds, plan.options.dtype, before.content_hash, before.made_with or None
        ),
        made_with=provenance(),
    )
    if plan.tokenizer is None:
        return made
    return dataclasses.replace(made, tokenizer=stored_tokens(plan.tokenizer))


def _counts(plan: Plan, vectors: _Vectors) -> dict[str, Counts]:
    """Windows of every split that have embeddings and frames now."""
    counts: dict[str, Counts] = {}
    first = 0
    for split, size in plan.folder.splits.items():
        changes: dict[str, Any] = {
            f"with_{kind}_embedding": int(vectors.has[kind][first : first + size].sum())
            for kind in plan.kinds
        }
        if "frames" not in plan.tensors:
            changes["with_frames"] = 0
        counts[split] = dataclasses.replace(plan.folder.metadata.counts[split], **changes)
        first += size
    return counts
