"""Dataset folders -> Grain -> the batch of step s, a pure function of (seed, s) (law 2).

Shuffle before the split between hosts, then take elements `s * batch + host :: hosts`: the same
global batch on any number of hosts, and resuming needs the step and nothing else.
"""

import dataclasses
import itertools
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np

from primus_jax.data.folder import TENSORS, DatasetFolder
from primus_jax.errors import PrimusError

# Two threads hide the decoding behind the step; more only take the step's cores.
READ_THREADS = 2
# Batches that are read ahead: this many, or as many as fit into so much memory.
READ_AHEAD, READ_AHEAD_BYTES = 64, 1 << 30


@dataclasses.dataclass(frozen=True)
class LiveInput:
    """What a tower inside the step embeds: a tensor of the dataset, and its values' bound.

    Attributes:
        tensor: "tokens" or "frames".
        shape: of one window's.
        below: no value may reach this.
    """

    tensor: str
    shape: tuple[int, ...]
    below: int


class Pipeline:
    """Batches of one split of several dataset folders, mixed.

    Args:
        folders: datasets of equal rate, window length and units.
        split: "train" or "validation".
        batch_size: windows of the global batch.
        seed: of the order.
        weights: share of each folder in the mixture; empty: in proportion to its windows.
        embedding_dim: width of stored embeddings; folders without any get zeros and a mask.
        live: for "text" and "video", what the step embeds itself instead of reading embeddings;
            folders without it get zeros and a mask.
        skip_damaged: read the next good record in place of a damaged one.
        host, hosts: this process and how many there are.

    Raises:
        PrimusError: folders that do not fit together, a split without windows, or a batch that
            the hosts cannot share evenly.
    """

    def __init__(
        self,
        folders: Sequence[DatasetFolder],
        split: str,
        batch_size: int,
        seed: int,
        *,
        weights: Sequence[float] = (),
        embedding_dim: int = 512,
        live: Mapping[str, LiveInput] | None = None,
        skip_damaged: bool = False,
        host: int = 0,
        hosts: int = 1,
    ):
        live = live or {}
        check_alike(folders, [name for name in ("text", "video") if name not in live])
        if batch_size % hosts:
            raise PrimusError(f"batch size {batch_size} does not divide among {hosts} hosts.")
        if weights and (len(weights) != len(folders) or min(weights) <= 0):
            raise PrimusError(
                f"{len(weights)} data weights {tuple(weights)} for {len(folders)} datasets; "
                f"expected one positive number for each."
            )
        used = [f for f in folders if f.splits.get(split, 0)]
        if not used:
            raise PrimusError(
                f"no windows in split {split!r} of {', '.join(str(f.path) for f in folders)}."
            )
        shares = [weights[i] for i, f in enumerate(folders) if f in used] if weights else []
        self.size = sum(f.splits[split] for f in used)
        self._batch, self._host, self._hosts = batch_size, host, hosts
        # What is stored instead of live inputs is too small to fill the memory.
        self._window_bytes = 1 + sum(
            math.prod(i.shape) * np.dtype(TENSORS[i.tensor]).itemsize for i in live.values()
        )
        self._sources = [f.source(split, skip_damaged=skip_damaged) for f in used]
        parts = [
            grain.MapDataset.source(source).map(_decoder(str(f.path), embedding_dim, live))
            for f, source in zip(used, self._sources, strict=True)
        ]
        if shares:
            parts = [p.seed(seed + i).shuffle().repeat() for i, p in enumerate(parts)]
            self._windows = grain.MapDataset.mix(parts, weights=shares)
        else:
            self._windows = grain.MapDataset.concatenate(parts).seed(seed).shuffle().repeat()

    def from_step(self, step: int) -> Iterator[dict[str, np.ndarray]]:
        """This host's rows of the batches of steps `step`, `step + 1`, ...

        Yields dicts of arrays with leading axis `batch / hosts`: `imu` float32 `[b, time, 6]`,
        `index` int32 (place in the global batch), `has_gyro` bool, and for text and video
        `NAME_embedding` float16 `[b, dim]`, `NAME_mask` bool, `NAME_id` int32 (equal numbers for
        equal texts, equal videos; -1 where there is none). What is `live` has no embedding here
        but its input: `tokens` int32 `[b, 77]`, `frames` uint8 `[b, n, height, width, 3]`.
        """
        rows = self._batch // self._hosts
        ahead = max(READ_THREADS, min(READ_AHEAD, READ_AHEAD_BYTES // (rows * self._window_bytes)))
        mine = self._windows[step * self._batch + self._host :: self._hosts]
        arrays = mine.map(lambda example: example["arrays"]).batch(rows)
        place = np.arange(rows, dtype=np.int32) * self._hosts + self._host
        for batch in arrays.to_iter_dataset(grain.ReadOptions(READ_THREADS, ahead)):
            yield {**batch, "index": place}

    def damaged(self) -> list[str]:
        """Shard and record of every damaged one that was skipped so far."""
        return sorted(set().union(*(source.damaged for source in self._sources)))

    def window_ids(self, step: int) -> list[str]:
        """`dataset/recording@seconds` for every window of the global batch of a step."""
        return [self._windows[step * self._batch + i]["id"] for i in range(self._batch)]


def example_batch(window_samples: int, embedding_dim: int) -> dict[str, np.ndarray]:
    """A batch of one window of zeros: the shapes and dtypes of what the pipeline yields."""
    vector = np.zeros((1, embedding_dim), np.float16)
    off, none = np.zeros(1, bool), np.full(1, -1, np.int32)
    return {
        "imu": np.zeros((1, window_samples, 6), np.float32),
        "has_gyro": off,
        "index": np.zeros(1, np.int32),
        **{f"{name}_embedding": vector for name in ("text", "video")},
        **{f"{name}_mask": off for name in ("text", "video")},
        **{f"{name}_id": none for name in ("text", "video")},
    }


def check_alike(folders: Sequence[DatasetFolder], stored: Sequence[str] = ()) -> None:
    """Raise PrimusError unless all datasets state the same rate and window length.

    The embeddings named in `stored` ("text", "video") must also come from the same tower, as far
    as the datasets know which.
    """
    if not folders:
        raise PrimusError("no dataset given: set config.data.train to one or more folders.")
    first = folders[0]
    for other in folders[1:]:
        for field, unit in (("rate_hz", "Hz"), ("window_samples", "samples")):
            mine, theirs = getattr(first, field), getattr(other, field)
            if mine != theirs:
                raise PrimusError(
                    f"{first.path} has {field} {mine} {unit}, {other.path} has {theirs} {unit}. "
                    f"Prepare both with the same --target-rate and --window."
                )
    for name in stored:
        known = [(f.path, tower) for f in folders if (tower := f.towers[name])]
        for (one, tower), (another, others_tower) in itertools.pairwise(known):
            if tower["digest"] != others_tower["digest"]:
                raise PrimusError(
                    f"{one} stores {name} embeddings of the tower {tower['name']} (weights "
                    f"{tower['digest']}), {another} those of {others_tower['name']} "
                    f"({others_tower['digest']}): they cannot be compared. Embed both with one "
                    f"tower (`primus-jax embed`)."
                )


def _decoder(
    path: str, dim: int, live: Mapping[str, LiveInput]
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def stored_target(name: str, example: dict[str, Any]) -> tuple[str, np.ndarray, bool]:
        key = f"{name}_embedding"
        present = key in example and bool(example[f"has_{key}"])
        vector = np.asarray(example[key], np.float16) if present else np.zeros(dim, np.float16)
        if vector.shape != (dim,):
            raise PrimusError(
                f"{path}: {key} has {vector.shape[0]} values, expected {dim}. "
                f"Set config.data.embedding_dim to the width of the stored embeddings."
            )
        return key, vector, present

    def live_target(name: str, example: dict[str, Any]) -> tuple[str, np.ndarray, bool]:
        wanted = live[name]
        key = wanted.tensor
        if key not in example:
            return key, np.zeros(wanted.shape, TENSORS[key]), False
        value = example[key]
        if value.max() >= wanted.below:
            raise PrimusError(
                f"{path}: {key} up to {value.max()}, but the tower knows those below "
                f"{wanted.below}. Take the tokenizer and the towers from one model."
            )
        return key, value, bool(example["text"] if name == "text" else example["has_frames"])

    def decode(example: dict[str, Any]) -> dict[str, Any]:
        arrays: dict[str, np.ndarray | np.generic] = {"imu": np.asarray(example["imu"], np.float32)}
        arrays["has_gyro"] = np.bool_(example["has_gyro"])
        for name in ("text", "video"):
            target = live_target if name in live else stored_target
            key, value, present = target(name, example)
            arrays[key], arrays[f"{name}_mask"] = value, np.bool_(present)
            same = example["text"].encode() if name == "text" else value.tobytes()
            number = zlib.crc32(same) & 0x7FFFFFFF if present else -1
            arrays[f"{name}_id"] = np.int32(number)
        name = f"{path}/{example['recording']}@{float(example['start_seconds']):.2f}s"
        return {"arrays": arrays, "id": name}

    return decode
