"""A recording and a query -> the stretches that are most like it, which do not overlap."""

import csv
import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.arrays import SignalWarning
from primus_jax.recordings.report import Report, name_of
from primus_jax.recordings.search import peaks
from primus_jax.recordings.stream import cut_out, recording_windows
from primus_jax.recordings.table_format import TableFormat
from primus_jax.similar.measure import Measure, check_seconds


@dataclasses.dataclass(frozen=True)
class Stretch:
    """A part of the recording.

    Attributes:
        start_seconds: after the first row.
        distance: of the query from it.
        signal: float32 `[time, 6]`, m/s² and rad/s, at the rate of the measure.
    """

    start_seconds: float
    distance: float
    signal: np.ndarray


@dataclasses.dataclass(frozen=True)
class Similar:
    """What was found.

    Attributes:
        query: with its distance from itself.
        matches: the nearest first.
        seconds: of the query and of every match.
        rate_hz: of their signals.
        channels: of them that were compared, 3 or 6.
        measure: the distance, in words.
        start_seconds, distances: of all windows, float64 `[n]` and float32 `[n]`.
        report: what was found in the recording.
    """

    query: Stretch
    matches: list[Stretch]
    seconds: float
    rate_hz: float
    channels: int
    measure: str
    start_seconds: np.ndarray
    distances: np.ndarray
    report: Report

    def write_csv(self, path: Path) -> None:
        """A row for each match: rank, start, end, distance."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["rank", "start_seconds", "end_seconds", "distance"])
            for rank, match in enumerate(self.matches, 1):
                start = match.start_seconds
                writer.writerow(
                    [rank, f"{start:.3f}", f"{start + self.seconds:.3f}", f"{match.distance:.6g}"]
                )


def find_similar(
    measure: Measure,
    recording: Any,
    layout: TableFormat,
    query: tuple[float, float],
    *,
    top: int = 5,
    hop_seconds: float = 0.5,
) -> Similar:
    """Return the stretches of a recording that are most like the query.

    The recording is read three times, each time in pieces: for the query, for the distances, and
    for the signals of the matches. Stretches are as long as the query. None overlaps another, or
    the query, or a gap.

    Args:
        measure: see `load_measure`.
        recording: a table or its path, see `recordings.chunks.read_chunks`; not an iterator.
        layout: its rate, units and columns.
        query: start and end, in seconds after the first row.
        top: most matches.
        hop_seconds: between the starts of neighbouring stretches.

    Raises:
        PrimusError: anything wrong with the recording; a query outside the recording, in a gap,
            shorter than a window, or so long that nothing is left; a gyroscope that the measure
            reads and the layout lacks; a `top` below 1.
    """
    start, end = query
    if top < 1:
        raise PrimusError(f"top is {top}; expected at least 1.")
    if not 0 <= start < end < np.inf:
        raise PrimusError(
            f"the query goes from {start:g} s to {end:g} s; expected a START of at least 0 and an "
            f"END after it, in seconds after the first row."
        )
    check_seconds(measure, end - start)
    if measure.channels == 6 and not layout.gyro:
        raise PrimusError(
            "this network compares the gyroscope too, and the recording is read without one. "
            "Leave --no-gyro out, or take a network of the accelerometer alone (docs/relcon.md)."
        )
    with warnings.catch_warnings():
        if measure.channels == 3:
            layout = dataclasses.replace(layout, gyro=())
            # The zeros that stand for a gyroscope are not read.
            warnings.filterwarnings("ignore", "accelerometer only", SignalWarning)
        return _find(measure, recording, layout, query, top, hop_seconds)


def _find(
    measure: Measure,
    recording: Any,
    layout: TableFormat,
    query: tuple[float, float],
    top: int,
    hop_seconds: float,
) -> Similar:
    start, end = query
    samples, rate_hz = round((end - start) * measure.rate_hz), measure.rate_hz
    asked = _query(recording, layout, rate_hz, start, samples)
    own = float(measure.distances(asked, asked[None])[0])
    report, parts = Report(), []
    for starts, windows in recording_windows(
        recording, layout, rate_hz, samples, hop_seconds, report, strict=True
    ):
        parts.append((starts, measure.distances(asked, windows)))
    times, distances = (np.concatenate(column) for column in zip(*parts, strict=True))
    seconds = samples / rate_hz
    # rounding of times must not leave out the neighbour exactly one length away
    apart = np.abs(times - start) > seconds - 1e-6
    if not apart.any():
        raise PrimusError(
            f"{name_of(recording)}, {report.seconds:.4g} s long, has no stretch of {seconds:g} s "
            f"beside the query. Ask for a shorter query, or give a longer recording."
        )
    chosen = peaks(times[apart], -distances[apart].astype(np.float64), seconds, top)
    nearest = [(float(times[apart][i]), float(distances[apart][i])) for i in chosen]
    signals = cut_out(
        recording, layout, rate_hz, [time for time, _ in nearest], samples, Report(), strict=True
    )
    matches = [
        Stretch(time, distance, signal)
        for (time, distance), signal in zip(nearest, signals, strict=True)
        if signal is not None
    ]
    return Similar(
        Stretch(start, own, asked),
        matches,
        seconds,
        rate_hz,
        measure.channels,
        measure.name,
        times,
        distances,
        report,
    )


def _query(
    recording: Any, layout: TableFormat, rate_hz: float, start: float, samples: int
) -> np.ndarray:
    """The signal of the query, float32 `[samples, 6]`."""
    report, end = Report(), start + samples / rate_hz
    (found,) = cut_out(recording, layout, rate_hz, [start], samples, report, strict=True)
    where = f"the query, {start:g} s to {end:g} s, "
    if end > report.seconds + 1 / rate_hz:
        raise PrimusError(
            f"{where}lies outside of {name_of(recording)}, which lasts {report.seconds:.4g} s. "
            f"Times count from its first row."
        )
    if found is None:
        raise PrimusError(
            f"{where}touches a gap or the end of {name_of(recording)} ({report.problems() or 'no'} "
            f"gaps; {report.seconds:.4g} s). Move START or END."
        )
    if not found[:, :3].any():
        raise PrimusError(
            f"{where}of {name_of(recording)} has an accelerometer of zeros, as where only a "
            f"gyroscope was recorded. Accelerations are compared; ask for another stretch."
        )
    return found
