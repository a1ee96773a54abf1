"""What `Encoder.encode` takes: arrays of any kind, three or six channels, any rate from 10 Hz.

The policies, all of them said aloud in a `SignalWarning`:

- accelerometer only: the gyroscope's channels are zeros, as in pretraining data without one;
- a rate below the encoder's: resampled, and what lies above the signal's Nyquist rate is missing;
- units are what the caller states; numbers that contradict them are named, never changed;
- missing values are refused, or give rows of NaN where the caller asks for that.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.clock import check_stated
from primus_jax.recordings.doubts import doubts, of_sign
from primus_jax.recordings.plausible import stretches
from primus_jax.window import CHANNELS, as_rate, check_imu, resample, to_si

ON_MISSING = ("refuse", "nan")
# A rate this much below the encoder's is a clock that runs late, not missing information.
CLOCK = 0.01


class SignalWarning(UserWarning):
    """A signal that is taken as it is, but of which something is missing or looks wrong."""


def is_table(signal: Any) -> bool:
    """Whether it is a pandas DataFrame (or another table with named columns)."""
    return hasattr(signal, "columns") and hasattr(signal, "to_numpy")


def table_values(table: Any, columns: Sequence[str]) -> np.ndarray:
    """Columns of a DataFrame as float64 `[rows, len(columns)]`, missing values as NaN.

    Raises:
        PrimusError: a missing column, or one that does not hold numbers.
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise PrimusError(
            f"the table has no column {missing[0]!r}; it has {list(table.columns)}. Rename its "
            f"columns, or pass table[[...]].to_numpy() with the channels in the order {CHANNELS}."
        )
    chosen = table[list(columns)]
    if chosen.shape[1] != len(columns):
        raise PrimusError(
            f"the table has several columns of one name among {list(columns)}; expected one each."
        )
    if any(kind.kind == "c" for kind in chosen.dtypes):
        raise PrimusError(f"columns {list(columns)} of the table are complex; expected numbers.")
    try:
        return chosen.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise PrimusError(
            f"columns {list(columns)} of the table: {error}; expected numbers."
        ) from error


def as_array(signal: Any) -> np.ndarray:
    """A NumPy, JAX or PyTorch array, nested lists, a DataFrame, or a list of these ->
    float64 numbers `[..., time, 3 or 6]`, NaN where a masked array or a table misses a value.

    A DataFrame is taken by the names of its columns, acc_x, acc_y, acc_z and gyro_x, gyro_y,
    gyro_z (or none of these three), never by their order.

    Raises:
        PrimusError: not numbers, another shape, windows of different lengths, or a DataFrame
            without those columns.
    """
    signal = plain_array(signal)
    if signal.dtype.kind not in "fiu" and signal.dtype.name != "bfloat16":
        raise PrimusError(f"dtype {signal.dtype}; expected numbers [..., time, 6].")
    if signal.ndim < 2 or signal.shape[-1] not in (3, 6) or 0 in signal.shape:
        raise PrimusError(
            f"signal has shape {signal.shape}; expected [..., time, 6] (accelerometer x, y, z, "
            f"then gyroscope x, y, z), or [..., time, 3] without gyroscope."
        )
    return signal.astype(np.float64)


def plain_array(signal: Any) -> np.ndarray:
    """Anything as an array, missing values as NaN; what it holds is not checked."""
    if is_table(signal):
        gyro = any(name in signal.columns for name in CHANNELS[3:])
        return table_values(signal, CHANNELS if gyro else CHANNELS[:3])
    if isinstance(signal, list | tuple) and any(hasattr(part, "shape") for part in signal):
        signal = [plain_array(part) for part in signal]
    if hasattr(signal, "detach"):
        # a tensor of PyTorch, which NumPy takes neither with a gradient nor in bfloat16
        signal = signal.detach().cpu()
        signal = signal.float() if str(signal.dtype) == "torch.bfloat16" else signal
    if isinstance(signal, np.ma.MaskedArray) and signal.dtype.kind in "fiu":
        return np.ma.filled(signal.astype(np.float64), np.nan)
    try:
        return np.asarray(signal)
    except (TypeError, ValueError) as error:
        raise PrimusError(
            f"a signal of type {type(signal).__name__} is no array ({error}); expected "
            f"[..., time, 6], windows of one length."
        ) from error


