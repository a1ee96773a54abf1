"""Samples on a take's clock -> recordings: gap-free pieces, cut by the take's annotations."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from data_prep.egoexo4d.takes import Take
from data_prep.quality import bad_spans, reason_of, without_impossible
from primus_jax.recordings.grid import Piece, uniform_pieces
from primus_jax.recordings.recording import Recording, Video
from primus_jax.recordings.windows import OUTSIDE, TOO_SHORT

LISTED = "a listed bad window"
FILLED = "missing samples"

Span = tuple[float, float, str]


@dataclasses.dataclass(frozen=True)
class Segment:
    """A part of a take, in seconds of the take, with its label, text and narrations."""

    start: float
    end: float
    label: str = ""
    text: str = ""
    narrations: tuple[tuple[float, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Cutter:
    """Cut takes into recordings.

    Attributes:
        rate_hz: of the grid of the recordings, the sensor's nominal rate.
        placement: of the sensor.
        window_seconds: of the windows that will be cut; those that are not sound are counted by
            reason.
    """

    rate_hz: float
    placement: str
    window_seconds: float

    def recordings(
        self,
        take: Take,
        segments: Sequence[Segment],
        time: np.ndarray,
        signal: np.ndarray,
        listed: Sequence[tuple[float, float]],
        drops: Counter[str],
    ) -> list[Recording]:
        """One recording for every gap-free piece of every segment with usable annotations.

        Args:
            take: gives ids, subject and video.
            segments: of the take.
            time: float64 `[n]`, increasing, seconds of the take; samples outside are left out.
            signal: float64 `[n, 6]`, m/s^2 and rad/s, NaN where it is missing.
            listed: published bad windows, seconds of the take.
            drops: counts windows and samples left out, by reason.
        """
        inside = (time >= 0) & (time <= take.seconds)
        time, signal = time[inside], without_impossible(signal[inside], drops)
        if len(time) < 2:
            drops[TOO_SHORT] += 1
            return []
        bad = [(a, b, LISTED) for a, b in listed] + _suspect(time, signal, self.rate_hz)
        video = next((path for path in take.videos if path.is_file()), None)
        found: list[Recording] = []
        heard = 0
        for segment, start, part, spans in self._parts(time, signal, segments, bad, drops):
            near = [(at - start, text) for at, text in segment.narrations]
            near = [(at, text) for at, text in near if 0 <= at < len(part) / self.rate_hz]
            heard += len(near)
            told = tuple(self._sound(near, len(part) / self.rate_hz, spans, drops))
            if segment.narrations and not told:
                continue
            found.append(
                Recording(
                    id=f"{take.uid}#{len(found) + 1}",
                    signal=part,
                    rate_hz=self.rate_hz,
                    subject=take.subject,
                    group=take.group,
                    placement=self.placement,
                    label=segment.label,
                    text=segment.text,
                    narrations=told,
                    start_seconds=start,
                    bad_spans=tuple((a, b) for a, b, _ in spans),
                    video=None if video is None else Video(video, start_seconds=start),
                )
            )
        drops[OUTSIDE] += sum(len(segment.narrations) for segment in segments) - heard
        return found

    def _parts(
        self,
        time: np.ndarray,
        signal: np.ndarray,
        segments: Sequence[Segment],
        bad: Sequence[Span],
        drops: Counter[str],
    ) -> Iterator[tuple[Segment, float, np.ndarray, list[Span]]]:
        """Segment, start in the take, signal, and spans after the start, of every part."""
        rate = self.rate_hz
        for piece in uniform_pieces(time, signal, rate, drops):
            begin = float(time[0]) + piece.start_seconds
            for segment in segments:
                first = max(0, int(np.ceil((segment.start - begin) * rate - 1e-6)))
                last = min(len(piece.signal), int(np.floor((segment.end - begin) * rate)) + 1)
                if last - first < 2:
                    continue
                start = begin + first / rate
                spans = _after(start, (last - first) / rate, piece, begin, bad)
                yield segment, start, piece.signal[first:last], spans

    def _sound(
        self,
        narrations: Sequence[tuple[float, str]],
        seconds: float,
        spans: Sequence[Span],
        drops: Counter[str],
    ) -> Iterator[tuple[float, str]]:
        """Narrations whose windows touch no bad span."""
        length = self.window_seconds
        for at, text in narrations:
            begin = max(0.0, min(at - length / 2, seconds - length))
            if reason := reason_of(begin, begin + length, spans):
                drops[f"windows touching {reason}"] += 1
            else:
                yield at, text


def _suspect(time: np.ndarray, signal: np.ndarray, rate_hz: float) -> list[Span]:
    """`quality.bad_spans` of the samples as they came, in seconds of the take."""
    finite = np.isfinite(signal).all(1)
    if not finite.any():
        return []
    index = np.arange(len(time))
    filled = np.stack([np.interp(index, index[finite], c) for c in signal[finite].T], 1)
    spans = bad_spans(filled, rate_hz)
    edges = np.array([(a, b) for a, b, _ in spans]).reshape(-1, 2) * rate_hz
    edges = np.interp(edges, index, time)
    return [(float(a), float(b), why) for (a, b), (_, _, why) in zip(edges, spans, strict=True)]


def _after(
    start: float, seconds: float, piece: Piece, begin: float, bad: Sequence[Span]
) -> list[Span]:
    """Spans that touch [start, start + seconds) of the take, counted from `start`."""
    spans = [*bad, *((begin + a, begin + b, FILLED) for a, b in piece.bad_spans)]
    moved = ((a - start, b - start, why) for a, b, why in spans)
    return sorted(span for span in moved if span[1] > 0 and span[0] < seconds)
