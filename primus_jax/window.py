"""Law 1: a window means one thing.

`imu` is float32 `[time, 6]`: accelerometer x, y, z in m/s^2 with gravity, then gyroscope x, y, z
in rad/s, in the sensor's own frame, at a stated rate.
"""

import functools
import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from primus_jax.errors import PrimusError

CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
GRAVITY = 9.80665
ACC_UNITS = {"m/s2": 1.0, "g": GRAVITY, "mg": GRAVITY / 1000}
GYRO_UNITS = {"rad/s": 1.0, "deg/s": math.pi / 180, "mdeg/s": math.pi / 180_000}
# Beyond these no body-worn sensor reads: +-32 g, and +-4000 deg/s in rad/s.
ACC_LIMIT = 32 * GRAVITY * math.sqrt(3)
GYRO_LIMIT = math.radians(4000) * math.sqrt(3)
# Resampling is by a ratio of integers up to RATIO; the nearest is never further off than CLOCK.
RATIO = 2000
CLOCK = 3e-4


def check_imu(imu: ArrayLike, where: str = "imu") -> np.ndarray:
    """Return `imu` as float32 `[..., time, 6]`, or say what is wrong with it.

    Raises:
        PrimusError: wrong number of channels, no samples, not numbers, NaN or infinity, or values
            that no body-worn sensor reads in m/s^2 and rad/s.
    """
    imu = np.asarray(imu)
    if imu.ndim < 2 or imu.shape[-1] != 6:
        raise PrimusError(
            f"{where}: shape {imu.shape}; expected [..., time, 6] "
            f"(accelerometer x, y, z, then gyroscope x, y, z)."
        )
    if imu.dtype.kind not in "fiu" or 0 in imu.shape:
        raise PrimusError(f"{where}: dtype {imu.dtype}, shape {imu.shape}; expected numbers.")
    with np.errstate(over="ignore"):
        imu = imu.astype(np.float32)
    if not np.isfinite(imu).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(imu))[0])
        raise PrimusError(
            f"{where}: {imu[place]} at index {place[:-1]}, channel {CHANNELS[place[-1]]}; "
            f"expected finite values. Drop or interpolate the samples first."
        )
    for name, part, limit, hint in (
        ("accelerometer", imu[..., :3], ACC_LIMIT, "m/s^2 with gravity"),
        ("gyroscope", imu[..., 3:], GYRO_LIMIT, "rad/s"),
    ):
        peak = float(np.linalg.norm(part.astype(np.float64), axis=-1).max())
        if peak > limit:
            raise PrimusError(
                f"{where}: {name} magnitude reaches {peak:.4g}, above {limit:.4g}, which no "
                f"body-worn sensor reads in {hint}. Check the unit."
            )
    return imu


def to_si(imu: ArrayLike, acc_unit: str, gyro_unit: str) -> np.ndarray:
    """Convert `[..., 6]` from units of `ACC_UNITS` and `GYRO_UNITS` to SI.

    Raises:
        PrimusError: an unknown unit, or not numbers `[..., 6]`.
    """
    imu = np.asarray(imu)
    if imu.ndim < 1 or imu.shape[-1] != 6 or imu.dtype.kind not in "fiu":
        raise PrimusError(f"dtype {imu.dtype}, shape {imu.shape}; expected numbers [..., time, 6].")
    if acc_unit not in ACC_UNITS:
        raise PrimusError(f"accelerometer unit {acc_unit!r}; expected one of {list(ACC_UNITS)}.")
    if gyro_unit not in GYRO_UNITS:
        raise PrimusError(f"gyroscope unit {gyro_unit!r}; expected one of {list(GYRO_UNITS)}.")
    scale = np.repeat([ACC_UNITS[acc_unit], GYRO_UNITS[gyro_unit]], 3)
    # what overflows is infinite, which `check_imu` refuses by its place
    with np.errstate(over="ignore"):
        return imu.astype(np.float64) * scale


