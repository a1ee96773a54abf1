"""Windows of a recording of any length, in constant memory.

Rows -> a uniform grid, cut at gaps -> resampled by overlap and save -> windows on a hop. What comes
out does not depend on how the rows were cut into chunks.
"""

import dataclasses
import math
import os
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
    check_order,
    measured_rate,
    sampling_rate,
)
from primus_jax.recordings.grid import curve
from primus_jax.recordings.numbers import check_numbers, refuse_impossible
from primus_jax.recordings.rows import Rows, joined
from primus_jax.recordings.table_format import TableFormat
from primus_jax.window import check_imu, resample, resampling, to_si

# A cubic spline forgets a row by a factor of 0.27 per row: after these nothing is left of it.
MEMORY = 32
# Deviation from the grid, in periods, below which rows are taken to lie on it.
ON_GRID = 0.01


@dataclasses.dataclass
class Report:
    """What was found in a recording while it was read."""

    rate_hz: float = 0.0
    rows: int = 0
    seconds: float = 0.0
    gaps: int = 0
    gap_seconds: float = 0.0
    missing: int = 0
    short: int = 0
    windows: int = 0

    def problems(self) -> str:
        """What is missing, in a sentence; "" if nothing is."""
        parts = []
        if self.gaps:
            parts.append(f"{self.gaps} gaps, together {self.gap_seconds:.4g} s, were skipped")
        if self.missing:
            parts.append(f"{self.missing} rows held missing values")
        if self.short:
            parts.append(f"{self.short} stretches between gaps were shorter than a window")
        return "; ".join(parts)


@dataclasses.dataclass(frozen=True)
class Block:
    """`[time, 6]` samples that follow the block before; `start` (seconds after the recording's
    first row) is set on the first block of a stretch without gaps, and None on the others."""

    start: float | None
    samples: np.ndarray


