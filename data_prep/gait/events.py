"""A sensor on a foot -> the moments when the foot leaves the ground and meets it again.

The rate of turning in the sagittal plane rises to a broad maximum in mid-swing. The trough before
it is the push-off, and the first trough after it is the slap of the foot on the ground. These are
the rules of Salarian et al. (IEEE Trans. Biomed. Eng. 51(8), 2004) for a gyroscope on the shank;
Mariani et al. (Gait & Posture 37(2), 2013) compare such features of a gyroscope on the foot.
Deviations: the sagittal axis is found from the signal, so that the sensor may sit at any angle;
filters are Butterworth, forwards and backwards; an event is placed beside its trough, on the side
of the swing, where the rate passes 0.7 of the trough. Troughs alone make a swing 0.06 s too long.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import butter, filtfilt, find_peaks

from primus_jax.errors import PrimusError
from primus_jax.window import check_imu

LOWEST_RATE_HZ = 25.0
# Of both filters: one keeps the swing alone, one keeps the troughs beside it.
_SWING_HZ, _TROUGH_HZ = 3.5, 10.0
_ORDER = 2
# rad/s; feet that shift while a person stands turn more slowly.
LEAST_SWING = 1.5
# rad/s about each axis, and seconds; a foot on the ground turns more slowly for longer.
_STILL, _REST = 0.8, 0.1
# Of the usual swing; steps of a turn are slower than those of a straight walk.
_SHARE = 0.35
# Of a trough; chosen on seven trials with events that people checked (docs/regression.md).
_LEVEL = 0.7
# Seconds: between two swings of a foot, and from mid-swing to the troughs beside it.
_APART, _REACH = 0.55, 0.6


class FootEvents(NamedTuple):
    """Swings of one foot: float64 `[swings]`, seconds after the first sample, ascending.

    Every swing begins at its `toe_off` and ends at its `heel_strike`.
    """

    toe_off: np.ndarray
    heel_strike: np.ndarray


def foot_events(imu: np.ndarray, rate_hz: float) -> FootEvents:
    """Find the swings of a foot.

    Swings that the recording's ends cut are left out.

    Args:
        imu: `[time, 6]` of a sensor fixed to a foot or shoe, m/s^2 and rad/s.
        rate_hz: samples a second, `LOWEST_RATE_HZ` at least.

    Raises:
        PrimusError: not a finite signal of that shape, or a rate that is too low.
    """
    imu = check_imu(imu, "the foot's signal")
    if not rate_hz >= LOWEST_RATE_HZ:
        raise PrimusError(
            f"a foot's sensor at {rate_hz:g} Hz; expected {LOWEST_RATE_HZ:g} Hz at least, since "
            f"the foot meets the ground within hundredths of a second."
        )
    none = np.empty(0)
    if len(imu) < rate_hz:
        return FootEvents(none, none)
    turning = sagittal_rate(imu[:, 3:].astype(np.float64), rate_hz)
    swing = _smooth(turning, rate_hz, _SWING_HZ)
    usual = np.percentile(swing, 95)
    height = max(LEAST_SWING, _SHARE * usual)
    middle, _ = find_peaks(swing, height=height, distance=max(1, round(_APART * rate_hz)))
    fine = _smooth(turning, rate_hz, _TROUGH_HZ)
    reach = round(_REACH * rate_hz)
    found: list[tuple[float, float]] = []
    for peak in middle:
        off, strike = _push_off(fine, peak, reach), _landing(fine, peak, reach)
        if off is not None and strike is not None and (not found or off > found[-1][1]):
            found.append((off, strike))
    pairs = np.array(found, np.float64).reshape(-1, 2) / rate_hz
    return FootEvents(pairs[:, 0], pairs[:, 1])


def sagittal_rate(gyro: np.ndarray, rate_hz: float) -> np.ndarray:
    """The rate about the axis of most turning, float64 `[time]`; swings are positive.

    Between two moments on the ground the heel is lifted far, and the toes a little before landing.
    The angle since the foot stood still is therefore negative on average.

    Args:
        gyro: float64 `[time, 3]`, rad/s.
        rate_hz: samples a second.
    """
    centred = gyro - np.median(gyro, 0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    rate = centred @ axes[:, -1]
    # A rate that only passes through zero is not rest.
    around = maximum_filter1d(np.abs(centred).max(1), max(3, round(_REST * rate_hz)))
    still = around < _STILL
    angle, time = np.cumsum(rate) / rate_hz, np.arange(len(rate))
    if still.any():
        angle -= np.interp(time, time[still], angle[still])
    return rate if angle.mean() < 0 else -rate


def _smooth(x: np.ndarray, rate_hz: float, cut_hz: float) -> np.ndarray:
    b, a = butter(_ORDER, cut_hz, fs=rate_hz)
    return filtfilt(b, a, x)


def _push_off(rate: np.ndarray, peak: int, reach: int) -> float | None:
    """Where the rate leaves the deepest trough before a mid-swing; None where it is cut off."""
    first = max(0, peak - reach)
    lowest = first + int(np.argmin(rate[first : peak + 1]))
    if not 0 < lowest < peak or rate[lowest] >= 0:
        return None
    return lowest + _passed(rate[lowest : peak + 1])


def _landing(rate: np.ndarray, peak: int, reach: int) -> float | None:
    """Where the rate comes to the first trough below zero after a mid-swing, or None."""
    part = rate[peak : peak + reach + 1]
    inner = part[1:-1]
    troughs = np.flatnonzero((inner < part[:-2]) & (inner <= part[2:]) & (inner < 0))
    if not len(troughs):
        return None
    lowest = peak + 1 + int(troughs[0])
    return lowest - _passed(rate[peak : lowest + 1][::-1])


def _passed(rate: np.ndarray) -> float:
    """Samples from a trough, the first of `rate`, to where it is passed at `_LEVEL` of its depth.

    The last of `rate` is a maximum above zero.
    """
    level = _LEVEL * rate[0]
    after = int(np.argmax(rate > level))
    return after - float((rate[after] - level) / (rate[after] - rate[after - 1]))