def resample(imu: ArrayLike, from_hz: float, to_hz: float) -> np.ndarray:
    """Resample `[..., time, channels]` from `from_hz` to `to_hz`, anti-aliased and phase-correct.

    A zero-phase Kaiser low-pass (80 dB) cuts between 0.9 and 1.0 of the lower Nyquist rate; the
    first sample keeps its time, and edges are continued by the mirror image about the end sample,
    so gravity does not ring. A sample stands for one period, so the duration is kept: 125 samples
    at 25 Hz become 250 at 50 Hz, the last of them less than a period past the end. Rates whose
    quotient is no ratio of integers up to 2,000 are taken as the nearest one: time runs off by at
    most 0.03 %, 1 ms in 3 s, as if the clock of the recording did.
    Returns float32 `[..., ceil(time * to / from), channels]`.

    Raises:
        PrimusError: no samples, or rates that `resampling` refuses.
    """
    up, down, reach = resampling(from_hz, to_hz)
    imu = np.asarray(imu)
    if imu.ndim < 2 or not imu.shape[-2]:
        raise PrimusError(f"shape {imu.shape}; expected [..., time, channels] with samples.")
    if not reach:
        return imu.astype(np.float32)
    low_pass, _ = _low_pass(max(up, down))
    time = imu.shape[-2]
    length = -(-time * up // down)
    x = np.moveaxis(imu.astype(np.float64), -2, -1)
    padding = [(0, 0)] * (x.ndim - 1) + [(reach, reach)]
    x = np.pad(x, padding, mode="reflect", reflect_type="odd")
    # Importing it takes seconds, and most recordings have the encoder's rate.
    from scipy.signal import resample_poly

    y = resample_poly(x, up, down, axis=-1, window=low_pass)
    start = reach * up // down
    return np.moveaxis(y[..., start : start + length], -1, -2).astype(np.float32)


def resampling(from_hz: float, to_hz: float) -> tuple[int, int, int]:
    """How `resample` works: (up, down, reach), where `to_hz / from_hz` is about `up / down`.

    `up / down` is the nearest ratio of integers up to 2,000, within 0.03 % of the quotient. A
    sample that `resample` returns depends on no input sample further away than `reach`, a multiple
    of `down`; 0 for equal rates, which it leaves alone.

    Raises:
        PrimusError: a rate that is not a positive finite number, or rates more than 2,000 times
            apart.
    """
    from_hz, to_hz = as_rate(from_hz), as_rate(to_hz)
    if math.isclose(from_hz, to_hz, rel_tol=1e-9):
        return 1, 1, 0
    quotient = min(from_hz, to_hz) / max(from_hz, to_hz)
    ratio = Fraction(quotient).limit_denominator(RATIO)
    if abs(float(ratio) - quotient) > CLOCK * quotient:
        raise PrimusError(
            f"cannot resample from {from_hz:g} Hz to {to_hz:g} Hz: more than {RATIO:,} times apart."
        )
    up, down = ratio.numerator, ratio.denominator
    if to_hz > from_hz:
        up, down = down, up
    _, half = _low_pass(max(up, down))
    return up, down, math.ceil(half / up / down) * down


def same_rate(a_hz: float, b_hz: float) -> bool:
    """Whether two sampling rates are one: equal to a millionth, as float32 and text round them."""
    return math.isclose(a_hz, b_hz, rel_tol=1e-6)


def as_rate(value: Any) -> float:
    """A number of samples a second as a float.

    Raises:
        PrimusError: not one positive finite number.
    """
    try:
        number = not isinstance(value, str | bytes) and not np.iscomplexobj(value)
        rate = float(value) if number and np.ndim(value) == 0 else math.nan
    except (TypeError, ValueError, OverflowError):
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise PrimusError(f"rate {value!r} Hz; expected a positive number of samples a second.")
    return rate


@functools.lru_cache(maxsize=16)
def _low_pass(factor: int) -> tuple[np.ndarray, int]:
    """Taps of the filter that keeps 1 / factor of the band, and how many lie on either side."""
    from scipy.signal import firwin, kaiserord

    taps, beta = kaiserord(80.0, 0.1 / factor)
    half = math.ceil(taps / 2 / factor) * factor
    return firwin(2 * half + 1, 0.95 / factor, window=("kaiser", beta)), half
