"""Recordings -> a data set folder, through a TFDS builder that writes ArrayRecord.

One pass over the recordings: windows go to a spool file while labels, groups and counts are
gathered; then groups are split and every shard is written from the spool.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.recording import Recording
from data_prep.splits import NAMES, Splits, assign
from data_prep.spool import Spool
from data_prep.tfds_builder import build
from data_prep.tokens import LENGTH, Tokenizer
from data_prep.windows import WindowSpec
from primus_jax.atomic import new_folder
from primus_jax.data.folder import FORMAT, TENSORS, DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.provenance import provenance
from primus_jax.window import CHANNELS

SHARD_BYTES = 64 << 20
UNITS = {"accelerometer": "m/s^2, gravity included", "gyroscope": "rad/s"}


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
    report: Callable[[str], None] = lambda line: None,
) -> DatasetFolder:
    """Write a data set folder, whole or not at all.

    Args:
        recordings: iterated once.
        out: the folder to make.
        source: where the recordings come from, in words.
        licence: of the recordings, in words.
        name: of the data set; from the folder's name if "".
        spec: rate, length and hop of the windows.
        splits: fractions by group, and seed.
        tokenizer: gives `tokens`; none are stored without one.
        text_embeddings: by sentence, for windows whose recording brings none.
        extra_drops: what the source left out, read after the last recording.
        simulated: nothing was measured.
        overwrite: replace an existing folder.
        shard_bytes: about the size of a shard before compression.
        report: takes progress lines.

    Raises:
        PrimusError: no windows at all, two recordings of one id, embeddings of different widths,
            too few groups for the splits, or a folder that exists or cannot be written.
    """
    spec, splits = spec or WindowSpec(), splits or Splits()
    out = Path(out)
    name = _tfds_name(name or out.name)
    if overwrite and out.is_dir() and any(out.iterdir()) and not (out / "metadata.json").is_file():
        raise PrimusError(f"{out} is not a data set folder, so it is not replaced. Choose another.")
    try:
        with new_folder(out, overwrite=overwrite) as folder:
            spool = Spool(folder / ".spool", spec.samples)
            spool.fill(recordings, spec, report)
            drops = {**(extra_drops or {}), **spool.drops}
            drops = {reason: count for reason, count in sorted(drops.items()) if count}
            if not spool.rows:
                raise PrimusError(f"no window is left to write to {out}; left out: {drops or 0}.")
            writer = _Writer(spool, splits, tokenizer, text_embeddings or {}, shard_bytes)
            metadata = {
                "format": FORMAT,
                "name": name,
                "simulated": simulated,
                "source": source,
                "licence": licence,
                "rate_hz": float(spec.rate_hz),
                "window_samples": spec.samples,
                "window_seconds": spec.samples / spec.rate_hz,
                "hop_seconds": spec.hop / spec.rate_hz,
                "channels": list(CHANNELS),
                "units": UNITS,
                "tokenizer": tokenizer
                and {"name": tokenizer.name, "hash": tokenizer.digest, "length": LENGTH},
                "drops": drops,
                **writer.write(folder, name, report),
                "made_with": provenance(),
            }
            text = json.dumps(metadata, indent=1, ensure_ascii=False)
            (folder / "metadata.json").write_text(text, encoding="utf-8")
            spool.path.unlink()
    except OSError as error:
        raise PrimusError(f"cannot prepare {out}: {error}") from error
    return DatasetFolder(out)


class _Writer:
    """Examples in the order of the recordings, split by group, through TFDS."""

    def __init__(
        self,
        spool: Spool,
        splits: Splits,
        tokenizer: Tokenizer | None,
        text_embeddings: Mapping[str, np.ndarray],
        shard_bytes: int,
    ) -> None:
        self.spool, self.splits, self.shard_bytes = spool, splits, shard_bytes
        headers = spool.headers
        self.label_names = sorted({h.label for h in headers} - {""})
        self.label = {name: index for index, name in enumerate(self.label_names)}
        windows = Counter(headers[r].split_group for r, _, _ in spool.rows)
        self.split_of = assign(windows, splits)

        sentences = sorted({text for _, _, text in spool.rows})
        self.tokens = {}
        if tokenizer is not None:
            self.tokens = dict(zip(sentences, tokenizer(sentences), strict=True))
        self.text_embeddings = {s: text_embeddings[s] for s in sentences if s in text_embeddings}
        vectors = [*self.text_embeddings.values()]
        vectors += [h.text_embedding for h in headers if h.text_embedding is not None]
        videos = [h.video_embedding for h in headers if h.video_embedding is not None]
        widths = sorted({len(vector) for vector in [*vectors, *videos]})
        if len(widths) > 1:
            raise PrimusError(f"embeddings of {widths} values; expected one width for all.")
        self.width = widths[0] if widths else None
        self.tensors = {"imu": [spool.samples, 6]}
        if self.tokens:
            self.tensors["tokens"] = [LENGTH]
        if vectors:
            self.tensors["text_embedding"] = [self.width]
        if videos:
            self.tensors["video_embedding"] = [self.width]

    def write(self, folder: Path, name: str, report: Callable[[str], None]) -> dict[str, Any]:
        """Write the shards into `folder` and return what is known only afterwards."""
        order = {split: [] for split in NAMES}
        for index, (r, _, _) in enumerate(self.spool.rows):
            order[self.split_of[self.spool.headers[r].split_group]].append(index)
        order = {split: indices for split, indices in order.items() if indices}
        digest = hashlib.blake2b(digest_size=16)
        window_bytes = sum(
            int(np.prod(shape)) * np.dtype(TENSORS[tensor]).itemsize
            for tensor, shape in self.tensors.items()
        )
        per_shard = max(1, self.shard_bytes // window_bytes)
        parts = {
            split: np.array_split(indices, -(-len(indices) // per_shard))
            for split, indices in order.items()
        }
        report(f"  writing {', '.join(f'{len(v):,} {s}' for s, v in order.items())} windows")
        imu = self.spool.imu()

        def shard(split: str, indices: np.ndarray) -> Callable[[], Iterator[tuple[int, dict]]]:
            def examples() -> Iterator[tuple[int, dict[str, Any]]]:
                for index in indices.tolist():
                    example = self._example(index, imu[index])
                    _update(digest, split, example)
                    yield index, example

            return examples

        build(
            folder,
            name,
            {split: [shard(split, part) for part in shards] for split, shards in parts.items()},
            self.tensors,
            self.label_names,
        )
        return {
            "label_names": self.label_names,
            "embedding_dim": self.width,
            "tensors": self.tensors,
            "split_fractions": list(self.splits.fractions),
            "split_seed": self.splits.seed,
            "split_published": bool(self.splits.test_groups),
            "groups": {
                split: sorted(g for g, s in self.split_of.items() if s == split) for split in order
            },
            "counts": {split: self._counts(indices) for split, indices in order.items()},
            "shards": {
                split: [
                    _shard(folder, f"{name}-{split}", i, len(shards), len(part))
                    for i, part in enumerate(shards)
                ]
                for split, shards in parts.items()
            },
            "content_hash": digest.hexdigest(),
        }

    def _example(self, index: int, imu: np.ndarray) -> dict[str, Any]:
        r, start, text = self.spool.rows[index]
        recording = self.spool.headers[r]
        example: dict[str, Any] = {
            "imu": np.asarray(imu),
            "has_gyro": recording.has_gyro,
            "label": self.label.get(recording.label, -1),
            "text": text,
            "subject": recording.subject,
            "group": recording.split_group,
            "recording": recording.id,
            "placement": recording.placement,
            "start_seconds": np.float32(start),
        }
        if self.tokens:
            example["tokens"] = self.tokens[text]
        own = recording.text_embedding if text == recording.text else None
        vectors = {
            "text_embedding": self.text_embeddings.get(text) if own is None else own,
            "video_embedding": recording.video_embedding,
        }
        for key, vector in vectors.items():
            if key in self.tensors:
                stored = np.zeros(self.width) if vector is None else vector
                example[key] = np.asarray(stored, np.float16)
                example[f"has_{key}"] = vector is not None
        return example

    def _counts(self, indices: list[int]) -> dict[str, Any]:
        """Windows, windows with a sentence and with a video embedding, and windows by label."""
        rows = [self.spool.rows[i] for i in indices]
        headers = [self.spool.headers[r] for r, _, _ in rows]
        labels = Counter(h.label for h in headers)
        return {
            "windows": len(rows),
            "recordings": len({h.id for h in headers}),
            "with_text": sum(bool(text) for _, _, text in rows),
            "with_text_embedding": sum(
                text in self.text_embeddings or (text == h.text and h.text_embedding is not None)
                for (_, _, text), h in zip(rows, headers, strict=True)
            ),
            "with_video_embedding": sum(h.video_embedding is not None for h in headers),
            "without_gyro": sum(not h.has_gyro for h in headers),
            "labels": {name: labels[name] for name in self.label_names if labels[name]},
            "unlabelled": labels[""],
        }


def _shard(folder: Path, prefix: str, index: int, shards: int, examples: int) -> dict[str, Any]:
    file = f"{prefix}.array_record-{index:05d}-of-{shards:05d}"
    return {"file": file, "examples": examples, "bytes": (folder / file).stat().st_size}


def _update(digest: "hashlib._Hash", split: str, example: Mapping[str, Any]) -> None:
    digest.update(split.encode())
    for key in sorted(example):
        value = example[key]
        data = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        digest.update(f"\0{key}\0{len(data)}\0".encode())
        digest.update(data)


def _tfds_name(name: str) -> str:
    """TFDS wants a lower-case identifier."""
    name = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_") or "windows"
    return name if name[0].isalpha() else f"windows_{name}"
