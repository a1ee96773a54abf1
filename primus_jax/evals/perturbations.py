"""Changes of a test window that a deployed sensor meets, each with a strength in physical units."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.augment import noise, rotate
from primus_jax.errors import PrimusError

ORIGINAL = "original"
_BATCH = 1024


@dataclasses.dataclass(frozen=True)
class Strengths:
    """How far test windows are changed. IMG2IMU (Table I) states no strengths; these are ours.

    Attributes:
        shift: largest part of the window by which time is moved, either way, circularly.
        mask: part of the window, at a random place, without any reading: zeros.
        noise: standard deviation of added white noise, m/s^2 and rad/s.
        degrees: largest angle by which the sensor is turned about a random axis.
    """

    shift: float = 0.45
    mask: float = 0.25
    noise: float = 1.0
    degrees: float = 180.0

    def validate(self) -> None:
        """Raise PrimusError for a strength out of its range."""
        for name, high in (("shift", 0.5), ("mask", 0.9), ("noise", 100.0), ("degrees", 180.0)):
            value = getattr(self, name)
            if not 0 < value <= high:
                raise PrimusError(f"--{name} {value:g}; expected a number above 0, up to {high:g}.")


def shift_time(key: jax.Array, imu: jax.Array, largest: float) -> jax.Array:
    """Move a window `[time, 6]` circularly by up to `largest` of its length, either way.

    A deviation from a shifted image, whose uncovered part is black: an accelerometer that reads
    zero is in free fall, so the part that leaves the window comes in on the other side.
    """
    most = round(largest * imu.shape[0])
    return jnp.roll(imu, jax.random.randint(key, (), -most, most + 1), axis=0)


def mask_time(key: jax.Array, imu: jax.Array, part: float) -> jax.Array:
    """Set one stretch of a window `[time, 6]`, `part` of its length, to zero in all channels."""
    time = imu.shape[0]
    length = max(1, round(part * time))
    start = jax.random.randint(key, (), 0, time - length + 1)
    place = jnp.arange(time)
    inside = (place >= start) & (place < start + length)
    return jnp.where(inside[:, None], jnp.zeros((), imu.dtype), imu)


Change = Callable[[jax.Array, jax.Array], jax.Array]


def changes(strengths: Strengths) -> Mapping[str, Change | None]:
    """The columns of IMG2IMU's Table I: name -> (key, window) -> window, None for the original."""
    return {
        ORIGINAL: None,
        "time-shifted": functools.partial(shift_time, largest=strengths.shift),
        "masked": functools.partial(mask_time, part=strengths.mask),
        "noised": functools.partial(noise, sigma=strengths.noise),
        "rotated": functools.partial(rotate, max_degrees=strengths.degrees),
    }


def changed_windows(imu: np.ndarray, change: Change, seed: int) -> np.ndarray:
    """Every window of `[n, time, 6]` changed by a key of its own, from (seed, number)."""
    keys = jax.random.split(jax.random.key(seed), len(imu))
    apply = jax.jit(jax.vmap(change))
    size = min(_BATCH, len(imu))
    output = np.empty_like(imu)
    for start in range(0, len(imu), size):
        # The last batch reaches back, so that one shape is compiled.
        rows = slice(max(0, min(start, len(imu) - size)), min(start + size, len(imu)))
        output[rows] = np.asarray(apply(keys[rows], imu[rows]))
    return output
