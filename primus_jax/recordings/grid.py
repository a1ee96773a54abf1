"""Raw samples to uniform, finite, SI signals: rate, order, gaps, missing values, units."""

import dataclasses
from collections import Counter
from collections.abc import Callable

import numpy as np
from scipy.interpolate import CubicSpline

from primus_jax.errors import PrimusError
from primus_jax.recordings.plausible import is_gravity, magnitudes
from primus_jax.window import ACC_UNITS, GRAVITY, GYRO_UNITS, to_si

TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
# Up to this many sample periods are bridged; a longer pause cuts the recording.
MAX_GAP = 5
# Neighbours further apart than this many periods say nothing about the curve between them.
SMOOTH_GAP = 2.5
RATE_TOLERANCE = 0.05
GAPS = "gaps in time that cut a recording"
REPEATED = "repeated rows"
NOTHING_FINITE = "recordings without a finite sample"


@dataclasses.dataclass(frozen=True)
class Piece:
    """A stretch without gaps on a uniform grid, float64 `[time, channels]`; where it was filled."""

    signal: np.ndarray
    start_seconds: float
    bad_spans: tuple[tuple[float, float], ...]


def check_time(time: np.ndarray, signal: np.ndarray, row: Callable[[int], str]) -> np.ndarray:
    """Return the rows to keep (bool `[time]`): exact repetitions of the row before are left out.

    Args:
        time: float64 `[time]`.
        signal: float64 `[time, channels]`.
        row: names a row for a person.

    Raises:
        PrimusError: a missing time, a time before the one above it, or the same time with other
            values.
    """
    if not np.isfinite(time).all():
        bad = int(np.argmin(np.isfinite(time)))
        raise PrimusError(f"{row(bad)}: the time is missing or infinite; expected a number.")
    step = np.diff(time, prepend=time[:1] - 1)
    if (step < 0).any():
        bad = int(np.argmax(step < 0))
        raise PrimusError(
            f"{row(bad)}: time {time[bad]:.10g} comes after {time[bad - 1]:.10g}; expected "
            f"increasing times. Sort the rows, or separate the recordings (--recording-column)."
        )
    same = np.concatenate([[False], ((signal[1:] == signal[:-1]) | np.isnan(signal[1:])).all(1)])
    clash = (step == 0) & ~same
    if clash.any():
        bad = int(np.argmax(clash))
        raise PrimusError(
            f"{row(bad)}: time {time[bad]:.10g} appears twice with different values; expected one "
            f"row a time. If the clock is too coarse, leave the time column out (--no-time) and "
            f"give --rate."
        )
    return step > 0


def sampling_rate(time: np.ndarray, stated: float | None, where: str) -> float:
    """Return the rate of increasing times in seconds, leaving pauses out.

    Without a stated rate the measured one is rounded to a whole number of Hz if that is within
    1 %, else to three digits; samples are interpolated onto that grid by their times, so that no
    time error follows.

    Raises:
        PrimusError: the stated rate is more than 5 % from the measured one.
    """
    step = np.diff(time)
    measured = 1 / float(step[step <= MAX_GAP * np.median(step)].mean())
    if stated is None:
        whole = round(measured)
        return float(whole if whole and abs(whole / measured - 1) < 0.01 else f"{measured:.3g}")
    if abs(measured / stated - 1) > RATE_TOLERANCE:
        raise PrimusError(
            f"{where}: the times say {measured:.4g} samples a second, --rate says {stated:.4g}. "
            f"Check --time-unit and --rate, or leave --rate out."
        )
    return stated


