"""A folder of pictures in ArrayRecord shards, which `primus-jax prepare images` writes.

Pictures have neither rate, units nor people, so the folder states none. A record is the pixels, row
by row, and then the name of the picture in UTF-8.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.data.metadata import Metadata, Shard
from primus_jax.errors import PrimusError
from primus_jax.files import read_json

FILE = "images.json"
FORMAT = 1
HEIGHT, WIDTH = 96, 128
BYTES = HEIGHT * WIDTH * 3


class ImageFolder(DatasetFolder):
    """Pictures on disk, uint8 `[96, 128, 3]`, by split ("train", "validation").

    Rate and window are 0: pictures have none.

    Raises:
        PrimusError: no such folder, another format, or a missing or cut shard.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        folder = Path(path)
        values = read_json(folder / FILE, "`primus-jax prepare images` makes a folder of pictures.")
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise PrimusError(
                f"{folder / FILE}: expected format {FORMAT}. Prepare the pictures again."
            )
        try:
            shards = {
                split: tuple(Shard(**shard) for shard in found)
                for split, found in values["shards"].items()
            }
            metadata = Metadata(
                name=values["name"],
                simulated=False,
                source=values["source"],
                licence=values["licence"],
                rate_hz=0.0,
                window_samples=0,
                label_names=(),
                embedding_dim=None,
                tensors={"image": (HEIGHT, WIDTH, 3)},
                drops=values["drops"],
                shards=shards,
                content_hash=values["content_hash"],
            )
        except (KeyError, TypeError, AttributeError):
            raise PrimusError(f"{folder / FILE} is damaged. Prepare the pictures again.") from None
        self._open(folder, metadata)

    def source(self, split: str, *, skip_damaged: bool = False) -> Any:
        """The pictures of a split, by random access; see `ImageSource`.

        Raises:
            PrimusError: no such split.
        """
        if split not in self.splits:
            raise PrimusError(f"{self.path}: no split {split!r}; expected {list(self.splits)}.")
        return ImageSource(self.path, self.metadata.shards[split], skip_damaged)


class ImageSource(Sequence[dict[str, Any]]):
    """Random access to the pictures of one split: `image` uint8 `[96, 128, 3]`, `name` str.

    With `skip_damaged` the next good record stands for a damaged one.

    Raises:
        PrimusError: while reading, a damaged record; with `skip_damaged`, no good one.
    """

    def __init__(self, folder: Path, shards: Iterable[Shard], skip_damaged: bool = False) -> None:
        from array_record.python import array_record_data_source as array_record

        files = [f"{folder / shard.file}[0:{shard.examples}]" for shard in shards]
        self._folder, self._skip, self.damaged = folder, skip_damaged, set[str]()
        self._records = array_record.ArrayRecordDataSource(files)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: int) -> dict[str, Any]:  # type: ignore[override]
        if not 0 <= number < len(self):
            raise IndexError(f"picture {number} of {len(self)}")
        following = (*range(number, len(self)), *range(number)) if self._skip else (number,)
        for place in following:
            try:
                return self._decode(self._records[place])
            except Exception as error:
                self.damaged.add(f"{self._folder}: picture {place} ({error})")
        raise PrimusError(
            f"{self._folder}: picture {number} is damaged or gone. Prepare the pictures again."
        )

    def _decode(self, record: bytes) -> dict[str, Any]:
        pixels = np.frombuffer(record, np.uint8, BYTES).reshape(HEIGHT, WIDTH, 3)
        return {"image": pixels, "name": record[BYTES:].decode()}


def write_images(folder: Path, values: Mapping[str, Any]) -> None:
    """Write `images.json`: name, source, licence, drops, shards, content hash, provenance."""
    text = json.dumps({"format": FORMAT, **values}, indent=1, ensure_ascii=False)
    (folder / FILE).write_text(text, encoding="utf-8")