def six_channels(signal: np.ndarray) -> np.ndarray:
    """`[..., time, 3 or 6]` -> `[..., time, 6]`: a missing gyroscope is zeros, with a warning."""
    if signal.shape[-1] == 6:
        return signal
    no_gyroscope()
    return np.concatenate([signal, np.zeros_like(signal)], -1)


def no_gyroscope() -> None:
    """Warn that zeros stand in for a gyroscope."""
    warn(
        "accelerometer only: the gyroscope's three channels are filled with zeros. Embeddings "
        "differ from those with a gyroscope; do not compare the two. An encoder pretrained with "
        "sensor dropout (drop_gyro) loses least."
    )


def check_rate(rate_hz: float, target_hz: float) -> None:
    """Warn of a rate below the encoder's, `target_hz`.

    Raises:
        PrimusError: a rate that no body-worn sensor has, or not a number.
    """
    rate_hz = as_rate(rate_hz)
    check_stated(rate_hz, "the signal")
    if rate_hz < (1 - CLOCK) * target_hz:
        warn(
            f"the signal has {rate_hz:g} samples a second, the encoder works at {target_hz:g}: it "
            f"is resampled, but the band from {rate_hz / 2:g} to {target_hz / 2:g} Hz is missing, "
            f"which the encoder saw in pretraining."
        )


def check_units(si: np.ndarray, rate_hz: float, acc_unit: str, gyro_unit: str) -> None:
    """Warn where the numbers of `[..., time, 6]`, in SI by these units, contradict them.

    The limits are those of `plausible.py`. Missing values are left out.
    """
    parts = stretches(si[..., :3], rate_hz)
    for doubt, unit in doubts(si, parts, acc_unit, gyro_unit):
        warn(doubt.kept(unit))
    if sign := of_sign(parts):
        warn(sign)


def to_windows(
    signal: Any,
    rate_hz: float,
    target_hz: float,
    acc_unit: str,
    gyro_unit: str,
    on_missing: str = "refuse",
) -> tuple[np.ndarray, np.ndarray]:
    """What the encoder sees, float32 `[n, time, 6]` in SI at `target_hz`, and which are whole.

    Args:
        signal: `[time, c]` or `[n, time, c]`, see `as_array`.
        rate_hz: of `signal`, at least 10.
        target_hz: the encoder's.
        acc_unit: "m/s2" or "g".
        gyro_unit: "rad/s" or "deg/s".
        on_missing: "refuse", or "nan": windows with missing values are zeros, and not whole.

    Returns:
        windows, and whole bool `[n]`.

    Raises:
        PrimusError: see `Encoder.encode`.
    """
    if on_missing not in ON_MISSING:
        raise PrimusError(f"on_missing {on_missing!r}; expected one of {ON_MISSING}.")
    signal = as_array(signal)
    if signal.ndim > 3:
        raise PrimusError(f"signal has shape {signal.shape}; expected [n, time, 6].")
    signal = signal if signal.ndim == 3 else signal[None]
    whole = np.isfinite(signal).all((1, 2))
    if not whole.all():
        _report_missing(signal, whole, on_missing)
        signal = np.where(whole[:, None, None], signal, 0.0)
    check_rate(rate_hz, target_hz)
    si = to_si(six_channels(signal), acc_unit, gyro_unit)
    checked = check_imu(si, "signal")
    if whole.any():
        check_units(si[whole], rate_hz, acc_unit, gyro_unit)
    return resample(checked, rate_hz, target_hz), whole


def _report_missing(signal: np.ndarray, whole: np.ndarray, on_missing: str) -> None:
    window, sample, channel = np.argwhere(~np.isfinite(signal))[0]
    found = (
        f"{(~whole).sum()} of {len(whole)} windows hold values that are not finite, the first at "
        f"window {window}, sample {sample}, channel {CHANNELS[channel]}"
    )
    if on_missing == "refuse":
        raise PrimusError(
            f"signal: {found}. Fill the values in or leave those windows out; on_missing='nan' "
            f"gives rows of NaN for them; embed_recording bridges and skips gaps by itself."
        )
    warn(f"{found}: their embeddings are NaN.")


def warn(message: str) -> None:
    """Issue a `SignalWarning`."""
    warnings.warn(message, SignalWarning, stacklevel=3)
