"""The dataset of (embedding, narration) pairs, for fine-tuning a text model on embeddings.

A folder of three files. `embeddings.npy` is float32 `[pairs, dim]`, as the encoder's head gives
them, not of unit length. Line k of `pairs.jsonl` belongs to row k and holds `text`, `split`,
`recording`, `subject`, `label` ("" where not known), `start_seconds` and `end_seconds`.
`pairs.json` describes both: `FORMAT`, encoder and head, window, source, counts by split, and what
was left out by reason. Subjects stay in their split.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.identity import encoder_description, encoder_hash
from primus_jax.recordings.embedding import embedded_batches
from primus_jax.recordings.stream import Report
from primus_jax.recordings.table_format import TableFormat

FORMAT = "primus-jax pairs 1"
DESCRIPTION, ROWS, EMBEDDINGS = "pairs.json", "pairs.jsonl", "embeddings.npy"
WITHOUT_TEXT = "windows without a sentence"
NOT_COVERED = "narrations that no window covers"
Batch = tuple[np.ndarray, list[dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class PairSource:
    """Batches of pairs, and what is known of where they come from.

    `batches` yields float32 `[n, dim]` and n rows of `pairs.jsonl`; `about` is described as it is;
    `left_out` is filled in while the batches are read.
    """

    batches: Iterator[Batch]
    about: dict[str, Any]
    left_out: Counter[str]


def dataset_pairs(encoder: Encoder, head: str, folder: DatasetFolder) -> PairSource:
    """Every window of a dataset that has a sentence, in the order of the dataset.

    Raises:
        PrimusError: another rate than the encoder's; while reading, damaged shards.
    """
    folder.check_rate(encoder.rate_hz)
    left_out: Counter[str] = Counter()
    about = {
        "dataset": folder.name,
        "dataset_hash": folder.content_hash,
        "simulated": folder.simulated,
        "window_seconds": folder.window_samples / folder.rate_hz,
    }
    return PairSource(_of_dataset(encoder, head, folder, left_out), about, left_out)


def recording_pairs(
    encoder: Encoder,
    head: str,
    recording: Any,
    layout: TableFormat,
    narrations: Sequence[tuple[float, str]],
    *,
    name: str,
    hop_seconds: float = 1.0,
) -> PairSource:
    """Each narration of a recording with the window whose middle is nearest and that covers it.

    Args:
        encoder: what embeds; head: its output.
        head: see encoder.
        recording: see `Encoder.embed_recording`; it is read in pieces.
        layout: its rate, units and columns.
        narrations: (seconds after the first row, sentence).
        name: of the recording.
        hop_seconds: between the starts of windows.

    Raises:
        PrimusError: no narration; while reading, anything wrong with the recording.
    """
    if not narrations:
        raise PrimusError(f"no narration of {name}; expected at least one for --pairs.")
    left_out: Counter[str] = Counter()
    about = {"recording": name, "window_seconds": encoder.window_seconds}
    batches = _of_recording(
        encoder, head, recording, layout, sorted(narrations), name, hop_seconds, left_out
    )
    return PairSource(batches, about, left_out)


def write_pairs(source: PairSource, encoder: Encoder, head: str, folder: Path) -> dict[str, Any]:
    """Write the three files into an existing folder; returns what `pairs.json` holds.

    Memory does not grow with the number of pairs.

    Raises:
        PrimusError: no pair at all, or what reading the source raises.
    """
    splits: Counter[str] = Counter()
    width = encoder.config.width(head)
    with (
        (folder / EMBEDDINGS).open("wb") as vectors,
        (folder / ROWS).open("w", encoding="utf-8", newline="\n") as lines,
    ):
        begin = _header(vectors, 0, width)
        for embedding, rows in source.batches:
            vectors.write(np.ascontiguousarray(embedding, "<f4").tobytes())
            lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            splits.update(row["split"] for row in rows)
        vectors.seek(0)
        # NumPy leaves room in the header for the number of rows to grow.
        if _header(vectors, splits.total(), width) != begin:
            raise PrimusError(f"{folder / EMBEDDINGS}: {splits.total()} rows do not fit a header.")
    if not splits:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in source.left_out.items())
        raise PrimusError(f"no pair of an embedding and a sentence ({reasons or 'no windows'}).")
    description = {
        "format": FORMAT,
        **source.about,
        "pairs": splits.total(),
        "splits": dict(splits),
        "left_out": {reason: count for reason, count in source.left_out.items() if count},
        "dim": width,
        "dtype": "float32",
        "unit_length": False,
        "head": head,
        "encoder_hash": encoder_hash(encoder),
        "encoder": encoder_description(encoder),
        "rate_hz": encoder.rate_hz,
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    return description


def _of_dataset(
    encoder: Encoder, head: str, folder: DatasetFolder, left_out: Counter[str]
) -> Iterator[Batch]:
    seconds = folder.window_samples / folder.rate_hz
    for split in folder.splits:
        for windows in folder.windows(split):
            told = [window for window in windows if window["text"]]
            left_out[WITHOUT_TEXT] += len(windows) - len(told)
            if told:
                imu = np.stack([window["imu"] for window in told])
                rows = [_dataset_row(window, split, folder, seconds) for window in told]
                yield encoder.encode_windows(imu, head), rows


def _dataset_row(
    window: dict[str, Any], split: str, folder: DatasetFolder, seconds: float
) -> dict[str, Any]:
    label, start = window["label"], window["start_seconds"]
    return {
        "text": window["text"],
        "split": split,
        "recording": window["recording"],
        "subject": window["subject"],
        "label": folder.label_names[label] if label >= 0 else "",
        "start_seconds": round(start, 3),
        "end_seconds": round(start + seconds, 3),
    }


def _of_recording(
    encoder: Encoder,
    head: str,
    recording: Any,
    layout: TableFormat,
    narrations: Sequence[tuple[float, str]],
    name: str,
    hop_seconds: float,
    left_out: Counter[str],
) -> Iterator[Batch]:
    """Windows arrive in order of time; a narration is written once a later window is farther."""
    seconds, report = encoder.window_seconds, Report()
    times = np.array([time for time, _ in narrations])
    nearest = np.full(len(times), np.inf)
    starts_of = np.zeros(len(times))
    vectors: dict[int, np.ndarray] = {}
    written = 0

    def finished(until: int) -> Iterator[Batch]:
        found = [i for i in range(written, until) if i in vectors]
        left_out[NOT_COVERED] += until - written - len(found)
        if found:
            rows = [_recording_row(narrations[i][1], name, starts_of[i], seconds) for i in found]
            yield np.stack([vectors.pop(i) for i in found]), rows

    for starts, embedding in embedded_batches(
        encoder, recording, layout, report, hop_seconds, head
    ):
        first, last = np.searchsorted(times, [starts[0], starts[-1] + seconds])
        for i in range(max(int(first), written), int(last)):
            k = int(np.abs(starts + seconds / 2 - times[i]).argmin())
            away = abs(starts[k] + seconds / 2 - times[i])
            if away <= seconds / 2 and away < nearest[i]:
                nearest[i], starts_of[i], vectors[i] = away, starts[k], embedding[k]
        until = int(np.searchsorted(times, starts[-1]))
        if until > written:
            yield from finished(until)
            written = until
    yield from finished(len(times))


def _recording_row(text: str, name: str, start: float, seconds: float) -> dict[str, Any]:
    return {
        "text": text,
        "split": "train",
        "recording": name,
        "subject": "",
        "label": "",
        "start_seconds": round(float(start), 3),
        "end_seconds": round(float(start) + seconds, 3),
    }


def _header(file: BinaryIO, rows: int, width: int) -> int:
    """Write the header of a float32 `[rows, width]` array; return where the values begin."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()
