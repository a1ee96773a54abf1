"""What a sensor worn by a person can read: every limit of the project, in SI units.

At least half of a recording is not in free fall or a crash, so the median of |acc| lies near 1 g.
Half of the time nobody turns faster than 20 rad/s, and hardly anybody ever beyond the range of
common gyroscopes. `window.ACC_LIMIT` and `window.GYRO_LIMIT` are what no sensor reads at all.
"""

import dataclasses
import math

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


def is_gravity(median_acc: float) -> bool:
    """Return whether a median of |acc|, m/s^2, is that of a worn sensor with gravity in it."""
    return MEDIAN_ACC[0] < median_acc < MEDIAN_ACC[1]


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
