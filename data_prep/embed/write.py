"""Windows of a dataset and their embeddings -> a new dataset folder."""

import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.dataset.tfds import build
from data_prep.embed.parts import PART, Windows, read_part
from data_prep.embed.plan import Plan
from primus_jax.errors import PrimusError
from primus_jax.models.clip.tokenizer import LENGTH
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
    shards: dict[str, list[Callable[[], Iterator[tuple[int, dict]]]]] = {}
    first = 0
    for split, parts in folder.metadata["shards"].items():
        shards[split] = []
        for shard in parts:
            examples = functools.partial(
                _examples, plan, windows, vectors, first, shard["examples"]
            )
            shards[split].append(examples)
            first += shard["examples"]
    build(target, folder.name, shards, plan.tensors, list(folder.label_names))
    text = json.dumps(_metadata(plan, vectors, target), indent=1, ensure_ascii=False)
    (target / "metadata.json").write_text(text, encoding="utf-8")


class _Vectors:
    """Embeddings by the number of the window; one part in memory, and the distinct sentences."""

    def __init__(self, plan: Plan, work: Path) -> None:
        self._work = work
        self._number, self._part = -1, {}
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


def _metadata(plan: Plan, vectors: _Vectors, target: Path) -> dict[str, Any]:
    folder, tokenizer = plan.folder, plan.tokenizer
    counts, first = {}, 0
    for split, size in folder.splits.items():
        counts[split] = dict(folder.metadata["counts"][split])
        for kind in plan.kinds:
            has = vectors.has[kind][first : first + size]
            counts[split][f"with_{kind}_embedding"] = int(has.sum())
        if "frames" not in plan.tensors:
            counts[split]["with_frames"] = 0
        first += size
    made = {
        "tensors": plan.tensors,
        "embedding_dim": plan.width,
        "towers": plan.tower_metadata,
        "counts": counts,
        "shards": {
            split: [shard | {"bytes": (target / shard["file"]).stat().st_size} for shard in shards]
            for split, shards in folder.metadata["shards"].items()
        },
        "content_hash": vectors.digest,
        "embedded": {
            "kinds": list(plan.kinds),
            "dtype": plan.dtype,
            "content_hash": folder.content_hash,
            "made_with": folder.metadata.get("made_with"),
        },
        "made_with": provenance(),
    }
    if tokenizer is not None:
        made["tokenizer"] = {
            "name": tokenizer.name,
            "hash": tokenizer.digest,
            "length": LENGTH,
        }
    return folder.metadata | made
