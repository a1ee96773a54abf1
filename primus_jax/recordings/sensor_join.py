"""Two sensors with times of their own -> rows that hold both."""

import numpy as np

from primus_jax.recordings.clock import MAX_GAP, RATE_ROWS, in_order, measured_rate
from primus_jax.recordings.grid import MEMORY, curve
from primus_jax.recordings.rows import Rows, joined

# Of the rows, so many hold one sensor alone where a logger writes a row for each event.
EVENTS = 0.2
# The gyroscope's stamps are taken where it is faster by more than a clock may be wrong.
_FASTER = 1.05
_ACC, _GYRO = slice(0, 3), slice(3, 6)


def are_events(rows: Rows) -> bool:
    """Return whether rows of one sensor alternate with rows of another.

    A sensor that fails for a while leaves long runs of empty cells, which are gaps instead.
    """
    if rows.time is None or len(rows.raw) < 2:
        return False
    acc = np.isnan(rows.raw[:, _ACC]).all(1)
    alone = acc
    if rows.gyro:
        gyro = np.isnan(rows.raw[:, _GYRO]).all(1)
        alone = acc ^ gyro
    changes = int((alone[1:] != alone[:-1]).sum() + (alone[1:] & (acc[1:] != acc[:-1])).sum())
    return bool(alone.mean() > EVENTS and changes * MAX_GAP > alone.sum())


def split_events(rows: Rows) -> tuple[Rows, Rows]:
    """The rows of the accelerometer, and those of the gyroscope."""
    both = (~np.isnan(rows.raw[:, part]).all(1) for part in (_ACC, _GYRO))
    acc, gyro = (rows.part(known) for known in both)
    return acc, gyro


class SensorJoin:
    """Rows of two sensors, in pieces -> rows with the stamps of the faster sensor.

    The other sensor is read at these stamps by the curve of `grid.py`. It is missing where it has
    a gap, or a missing value; rows more than a period before or after it are left out.

    Attributes:
        averaged: rows that were averaged with another of the same time.
    """

    def __init__(self) -> None:
        self._held: list[Rows | None] = [None, None]
        self._base = -1
        self._period = 0.0
        self.averaged = 0

    @property
    def behind(self) -> int:
        """The sensor whose rows are needed next: 0 the accelerometer, 1 the gyroscope."""
        ends = [-np.inf if rows is None else _times(rows)[-1] for rows in self._held]
        return int(ends[1] < ends[0])

    def push(self, sensor: int, rows: Rows) -> Rows | None:
        """Take further rows of a sensor; return rows that no later one changes."""
        if not len(rows.raw):
            return None
        held = self._held[sensor]
        both = rows if held is None else joined([held, rows])
        part = (_ACC, _GYRO)[sensor]
        keep, values, averaged = in_order(_times(both), both.raw[:, part], both.name)
        raw = both.raw.copy()
        raw[:, part] = values
        self.averaged += averaged
        self._held[sensor] = both._replace(raw=raw).part(keep)
        return self._take(final=False)

    def finish(self) -> Rows | None:
        """What was held back."""
        return self._take(final=True)

    def _take(self, *, final: bool) -> Rows | None:
        acc, gyro = self._held
        if acc is None or gyro is None or min(len(acc.raw), len(gyro.raw)) < 2:
            return None
        if self._base < 0:
            rates = [measured_rate(_times(rows)[:RATE_ROWS]) for rows in (acc, gyro)]
            self._base = int(rates[1] > _FASTER * rates[0])
            self._period = 1 / rates[1 - self._base]
        base, other = (acc, gyro) if self._base == 0 else (gyro, acc)
        part = (_GYRO, _ACC)[self._base]
        known = _times(other)
        end = known[-1] + self._period if final else known[max(len(known) - 1 - MEMORY, 0)]
        count = int(np.searchsorted(_times(base), end, "right"))
        ready = base.part(slice(0, count))
        ready = ready.part(_times(ready) >= known[0] - self._period)
        raw = ready.raw.copy()
        raw[:, part] = _at(_times(ready), known, other.raw[:, part], self._period)
        words = ready.words or _words(_times(ready), known, other)
        rest = base.part(slice(count, None))
        first = _times(rest)[0] if len(rest.raw) else end
        place = int(np.searchsorted(known, first)) - MEMORY
        self._held[self._base] = rest if len(rest.raw) else None
        self._held[1 - self._base] = other.part(slice(max(place, 0), None))
        return ready._replace(raw=raw, gyro=True, words=words)


def _times(rows: Rows) -> np.ndarray:
    assert rows.time is not None
    return rows.time


def _at(grid: np.ndarray, time: np.ndarray, values: np.ndarray, period: float) -> np.ndarray:
    """Values of a sensor `[grid, 3]` at other times; NaN in its gaps and at its missing values."""
    result = np.full((len(grid), 3), np.nan)
    finite = np.isfinite(values).all(1)
    cut = (np.diff(time) > (MAX_GAP + 0.5) * period) | ~finite[1:] | ~finite[:-1]
    for rows in np.split(np.arange(len(time)), np.flatnonzero(cut) + 1):
        if not finite[rows].all():
            continue
        first, last = time[rows[0]], time[rows[-1]]
        # the ends of all rows reach a period further
        first -= period * (rows[0] == 0)
        last += period * (rows[-1] == len(time) - 1)
        inside = (grid >= first) & (grid <= last)
        origin = time[rows[0]]
        result[inside] = curve(grid[inside] - origin, time[rows] - origin, values[rows], period)
    return result


def _words(grid: np.ndarray, time: np.ndarray, rows: Rows) -> dict[str, np.ndarray]:
    """Words of the row at or before each time."""
    index = (np.searchsorted(time, grid, "right") - 1).clip(0)
    return {key: words[index] for key, words in rows.words.items()}
