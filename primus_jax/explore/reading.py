"""A recording, read twice in pieces: its windows embedded, and its signal at its own rate."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.explore.levels import Envelope, envelope
from primus_jax.recordings.arrays import SignalWarning
from primus_jax.recordings.embedding import no_window
from primus_jax.recordings.report import Report, name_of
from primus_jax.recordings.stream import recording_windows
from primus_jax.recordings.table_format import TableFormat
from primus_jax.recordings.uniform import uniform_blocks


@dataclasses.dataclass(frozen=True)
class Reading:
    """What was read.

    Attributes:
        start_seconds: of the windows, float64 `[n]`, after the first row.
        window_seconds: of a window.
        hop_seconds: between starts.
        place: float32 `[n, 2]`, the windows on a map: their first two principal components.
        signal: m/s² and rad/s.
        report: of the recording.
    """

    start_seconds: np.ndarray
    window_seconds: float
    hop_seconds: float
    place: np.ndarray
    signal: Envelope
    report: Report


def read(encoder: Encoder, recording: Any, layout: TableFormat, hop_seconds: float) -> Reading:
    """Read a recording.

    Args:
        encoder: embeds the windows.
        recording: see `chunks.read_chunks`; not an iterator.
        layout: its rate, units and columns.
        hop_seconds: between the starts of windows, at most the length of one.

    Raises:
        PrimusError: anything wrong with the recording, a longer hop, or no whole window.
    """
    rate, window = encoder.rate_hz, round(encoder.window_seconds * encoder.rate_hz)
    if not 0 < hop_seconds <= encoder.window_seconds:
        raise PrimusError(
            f"a hop of {hop_seconds:g} s; expected more than 0 and at most "
            f"{encoder.window_seconds:g} s, the encoder's window."
        )
    report = Report()
    starts, rows = [], []
    for times, windows in recording_windows(recording, layout, rate, window, hop_seconds, report):
        rows.append(encoder.encode_windows(windows))
        starts.append(times)
    if not rows:
        raise PrimusError(no_window(report, encoder.window_seconds, name_of(recording)))
    return Reading(
        np.concatenate(starts),
        encoder.window_seconds,
        hop_seconds,
        principal_plane(np.concatenate(rows)),
        _signal(recording, layout, rate),
        report,
    )


def _signal(recording: Any, layout: TableFormat, target_hz: float) -> Envelope:
    """The signal at its own rate: resampling to the encoder's would flatten peaks."""
    report = Report()
    starts: list[float] = []
    pieces: list[np.ndarray] = []
    with warnings.catch_warnings():
        # The first reading has warned.
        warnings.simplefilter("ignore", SignalWarning)
        for block in uniform_blocks(recording, layout, target_hz, report):
            if not len(block.samples):
                continue
            after = starts[-1] + len(pieces[-1]) / report.rate_hz if starts else 0.0
            starts.append(after if block.start is None else block.start)
            pieces.append(block.samples.astype(np.float32))
    return envelope(starts, pieces, report.rate_hz)


def principal_plane(rows: np.ndarray) -> np.ndarray:
    """Rows `[n, dim]` -> float32 `[n, 2]`, their first two principal components.

    The sign of a component is that of its largest weight, so that the map is always the same.
    """
    centred = rows.astype(np.float64) - rows.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, : -3 if axes.shape[1] > 2 else None : -1]
    signs = np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    place = centred @ (axes * np.where(signs == 0, 1, signs))
    return np.pad(place, [(0, 0), (0, 2 - place.shape[1])]).astype(np.float32)
