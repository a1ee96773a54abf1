"""A dataset folder: fixed windows in ArrayRecord shards, with everything needed to read them.

The folder is an ordinary TFDS one (`features.json`, `dataset_info.json`), which
`tfds.builder_from_directory(folder).as_data_source("train")` reads as well; `metadata.json` says
what the windows mean. Here the records are decoded directly, which is several times faster.
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.data.metadata import Metadata, Shard, read_metadata
from primus_jax.errors import PrimusError
from primus_jax.window import same_rate

# Windows read together: a multiple of the usual batch sizes, so that only the end is padded.
READ_TOGETHER = 4096
TENSORS = {
    "imu": np.float32,
    "tokens": np.int32,
    "text_embedding": np.float16,
    "video_embedding": np.float16,
    "frames": np.uint8,
    "targets": np.float32,
}
FLAGS = ("has_gyro", "has_text_embedding", "has_video_embedding", "has_frames")
TEXTS = ("text", "subject", "group", "recording", "placement")


class DatasetFolder:
    """A dataset on disk: what it states about itself, and its windows by split.

    Attributes:
        path: the folder.
        metadata: everything in `metadata.json`.
        name: of the dataset.
        rate_hz: samples a second of every window.
        window_samples: samples of every window.
        label_names: names of the labels 0, 1, ...
        target_names: names of the numbers in `targets` of a window; () where there are none.
        splits: windows of each split ("train", "validation", "test"; empty ones are left out).
        embedding_dim: width of stored text or video embeddings, or None without any.
        content_hash: of all examples in their order.
        simulated: nothing in it was measured.

    Raises:
        PrimusError: no such folder, not a dataset of this project, or a missing or cut shard.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise PrimusError(
                f"{self.path}: no such folder. `primus-jax prepare` makes a dataset folder."
            )
        if (self.path / "images.json").is_file():
            raise PrimusError(
                f"{self.path} holds pictures, not windows. They pretrain by configs/img2imu.py."
            )
        self._open(self.path, read_metadata(self.path))

    def _open(self, path: Path, metadata: Metadata) -> None:
        """Take over what the folder states, and check that its shards are whole."""
        self.path, self.metadata = path, metadata
        self.name = self.metadata.name
        self.rate_hz = self.metadata.rate_hz
        self.window_samples = self.metadata.window_samples
        self.label_names = self.metadata.label_names
        self.target_names = self.metadata.target_names
        self.embedding_dim = self.metadata.embedding_dim
        self.content_hash = self.metadata.content_hash
        self.simulated = self.metadata.simulated
        self.splits: dict[str, int] = {
            split: sum(shard.examples for shard in shards)
            for split, shards in self.metadata.shards.items()
        }
        for shard in itertools.chain.from_iterable(self.metadata.shards.values()):
            file = self.path / shard.file
            size = file.stat().st_size if file.is_file() else None
            if size != shard.bytes:
                found = "is missing" if size is None else f"has {size} bytes"
                raise PrimusError(
                    f"{file} {found}; expected {shard.bytes} bytes. The dataset is incomplete: "
                    f"copy it again, or prepare it again."
                )

    def source(self, split: str, *, skip_damaged: bool = False) -> "WindowSource":
        """The windows of a split, by random access; can be pickled (Grain's workers).

        With `skip_damaged` the next good record stands for a damaged one.

        Raises:
            PrimusError: no such split.
        """
        if split not in self.splits:
            raise PrimusError(
                f"{self.path}: no split {split!r}; the dataset has {list(self.splits)}."
            )
        return WindowSource(
            self.path, self.metadata.shards[split], self.metadata.tensors, skip_damaged
        )

    def windows(self, split: str, rows: int = READ_TOGETHER) -> Iterator[list[dict[str, Any]]]:
        """Yield all windows of a split in their order, at most `rows` at a time in memory.

        The windows are those of `WindowSource`.

        Raises:
            PrimusError: no such split, or a damaged shard.
        """
        source = self.source(split)
        for start in range(0, len(source), rows):
            yield source.__getitems__(range(start, min(start + rows, len(source))))

    def check_rate(self, rate_hz: float) -> None:
        """Raise PrimusError unless the windows have the rate at which an encoder was trained."""
        if not same_rate(self.rate_hz, rate_hz):
            raise PrimusError(
                f"{self.path}: windows at {self.rate_hz:g} Hz, but the encoder was trained at "
                f"{rate_hz:g} Hz. Prepare the recordings again with "
                f"`primus-jax prepare ... --target-rate {rate_hz:g}`."
            )


