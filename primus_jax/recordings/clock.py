"""Stamps of rows -> seconds, their order, and the sampling rate that they state."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.plausible import RATE

TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "days": 86400.0}
# Up to this many sample periods are bridged; a longer pause cuts the recording.
MAX_GAP = 5
RATE_TOLERANCE = 0.05
# A block whose rows come this much faster than the first ones is another rate.
FASTER = 1.2
# Of the rows, so many may have the time of another row.
FEW = 0.01
# The first so many rows decide the rate, in a file that is read whole and in one read in pieces.
RATE_ROWS = 16384


# Counters of loggers, in any unit.
COUNTER_BITS = (16, 24, 32)
# The years 1990 to 2090 in units of 100 ns since the years 1 and 1601.
_TICKS = ((6.27e17, 6.6e17), (1.22e17, 1.55e17))


class Clock:
    """Stamps of a recording, in pieces -> float64 seconds after the first stamp.

    Differences are taken before anything is rounded: float64 holds a Unix time in nanoseconds only
    to 256 ns, and a step of it to the last digit.

    Attributes:
        unit: of the stamps, a key of `TIME_UNITS`.
        first: the first stamp, in that unit; None before there was one.
        own: whether the column itself states the unit (timestamps, durations).
        wraps: how often a counter of 16, 24 or 32 bits began anew, which is undone.
        evened: rows whose times of arrival were evened out.
        joined: rows in which two sensors with stamps of their own were joined.
        averaged: rows of one sensor that were averaged with another of the same time.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.first: Any = None
        self.own = False
        self.wraps = self.evened = self.joined = self.averaged = 0
        self._last = math.nan
        self._added = 0.0
        self._usual = math.nan

    def seconds(self, stamps: np.ndarray, own_unit: str | None = None) -> np.ndarray:
        """Return seconds `[rows]`, NaN where a stamp is missing.

        Args:
            stamps: float64 with NaN, integers, or object with `int`, `Decimal` and None, `[rows]`.
            own_unit: that the column states, in place of `unit`.
        """
        if own_unit:
            self.unit, self.own = own_unit, True
        if self.first is None:
            self.first = _first(stamps)
        if self.first is None:
            return np.full(len(stamps), np.nan)
        return self._unwrapped(_since(stamps, self.first)) * TIME_UNITS[self.unit]

    def _unwrapped(self, ticks: np.ndarray) -> np.ndarray:
        """Stamps of a counter that began anew go on, where the step is then the usual one."""
        before = ticks if math.isnan(self._last) else np.append(self._last, ticks)
        step = np.diff(before)
        back = step < 0
        self._last = float(ticks[-1]) if len(ticks) else self._last
        result = ticks + self._added
        if (step > 0).any():
            self._usual = float(np.median(step[step > 0]))
        usual = self._usual
        if not back.any():
            return result
        for bits in COUNTER_BITS:
            size = 2.0**bits
            if (
                float(self.first) + np.nanmax(ticks) < size
                and (np.abs(step[back] + size - usual) < MAX_GAP * usual).all()
            ):
                added = size * np.cumsum(back)
                self.wraps += int(back.sum())
                self._added += added[-1]
                # without a stamp before, the first one has no step
                return result + (added if len(added) == len(ticks) else np.append(0.0, added))
        return result

    def rate(self, time: np.ndarray, stated: float | None, where: str) -> float:
        """Return `sampling_rate` of a recording's first rows, once the unit is possible.

        Raises:
            PrimusError: see `check` and `sampling_rate`.
        """
        self.check(measured_rate(time), where)
        return sampling_rate(time, stated, where)

    def check(self, rate_hz: float, where: str) -> None:
        """Refuse a unit that the rate contradicts.

        Raises:
            PrimusError: a rate, by these stamps, that no body-worn sensor has; the message names
                the unit that fits.
        """
        first = float(self.first)
        if not self.own and any(low < first < high for low, high in _TICKS):
            raise PrimusError(
                f"{where}: times of {first:.4g} look like ticks of Windows or .NET, 100 ns each. "
                f"Convert them to seconds, or leave them out (--no-time) and give --rate."
            )
        if possible_rate(rate_hz):
            return
        second = rate_hz * TIME_UNITS[self.unit]
        fitting = [u for u, scale in TIME_UNITS.items() if possible_rate(second / scale)]
        says = (
            f"{where}: times in {self.unit} say {rate_hz:.4g} samples a second; expected "
            f"{RATE[0]:g} to {RATE[1]:,.0f}."
        )
        if self.own:
            raise PrimusError(f"{says} The column itself states that unit: check the recording.")
        if self._usual == 1.0:
            raise PrimusError(
                f"{says} The steps are 1: the column counts rows. Leave it out (--no-time) "
                f"and give --rate."
            )
        if fitting:
            unit = fitting[0]
            raise PrimusError(
                f"{says} In {unit} they say {second / TIME_UNITS[unit]:.4g}: pass --time-unit "
                f"{unit}."
            )
        raise PrimusError(
            f"{says} --time-unit is one of {', '.join(TIME_UNITS)}, and none of them fits. "
            f"Convert the times, or leave them out (--no-time) and give --rate."
        )


def possible_rate(rate_hz: float) -> bool:
    """Whether a body-worn sensor samples at that rate, by a clock that may be wrong by 5 %."""
    return RATE[0] / (1 + RATE_TOLERANCE) <= rate_hz <= RATE[1] * (1 + RATE_TOLERANCE)


