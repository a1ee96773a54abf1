"""Spectrograms of motion as colour images: time to the right, frequency upward, axis by colour.

IMG2IMU (arXiv 2209.00945): the axes x, y and z of a sensor are red, green and blue, so that
brightness is intensity of motion and hue its direction. Values are 0 to 1.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from primus_jax.errors import PrimusError

HEIGHT, WIDTH = 96, 128
FORMS = ("paper", "released", "clean")
NFFTS = (32, 64, 128, 256)
# Samples from one frame to the next: the paper's, and 12, the app's.
HOPS = (2, 4, 8, 12, 16)
GYROSCOPES = ("none", "channels", "image")
# Below every sensor's noise, in (m/s^2)^2 (or (rad/s)^2) for one cycle in a sample.
PAPER_FLOOR = 1e-16
# Of the clean form, of the unscaled power.
CLEAN_FLOOR = 1e-10
# Logarithms of power that differ by less are one grey.
RANGE_FLOOR = 1e-6
# The app draws grey through a colour matrix with three entries of .33.
APP_GREY = 0.99


@dataclasses.dataclass(unsafe_hash=True)
class SpectrogramConfig:
    """How windows become images.

    Attributes:
        form: "paper", matplotlib's `specgram` in decibels, the range of every axis stretched to
            0..1; "released", the authors' Android app with its faults; "clean", the app's transform
            without them.
        nfft: samples of a frame; "released" has 128.
        overlap: samples that a frame shares with the next; "released" has 116.
        joint: "clean" alone: stretch the three axes of a sensor together, so that brightness
            compares them. Otherwise the noise of a still axis is as bright as a step.
        gyroscope: "none"; "channels", three more channels; "image", an image of its own.
    """

    form: str = "paper"
    nfft: int = 128
    overlap: int = 120
    joint: bool = False
    gyroscope: str = "none"

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.nfft - self.overlap

    def validate(self) -> None:
        """Raise PrimusError for a field with a value that the attributes do not allow."""
        for field, allowed in (("form", FORMS), ("nfft", NFFTS), ("gyroscope", GYROSCOPES)):
            value = getattr(self, field)
            if value not in allowed:
                raise PrimusError(f"spectrogram.{field} is {value!r}; expected one of {allowed}.")
        if self.hop not in HOPS:
            raise PrimusError(
                f"spectrogram.overlap is {self.overlap!r}; expected nfft ({self.nfft}) less one of "
                f"{HOPS}."
            )
        if self.form == "released" and (self.nfft, self.overlap) != (128, 116):
            raise PrimusError(
                f"spectrogram.nfft is {self.nfft} and spectrogram.overlap {self.overlap}; the form "
                f"'released' has 128 and 116. Set these, or choose 'clean'."
            )
        if self.joint is not False and (self.joint is not True or self.form != "clean"):
            raise PrimusError(
                f"spectrogram.joint is {self.joint!r} with form {self.form!r}; expected False, or "
                f"True with 'clean'."
            )


def spectrograms(imu: jax.Array, config: SpectrogramConfig | None = None) -> jax.Array:
    """Return the images of windows, differentiable with respect to the windows.

    Section "Spectrogram" of arXiv 2209.00945 v2. Deviation of "paper": power below 1e-16, and a
    range below 1e-6, count as these, so that a silent axis is black and not NaN. "released" gives
    NaN there, as the app does, and passes gradients through its roundings unchanged.

    Args:
        imu: `[batch, time, 3]`, or `[batch, time, 6]`, of which the gyroscope is read by option.
        config: None: the default.

    Returns:
        `[batch, 96, 128, 3]`; with gyroscope "channels" `[batch, 96, 128, 6]`, with "image"
        `[batch, 2, 96, 128, 3]`. The dtype is that of `imu`.

    Raises:
        PrimusError: an invalid config, another shape, or windows shorter than a frame.
    """
    config = SpectrogramConfig() if config is None else config
    config.validate()
    needed = (3, 6) if config.gyroscope == "none" else (6,)
    if imu.ndim != 3 or imu.shape[-1] not in needed:
        widths = " or ".join(map(str, needed))
        raise PrimusError(
            f"imu has shape {tuple(imu.shape)}; expected [batch, time, {widths}] with "
            f"spectrogram.gyroscope {config.gyroscope!r}."
        )
    if imu.shape[1] < config.nfft:
        raise PrimusError(
            f"windows of {imu.shape[1]} samples are shorter than a frame of the spectrogram "
            f"({config.nfft}). Set spectrogram.nfft to one of {NFFTS} that is not longer, or use "
            f"longer windows."
        )
    return _spectrograms(imu, config)


@functools.partial(jax.jit, static_argnames="config")
def _spectrograms(imu: jax.Array, config: SpectrogramConfig) -> jax.Array:
    batch = imu.shape[0]
    if config.gyroscope == "none":
        return _resized(grey(imu[..., :3], config), config)
    first, second = (
        _resized(grey(sensor, config), config) for sensor in (imu[..., :3], imu[..., 3:])
    )
    if config.gyroscope == "channels":
        return jnp.concatenate([first, second], -1)
    return jnp.stack([first, second], 1).reshape(batch, 2, HEIGHT, WIDTH, 3)


def grey(signal: jax.Array, config: SpectrogramConfig) -> jax.Array:
    """Windows `[batch, time, 3]` -> images `[batch, nfft // 2 + 1, frames, 3]`, 0 to 1."""
    power = power_spectra(signal, config.nfft, config.hop)
    if config.form == "released":
        return _app_grey(power)
    if config.form == "paper":
        power = jnp.maximum(power * one_sided(config.nfft).astype(power.dtype), PAPER_FLOOR)
    else:
        power = jnp.maximum(power, CLEAN_FLOOR)
    axes = (1, 2, 3) if config.joint else (1, 2)
    levels = jnp.log10(power)
    # The logarithms of equal numbers differ in the last digit from lane to lane of a vector unit,
    # and a silent axis would be as bright as that digit.
    louder = power > power.min(axes, keepdims=True)
    above = jnp.where(louder, levels - levels.min(axes, keepdims=True), 0.0)
    return (above / jnp.maximum(above.max(axes, keepdims=True), RANGE_FLOOR))[:, ::-1]


def power_spectra(signal: jax.Array, nfft: int, hop: int) -> jax.Array:
    """Squared magnitude of the Fourier transform of every frame under a symmetric Hann window.

    The transform is a convolution with a constant. That of the window's mean is added in closed
    form, so that gravity does not cost the high frequencies their digits in float32.

    Args:
        signal: `[batch, time, channels]`, no shorter than `nfft`.
        nfft: samples of a frame.
        hop: samples from one frame to the next.

    Returns:
        `[batch, nfft // 2 + 1, frames, channels]`, lowest frequency first.
    """
    batch, time, channels = signal.shape
    transform = windowed_transform(nfft)
    mean = lax.stop_gradient(signal.mean(1, keepdims=True))  # what follows is equal for any
    moving = (signal - mean).transpose(0, 2, 1).reshape(batch * channels, time, 1)
    parts = lax.conv_general_dilated(
        moving, jnp.asarray(transform[:, None], signal.dtype), (hop,), "VALID",
        dimension_numbers=("NWC", "WIO", "NWC"), precision=lax.Precision.HIGHEST,
    )  # fmt: skip
    still = mean.transpose(0, 2, 1)[..., None] * jnp.asarray(transform.sum(0), signal.dtype)
    parts = parts.reshape(batch, channels, -1, transform.shape[1]) + still
    cosine, sine = jnp.split(jnp.square(parts), 2, axis=-1)
    return (cosine + sine).transpose(0, 3, 2, 1)


def one_sided(nfft: int) -> np.ndarray:
    """Factors `[nfft // 2 + 1, 1, 1]` from squared magnitudes to density for a rate of 1.

    matplotlib's: the sum of squares of the window divides, and every frequency that has a negative
    twin counts twice. Divide by the rate for (m/s^2)^2 / Hz.
    """
    factors = np.full(nfft // 2 + 1, 2.0)
    factors[[0, -1]] = 1.0
    return (factors / np.sum(np.hanning(nfft) ** 2))[:, None, None]


def windowed_transform(nfft: int) -> np.ndarray:
    """Windowed cosines and sines `[nfft, 2 (nfft // 2 + 1)]`, float64."""
    angle = 2 * np.pi * np.outer(np.arange(nfft), np.arange(nfft // 2 + 1)) / nfft
    return np.concatenate([np.cos(angle), np.sin(angle)], 1) * np.hanning(nfft)[:, None]


def _app_grey(power: jax.Array) -> jax.Array:
    """The app's picture: no floor, two roundings, the lowest frequency lost, row 0 black."""
    levels = jnp.log10(power)
    low, high = levels.min((1, 2), keepdims=True), levels.max((1, 2), keepdims=True)
    drawn = _rounded(APP_GREY * _rounded((levels - low) / (high - low) * 255)) / 255
    black = jnp.zeros_like(drawn[:, :1])
    return jnp.concatenate([black, drawn[:, :0:-1]], 1)


def _rounded(x: jax.Array) -> jax.Array:
    """The nearest whole number, half up; the gradient passes unchanged."""
    return lax.stop_gradient(jnp.floor(x + 0.5)) + (x - lax.stop_gradient(x))


def _resized(image: jax.Array, config: SpectrogramConfig) -> jax.Array:
    """`[batch, rows, frames, 3]` -> `[batch, 96, 128, 3]`: bilinear, or nearest as the app."""
    method = "nearest" if config.form == "released" else "bilinear"
    shape = (image.shape[0], HEIGHT, WIDTH, image.shape[3])
    return jax.image.resize(image, shape, method, antialias=False)
