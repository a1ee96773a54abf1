"""Examples of parts -> shards of about equal size, read again when a shard is written."""

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_prep.dataset.parts import count_records, read_examples
from primus_jax.data.folder import FLAGS, TENSORS
from primus_jax.data.metadata import Shard
from primus_jax.errors import PrimusError

# Large datasets get larger shards, not more of them.
MAX_SHARDS = 1024


class Segment(NamedTuple):
    """Neighbouring examples of one part: its file, the number of the first, how many."""

    part: Path
    first: int
    examples: int


@dataclasses.dataclass(frozen=True)
class Schema:
    """What every example of a dataset has.

    Attributes:
        tensors: shape of every stored tensor by its name, in the order of `TENSORS`.
        label_names: names of the labels 0, 1, ...
        embedding_dim: width of the embeddings among the tensors, or None without any.
        target_names: names of the numbers in the tensor `targets`.
    """

    tensors: Mapping[str, tuple[int, ...]]
    label_names: tuple[str, ...]
    embedding_dim: int | None = None
    target_names: tuple[str, ...] = ()

    @property
    def window_bytes(self) -> int:
        """Bytes of the tensors of one window."""
        return sum(
            int(np.prod(shape)) * np.dtype(TENSORS[name]).itemsize
            for name, shape in self.tensors.items()
        )


@dataclasses.dataclass(frozen=True)
class ShardExamples:
    """The examples of one shard, read from the parts when called; can be pickled (Beam)."""

    segments: tuple[Segment, ...]
    schema: Schema

    def __call__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield numbers and examples, complete in every tensor that the dataset stores."""
        labels = {name: number for number, name in enumerate(self.schema.label_names)}
        index = 0
        for segment in self.segments:
            for example in read_examples(*segment):
                yield index, self._complete(example, labels)
                index += 1

    @property
    def count(self) -> int:
        """How many examples the shard has."""
        return sum(segment.examples for segment in self.segments)

    def _complete(self, example: dict[str, Any], labels: Mapping[str, int]) -> dict[str, Any]:
        example["label"] = labels.get(example["label"], -1)
        for name, shape in self.schema.tensors.items():
            if f"has_{name}" in FLAGS:
                example[f"has_{name}"] = name in example
            if name not in example:
                example[name] = np.zeros(shape, TENSORS[name])
        return example


def windows_per_shard(windows: int, schema: Schema, shard_bytes: int) -> int:
    """Windows of a full shard: about `shard_bytes`, or more where `windows` fill `MAX_SHARDS`."""
    shard_bytes = max(shard_bytes, windows * schema.window_bytes // MAX_SHARDS)
    return max(1, shard_bytes // schema.window_bytes)


def cut_into_shards(segments: Sequence[Segment], shards: int) -> list[tuple[Segment, ...]]:
    """Divide examples into `shards` runs, in their order, whose sizes differ by at most one.

    Args:
        segments: of one split; together they hold at least `shards` examples.
        shards: how many.

    Returns:
        The segments of every shard; neighbouring segments of one part are joined.
    """
    total = sum(segment.examples for segment in segments)
    bounds = [total * number // shards for number in range(shards + 1)]
    rest = deque(segments)
    return [tuple(_take(rest, stop - start)) for start, stop in itertools.pairwise(bounds)]


def written_shard(folder: Path, file: str, examples: int) -> Shard:
    """Return name, windows and size of a shard in `folder`.

    Raises:
        PrimusError: the file does not hold `examples` records.
    """
    if count_records(folder / file) != examples:
        raise PrimusError(
            f"{folder / file}: the shard was cut off while it was written. Make room on the disk, "
            f"and start the command again."
        )
    return Shard(file, examples, (folder / file).stat().st_size)


def shard_file(dataset: str, split: str, number: int, shards: int) -> str:
    """The name that TFDS gives to shard `number` of a split."""
    return f"{dataset}-{split}.array_record-{number:05d}-of-{shards:05d}"


def _take(rest: deque[Segment], count: int) -> list[Segment]:
    """Remove the next `count` examples from `rest`; neighbours in one part become one segment."""
    taken: list[Segment] = []
    while count:
        part, first, size = rest.popleft()
        if size > count:
            rest.appendleft(Segment(part, first + count, size - count))
            size = count
        count -= size
        last = taken[-1] if taken else None
        if last and last.part == part and last.first + last.examples == first:
            taken[-1] = Segment(part, last.first, last.examples + size)
        else:
            taken.append(Segment(part, first, size))
    return taken
