"""Stamps of arrival: rows that come in bursts, put back to even times."""

import dataclasses

import numpy as np

from primus_jax.recordings.clock import MAX_GAP, RATE_ROWS, RATE_TOLERANCE, possible_rate
from primus_jax.recordings.rows import Rows, joined

# Rows of one burst are this much closer than the rate that they make up.
CLOSER = 1.5
# Bursts come at least this often, in seconds; a pause that comes seldom is a gap.
LONGEST_PERIOD = 2.0
LEAST_BURSTS = 6
# So many of the bursts have a usual size and a usual distance.
REGULAR = 0.7
# Between two arrivals that are trusted lie so many rows: what delays one burst is spread over them.
ANCHOR_ROWS = 2000


@dataclasses.dataclass(frozen=True)
class Bursts:
    """Rows of a burst, seconds between bursts, seconds between its rows, rows a second over all."""

    size: float
    period: float
    step: float
    rate_hz: float

    @property
    def apart(self) -> float:
        """A longer step begins a new burst, seconds."""
        return MAX_GAP * self.step

    def __str__(self) -> str:
        """As a clause for a person."""
        return (
            f"rows come in bursts of about {self.size:g}, {1e3 * self.step:.4g} ms apart, every "
            f"{1e3 * self.period:.4g} ms, {self.rate_hz:.4g} a second over all"
        )


def find_bursts(time: np.ndarray) -> Bursts | None:
    """Return the bursts in which rows arrive, or None where their times are those of sampling.

    Args:
        time: float64 `[rows]`, seconds that do not decrease.
    """
    step = np.diff(time)
    if len(step) < 2 * LEAST_BURSTS or not np.isfinite(step).all() or (step < 0).any():
        return None
    usual = float(np.median(step))
    ends = np.append(np.flatnonzero(step > MAX_GAP * usual), len(step))
    if not LEAST_BURSTS <= len(ends) <= len(time) / 2:
        return None
    size, period = np.diff(ends).astype(np.float64), np.diff(time[ends])
    # the last burst may be cut off
    size, period = size[:-1], period[:-1]
    middle, between = float(np.median(size)), float(np.median(period))
    regular = (np.abs(size - middle) <= middle / 2) & (np.abs(period - between) <= between / 2)
    if between > LONGEST_PERIOD or middle < 2 or regular.mean() < REGULAR:
        return None
    near = period <= MAX_GAP * between
    rate = float(size[near].sum() / period[near].sum())
    if not possible_rate(rate) or usual * rate * CLOSER > 1:
        return None
    return Bursts(middle, between, usual, rate)


class Evener:
    """Rows of a recording, in pieces -> the same rows with even times, where they come in bursts.

    The last row of a burst is the freshest, so its stamp is trusted. Every `ANCHOR_ROWS` rows one
    such stamp is kept, and rows between two of them are even. A pause begins a new line. All times
    are moved so that the first row keeps its stamp.

    Attributes:
        found: the bursts; None where the times are left alone.
        rows: how many got another time.
    """

    def __init__(self, rate_hz: float | None) -> None:
        self._rate = rate_hz
        self._decided = False
        self._held: Rows | None = None
        self._anchor: float | None = None  # the even time of the row before the held ones
        self._shift: float | None = None  # the first row keeps its stamp
        self.found: Bursts | None = None
        self.rows = 0

    def push(self, rows: Rows) -> Rows | None:
        """Take further rows; return those whose times no later row changes."""
        if not self._decided and rows.time is not None and self._rate is not None:
            found = find_bursts(rows.time[:RATE_ROWS])
            if found and abs(found.rate_hz / self._rate - 1) <= RATE_TOLERANCE:
                self.found = found
        self._decided = True
        if self.found is None or not len(rows.raw):
            return rows
        self._held = rows if self._held is None else joined([self._held, rows])
        return self._take(final=False)

    def finish(self) -> Rows | None:
        """What was held back."""
        return self._take(final=True) if self._held is not None and len(self._held.raw) else None

    def _take(self, *, final: bool) -> Rows | None:
        held, bursts = self._held, self.found
        assert held is not None
        assert held.time is not None
        assert bursts is not None
        assert self._rate is not None
        time, rate = held.time, self._rate
        ends = np.flatnonzero(np.diff(time) > bursts.apart)
        ends = np.append(ends, len(time) - 1) if final else ends
        if not len(ends):
            return None
        slack = MAX_GAP + bursts.size
        paused = np.diff(time[ends]) * rate > np.diff(ends) + slack
        even = np.empty(0)
        lines = np.split(ends, np.flatnonzero(paused) + 1)
        for number, line in enumerate(lines):
            closed = final or number < len(lines) - 1
            known = [] if self._anchor is None else [(len(even) - 1, self._anchor)]
            points = _anchors(line, time, known, closed=closed)
            last = int(line[-1]) if closed else points[-1][0]
            even = np.append(even, _on_line(np.arange(len(even), last + 1), points, rate))
            if closed:
                self._anchor = None
            elif len(even):
                self._anchor = float(even[-1])
        if self._shift is None and len(even):
            self._shift = float(time[0] - even[0])
        self.rows += len(even)
        self._held = held.part(slice(len(even), None))
        return held.part(slice(0, len(even)))._replace(time=even + (self._shift or 0.0))


def _anchors(
    ends: np.ndarray, time: np.ndarray, known: list[tuple[int, float]], *, closed: bool
) -> list[tuple[int, float]]:
    """Rows (their places) with the times that are trusted, of one line without a pause."""
    points = known or [(int(ends[0]), float(time[ends[0]]))]
    least = ANCHOR_ROWS // 4
    while True:
        later = ends[ends >= points[-1][0] + ANCHOR_ROWS]
        if not len(later) or ends[-1] - later[0] < least:
            break
        points.append((int(later[0]), float(time[later[0]])))
    if closed and ends[-1] > points[-1][0]:
        points.append((int(ends[-1]), float(time[ends[-1]])))
    return points


def _on_line(index: np.ndarray, points: list[tuple[int, float]], rate_hz: float) -> np.ndarray:
    """Times of rows on the line through the points, continued at the rate."""
    place, time = (np.array(column) for column in zip(*points, strict=True))
    result = np.interp(index, place, time)
    before, after = index < place[0], index > place[-1]
    result[before] = time[0] - (place[0] - index[before]) / rate_hz
    result[after] = time[-1] + (index[after] - place[-1]) / rate_hz
    return result
