"""The 5 seconds that belong to a narration, and the check that they can be trusted."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from data_prep.ego4d.signals import Signal
from data_prep.quality import reason_of
from primus_jax.recordings.windows import OUTSIDE, TOO_SHORT

CENTRED, PAPER, EXACT = "centred", "paper", "exact"
LISTED = "a listed bad window"
NOT_EXACT = "windows that are not whole after flooring (paper's rule)"
NOT_COVERED = "windows that the inertial recording does not cover"
# Rounding of decimal times (s).
_CLOSE = 1e-6


def touching(reason: str) -> str:
    """The reason under which `drops` counts a window that touches a bad span."""
    return f"windows touching {reason}"


@dataclasses.dataclass(frozen=True)
class Placing:
    """The length of the windows, and the rule that places them.

    `CENTRED` puts a window around its narration, moved inside the recording at its ends. `EXACT`
    puts the window around the time, and drops it where the recording does not cover it. `PAPER`
    does as IMU2CLIP does (dataset/ego4d/dataloader.py, w = `seconds`). It takes [0, w] for times up
    to w, and the last w for times later than w before the end. It floors both ends to whole
    seconds, and drops windows that are no longer exactly w.

    Attributes:
        seconds: length of a window.
        rule: `CENTRED`, `PAPER` or `EXACT`.
    """

    seconds: float
    rule: str = CENTRED

    def place(
        self,
        narrations: Sequence[tuple[float, str]],
        signal: Signal,
        video_seconds: float,
        bad: Sequence[tuple[float, float, str]],
        listed: Sequence[tuple[float, float]],
        drops: Counter[str],
    ) -> tuple[tuple[float, str], ...]:
        """Narrations with usable windows, timed at the window's centre, after the first sample.

        Args:
            narrations: (seconds of the video, sentence).
            signal: of the video.
            video_seconds: length of the video.
            bad: (from, to, reason) in seconds after the first sample.
            listed: published bad windows, in seconds of the video. `CENTRED` drops every window
                that touches one, the other rules only the very window.
            drops: counts windows left out by reason.
        """
        if signal.seconds < self.seconds - _CLOSE:
            drops[TOO_SHORT] += 1
            return ()
        exact = frozenset() if self.rule == CENTRED else frozenset(listed)
        spans = [*bad]
        if self.rule == CENTRED:
            spans += [(a - signal.start, b - signal.start, LISTED) for a, b in listed]
        placed = []
        for seconds, text in narrations:
            begin = self._begin(seconds, signal, video_seconds, drops)
            if begin is None:
                continue
            first = round(begin + signal.start, 6)
            window = (first, first + self.seconds)
            reason = LISTED if window in exact else reason_of(begin, begin + self.seconds, spans)
            if reason:
                drops[touching(reason)] += 1
            else:
                placed.append((begin + self.seconds / 2, text))
        return tuple(placed)

    def _begin(
        self, seconds: float, signal: Signal, video_seconds: float, drops: Counter[str]
    ) -> float | None:
        """Start of the window in seconds after the first sample, or None, counted."""
        length = self.seconds
        last = signal.seconds - length
        if self.rule == CENTRED:
            if not 0 <= seconds - signal.start < signal.seconds:
                drops[OUTSIDE] += 1
                return None
            return min(max(seconds - signal.start - length / 2, 0.0), max(last, 0.0))
        if self.rule == EXACT:
            return _covered(seconds - length / 2, length, signal, drops)
        if seconds <= length:
            begin, end = 0.0, length
        elif seconds + length >= video_seconds:
            begin, end = video_seconds - length, video_seconds
        else:
            begin, end = seconds - length / 2, seconds + length / 2
        begin, end = math.floor(begin), math.floor(end)
        if end - begin != length:
            drops[NOT_EXACT] += 1
            return None
        return _covered(begin, length, signal, drops)


def _covered(begin: float, length: float, signal: Signal, drops: Counter[str]) -> float | None:
    inside = begin - signal.start
    half_sample = 0.5 / signal.rate_hz
    if inside < -half_sample or inside + length > signal.seconds + half_sample:
        drops[NOT_COVERED] += 1
        return None
    return inside
