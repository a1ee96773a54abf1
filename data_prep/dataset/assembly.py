"""Parts -> a dataset folder: splits, shards and metadata. The one way to write a folder.

Only summaries are in memory; the examples go from the parts into the shards a few at a time.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.dataset.parts import Part, RecordingSummary, count_records, read_examples
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import NAMES, Splits, assign
from data_prep.dataset.tfds import build
from primus_jax.data.folder import FLAGS, FORMAT, TENSORS
from primus_jax.errors import PrimusError
from primus_jax.models.clip.tokenizer import LENGTH
from primus_jax.provenance import provenance
from primus_jax.window import CHANNELS

# Small datasets get shards of about this size; large ones larger shards, not more of them.
SHARD_BYTES = 64 << 20
MAX_SHARDS = 1024
UNITS = {"accelerometer": "m/s^2, gravity included", "gyroscope": "rad/s"}
NO_SPLIT = "recordings that the official split does not name"
# Examples of a part: its file, the first of them, how many.
Segment = tuple[Path, int, int]


@dataclasses.dataclass(frozen=True)
class ShardExamples:
    """The examples of one shard, read from the parts when called; can be pickled (Beam)."""

    segments: tuple[Segment, ...]
    labels: Mapping[str, int]
    tensors: Mapping[str, list[int]]

    def __call__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield numbers and examples, complete in every tensor that the dataset stores."""
        index = 0
        for path, first, count in self.segments:
            for example in read_examples(path, first, count):
                yield index, self._complete(example)
                index += 1

    def _complete(self, example: dict[str, Any]) -> dict[str, Any]:
        example["label"] = self.labels.get(example["label"], -1)
        for name, shape in self.tensors.items():
            if f"has_{name}" in FLAGS:
                example[f"has_{name}"] = name in example
            if name not in example:
                example[name] = np.zeros(shape, TENSORS[name])
        return example


