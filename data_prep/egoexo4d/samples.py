"""Inertial samples of one Aria stream, with the stamps of its device."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.grid import REPEATED
from primus_jax.recordings.plausible import is_gravity, magnitudes

# Stream id in the VRS file and nominal rate in Hz of the two IMUs.
STREAMS = {"right": ("1202-1", 1000.0), "left": ("1202-2", 800.0)}
LATE = "samples out of order, sorted"


@dataclasses.dataclass(frozen=True)
class Samples:
    """Stamps int64 `[n]` in ns of the device clock, strictly increasing; signal float64 `[n, 6]`.

    Accelerometer in m/s^2 and gyroscope in rad/s; a row that the device called invalid is NaN.
    """

    stamps: np.ndarray
    signal: np.ndarray


def ordered(stamps: np.ndarray, signal: np.ndarray, where: Path, drops: Counter[str]) -> Samples:
    """Sort by stamp, and keep the first of equal stamps.

    Raises:
        PrimusError: no samples, or accelerometer magnitudes that cannot be m/s^2 with gravity.
    """
    if not len(stamps):
        raise PrimusError(f"{where}: no inertial samples of this stream.")
    drops[LATE] += int((np.diff(stamps) < 0).sum())
    order = np.argsort(stamps, kind="stable")
    stamps, signal = stamps[order], signal[order]
    again = np.diff(stamps, prepend=stamps[0] - 1) == 0
    drops[REPEATED] += int(again.sum())
    samples = Samples(stamps[~again], signal[~again])
    middle = magnitudes(samples.signal).acc
    # A stuck sensor at 0, or one without a valid row, is left to the rules for bad spans.
    if middle > 0 and not is_gravity(middle):
        raise PrimusError(
            f"{where}: the median accelerometer magnitude is {middle:.3g}; expected about 9.8 "
            f"(m/s^2, gravity included)."
        )
    return samples
