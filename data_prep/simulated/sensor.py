"""A simulated MEMS inertial sensor: from where it is to what it reads.

The physics of `sense` is exact for a given motion, up to differentiation. `Mems.read` adds the
errors of a real part: bias, scale error, noise, range, resolution.
"""

import dataclasses

import numpy as np

from primus_jax.window import GRAVITY


def sense(
    position: np.ndarray, rotation: np.ndarray, rate_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """Specific force and angular velocity in the sensor's own frame, without any sensor error.

    acc(t) = R(t)^T (x''(t) + g z) with the second central difference, which is exactly the mean
    of x'' under a triangle of two samples; gyro(t) = log(R(t-h)^T R(t+h)) / 2h.

    Args:
        position: `[time, 3]` metres in the world, z up.
        rotation: `[time, 3, 3]`, takes vectors of the sensor's frame to the world.
        rate_hz: samples a second; choose several times the rate that is kept (`decimate`).

    Returns:
        acc `[time - 2, 3]` m/s^2 and gyro `[time - 2, 3]` rad/s, at the inner samples.
    """
    acceleration = (position[2:] - 2 * position[1:-1] + position[:-2]) * rate_hz**2
    acceleration[:, 2] += GRAVITY
    acc = np.einsum("tij,ti->tj", rotation[1:-1], acceleration)
    turn = np.swapaxes(rotation[:-2], 1, 2) @ rotation[2:]
    sine = 0.5 * np.stack(
        [
            turn[:, 2, 1] - turn[:, 1, 2],
            turn[:, 0, 2] - turn[:, 2, 0],
            turn[:, 1, 0] - turn[:, 0, 1],
        ],
        -1,
    )
    length = np.sqrt(np.square(sine).sum(-1))
    angle = np.arctan2(length, 0.5 * (np.trace(turn, axis1=1, axis2=2) - 1))
    ratio = np.divide(angle, length, out=np.ones_like(angle), where=length > 1e-12)
    return acc, sine * (ratio * (rate_hz / 2))[:, None]


def decimate(signal: np.ndarray, factor: int) -> np.ndarray:
    """Every `factor`-th sample of `[time, channels]` behind the sensor's own low-pass.

    The filter is a Hann window of `2 * factor - 1` taps: -6 dB at the new Nyquist rate, zero
    phase. The first output is the sample `factor - 1` of the input.
    """
    taps = np.hanning(2 * factor + 1)[1:-1]
    windows = np.lib.stride_tricks.sliding_window_view(signal, taps.size, axis=0)[::factor]
    return windows @ (taps / taps.sum())


@dataclasses.dataclass(frozen=True)
class Mems:
    """The errors of one part. Defaults are a typical part of a phone, watch or pair of glasses."""

    acc_range: float = 8 * GRAVITY  # m/s^2, each axis
    gyro_range: float = np.radians(1000.0)  # rad/s, each axis
    acc_noise: float = 200e-6 * GRAVITY  # m/s^2 per square root of Hz
    gyro_noise: float = np.radians(0.01)  # rad/s per square root of Hz
    acc_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)  # m/s^2
    gyro_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)  # rad/s
    acc_scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gyro_scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bits: int = 16

    def read(
        self, acc: np.ndarray, gyro: np.ndarray, rate_hz: float, rng: np.random.Generator
    ) -> np.ndarray:
        """What the part reports for the true `acc`, `gyro` `[time, 3]`: float32 `[time, 6]`, SI.

        reading = round(clip(scale * truth + bias + noise)); white noise of density d has the
        standard deviation d * sqrt(rate / 2).
        """
        bandwidth = np.sqrt(rate_hz / 2)
        density = np.repeat([self.acc_noise, self.gyro_noise], 3) * bandwidth
        limit = np.repeat([self.acc_range, self.gyro_range], 3)
        signal = np.concatenate([acc, gyro], 1) * (*self.acc_scale, *self.gyro_scale)
        signal += (*self.acc_bias, *self.gyro_bias)
        signal += density * rng.standard_normal(signal.shape)
        step = limit / 2 ** (self.bits - 1)
        return (np.round(np.clip(signal, -limit, limit) / step) * step).astype(np.float32)


def draw_mems(rng: np.random.Generator) -> Mems:
    """Draw one part: its range setting, and the bias and scale error that the factory left."""
    return Mems(
        acc_range=float(rng.choice([4.0, 8.0, 16.0])) * GRAVITY,
        gyro_range=float(np.radians(rng.choice([500.0, 1000.0, 2000.0]))),
        acc_noise=float(rng.uniform(120e-6, 400e-6)) * GRAVITY,
        gyro_noise=float(np.radians(rng.uniform(0.005, 0.02))),
        acc_bias=tuple(rng.normal(0, 0.25, 3).tolist()),
        gyro_bias=tuple(rng.normal(0, np.radians(1.0), 3).tolist()),
        acc_scale=tuple(rng.normal(1, 0.01, 3).tolist()),
        gyro_scale=tuple(rng.normal(1, 0.01, 3).tolist()),
    )