def uniform_pieces(
    time: np.ndarray, signal: np.ndarray, rate_hz: float, drops: Counter[str]
) -> list[Piece]:
    """Cut at gaps and put each piece on a uniform grid by its times.

    Between samples runs a cubic spline, which unlike a line keeps amplitudes (a line loses 5 % of
    80 Hz sampled at 800 Hz, the spline less than 0.1 %); over more than `SMOOTH_GAP` periods a
    line. Missing values (NaN or infinity in any channel) are bridged and reported as `bad_spans`,
    so that windows touching them can be left out.

    Args:
        time: float64 `[time]`, increasing seconds.
        signal: float64 `[time, channels]`.
        rate_hz: of the grid.
        drops: counts gaps and pieces without any finite row.
    """
    breaks = np.flatnonzero(np.diff(time) > (MAX_GAP + 0.5) / rate_hz) + 1
    drops[GAPS] += len(breaks)
    pieces = []
    for rows in np.split(np.arange(len(time)), breaks):
        finite = np.isfinite(signal[rows]).all(1)
        if not finite.any():
            drops[NOTHING_FINITE] += 1
            continue
        t = time[rows] - time[rows[0]]
        grid = np.arange(int(np.floor(t[-1] * rate_hz + 1e-6)) + 1) / rate_hz
        on_grid = len(grid) == len(t) and np.abs(grid - t).max() * rate_hz < 0.01
        if on_grid and finite.all():
            values = signal[rows]
        else:
            values = curve(grid, t[finite], signal[rows][finite], 1 / rate_hz)
        start = float(time[rows[0]] - time[0])
        pieces.append(Piece(values, start, _spans(t, finite, 1 / rate_hz)))
    return pieces


def curve(grid: np.ndarray, t: np.ndarray, values: np.ndarray, period: float) -> np.ndarray:
    """Values at `grid`: the end values outside `t`, a line in pauses, else a cubic spline."""
    line = np.stack([np.interp(grid, t, channel) for channel in values.T], 1)
    if len(t) < 4:
        return line
    right = np.searchsorted(t, grid).clip(1, len(t) - 1)
    smooth = (grid >= t[0]) & (grid <= t[-1]) & (t[right] - t[right - 1] <= SMOOTH_GAP * period)
    line[smooth] = CubicSpline(t, values)(grid[smooth])
    return line


def _spans(t: np.ndarray, finite: np.ndarray, period: float) -> tuple[tuple[float, float], ...]:
    """Runs of missing rows, from the last good sample to the next, open at both ends."""
    edges = np.diff(np.concatenate([[False], ~finite, [False]]).astype(np.int8))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    begin = np.where(first > 0, t[np.maximum(first - 1, 0)] + period / 2, -1.0)
    end = np.where(last + 1 < len(t), t[np.minimum(last + 1, len(t) - 1)], t[-1] + period)
    return tuple(zip(begin.tolist(), end.tolist(), strict=True))


def checked_si(
    signal: np.ndarray, acc_unit: str, gyro_unit: str, has_gyro: bool, where: str
) -> np.ndarray:
    """Convert `[time, 6]` to SI and refuse units that the magnitudes contradict.

    The limits are those of `plausible.py`.

    Raises:
        PrimusError: a unit that cannot be true.
    """
    si = to_si(signal, acc_unit, gyro_unit)
    found = magnitudes(si)
    other = next(unit for unit in ACC_UNITS if unit != acc_unit)
    if not found.gravity:
        raw = found.acc / ACC_UNITS[acc_unit]
        likely = is_gravity(raw * ACC_UNITS[other])
        hint = (
            f"It looks like {other}: pass --acc-unit {other}."
            if likely
            else ("Gravity must be in the signal, in the stated unit.")
        )
        raise PrimusError(
            f"{where}: the median accelerometer magnitude is {raw:.3g} {acc_unit}; expected about "
            f"{GRAVITY / ACC_UNITS[acc_unit]:.3g} at rest. {hint}"
        )
    if has_gyro:
        if not found.turns:
            raise PrimusError(
                f"{where}: half of the gyroscope magnitudes exceed "
                f"{found.gyro / GYRO_UNITS[gyro_unit]:.3g} {gyro_unit} and one in a hundred "
                f"{found.gyro_high / GYRO_UNITS[gyro_unit]:.3g}; no person turns that fast. "
                f"Check --gyro-unit (deg/s?)."
            )
        gyro = si[np.isfinite(si).all(1), 3:]
        if (gyro == gyro[0]).all():
            raise PrimusError(
                f"{where}: the gyroscope never changes. If there is none, pass --no-gyro."
            )
    return si