def recording_windows(
    recording: Any,
    layout: TableFormat,
    rate_hz: float,
    window: int,
    hop_seconds: float,
    report: Report,
    *,
    strict: bool = False,
    batch: int = 512,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (start seconds float64 `[n]`, windows float32 `[n, window, 6]`), n at most `batch`.

    Args:
        recording: see `chunks.read_chunks`.
        layout: its rate, units and columns.
        rate_hz: of the windows.
        window: samples of a window.
        hop_seconds: between the starts of neighbouring windows; a stretch after a gap begins anew.
        report: is filled in.
        strict: refuse what contradicts `layout` (units, gravity, a gyroscope that is not there),
            as `adapt` does; else warn of it.
        batch: of windows.

    Raises:
        PrimusError: anything wrong with the recording, or a hop that is not positive.
    """
    if not (np.isfinite(hop_seconds) and hop_seconds * rate_hz >= 1):
        raise PrimusError(
            f"hop_seconds is {hop_seconds!r}; expected at least one sample, {1 / rate_hz:g} s."
        )
    uniform = uniform_blocks(recording, layout, rate_hz, report, strict=strict)
    blocks = _resampled(uniform, rate_hz, report)
    for starts, windows in _cut(blocks, rate_hz, window, hop_seconds, report):
        for i in range(0, len(starts), batch):
            yield starts[i : i + batch], windows[i : i + batch]


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
    for part in _joined(rows):
        time, raw = part.time, part.raw
        if grid is None:
            where = name_of(recording)
            report.rate_hz = rate = _rate(time, layout, clock, where)
            check_rate(rate, target_hz)
            check_numbers(raw, part.gyro, rate, layout, where, strict=strict)
            grid = _Grid(rate, report)
        if time is None:
            time = (row + np.arange(len(raw))) / report.rate_hz
        row += len(raw)
        finite = np.isfinite(raw).all(1)
        report.rows += len(raw)
        report.missing += int((~finite).sum())
        si = to_si(raw[finite], layout.acc_unit, layout.gyro_unit)
        refuse_impossible(si, part.part(finite).name)
        yield from grid.push(time[finite], si)
    if grid is None:
        raise PrimusError("the recording holds no rows.")
    yield from grid.finish()


def name_of(recording: Any) -> str:
    """Name a recording for a person: its file, or "the recording"."""
    return str(recording) if isinstance(recording, str | os.PathLike) else "the recording"


def _joined(chunks: Iterable[Rows]) -> Iterator[Rows]:
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
            chunk, last = _in_order(chunk, last)
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


def _in_order(chunk: Rows, last: Rows | None) -> tuple[Rows, Rows]:
    """`chunk` without repetitions, its times checked against `last`, the row before; and its own
    last row."""
    both = chunk if last is None else joined([last, chunk])
    assert both.time is not None
    keep = check_order(both.time, both.raw, both.name)
    return chunk.part(keep[len(both.raw) - len(chunk.raw) :]), chunk.part(slice(-1, None))


def _rate(time: np.ndarray | None, layout: TableFormat, clock: Clock, where: str) -> float:
    if time is None:
        if layout.rate_hz is None:
            raise PrimusError(f"unknown rate: {where} holds no times; state the rate.")
        return layout.rate_hz
    if len(time) < 2:
        raise PrimusError(f"{where} has a single row; its rate cannot be measured.")
    clock.check(measured_rate(time), where)
    return sampling_rate(time, layout.rate_hz, where)


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
            grid = np.arange(self.next, int(np.floor(last + 1e-6)) + 1)
            samples = curve(grid.astype(np.float64), t, values, 1.0)
        if not len(samples):
            return
        start = self.origin if self.next == 0 else None
        self.next += len(samples)
        yield Block(start, check_imu(samples, "the recording"))


class Resampler:
    """`window.resample` of a signal that arrives in blocks: overlap and save.

    What `push` and `finish` return, one after another, is what `resample` returns for the whole.
    """

    def __init__(self, from_hz: float, to_hz: float) -> None:
        self.rates = from_hz, to_hz
        self.up, self.down, self.reach = resampling(from_hz, to_hz)
        self.held = np.empty((0, 6), np.float32)
        # held samples whose output was returned already
        self.done = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take `[time, 6]`; return the output that no later sample changes."""
        self.held = np.concatenate([self.held, samples])
        ready = (len(self.held) - self.reach) // self.down * self.down
        if ready <= self.done:
            return np.empty((0, 6), np.float32)
        output = self._output(ready * self.up // self.down)
        drop = max(ready - self.reach, 0) // self.down * self.down
        self.held, self.done = self.held[drop:], ready - drop
        return output

    def finish(self) -> np.ndarray:
        """The rest, its end continued as `resample` does."""
        return self._output(None) if len(self.held) else self.held

    def _output(self, stop: int | None) -> np.ndarray:
        return resample(self.held, *self.rates)[self.done * self.up // self.down : stop]


def _resampled(blocks: Iterable[Block], rate_hz: float, report: Report) -> Iterator[Block]:
    """Yield the blocks at `rate_hz`; every stretch without gaps is resampled by itself."""
    resampler: Resampler | None = None
    start: float | None = None
    for block in blocks:
        if block.start is not None or resampler is None:
            if resampler is not None:
                yield Block(start, resampler.finish())
            resampler, start = Resampler(report.rate_hz, rate_hz), block.start
        samples = resampler.push(block.samples)
        if len(samples):
            yield Block(start, samples)
            start = None
    if resampler is not None:
        yield Block(start, resampler.finish())


class _Hops:
    """Windows of one stretch without gaps; the k-th starts at the sample nearest to k hops.

    So the hop does not drift over a day. Samples are held from the next window's start on.

    Attributes:
        number: of windows that were returned.
    """

    def __init__(self, origin: float, rate_hz: float, window: int, hop_seconds: float) -> None:
        self._origin, self._rate, self._window = origin, rate_hz, window
        self._hop = hop_seconds * rate_hz
        self._held = np.empty((0, 6), np.float32)
        self._first = 0  # the place of the first held sample in the stretch
        self.number = 0

    def push(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take `[time, 6]`; return the windows now whole, `[n, window, 6]`, after their seconds."""
        self._held = np.concatenate([self._held, samples])
        starts = self._whole_starts()
        windows = np.empty((0, self._window, 6), np.float32)
        if len(starts):
            view = np.lib.stride_tricks.sliding_window_view(self._held, self._window, 0)
            windows = view[starts - self._first].swapaxes(1, 2)
        self.number += len(starts)
        self._forget()
        return self._origin + starts / self._rate, windows

    def _whole_starts(self) -> np.ndarray:
        """First samples, int64 `[n]`, of the next windows that end within what is held."""
        end = self._first + len(self._held)
        most = int((end - self._window) / self._hop) + 2
        numbers = np.arange(self.number, max(most, self.number))
        starts = np.rint(numbers * self._hop).astype(np.int64)
        return starts[starts + self._window <= end]

    def _forget(self) -> None:
        """Drop the samples before the start of the next window."""
        ahead = int(np.rint(self.number * self._hop)) - self._first
        drop = min(max(ahead, 0), len(self._held))
        self._held, self._first = self._held[drop:], self._first + drop


def _cut(
    blocks: Iterable[Block], rate_hz: float, window: int, hop_seconds: float, report: Report
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield start seconds `[n]` and windows `[n, window, 6]` on the hop, none across a gap."""
    hops: _Hops | None = None
    for block in blocks:
        if block.start is not None or hops is None:
            report.short += hops is not None and hops.number == 0
            hops = _Hops(block.start or 0.0, _true_rate(report, rate_hz), window, hop_seconds)
        starts, windows = hops.push(block.samples)
        report.windows += len(starts)
        if len(starts):
            yield starts, windows
    report.short += hops is not None and hops.number == 0


def _true_rate(report: Report, nominal: float) -> float:
    """The rate of the ratio that resampling takes: the difference would add up over a day."""
    up, down, _ = resampling(report.rate_hz, nominal)
    rate_hz = report.rate_hz * up / down
    return nominal if math.isclose(rate_hz, nominal) else rate_hz
