"""Pictures -> a folder of pictures in shards, whole or not at all."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordWriter

from data_prep.dataset.shards import shard_file, written_shard
from data_prep.images.decode import decode
from data_prep.images.sources import picture_files
from primus_jax.data.images import FILE, ImageFolder, write_images
from primus_jax.errors import PrimusError
from primus_jax.files import new_folder
from primus_jax.provenance import provenance

# Pictures of a shard: 75 MB of pixels.
FULL = 2048
SPLITS = ("train", "validation")


class _Split:
    """The shards of one split, written one after another under numbers."""

    def __init__(self, folder: Path, split: str) -> None:
        self._folder, self._split = folder, split
        self._writer: ArrayRecordWriter | None = None
        self.files: list[tuple[Path, int]] = []
        self.digest = hashlib.blake2b(digest_size=16)

    def add(self, record: bytes) -> None:
        """Write one record."""
        if self._writer is None or self.files[-1][1] == FULL:
            self.close()
            path = self._folder / f"{self._split}-{len(self.files)}"
            self._writer = ArrayRecordWriter(str(path), "group_size:1")
            self.files.append((path, 0))
        self._writer.write(record)
        self.digest.update(record)
        self.files[-1] = (self.files[-1][0], self.files[-1][1] + 1)

    def close(self) -> None:
        """Finish the open shard."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def write_image_folder(
    sources: Sequence[Path],
    out: Path,
    *,
    validation: float = 0.02,
    source: str = "a user's own pictures",
    licence: str = "not stated",
    overwrite: bool = False,
) -> ImageFolder:
    """Write a folder of pictures, which appears only when it is complete.

    The pixels alone decide the split of a picture, so that copies are on one side.

    Args:
        sources: folders, tar files, Parquet files or pictures.
        out: the folder to make.
        validation: share of the pictures for validation, 0 to less than 1.
        source, licence: of the pictures, in words.
        overwrite: replace an existing folder of pictures.

    Raises:
        PrimusError: no whole picture, a source that is missing or damaged, a share that means
            nothing, or a folder that exists or cannot be written.
    """
    if not 0 <= validation < 1:
        raise PrimusError(f"--validation {validation}; expected 0 to less than 1.")
    if overwrite and out.is_dir() and any(out.iterdir()) and not (out / FILE).is_file():
        raise PrimusError(f"{out} is not a folder of pictures, so it is not replaced.")
    drops: Counter[str] = Counter()
    with new_folder(out, overwrite=overwrite) as folder:
        splits = {name: _Split(folder, name) for name in SPLITS}
        try:
            for name, data in picture_files(sources):
                pixels = decode(data)
                if isinstance(pixels, str):
                    drops[pixels] += 1
                    continue
                drawn = int.from_bytes(hashlib.blake2b(pixels.tobytes(), digest_size=8).digest())
                side = splits["validation" if drawn < validation * 2**64 else "train"]
                side.add(pixels.tobytes() + name.encode("utf-8", "replace"))
        finally:
            for side in splits.values():
                side.close()
        if not splits["train"].files:
            raise PrimusError(
                f"no whole picture for training in {', '.join(map(str, sources))}; left out: "
                f"{dict(drops) or 'nothing'}."
            )
        shards: dict[str, list[dict[str, object]]] = {}
        whole = hashlib.blake2b(digest_size=16)
        for split, side in splits.items():
            for number, (path, examples) in enumerate(side.files):
                file = shard_file("images", split, number, len(side.files))
                path.rename(folder / file)
                shard = written_shard(folder, file, examples)
                shards.setdefault(split, []).append(
                    {"file": shard.file, "examples": shard.examples, "bytes": shard.bytes}
                )
            whole.update(side.digest.digest())
        write_images(
            folder,
            {
                "name": out.name,
                "source": source,
                "licence": licence,
                "drops": dict(sorted(drops.items())),
                "shards": shards,
                "content_hash": whole.hexdigest(),
                "made_with": provenance(),
            },
        )
    return ImageFolder(out)
