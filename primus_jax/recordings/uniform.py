"""Rows of a recording of any length -> blocks on a uniform grid, cut at gaps.

The blocks do not depend on how the rows were cut into chunks.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.arrays import check_rate
from primus_jax.recordings.chunks import read_chunks
from primus_jax.recordings.clock import (
    MAX_GAP,
    RATE_ROWS,
    Clock,
    check_steady,
    in_order,
)
from primus_jax.recordings.grid import MEMORY, curve, whole_periods
from primus_jax.recordings.numbers import Seen, check_numbers, refuse_impossible
from primus_jax.recordings.report import Report, name_of
from primus_jax.recordings.rows import Rows, joined
from primus_jax.recordings.table_format import TableFormat
from primus_jax.window import check_imu, to_si

# Deviation from the grid, in periods, below which rows are taken to lie on it.
ON_GRID = 0.01


@dataclasses.dataclass(frozen=True)
class Block:
    """`[time, 6]` samples that follow the block before; `start` (seconds after the recording's
    first row) is set on the first block of a stretch without gaps, and None on the others."""

    start: float | None
    samples: np.ndarray


def uniform_blocks(
    recording: Any, layout: TableFormat, target_hz: float, report: Report, *, strict: bool = False
) -> Iterator[Block]:
    """Rows in SI on a uniform grid of `report.rate_hz`, cut where more than
    `clock.MAX_GAP` of them are missing, bridged by a cubic spline where fewer are. The rate is
    measured, and units are doubted, on the first `RATE_ROWS` rows."""
    clock = Clock(layout.time_unit)
    grid: _Grid | None = None
    row = 0
    rows = read_chunks(recording, layout, clock, need_gyro=strict and bool(layout.gyro))
    seen = Seen(layout)
    spans = _Spans(report.bad_spans)
    for part in _joined(rows, report):
        time, raw = part.time, part.raw
        seen.add(part)
        if grid is None:
            where = name_of(recording)
            report.rate_hz = rate = _rate(time, layout, clock, where)
            check_rate(rate, target_hz)
            check_numbers(raw, rate, layout, where, strict=strict)
            grid = _Grid(rate, report)
        elif time is not None:
            check_steady(time, report.rate_hz, part.name)
        if time is None:
            time = (row + np.arange(len(raw))) / report.rate_hz
        row += len(raw)
        finite = np.isfinite(raw).all(1)
        report.rows += len(raw)
        report.missing += int((~finite).sum())
        spans.push(time, finite, 1 / report.rate_hz)
        si = to_si(raw[finite], layout.acc_unit, layout.gyro_unit)
        refuse_impossible(si, part.part(finite).name)
        yield from grid.push(time[finite], si)
    if grid is None:
        raise PrimusError(f"{name_of(recording)} holds no rows.")
    report.wraps, report.evened, report.joined = clock.wraps, clock.evened, clock.joined
    report.averaged += clock.averaged
    seen.check(name_of(recording), strict=strict)
    yield from grid.finish()


def _joined(chunks: Iterable[Rows], report: Report) -> Iterator[Rows]:
    """Chunks of exactly `RATE_ROWS` rows (the last may be shorter), times checked, repetitions of
    rows left out: what follows sees the same chunks however the recording was cut."""
    waiting: list[Rows] = []
    rows, last = 0, None
    for chunk in chunks:
        if not len(chunk.raw):
            continue
        if waiting and (chunk.time is None) != (waiting[0].time is None):
            raise PrimusError("some chunks of the recording have times, others have none.")
        if chunk.time is not None:
            chunk, last, averaged = _in_order(chunk, last)
            report.averaged += averaged
        waiting.append(chunk)
        rows += len(chunk.raw)
        if rows < RATE_ROWS:
            continue
        held, ready = joined(waiting), rows - rows % RATE_ROWS
        for i in range(0, ready, RATE_ROWS):
            yield held.part(slice(i, i + RATE_ROWS))
        waiting, rows = [held.part(slice(ready, None))], rows - ready
    if rows:
        yield joined(waiting)


def _in_order(chunk: Rows, last: Rows | None) -> tuple[Rows, Rows, int]:
    """`chunk` in order after `last`, the row before; its own last row; rows that were averaged."""
    both = chunk if last is None else joined([last, chunk])
    assert both.time is not None
    keep, raw, averaged = in_order(both.time, both.raw, both.name)
    new = len(both.raw) - len(chunk.raw)
    chunk = chunk._replace(raw=raw[new:])
    return chunk.part(keep[new:]), chunk.part(slice(-1, None)), averaged


def _rate(time: np.ndarray | None, layout: TableFormat, clock: Clock, where: str) -> float:
    if time is None:
        if layout.rate_hz is None:
            raise PrimusError(f"unknown rate: {where} holds no times; state the rate.")
        return layout.rate_hz
    if len(time) < 2:
        raise PrimusError(f"{where} has a single row; its rate cannot be measured.")
    return clock.rate(time, layout.rate_hz, where)


class _Spans:
    """Runs of rows with a missing value, from half a period after the last good row to the next
    one, seconds; appended to a list as they end."""

    def __init__(self, spans: list[tuple[float, float]]) -> None:
        self._spans = spans
        self._good = -math.inf
        self._open = False

    def push(self, time: np.ndarray, finite: np.ndarray, period: float) -> None:
        """Take further rows."""
        before = np.append(self._good, np.where(finite, time, -np.inf))
        good = np.maximum.accumulate(before)
        missing = np.append(self._open, ~finite)
        for row in np.flatnonzero(missing[:-1] & finite):
            self._spans.append((float(good[row]) + period / 2, float(time[row])))
        self._good, self._open = float(good[-1]), bool(missing[-1])


class _Grid:
    """Increasing rows -> uniform blocks; holds back what later rows may still change.

    Times count from the recording's first row, whether a value is missing there or not.
    """

    def __init__(self, rate_hz: float, report: Report) -> None:
        self.rate, self.report = rate_hz, report
        self.time, self.values = np.empty(0), np.empty((0, 6))
        self.origin: float | None = None
        self.next = 0

    def push(self, time: np.ndarray, values: np.ndarray) -> Iterator[Block]:
        """Blocks that these rows complete."""
        if not len(time):
            return
        if self.origin is None:
            self.origin = time[0]
        time = np.concatenate([self.time, time])
        values = np.concatenate([self.values, values])
        step = np.diff(time)
        breaks = np.flatnonzero(step > (MAX_GAP + 0.5) / self.rate) + 1
        self.report.gaps += len(breaks)
        self.report.gap_seconds += float(step[breaks - 1].sum())
        self.report.seconds = float(time[-1]) + 1 / self.rate
        pieces = np.split(np.arange(len(time)), breaks)
        for piece in pieces[:-1]:
            yield from self._emit(time[piece], values[piece], whole=True)
            self.origin, self.next = time[piece[-1] + 1], 0
        rest = pieces[-1]
        yield from self._emit(time[rest], values[rest], whole=False)
        # rows before the next grid point matter only as far as the spline remembers
        place = np.searchsorted(time[rest], self.origin + self.next / self.rate)
        rest = rest[max(int(place) - MEMORY, 0) :]
        self.time, self.values = time[rest], values[rest]

    def finish(self) -> Iterator[Block]:
        """What was held back."""
        if len(self.time):
            yield from self._emit(self.time, self.values, whole=True)

    def _emit(self, time: np.ndarray, values: np.ndarray, *, whole: bool) -> Iterator[Block]:
        t = (time - self.origin) * self.rate
        place = np.rint(t).astype(np.int64)
        pending = place >= self.next
        even = (np.abs(t - place) < ON_GRID).all() and (np.diff(place) == 1).all()
        if even and place[0] <= self.next:
            samples = values[pending]
        else:
            last = t[-1] if whole else t[max(len(t) - 1 - MEMORY, 0)]
            grid = np.arange(self.next, whole_periods(last) + 1)
            samples = curve(grid.astype(np.float64), t, values, 1.0)
        if not len(samples):
            return
        start = self.origin if self.next == 0 else None
        self.next += len(samples)
        yield Block(start, check_imu(samples, "the recording"))
