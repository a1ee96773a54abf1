"""What a sensor worn by a person can read: every limit of the project, in SI units.

At least half of a recording is not in free fall or a crash, so the median of |acc| lies near 1 g.
Half of the time nobody turns faster than 20 rad/s, and hardly anybody ever beyond the range of
common gyroscopes. `window.ACC_LIMIT` and `window.GYRO_LIMIT` are what no sensor reads at all.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from primus_jax.window import ACC_LIMIT, GRAVITY, GYRO_LIMIT

# Of the median of |acc| over a recording, m/s^2.
MEDIAN_ACC = (0.3 * GRAVITY, 3 * GRAVITY)
# Of the median of |gyro| over a recording, and of its 99th percentile, rad/s.
MEDIAN_GYRO = 20.0
HIGH_GYRO = math.radians(2000)
# Of the mean of |acc| over five seconds: |mean of acc in the world's frame| is g minus (change of
# velocity) / 5 s, so that mean |acc| is at least about 0.9 g; a sprint stays below 2.5 g.
MEAN_SECONDS = 5.0
MEAN_ACC = (0.7 * GRAVITY, 2.5 * GRAVITY)
MEAN_GYRO = 20.0
# Samples a second of a recording.
RATE = (10.0, 5000.0)
# Of the mean vector of acc over stretches of two seconds, which gravity alone keeps long. The
# median over the stretches of a real recording of 6 s or more was never below 0.56 g (a watch in
# sport), of a virtual one rarely (1 in 100 clips below 0.43 g); without gravity it is 0.1 g.
STRETCH_SECONDS = 2.0
LEAST_STRETCHES = 2
# A recording of so many stretches is judged by itself, shorter ones with the others of their file.
ALONE = 3
MEAN_VECTOR = 0.35 * GRAVITY
MEAN_VECTOR_SHARE = 0.3
# At rest acc varies by less, root mean square in m/s^2. Of 83,754 stretches that vary by less than
# CALM, real and virtual, the mean vector was 0.81 to 1.18 g long.
REST = 0.3
CALM = 1.0
MEAN_OF_CALM = (0.75 * GRAVITY, 1.25 * GRAVITY)
# Of the median of |acc| over one short recording among others, which may be a single jump.
SHORT_MEDIAN_ACC = (0.3 * GRAVITY, 9 * GRAVITY)
# Just below the smallest range on the market, +-2 g and +-250 deg/s.
ACC_RANGE = 1.9 * GRAVITY
GYRO_RANGE = math.radians(240)

NOT_GRAVITY = "recordings whose median acceleration is not 0.3 to 3 g"


@dataclasses.dataclass(frozen=True)
class Magnitudes:
    """Median of |acc| in m/s^2, median and 99th percentile of |gyro| in rad/s; NaN without rows."""

    acc: float
    gyro: float
    gyro_high: float

    @property
    def gravity(self) -> bool:
        """Whether the accelerometer can hold gravity, in these units."""
        return is_gravity(self.acc)

    @property
    def turns(self) -> bool:
        """Whether a person can turn like that."""
        return self.gyro <= MEDIAN_GYRO and self.gyro_high <= HIGH_GYRO


def magnitudes(si: np.ndarray) -> Magnitudes:
    """Return the magnitudes of `[..., 6]` in m/s^2 and rad/s; rows that are not finite count not.

    A sensor is judged by the rows that are whole for it.
    """
    rows = np.asarray(si, np.float64).reshape(-1, 6)
    with np.errstate(over="ignore", invalid="ignore"):
        acc, gyro = (np.linalg.norm(part, axis=1) for part in (rows[:, :3], rows[:, 3:]))
    acc, gyro = acc[~np.isnan(acc)], gyro[~np.isnan(gyro)]
    middle, high = np.percentile(gyro, [50, 99]) if len(gyro) else (np.nan, np.nan)
    return Magnitudes(float(np.median(acc)) if len(acc) else math.nan, float(middle), float(high))


@dataclasses.dataclass(frozen=True)
class Stretches:
    """Two-second stretches of an accelerometer: `mean` float64 `[n, 3]`, m/s^2, and `spread`
    float64 `[n]`, how far the vector is from its mean, root mean square."""

    mean: np.ndarray
    spread: np.ndarray

    @property
    def middle(self) -> float:
        """The median length of the mean vectors; NaN without stretches."""
        if not len(self.mean):
            return math.nan
        with np.errstate(over="ignore"):
            return float(np.median(np.linalg.norm(self.mean, axis=1)))

    @property
    def calm(self) -> float:
        """The median length of the mean vectors of calm stretches; NaN where there are few."""
        calm = np.linalg.norm(self.mean[self.spread < CALM], axis=1)
        return float(np.median(calm)) if len(calm) >= LEAST_STRETCHES else math.nan

    def no_gravity(self, median_acc: float) -> bool:
        """Whether gravity was removed, beside the median of |acc| of the same rows."""
        low = max(MEAN_VECTOR, MEAN_VECTOR_SHARE * median_acc)
        return len(self.mean) >= LEAST_STRETCHES and self.middle < low

    def opposite(self) -> str:
        """The axis, "y" or "z", along which a sensor at rest reads -1 g; "" where none does.

        A phone upright or flat reads +1 g there. Every stretch has to be at rest, in one position.
        """
        if len(self.mean) < LEAST_STRETCHES or (self.spread > REST).any():
            return ""
        down = self.mean < -0.9 * GRAVITY
        return next((axis for axis, k in (("y", 1), ("z", 2)) if down[:, k].all()), "")


def stretches(acc: np.ndarray, rate_hz: float) -> Stretches:
    """Cut `[..., time, 3]`, m/s^2, into stretches of `STRETCH_SECONDS`; a shorter rest is left out.

    Missing rows (NaN) are passed over; a stretch needs half of its rows.
    """
    samples = max(1, round(STRETCH_SECONDS * rate_hz))
    count = acc.shape[-2] // samples
    parts = acc[..., : count * samples, :].reshape(-1, samples, 3).astype(np.float64)
    known = np.isfinite(parts).all(2)
    parts = parts[known.mean(1) >= 0.5]
    if not len(parts):
        return Stretches(np.empty((0, 3)), np.empty(0))
    parts = np.where(np.isfinite(parts).all(2, keepdims=True), parts, np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        return Stretches(np.nanmean(parts, 1), np.linalg.norm(np.nanstd(parts, 1), axis=1))


def pooled(parts: Sequence[Stretches]) -> Stretches:
    """All stretches together."""
    empty = Stretches(np.empty((0, 3)), np.empty(0))
    return Stretches(
        np.concatenate([part.mean for part in (empty, *parts)]),
        np.concatenate([part.spread for part in (empty, *parts)]),
    )


def is_gravity(median_acc: float) -> bool:
    """Return whether a median of |acc|, m/s^2, is that of a worn sensor with gravity in it."""
    return MEDIAN_ACC[0] < median_acc < MEDIAN_ACC[1]


def is_stuck(gyro: np.ndarray) -> bool:
    """Return whether a gyroscope `[rows, 3]` reads one value, not zero, in every row."""
    return bool(gyro.any() and (gyro == gyro[0]).all())


def beyond_range(si: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where accelerometer and gyroscope read what no body-worn one does, bool `[time]` each.

    A NaN is not beyond any range.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        acc, gyro = (np.linalg.norm(part, axis=1) for part in (si[:, :3], si[:, 3:]))
    return acc > ACC_LIMIT, gyro > GYRO_LIMIT


def within_range(si: np.ndarray) -> bool:
    """Return whether every sample of `[time, 6]` is within the range of some body-worn sensor."""
    return bool(np.isfinite(si).all()) and not any(part.any() for part in beyond_range(si))