def check_stated(rate_hz: float, where: str) -> None:
    """Refuse a stated rate that no body-worn sensor has.

    Raises:
        PrimusError: a rate outside `plausible.RATE`.
    """
    if not possible_rate(rate_hz):
        raise PrimusError(
            f"{where}: rate {rate_hz:g} Hz; expected {RATE[0]:g} to {RATE[1]:,.0f} Hz: below, too "
            f"little of human movement is left; above, the unit of the times is another."
        )


def in_order(
    time: np.ndarray, signal: np.ndarray, row: Callable[[int], str]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Check the order of rows, and make one row of those with one time.

    Exact repetitions are left out. A few rows with the time of the row above and other values are
    averaged with it; many mean that the clock is too coarse.

    Args:
        time: float64 `[rows]`, seconds.
        signal: float64 `[rows, channels]`.
        row: names a row for a person.

    Returns:
        the rows to keep (bool `[rows]`), `signal` with the averages in those rows, and how many
        rows were averaged into another.

    Raises:
        PrimusError: a missing time, a time before the one above it, or the same time with other
            values in more than `FEW` of the rows.
    """
    if not np.isfinite(time).all():
        bad = int(np.argmin(np.isfinite(time)))
        raise PrimusError(f"{row(bad)}: the time is missing or infinite; expected a number.")
    step = np.diff(time, prepend=-np.inf)
    if (step < 0).any():
        bad = int(np.argmax(step < 0))
        hint = "Sort the rows, or separate the recordings (--recording-column)."
        if abs(step[bad] + 3600) < 60:
            hint = "If a clock was set back, give --time-zone NAME for written times."
        raise PrimusError(
            f"{row(bad)}: its time lies {-step[bad]:.6g} s before that of the row above; expected "
            f"increasing times. {hint}"
        )
    keep = step > 0
    same = np.concatenate([[False], ((signal[1:] == signal[:-1]) | np.isnan(signal[1:])).all(1)])
    clash = ~keep & ~same
    if not clash.any():
        return keep, signal, 0
    if clash.sum() > FEW * len(time):
        bad = int(np.argmax(clash))
        raise PrimusError(
            f"{row(bad)}: its time is that of the row above, with different values, as in "
            f"{int(clash.sum()):,} rows; expected one row a time. If the clock is too coarse, "
            f"leave the time column out (--no-time) and give --rate."
        )
    firsts = np.flatnonzero(keep)
    counts = np.diff(np.append(firsts, len(time)))
    averaged = signal.copy()
    averaged[firsts] = np.add.reduceat(signal, firsts) / counts[:, None]
    return keep, averaged, int(clash.sum())


def check_steady(time: np.ndarray, rate_hz: float, row: Callable[[int], str]) -> None:
    """Refuse later rows of a recording that are closer than those at its start.

    They would be interpolated onto the slower grid, and alias.

    Args:
        time: float64 `[rows]`, increasing seconds.
        rate_hz: of the recording's first `RATE_ROWS` rows.
        row: names a row for a person.

    Raises:
        PrimusError: the times of a block of `RATE_ROWS` say another rate.
    """
    for first in range(0, len(time) - 2, RATE_ROWS):
        rate = measured_rate(time[first : first + RATE_ROWS])
        if rate > FASTER * rate_hz:
            raise PrimusError(
                f"{row(first)}: from about here the times say {rate:.4g} samples a second, before "
                f"{rate_hz:.4g}. Cut the recording into files of one rate."
            )


def sampling_rate(time: np.ndarray, stated: float | None, where: str) -> float:
    """Return the rate of increasing times in seconds, leaving pauses out.

    Without a stated rate the measured one is rounded to a whole number of Hz if that is within
    1 %, else to three digits; samples are interpolated onto that grid by their times, so that no
    time error follows.

    Raises:
        PrimusError: the stated rate is more than 5 % from the measured one.
    """
    measured = measured_rate(time)
    if stated is None:
        whole = round(measured)
        return float(whole if whole and abs(whole / measured - 1) < 0.01 else f"{measured:.3g}")
    if abs(measured / stated - 1) > RATE_TOLERANCE:
        raise PrimusError(
            f"{where}: the times say {measured:.4g} samples a second, --rate says {stated:.4g}. "
            f"Check --time-unit and --rate, or leave --rate out (a classifier that was adapted on "
            f"files without times remembers the rate)."
        )
    return stated


def measured_rate(time: np.ndarray) -> float:
    """Return samples a second by increasing times in seconds `[rows]`, pauses left out."""
    step = np.diff(time)
    return 1 / float(step[step <= MAX_GAP * np.median(step)].mean())


def _first(stamps: np.ndarray) -> Any:
    """The first stamp that is there, as a Python number, or None."""
    if stamps.dtype.kind == "O":
        return next((stamp for stamp in stamps if stamp is not None), None)
    known = stamps[np.isfinite(stamps)]
    return known[0].item() if len(known) else None


def _since(stamps: np.ndarray, first: Any) -> np.ndarray:
    """`stamps - first` as float64, rounded only afterwards."""
    if stamps.dtype.kind == "f":
        return stamps - float(first)
    if stamps.dtype.kind in "iu" and isinstance(first, int):
        low, high = int(stamps.min()), int(stamps.max())
        limit = 1 << 62
        if -limit < low and high < limit and -limit < first < limit:
            return (stamps.astype(np.int64) - first).astype(np.float64)
    if isinstance(first, float):
        return np.array([np.nan if s is None else float(s) - first for s in stamps.tolist()])
    return np.array([np.nan if s is None else float(s - first) for s in stamps.tolist()])
