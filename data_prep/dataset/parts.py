"""A part: the examples of one unit of work in a file, and a summary that says it is whole.

A part is `KEY.array_record` with one record an example and `KEY.json`, which is renamed into place
last: a part with a summary is whole. Units are independent, so parts can be made anywhere,
in any order, twice, and by processes that are killed.
"""

import dataclasses
import hashlib
import json
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from data_prep.dataset.recipe import Recipe
from primus_jax.data.folder import TENSORS
from primus_jax.errors import PrimusError
from primus_jax.files import replace_file
from primus_jax.recordings.recording import Recording

# Of the file and its meaning: unfinished work with parts of another format is refused.
FORMAT = 1
# Examples read together; a window with eight frames has 1.2 MB.
_READ = 32


@dataclasses.dataclass
class RecordingSummary:
    """One recording of a part without its windows, as the assembly of the dataset needs it.

    `has` counts the windows with each tensor, `shapes` holds the tensors' shapes, `digest` is of
    all examples, `starts` holds `start_seconds` of every window, `targets` names the numbers.
    """

    id: str
    group: str
    label: str
    placement: str
    has_gyro: bool
    windows: int = 0
    with_text: int = 0
    has: dict[str, int] = dataclasses.field(default_factory=dict)
    shapes: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    digest: str = ""
    subject: str = ""
    starts: list[float] = dataclasses.field(default_factory=list)
    targets: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Part:
    """A finished part: where its examples lie, and its recordings in their order."""

    path: Path
    unit: str
    recordings: list[RecordingSummary]
    drops: dict[str, int]

    @property
    def windows(self) -> int:
        """Examples in the file."""
        return sum(recording.windows for recording in self.recordings)


def part_path(folder: Path, unit: str) -> Path:
    """Where the examples of a unit lie; any text can name a unit."""
    return folder / f"{hashlib.blake2b(unit.encode(), digest_size=12).hexdigest()}.array_record"


def write_part(
    path: Path,
    unit: str,
    recordings: Iterable[Recording],
    recipe: Recipe,
    drops: Counter[str],
    log: Callable[[str], None] = lambda line: None,
) -> Part:
    """Write the examples of `recordings`, iterated once, and then the summary.

    Args:
        path: from `part_path`.
        unit: its id.
        recordings: one after another; only one is kept in memory.
        recipe: what becomes of each.
        drops: what the source left out, read after the last recording.
        log: takes progress lines.

    Raises:
        PrimusError: two recordings of one id, or whatever the source raises.
    """
    own: Counter[str] = Counter()
    summaries: dict[str, RecordingSummary] = {}
    windows, logged = 0, time.monotonic()
    with replace_file(path) as temporary:
        writer = ArrayRecordWriter(str(temporary), "group_size:1")
        try:
            for recording in recordings:
                if recording.id in summaries:
                    raise PrimusError(
                        f"two recordings are called {recording.id!r}. Give each an id of its own."
                    )
                summary = _write_recording(writer, recording, recipe, own)
                summaries[recording.id] = summary
                windows += summary.windows
                if time.monotonic() - logged > 2:
                    logged = time.monotonic()
                    log(f"  {len(summaries):,} recordings read, {windows:,} windows")
        finally:
            writer.close()
        # The writer does not report a full disk.
        if windows and count_records(temporary) != windows:
            raise PrimusError(
                f"{path}: the file was cut off while it was written. Make room on the disk, and "
                f"start the command again."
            )
    log(f"  {len(summaries):,} recordings read, {windows:,} windows")
    part = Part(
        path, unit, [s for s in summaries.values() if s.windows], dict(own + Counter(drops))
    )
    fields = dataclasses.asdict(part) | {"path": path.name, "bytes": path.stat().st_size}
    with replace_file(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(fields), encoding="utf-8")
    return part


def _write_recording(
    writer: ArrayRecordWriter, recording: Recording, recipe: Recipe, drops: Counter[str]
) -> RecordingSummary:
    summary = RecordingSummary(
        recording.id,
        recording.split_group,
        recording.label,
        recording.placement,
        recording.has_gyro,
        subject=recording.subject,
        targets=list(recording.targets),
    )
    digest = hashlib.blake2b(digest_size=16)
    for example in recipe.examples(recording, drops):
        record = _pack(example)
        writer.write(record)
        digest.update(struct.pack("<Q", len(record)))
        digest.update(record)
        summary.windows += 1
        summary.starts.append(float(example["start_seconds"]))
        summary.with_text += bool(example["text"])
        for name in TENSORS:
            if name in example:
                shape = list(example[name].shape)
                summary.has[name] = summary.has.get(name, 0) + 1
                summary.shapes[name] = shape
    summary.digest = digest.hexdigest()
    return summary


def read_part(path: Path) -> Part | None:
    """Return a finished part, or None where the part is missing, cut, or of a killed writer."""
    try:
        fields = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if fields["bytes"] != path.stat().st_size:
            return None
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return Part(
        path,
        fields["unit"],
        [RecordingSummary(**recording) for recording in fields["recordings"]],
        fields["drops"],
    )


def count_records(path: Path) -> int:
    """The number of records of an ArrayRecord file; 0 for a damaged file."""
    try:
        reader = ArrayRecordReader(str(path), "readahead_buffer_size:0")
    except (RuntimeError, ValueError):
        return 0
    try:
        return reader.num_records()
    finally:
        reader.close()


def read_examples(path: Path, first: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield `count` examples of a part from number `first`, a few at a time in memory."""
    reader = ArrayRecordReader(str(path), "readahead_buffer_size:0")
    try:
        for start in range(first, first + count, _READ):
            for record in reader.read(start, min(start + _READ, first + count)):
                yield _unpack(record)
    finally:
        reader.close()


def _pack(example: dict[str, Any]) -> bytes:
    """Length of a JSON header, the header, then the arrays' bytes in its order."""
    arrays = {name: example[name] for name in TENSORS if name in example}
    header = {name: value for name, value in example.items() if name not in arrays}
    header["shapes"] = {name: list(array.shape) for name, array in arrays.items()}
    text = json.dumps(header).encode()
    data = [np.ascontiguousarray(a, TENSORS[name]).tobytes() for name, a in arrays.items()]
    return b"".join([struct.pack("<I", len(text)), text, *data])


def _unpack(record: bytes) -> dict[str, Any]:
    (length,) = struct.unpack_from("<I", record)
    example = json.loads(record[4 : 4 + length])
    offset = 4 + length
    for name, shape in example.pop("shapes").items():
        size = int(np.prod(shape))
        example[name] = np.frombuffer(record, TENSORS[name], size, offset).reshape(shape)
        offset += example[name].nbytes
    return example