class WindowSource(Sequence[dict[str, Any]]):
    """Random access to the windows of one split, decoded to numpy values and strings.

    An item has `imu` float32 `[time, 6]`, `label` int (-1: unlabelled), `has_gyro` bool,
    `text`, `subject`, `group`, `recording`, `placement` str, `start_seconds` float, and where the
    dataset has them `tokens` int32 `[77]`, `text_embedding` and `video_embedding` float16 `[dim]`
    and `frames` uint8 `[frames, size, size, 3]` (zeros where `has_text_embedding`,
    `has_video_embedding`, `has_frames` are False). Where the dataset has numbers to predict, there
    is `targets` float32 `[target_names]`, NaN where one is not known. Arrays are read-only.

    Attributes:
        damaged: shard and record of what was skipped.

    Raises:
        PrimusError: while reading, a damaged shard; it names the shard and the record. With
            `skip_damaged` only where no record is good.
    """

    def __init__(
        self,
        folder: Path,
        shards: Sequence[Shard],
        tensors: Mapping[str, tuple[int, ...]],
        skip_damaged: bool = False,
    ) -> None:
        from array_record.python import array_record_data_source as array_record

        # Two reading threads that import this at once can wait for each other for ever.
        _example_class()
        self._shards = [str(folder / shard.file) for shard in shards]
        self._ends = np.cumsum([shard.examples for shard in shards])
        self._tensors = dict(tensors)
        self._skip_damaged = skip_damaged
        self.damaged: set[str] = set()
        # A range in the name spares opening every shard to count its records.
        self._records = array_record.ArrayRecordDataSource(
            [f"{folder / shard.file}[0:{shard.examples}]" for shard in shards]
        )

    def __len__(self) -> int:
        return int(self._ends[-1])

    # Grain asks for one window, or by __getitems__ for several; never for a slice.
    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """The windows at `indices`, in their order, read together."""
        places = [self._place(index) for index in indices]
        try:
            if len(places) == 1:
                return [self._decode(self._records[places[0]])]
            return [self._decode(record) for record in self._records.__getitems__(places)]
        except Exception as error:
            if self._skip_damaged:
                return [self._next_good(place) for place in places]
            self._explain(places, error)
            raise

    def _place(self, index: int) -> int:
        place = index.__index__()
        place += len(self) if place < 0 else 0
        if not 0 <= place < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        return place

    def _explain(self, places: list[int], error: Exception) -> None:
        for place in places:
            try:
                self._decode(self._records[place])
            except Exception:
                raise PrimusError(
                    f"{self._name(place)} is damaged or gone ({error}). Copy the shard again, or "
                    f"prepare the dataset again."
                ) from error

    def _next_good(self, place: int) -> dict[str, Any]:
        """The record at `place` or after it: the same one for every host and every run."""
        for other in (*range(place, len(self)), *range(place)):
            try:
                return self._decode(self._records[other])
            except Exception:
                self.damaged.add(self._name(other))
        raise PrimusError(f"{self._shards[0]} and all other shards of its split are damaged.")

    def _name(self, place: int) -> str:
        number = int(np.searchsorted(self._ends, place, side="right"))
        record = place - int(self._ends[number - 1] if number else 0)
        return f"{self._shards[number]}: record {record}"

    def _decode(self, record: bytes) -> dict[str, Any]:
        fields = _example_class().FromString(record).features.feature
        window: dict[str, Any] = {}
        for name, shape in self._tensors.items():
            data = fields[name].bytes_list.value[0]
            window[name] = np.frombuffer(data, TENSORS[name]).reshape(shape)
        for name in TEXTS:
            window[name] = fields[name].bytes_list.value[0].decode()
        for name in FLAGS:
            if name in fields:
                window[name] = bool(fields[name].int64_list.value[0])
        window["label"] = int(fields["label"].int64_list.value[0])
        window["start_seconds"] = float(fields["start_seconds"].float_list.value[0])
        return window


def _example_class() -> Any:
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example
