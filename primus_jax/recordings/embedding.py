"""Embeddings of a long recording in one pass, in constant memory but for the result itself."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.arrays import warn
from primus_jax.recordings.report import Report, name_of
from primus_jax.recordings.stream import recording_windows
from primus_jax.recordings.table_format import TableFormat

_GROW = 8192


class WindowEncoder(Protocol):
    """What embeds windows: an `Encoder`, hand-crafted statistics, or one that resamples first."""

    rate_hz: float

    def encode_windows(
        self, imu: np.ndarray, head: str | None = None, batch_size: int = 256
    ) -> np.ndarray:
        """float32 `[n, time, 6]` in SI units at `rate_hz` -> float32 `[n, dim]`."""
        ...


class RecordingEncoder(WindowEncoder, Protocol):
    """A `WindowEncoder` that knows how long its windows are."""

    window_seconds: float


def embedded_batches(
    encoder: RecordingEncoder,
    recording: Any,
    layout: TableFormat,
    report: Report,
    hop_seconds: float,
    head: str | None = None,
    window_seconds: float | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (start seconds `[n]`, embeddings `[n, dim]`) as the recording is read.

    Args:
        encoder: what embeds.
        recording: see `chunks.read_chunks`.
        layout: its rate, units and columns.
        report: is filled in.
        hop_seconds: between the starts of windows.
        head: None takes the encoder's.
        window_seconds: None takes the encoder's.

    Raises:
        PrimusError: anything wrong with the recording, the hop or the head.
    """
    seconds = encoder.window_seconds if window_seconds is None else window_seconds
    window = round(seconds * encoder.rate_hz)
    # a wrong window or head is said before a long file is read
    encoder.encode_windows(np.empty((0, window, 6), np.float32), head)
    for starts, windows in recording_windows(
        recording, layout, encoder.rate_hz, window, hop_seconds, report
    ):
        yield starts, encoder.encode_windows(windows, head)


def collect(
    encoder: RecordingEncoder,
    recording: Any,
    layout: TableFormat,
    hop_seconds: float,
    head: str | None = None,
    transform: Callable[[np.ndarray], np.ndarray] = lambda rows: rows,
) -> tuple[np.ndarray, np.ndarray]:
    """(start seconds float64 `[n]`, `transform(embeddings)` `[n, ...]`); warns of what is missing.

    Raises:
        PrimusError: see `embedded_batches`; no whole window in the recording.
    """
    report = Report()
    times, rows, count = [], None, 0
    for starts, embedding in embedded_batches(
        encoder, recording, layout, report, hop_seconds, head
    ):
        values = transform(embedding)
        if rows is None:
            rows = np.empty((0, values.shape[1]), values.dtype)
        if count + len(values) > len(rows):
            # grows in place: a second copy of a day of embeddings would be 200 MB
            rows.resize((count + len(values) + _GROW, values.shape[1]), refcheck=False)
        rows[count : count + len(values)] = values
        count += len(values)
        times.append(starts)
    if rows is None:
        raise PrimusError(no_window(report, encoder.window_seconds, name_of(recording)))
    rows.resize((count, rows.shape[1]), refcheck=False)
    if report.problems():
        warn(f"the recording ({report.seconds:.4g} s): {report.problems()}.")
    return np.concatenate(times), rows


def no_window(report: Report, window_seconds: float, name: str) -> str:
    """The message for a recording, called `name`, that gives no window."""
    return (
        f"{name}, {report.seconds:.4g} s long, gives no window of {window_seconds:g} s"
        f"{': ' + report.problems() if report.problems() else ''}. Give a longer one."
    )
