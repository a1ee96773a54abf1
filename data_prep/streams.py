"""Order in time, stretches of one activity, and two sensors with separate clocks on one grid."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from primus_jax.recordings.clock import MAX_GAP, sampling_rate
from primus_jax.recordings.grid import GAPS, REPEATED, Piece, curve, uniform_pieces

MISSING_ROWS = "rows with a missing value"
LATE = "rows out of order, sorted"
NOT_LATER = "rows whose time is missing or does not increase"
SAME_TIME = "rows with the time of another row"
NEVER_BOTH = "recordings without both sensors at the same time"
ODD_CLOCK = "recordings with a rate outside 5 to 500 Hz"
UNLABELLED = "rows without an activity label"


@dataclasses.dataclass(frozen=True)
class Stream:
    """One sensor: increasing float64 `[rows]` seconds and float64 `[rows, 3]` values."""

    time: np.ndarray
    values: np.ndarray


def ordered(time: np.ndarray, values: np.ndarray, drops: Counter[str]) -> Stream:
    """Sort by time; leave out rows with missing values and rows whose time appeared before."""
    finite = np.isfinite(time) & np.isfinite(values).all(1)
    drops[MISSING_ROWS] += int((~finite).sum())
    time, values = time[finite], values[finite]
    drops[LATE] += int((np.diff(time) < 0).sum())
    order = np.argsort(time, kind="stable")
    time, values = time[order], values[order]
    again = np.diff(time, prepend=-np.inf) == 0
    same = np.concatenate([[False], (values[1:] == values[:-1]).all(1)])[: len(time)]
    drops[REPEATED] += int((again & same).sum())
    drops[SAME_TIME] += int((again & ~same).sum())
    return Stream(time[~again], values[~again])


def join(acc: Stream, gyro: Stream, where: str, drops: Counter[str]) -> tuple[float, list[Piece]]:
    """Put both sensors on the grid of the faster one, by the curve of `recordings/grid.py`.

    Only where both were sampled, and never across a gap of more than `MAX_GAP` periods: such a
    gap cuts the recording.

    Returns:
        The rate in Hz, and pieces float64 `[time, 6]`; their start counts from `acc.time[0]`.
    """
    rates = _rates((acc, gyro), where, drops)
    if rates is None:
        return 0.0, []
    rate = max(rates)
    parts = [_stretches(s.time, r) for s, r in zip((acc, gyro), rates, strict=True)]
    pieces = []
    for a in parts[0]:
        for b in parts[1]:
            start = max(acc.time[a[0]], gyro.time[b[0]])
            end = min(acc.time[a[-1]], gyro.time[b[-1]])
            if (end - start) * rate < 1:
                continue
            grid = start + np.arange(int(np.floor((end - start) * rate + 1e-6)) + 1) / rate
            sides = [
                curve(grid - start, stream.time[rows] - start, stream.values[rows], 1 / own)
                for stream, rows, own in ((acc, a, rates[0]), (gyro, b, rates[1]))
            ]
            pieces.append(Piece(np.concatenate(sides, 1), float(start - acc.time[0]), ()))
    drops[GAPS] += max(0, len(pieces) - 1)
    drops[NEVER_BOTH] += not pieces
    return rate, pieces


def alone(acc: Stream, where: str, drops: Counter[str]) -> tuple[float, list[Piece]]:
    """`join` for an accelerometer without a gyroscope, whose columns are zeros."""
    rates = _rates((acc,), where, drops)
    if rates is None:
        return 0.0, []
    signal = np.concatenate([acc.values, np.zeros_like(acc.values)], 1)
    return rates[0], uniform_pieces(acc.time, signal, rates[0], drops)


def increasing(time: np.ndarray, drops: Counter[str]) -> np.ndarray:
    """Rows (bool `[rows]`) whose time is known and later than all before; counts the others."""
    before = np.fmax.accumulate(np.concatenate([[-np.inf], time[:-1]]))
    later = time > before
    drops[NOT_LATER] += int((~later).sum())
    return later


def runs(codes: np.ndarray) -> Iterator[slice]:
    """Stretches of equal neighbours."""
    edges = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    bounds = [0, *edges.tolist(), len(codes)]
    for begin, end in itertools.pairwise(bounds):
        yield slice(begin, end)


def _rates(streams: Sequence[Stream], where: str, drops: Counter[str]) -> list[float] | None:
    if min(len(stream.time) for stream in streams) < 2:
        drops[NEVER_BOTH] += 1
        return None
    rates = [sampling_rate(stream.time, None, where) for stream in streams]
    if not 5 <= min(rates) <= max(rates) <= 500:
        drops[ODD_CLOCK] += 1
        return None
    return rates


def _stretches(time: np.ndarray, rate_hz: float) -> list[np.ndarray]:
    breaks = np.flatnonzero(np.diff(time) > (MAX_GAP + 0.5) / rate_hz) + 1
    return np.split(np.arange(len(time)), breaks)