def assemble(
    folder: Path,
    parts: Sequence[Part],
    about: Mapping[str, Any],
    *,
    recipe: Recipe,
    splits: Splits | Mapping[str, str],
    drops: Mapping[str, int] | None = None,
    shard_bytes: int = SHARD_BYTES,
    beam: tuple[str, Sequence[str]] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> None:
    """Write shards and metadata.json into `folder`.

    Args:
        folder: an existing one.
        parts: in the order of the dataset.
        about: name, simulated, source, licence and further keys of the metadata.
        recipe: that made the parts.
        splits: fractions, or the split of each group.
        drops: what was left out, in addition to what the parts say.
        shard_bytes: about the size of a shard before compression.
        beam: runner and options that write the shards; one after another here if None.
        log: takes progress lines.

    Raises:
        PrimusError: no windows at all, two recordings of one id, tensors of different shapes, or
            too few groups for the splits.
    """
    drops = Counter(drops or {})
    for part in parts:
        drops.update(part.drops)
    kept = _kept(parts, splits, drops)
    drops = {reason: count for reason, count in sorted(drops.items()) if count}
    if not any(kept.values()):
        raise PrimusError(f"no window is left to write to {about['name']}; left out: {drops or 0}.")
    summaries = [recording for members in kept.values() for _, recording in members]
    tensors, width = _tensors(summaries, recipe)
    label_names = sorted({recording.label for recording in summaries} - {""})
    labels = {name: index for index, name in enumerate(label_names)}

    window_bytes = sum(int(np.prod(s)) * np.dtype(TENSORS[t]).itemsize for t, s in tensors.items())
    windows = {split: sum(r.windows for _, r in members) for split, members in kept.items()}
    shard_bytes = max(shard_bytes, sum(windows.values()) * window_bytes // MAX_SHARDS)
    per_shard = max(1, shard_bytes // window_bytes)
    shards = {
        split: _cut([segment for segment, _ in members], -(-windows[split] // per_shard))
        for split, members in kept.items()
    }
    log(f"  writing {', '.join(f'{n:,} {split}' for split, n in windows.items())} windows")
    build(
        folder,
        about["name"],
        {
            split: [ShardExamples(shard, labels, tensors) for shard in members]
            for split, members in shards.items()
        },
        tensors,
        label_names,
        beam,
    )
    digest = hashlib.blake2b(digest_size=16)
    for split, members in kept.items():
        digest.update(json.dumps([split, [r.digest for _, r in members]]).encode())
    spec, tokenizer = recipe.spec, recipe.tokenizer
    fractions = splits.fractions if isinstance(splits, Splits) else None
    metadata = {
        "format": FORMAT,
        **about,
        "rate_hz": float(spec.rate_hz),
        "window_samples": spec.samples,
        "window_seconds": spec.samples / spec.rate_hz,
        "hop_seconds": spec.hop / spec.rate_hz,
        "channels": list(CHANNELS),
        "units": UNITS,
        "tokenizer": tokenizer
        and {"name": tokenizer.name, "hash": tokenizer.digest, "length": LENGTH},
        "drops": drops,
        "label_names": label_names,
        "embedding_dim": width,
        "tensors": tensors,
        "split_fractions": fractions and list(fractions),
        "split_seed": splits.seed if isinstance(splits, Splits) else None,
        "split_published": fractions is None or bool(splits.test_groups),
        "groups": {s: sorted({r.group for _, r in members}) for s, members in kept.items()},
        "counts": {s: _counts([r for _, r in members], label_names) for s, members in kept.items()},
        "placement": _by_windows(summaries, "placement"),
        "shards": {
            split: [
                _shard(folder, f"{about['name']}-{split}", i, len(members), shard)
                for i, shard in enumerate(members)
            ]
            for split, members in shards.items()
        },
        "content_hash": digest.hexdigest(),
        "made_with": provenance(),
    }
    text = json.dumps(metadata, indent=1, ensure_ascii=False)
    (folder / "metadata.json").write_text(text, encoding="utf-8")


def _kept(
    parts: Sequence[Part], splits: Splits | Mapping[str, str], drops: Counter[str]
) -> dict[str, list[tuple[Segment, RecordingSummary]]]:
    """Recordings with their examples by split, in order; empty splits are left out."""
    placed, units = [], {}
    for part in parts:
        first = 0
        for recording in part.recordings:
            other = units.setdefault(recording.id, part.unit)
            if other != part.unit:
                raise PrimusError(
                    f"two recordings are called {recording.id!r}: of {other} and of {part.unit}."
                )
            placed.append(((part.path, first, recording.windows), recording))
            first += recording.windows
    windows: Counter[str] = Counter()
    for _, recording in placed:
        windows[recording.group] += recording.windows
    if isinstance(splits, Splits):
        split_of = assign(windows, splits) if windows else {}
    else:
        split_of = {group: splits[group] for group in windows if group in splits}
        drops[NO_SPLIT] += sum(r.group not in split_of for _, r in placed)
    kept = {split: [(s, r) for s, r in placed if split_of.get(r.group) == split] for split in NAMES}
    return {split: members for split, members in kept.items() if members}


def _tensors(
    summaries: Sequence[RecordingSummary], recipe: Recipe
) -> tuple[dict[str, list[int]], int | None]:
    """Shapes of the stored tensors, and the width of embeddings."""
    tensors: dict[str, list[int]] = {}
    widths: set[int] = set()
    for recording in summaries:
        for name, shape in recording.shapes.items():
            tensors[name] = shape
            if name.endswith("_embedding"):
                widths.add(shape[0])
    if len(widths) > 1:
        raise PrimusError(f"embeddings of {sorted(widths)} values; expected one width for all.")
    if recipe.spec.frames and "frames" not in tensors:
        tensors["frames"] = [recipe.spec.frames, *[recipe.spec.frame_size] * 2, 3]
    return {name: tensors[name] for name in TENSORS if name in tensors}, next(iter(widths), None)


def _cut(segments: Sequence[Segment], count: int) -> list[tuple[Segment, ...]]:
    """Divide examples into `count` runs whose sizes differ by at most one."""
    total = sum(size for _, _, size in segments)
    ends = [total * (i + 1) // count for i in range(count)]
    shards: list[list[Segment]] = [[]]
    done = 0
    for path, first, size in segments:
        while size:
            if done == ends[len(shards) - 1]:
                shards.append([])
            taken = min(size, ends[len(shards) - 1] - done)
            last = shards[-1][-1] if shards[-1] else None
            if last and last[0] == path and last[1] + last[2] == first:
                shards[-1][-1] = (path, last[1], last[2] + taken)
            else:
                shards[-1].append((path, first, taken))
            first, size, done = first + taken, size - taken, done + taken
    return [tuple(shard) for shard in shards]


def _by_windows(summaries: Sequence[RecordingSummary], field: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for recording in summaries:
        counts[getattr(recording, field)] += recording.windows
    return dict(sorted(counts.items()))


def _counts(recordings: list[RecordingSummary], label_names: list[str]) -> dict[str, Any]:
    """Windows, windows with each thing that some lack, and windows by label."""
    labels = _by_windows(recordings, "label")
    return {
        "windows": sum(r.windows for r in recordings),
        "recordings": len(recordings),
        "with_text": sum(r.with_text for r in recordings),
        "with_text_embedding": sum(r.has.get("text_embedding", 0) for r in recordings),
        "with_video_embedding": sum(r.has.get("video_embedding", 0) for r in recordings),
        "with_frames": sum(r.has.get("frames", 0) for r in recordings),
        "without_gyro": sum(r.windows for r in recordings if not r.has_gyro),
        "labels": {name: labels[name] for name in label_names if name in labels},
        "unlabelled": labels.get("", 0),
    }


def _shard(
    folder: Path, prefix: str, index: int, shards: int, segments: tuple[Segment, ...]
) -> dict[str, Any]:
    file = f"{prefix}.array_record-{index:05d}-of-{shards:05d}"
    examples = sum(count for _, _, count in segments)
    if count_records(folder / file) != examples:
        raise PrimusError(f"{file}: the shard was cut off while it was written; disk full?")
    return {"file": file, "examples": examples, "bytes": (folder / file).stat().st_size}
