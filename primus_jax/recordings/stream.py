"""Windows of a recording of any length, in constant memory.

Rows -> a uniform grid, cut at gaps -> resampled by overlap and save -> windows on a hop. What comes
out does not depend on how the rows were cut into chunks.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.report import Report
from primus_jax.recordings.resampler import resampled
from primus_jax.recordings.table_format import TableFormat
from primus_jax.recordings.uniform import Block, uniform_blocks
from primus_jax.window import resampling


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
            as `adapt` does, and leave out windows that touch a missing value; else warn of the
            one, and bridge the other.
        batch: of windows.

    Raises:
        PrimusError: anything wrong with the recording, or a hop that is not positive.
    """
    number = isinstance(hop_seconds, int | float | np.number)
    if not (number and np.isfinite(hop_seconds) and hop_seconds * rate_hz >= 1):
        raise PrimusError(
            f"hop_seconds is {hop_seconds!r}; expected at least one sample, {1 / rate_hz:g} s."
        )
    uniform = uniform_blocks(recording, layout, rate_hz, report, strict=strict)
    blocks = resampled(uniform, rate_hz, report)
    for starts, windows in _cut(blocks, rate_hz, window, hop_seconds, report):
        if strict:
            whole = _whole(starts, window / rate_hz, report)
            starts, windows = starts[whole], windows[whole]
        for i in range(0, len(starts), batch):
            yield starts[i : i + batch], windows[i : i + batch]


def cut_out(
    recording: Any,
    layout: TableFormat,
    rate_hz: float,
    starts: Sequence[float],
    samples: int,
    report: Report,
    *,
    strict: bool = False,
) -> list[np.ndarray | None]:
    """Return the parts of a recording that begin at given times, each float32 `[samples, 6]`.

    Args:
        recording, layout, rate_hz, report, strict: as of `recording_windows`.
        starts: seconds after the first row, in any order; the nearest sample is the first.
        samples: of every part.

    Returns:
        None for a part that reaches into a gap or beyond the recording.
    """
    parts = [np.zeros((samples, 6), np.float32) for _ in starts]
    filled = [0] * len(starts)
    origin, place = 0.0, 0
    uniform = uniform_blocks(recording, layout, rate_hz, report, strict=strict)
    for block in resampled(uniform, rate_hz, report):
        if block.start is not None:
            origin, place = block.start, 0
            filled = [count if count == samples else 0 for count in filled]
        rate = _true_rate(report, rate_hz)
        for k, start in enumerate(starts):
            first = round((start - origin) * rate)
            begin = max(first + filled[k], place)
            end = min(first + samples, place + len(block.samples))
            if first >= 0 and begin == first + filled[k] and begin < end:
                parts[k][begin - first : end - first] = block.samples[begin - place : end - place]
                filled[k] = end - first
        place += len(block.samples)
    return [part if count == samples else None for part, count in zip(parts, filled, strict=True)]


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


def _whole(starts: np.ndarray, seconds: float, report: Report) -> np.ndarray:
    """Windows (bool `[n]`) that touch no missing value; the others are counted.

    Starts rise, so runs of missing values that ended before the first of them are forgotten.
    """
    if len(starts):
        report.bad_spans[:] = [span for span in report.bad_spans if span[1] > starts[0]]
    whole = np.ones(len(starts), bool)
    for begin, end in report.bad_spans:
        whole &= (starts >= end) | (starts + seconds <= begin)
    report.touched += int((~whole).sum())
    report.windows -= int((~whole).sum())
    return whole


def _true_rate(report: Report, nominal: float) -> float:
    """The rate of the ratio that resampling takes: the difference would add up over a day."""
    up, down, _ = resampling(report.rate_hz, nominal)
    rate_hz = report.rate_hz * up / down
    return nominal if math.isclose(rate_hz, nominal) else rate_hz
