"""Offset, clock rate and gaps of inertial samples, measured against the clock of their take.

A take's clock is that of its frame-aligned videos, which show frame i at i / 30 s. Annotations
count seconds of this clock. The glasses stamp samples by a clock of their own. The capture's
`timesync.csv` holds the glasses' clock for every frame. A line through (i / 30, stamp of frame i)
gives the offset and the rate of one clock against the other.
"""

import dataclasses

import numpy as np

from data_prep.egoexo4d.takes import FRAMES_PER_SECOND
from primus_jax.recordings.clock import MAX_GAP

CLOCK = "takes refused: a clock error above --max-clock-error"
RATE = "takes refused: a sampling rate further than --max-clock-error from the nominal one"
OFFSET = "takes refused: an offset above --max-offset"
LENGTH = "takes refused: no timesync, and IMU and take differ in length by more than --max-offset"
STRAY = "takes refused: video frames that stray from a steady clock"
# Frames of the glasses are matched to a common grid: each may be off by one frame, 0.033 s.
MAX_STRAY = 0.1
_FEWEST_FRAMES = FRAMES_PER_SECOND


@dataclasses.dataclass(frozen=True)
class Limits:
    """The greatest clock error (a fraction) and offset (seconds) that are accepted."""

    clock_error: float = 0.01
    offset_seconds: float = 1.0


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Measurements of one take.

    Attributes:
        method: "timesync"; or "first sample", where there is no timesync. The first sample then
            counts as the start of the take, and both clocks as equal.
        start_ns: device time of the take's start.
        clock_error: seconds of the device clock in one second of the take, minus 1.
        stray_seconds: how far 95 % of the frames lie, at most, from the line.
        offset_seconds: take time of the first sample.
        length_seconds: how much longer the samples last than the take.
        rate_hz: samples a second of the device clock, gaps left out.
        rate_error: of `rate_hz` against the nominal rate, as a fraction.
        gaps: pauses of more than `primus_jax.recordings.clock.MAX_GAP` sample periods.
        longest_gap_seconds: of the longest gap, or 0.
        coverage: fraction of the take with samples.
    """

    method: str
    start_ns: int
    clock_error: float
    stray_seconds: float
    offset_seconds: float
    length_seconds: float
    rate_hz: float
    rate_error: float
    gaps: int
    longest_gap_seconds: float
    coverage: float

    def take_time(self, stamps: np.ndarray) -> np.ndarray:
        """Seconds of the take, float64 `[n]`, of device times int64 `[n]` in ns."""
        return (stamps - self.start_ns) * 1e-9 / (1 + self.clock_error)

    def refusal(self, limits: Limits) -> str:
        """The reason to refuse the take, or ""."""
        if abs(self.rate_error) > limits.clock_error:
            return RATE
        if self.method == "first sample":
            return LENGTH if abs(self.length_seconds) > limits.offset_seconds else ""
        if abs(self.clock_error) > limits.clock_error:
            return CLOCK
        if self.stray_seconds > MAX_STRAY:
            return STRAY
        return OFFSET if abs(self.offset_seconds) > limits.offset_seconds else ""


def measure(
    stamps: np.ndarray, nominal_hz: float, seconds: float, frame_stamps: np.ndarray
) -> Alignment:
    """Measure how samples lie in a take.

    Args:
        stamps: int64 `[n]`, device time of the samples in ns, increasing, n >= 2.
        nominal_hz: of the sensor.
        seconds: length of the take.
        frame_stamps: float64 `[frames]`, device time of every frame in ns, NaN where it is unknown;
            fewer than 30 known ones are not used.
    """
    start_ns, error, stray = int(stamps[0]), 0.0, 0.0
    known = np.flatnonzero(np.isfinite(frame_stamps))
    method = "timesync" if len(known) >= _FEWEST_FRAMES else "first sample"
    if method == "timesync":
        base = frame_stamps[known[0]]
        shown, device = known / FRAMES_PER_SECOND, (frame_stamps[known] - base) * 1e-9
        slope, start = np.polyfit(shown, device, 1)
        # a clock that stands still is refused like any other wrong one
        slope = max(float(slope), 1e-3)
        error, start_ns = slope - 1, int(base) + round(float(start) * 1e9)
        stray = float(np.percentile(np.abs(start + slope * shown - device), 95))

    step = np.diff(stamps) * 1e-9
    paused = step > (MAX_GAP + 0.5) / nominal_hz
    rate = 1 / float(step[~paused].mean()) if not paused.all() else 0.0
    span = (int(stamps[-1]) - int(stamps[0])) * 1e-9 + 1 / nominal_hz
    first = (int(stamps[0]) - start_ns) * 1e-9 / (1 + error)
    time = first + np.concatenate([[0.0], np.cumsum(step)]) / (1 + error)
    inside = np.diff(time.clip(0, seconds))
    return Alignment(
        method=method,
        start_ns=start_ns,
        clock_error=error,
        stray_seconds=stray,
        offset_seconds=first,
        length_seconds=span / (1 + error) - seconds,
        rate_hz=rate,
        rate_error=rate / nominal_hz - 1,
        gaps=int(paused.sum()),
        longest_gap_seconds=float(step[paused].max(initial=0.0)),
        coverage=float(inside[~paused].sum() / seconds),
    )
