"""Which units a table's columns have, and by what: names, a row of units, or the numbers."""

import re
from collections.abc import Sequence

import numpy as np

from primus_jax.recordings.clock import TIME_UNITS, Clock, measured_rate, possible_rate
from primus_jax.recordings.doubts import of_accelerometer, of_gyroscope
from primus_jax.recordings.plausible import magnitudes, stretches
from primus_jax.recordings.units_row import spelled
from primus_jax.window import ACC_UNITS, GYRO_UNITS, to_si

_IN_NAME = re.compile(r"[(\[]([^()\[\]]+(?:\([^()]*\))?)[)\]]|_(ms|us|ns|mg|dps)$", re.IGNORECASE)
# Counts of 1 g of common sensors; a median within a tenth of one is taken for it.
_COUNTS = (256, 512, 1024, 2048, 4096, 8192, 16384)


def unit_of_names(columns: Sequence[str], row: dict[str, str]) -> tuple[str, str]:
    """The unit that names or a row of units state, and by which; ("", "") where none does."""
    for name in columns:
        if unit := spelled(row.get(name, "")):
            return unit, "the row of units"
        match = _IN_NAME.search(name)
        if match and (unit := spelled(match[1] or match[2])):
            return unit, "the names"
    return "", ""


def unit_of_acc(raw: np.ndarray, rate_hz: float) -> tuple[str, float, str]:
    """Unit and scale of an accelerometer by its numbers, and the evidence.

    Args:
        raw: `[rows, 3]`.
        rate_hz: of the rows.

    Returns:
        unit ("" where none fits), scale, and what was seen, in words.
    """
    six = np.concatenate([raw, np.zeros_like(raw)], 1)
    middle = magnitudes(six).acc
    for unit in ACC_UNITS:
        si = to_si(six, unit, "rad/s")
        if of_accelerometer(magnitudes(si), stretches(si[:, :3], rate_hz), unit) is None:
            return unit, 1.0, f"the median of |acc| is {middle:.3g}, as of a worn sensor in {unit}"
    for count in _COUNTS:
        if abs(middle / count - 1) < 0.1:
            return "g", 1 / count, f"the median of |acc| is {middle:.4g}: {count} counts to 1 g?"
    si = to_si(six, "m/s2", "rad/s")
    doubt = of_accelerometer(magnitudes(si), stretches(si[:, :3], rate_hz), "m/s2")
    return "", 1.0, str(doubt or "")


def unit_of_gyro(raw: np.ndarray) -> tuple[str, str]:
    """Unit of a gyroscope by its numbers, `[rows, 3]`, and the evidence; "" where none decides."""
    six = np.concatenate([np.zeros_like(raw), raw], 1)
    fitting = [
        unit
        for unit in GYRO_UNITS
        if of_gyroscope(magnitudes(to_si(six, "m/s2", unit)), unit) is None
    ]
    if fitting and fitting[0] != "rad/s":
        return fitting[0], "by a larger unit it would turn faster than people do"
    return "", "nothing states it, and slow turns do not tell rad/s from deg/s"


def unit_of_times(stamps: np.ndarray, own_unit: str | None) -> tuple[str, float]:
    """Unit of a column of times, and the rate by it; ("", NaN) where none gives a possible rate."""
    for unit in [own_unit] if own_unit else list(TIME_UNITS):
        time = Clock(unit).seconds(stamps, own_unit)
        time = time[np.isfinite(time)]
        if len(time) < 3 or not (np.diff(time) > 0).any():
            continue
        mean = (len(time) - 1) / (time[-1] - time[0]) if time[-1] > time[0] else np.nan
        rising = time[np.append(True, np.diff(time) > 0)]
        rate = measured_rate(rising)
        if possible_rate(rate) or possible_rate(mean):
            return unit, rate
    return "", float("nan")
