"""Hand-crafted statistics: the baseline without any learning, which a pretrained encoder must beat.

Per window: level and spread of every axis and of both magnitudes, percentiles, spectral bands,
and how the axes go together. No dataset was used to choose them.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

PERCENTILES = (10, 25, 50, 75, 90)
BANDS_HZ = (0.3, 1.0, 2.0, 3.5, 6.0, 10.0)  # edges: sway, steps, their harmonics, impacts
COUNT = 62
NAME = "hand-crafted statistics"


class HandFeatures:
    """Windows to statistics, with the interface of `Encoder` that `dataset_features` needs."""

    description = f"{COUNT} statistics, bands {BANDS_HZ} Hz, percentiles {PERCENTILES}"

    def __init__(self, rate_hz: float) -> None:
        self.rate_hz = float(rate_hz)

    def encode_windows(
        self, imu: np.ndarray, head: str | None = None, batch_size: int = 4096
    ) -> np.ndarray:
        """float32 `[n, time, 6]` in m/s^2 and rad/s -> float32 `[n, 62]`; `head` is ignored."""
        parts = []
        for start in range(0, len(imu), batch_size):
            batch = np.asarray(imu[start : start + batch_size], np.float32)
            padded = np.pad(batch, [(0, min(batch_size, len(imu)) - len(batch)), (0, 0), (0, 0)])
            parts.append(np.asarray(statistics(padded, self.rate_hz))[: len(batch)])
        return np.concatenate(parts) if parts else np.zeros((0, COUNT), np.float32)


@functools.partial(jax.jit, static_argnames="rate_hz")
def statistics(imu: jax.Array, rate_hz: float) -> jax.Array:
    """Hand-crafted statistics of windows: `[n, time, 6]` in m/s^2 and rad/s -> `[n, 62]`.

    - Of the axes: means (6) and log deviations (6).
    - Of both magnitudes: the mean (2) and the percentiles (10).
    - Of both magnitudes: the log of the deviation (2) and of the mean absolute change (2).
    - Of both magnitudes: the rate of crossings of the mean (2) and the dominant frequency (2).
    - Of both magnitudes: the log power in `BANDS_HZ`, relative to the whole (12).
    - Of the accelerometer's axes: the log shares of power in the first four bands (12).
    - Of each sensor: the correlations of its axes (6 in all).
    """
    size = jnp.stack([_norm(imu[..., :3]), _norm(imu[..., 3:])], -1)  # [n, time, 2]
    moving = size - size.mean(1, keepdims=True)
    power, frequency = _spectrum(moving, rate_hz)
    total = power.sum(1, keepdims=True) + 1e-6
    bands = _bands(power, frequency)
    axes, _ = _spectrum(imu[..., :3] - imu[..., :3].mean(1, keepdims=True), rate_hz)
    axes = _bands(axes, frequency)[:, :4]
    whole = axes.sum((1, 2), keepdims=True) + 1e-6
    crossing = (moving[:, 1:] * moving[:, :-1] < 0).astype(imu.dtype).mean(1)
    parts = [
        imu.mean(1),
        _log(imu.std(1)),
        size.mean(1),
        jnp.moveaxis(jnp.percentile(size, jnp.asarray(PERCENTILES, imu.dtype), axis=1), 0, 1),
        _log(size.std(1)),
        _log(jnp.abs(jnp.diff(size, axis=1)).mean(1)),
        crossing,
        _log(bands / total),
        frequency[jnp.argmax(power, 1)],
        _log(axes / whole),
        _correlations(imu[..., :3]),
        _correlations(imu[..., 3:]),
    ]
    return jnp.concatenate([part.reshape(len(imu), -1) for part in parts], 1)


def _norm(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.square(x).sum(-1))


def _log(x: jax.Array) -> jax.Array:
    return jnp.log(x + 1e-3)


def _spectrum(x: jax.Array, rate_hz: float) -> tuple[jax.Array, jax.Array]:
    """Power `[n, bins, k]` of Hann-windowed signals `[n, time, k]`, and the bins in Hz."""
    samples = x.shape[1]
    taper = jnp.asarray(np.hanning(samples), x.dtype)[:, None]
    power = jnp.square(jnp.abs(jnp.fft.rfft(x * taper, axis=1))) / samples
    return power, jnp.asarray(np.fft.rfftfreq(samples, 1 / rate_hz), x.dtype)


def _bands(power: jax.Array, frequency: jax.Array) -> jax.Array:
    """Power `[n, bands, k]` in `BANDS_HZ` of a spectrum `[n, bins, k]`; the last has no end."""
    edges = np.array([*BANDS_HZ, np.inf], np.float32)
    inside = (frequency >= edges[:-1, None]) & (frequency < edges[1:, None])
    return jnp.einsum("nfk,bf->nbk", power, inside.astype(power.dtype))


def _correlations(x: jax.Array) -> jax.Array:
    """Correlations xy, xz, yz of `[n, time, 3]`; 0 for a constant axis."""
    moving = x - x.mean(1, keepdims=True)
    unit = moving / (jnp.sqrt(jnp.square(moving).sum(1, keepdims=True)) + 1e-6)
    pairs = ((0, 1), (0, 2), (1, 2))
    return jnp.stack([(unit[..., i] * unit[..., j]).sum(1) for i, j in pairs], -1)
