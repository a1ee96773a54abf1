"""One inertial CSV file of Ego4D becomes a uniform signal on the video's clock."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import median_filter

from data_prep.quality import without_impossible
from data_prep.streams import LATE, NEVER_BOTH, Stream, ordered
from primus_jax.recordings.clock import MAX_GAP, sampling_rate
from primus_jax.recordings.columns import read_columns
from primus_jax.recordings.grid import REPEATED, curve
from primus_jax.recordings.plausible import NOT_GRAVITY, magnitudes

TIME = "canonical_timestamp_ms"
ACC = ("accl_x", "accl_y", "accl_z")
GYRO = ("gyro_x", "gyro_y", "gyro_z")
NO_TIME = "rows without a canonical time (outside the video)"
STRAY = "rows whose time is far from their neighbours'"
BEYOND = "rows before or after the video"
NO_ACC = "videos without accelerometer values"
NO_GYRO = "videos without gyroscope values (kept, has_gyro is False)"
ODD_CLOCK = "recordings with a rate outside 5 to 2,000 Hz"
TOO_FAST = "videos whose gyroscope is too fast for rad/s"
GAP = "a gap in the samples"
OVERLAP = "two packets of samples for the same time"
# Rows this much before or after the video are read, so that edge windows find their samples (s).
MARGIN = 5.0
# A row further (s) than this from the median time of the five around it in the file is an artefact.
STRAY_SECONDS = 1.0
SLOWEST, FASTEST = 5, 2000


@dataclasses.dataclass(frozen=True)
class Signal:
    """Samples float64 `[time, 6]` in m/s^2 and rad/s; the first lies at `start` of the video.

    `spans` are (from, to, reason) in seconds after the first sample. There samples are missing or
    ambiguous, and the reader drew a line.
    """

    samples: np.ndarray
    rate_hz: float
    start: float
    has_gyro: bool
    spans: tuple[tuple[float, float, str], ...]

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.samples) / self.rate_hz


def read_signal(path: Path, video_seconds: float, drops: Counter[str]) -> Signal | None:
    """Read `<video_uid>.csv`, or count in `drops` the reason why it has no signal.

    The canonical time (ms, the clock of the canonical video) is the only clock. The corpus has
    already added each component's offset. Rows are sorted by canonical time and repeated rows left
    out, as the corpus asks. A line puts each sensor's finite rows on the grid of the faster sensor.
    A pause of more than `grid.MAX_GAP` periods in either sensor is a span. So is a time for which
    two packets disagree.

    Args:
        path: columns canonical_timestamp_ms, gyro_x..z and accl_x..z; others are not read.
        video_seconds: length of the video.
        drops: counts rows and reasons.

    Raises:
        PrimusError: a missing column, text in a number or a row of another length; names the row.
    """
    table = read_columns(path, (TIME, *ACC, *GYRO))
    time = table.numbers[TIME] / 1e3
    values = np.stack([table.numbers[name] for name in (*ACC, *GYRO)], 1)
    keep = _on_the_clock(time, video_seconds, drops)
    time, values, packet = _in_order(time[keep], values[keep], drops)
    values = without_impossible(values, drops)
    if not np.isfinite(values[:, :3]).all(1).any():
        drops[NO_ACC] += 1
        return None
    # an absent sensor is written as empty cells or as one value
    turns = values[np.isfinite(values[:, 3:]).all(1), 3:]
    has_gyro = bool(len(turns) and np.ptp(turns, axis=0).any())
    drops[NO_GYRO] += not has_gyro
    streams = [ordered(time, values[:, :3], drops)]
    if has_gyro:
        streams.append(ordered(time, values[:, 3:], drops))
    if min(len(stream.time) for stream in streams) < 2:
        drops[NEVER_BOTH] += 1
        return None
    rates = [sampling_rate(stream.time, None, str(path)) for stream in streams]
    if not (min(rates) >= SLOWEST and max(rates) <= FASTEST):
        drops[ODD_CLOCK] += 1
        return None
    signal = _on_a_grid(streams, rates, _overlaps(time, packet, max(rates)))
    if signal is None:
        drops[NEVER_BOTH] += 1
        return None
    if wrong := _implausible(signal):
        drops[wrong] += 1
        return None
    return signal


def _on_the_clock(time: np.ndarray, video_seconds: float, drops: Counter[str]) -> np.ndarray:
    """Indices of the rows whose time can be true."""
    known = np.flatnonzero(np.isfinite(time))
    drops[NO_TIME] += len(time) - len(known)
    near = np.abs(time[known] - median_filter(time[known], 5, mode="nearest")) <= STRAY_SECONDS
    drops[STRAY] += int((~near).sum())
    known = known[near]
    inside = (time[known] >= -MARGIN) & (time[known] <= video_seconds + MARGIN)
    drops[BEYOND] += int((~inside).sum())
    return known[inside]


def _on_a_grid(
    streams: Sequence[Stream], rates: Sequence[float], ambiguous: Sequence[tuple[float, float]]
) -> Signal | None:
    """Both sensors on the grid of the faster one, where both were sampled."""
    rate = max(rates)
    start = float(max(stream.time[0] for stream in streams))
    end = min(stream.time[-1] for stream in streams)
    if (end - start) * rate < 1:
        return None
    grid = start + np.arange(int(np.floor((end - start) * rate + 1e-6)) + 1) / rate
    samples = np.zeros((len(grid), 6))
    spans = [(a - start, b - start, OVERLAP) for a, b in ambiguous]
    for sensor, (stream, own) in enumerate(zip(streams, rates, strict=True)):
        samples[:, 3 * sensor : 3 * sensor + 3] = curve(grid, stream.time, stream.values, 1 / own)
        pauses = np.flatnonzero(np.diff(stream.time) > (MAX_GAP + 0.5) / own)
        ends = zip(stream.time[pauses].tolist(), stream.time[pauses + 1].tolist(), strict=True)
        spans += [(a - start, b - start, GAP) for a, b in ends]
    inside = [span for span in spans if span[1] > 0 and span[0] < grid[-1] - start]
    return Signal(samples, rate, start, len(streams) == 2, tuple(sorted(set(inside))))


def _in_order(
    time: np.ndarray, values: np.ndarray, drops: Counter[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows sorted by time, each once, and the number of the packet that brought each.

    A packet ends in the file where time goes back by more than `MAX_GAP` typical steps.
    """
    back = np.diff(time, prepend=time[:1])
    drops[LATE] += int((back < 0).sum())
    typical = np.median(back[back > 0]) if (back > 0).any() else 0.0
    packet = np.cumsum(back < -MAX_GAP * typical)
    order = np.argsort(time, kind="stable")
    time, values, packet = time[order], values[order], packet[order]
    same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    again = np.concatenate([[False], (np.diff(time) == 0) & same.all(1)])[: len(time)]
    drops[REPEATED] += int(again.sum())
    return time[~again], values[~again], packet[~again]


def _overlaps(time: np.ndarray, packet: np.ndarray, rate_hz: float) -> list[tuple[float, float]]:
    """Times for which rows of two packets alternate, so that their moment is not known.

    Whole packets out of order need only sorting: there the packet changes once. A curve through
    alternating rows swings on for a few periods on either side.
    """
    margin = MAX_GAP / rate_hz
    change = np.flatnonzero(np.diff(packet))
    runs = np.split(change, np.flatnonzero(np.diff(change) > MAX_GAP) + 1)
    return [
        (float(time[run[0]] - margin), float(time[run[-1] + 1] + margin))
        for run in runs
        if len(run) > 2 * MAX_GAP
    ]


def _implausible(signal: Signal) -> str | None:
    """Return why the values cannot be in m/s^2 and rad/s, or None."""
    found = magnitudes(signal.samples)
    if not found.gravity:
        return NOT_GRAVITY
    return None if found.turns else TOO_FAST
