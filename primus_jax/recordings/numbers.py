"""Rows of a recording against what was stated of them: refused, or warned of."""

from collections.abc import Callable

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.arrays import check_units, warn
from primus_jax.recordings.doubts import doubts, of_sign
from primus_jax.recordings.plausible import Stretches, beyond_range, stretches
from primus_jax.recordings.table_format import TableFormat
from primus_jax.window import to_si


def check_numbers(
    raw: np.ndarray, gyro: bool, rate_hz: float, layout: TableFormat, where: str, *, strict: bool
) -> None:
    """Compare rows `[rows, 6]` in the stated units with what a worn sensor reads.

    Args:
        raw: rows of one recording, NaN where a value is missing.
        gyro: whether there is a gyroscope.
        rate_hz: of the rows.
        layout: the stated units.
        where: names the recording for a person.
        strict: refuse what contradicts the units; else warn.

    Raises:
        PrimusError: strict, and a unit that cannot be true, gravity removed, or a gyroscope that
            never changes.
    """
    si = to_si(raw, layout.acc_unit, layout.gyro_unit)
    if strict:
        refuse_contradictions(si, stretches(si[:, :3], rate_hz), gyro, layout, where)
    else:
        check_units(si, rate_hz, layout.acc_unit, layout.gyro_unit)


def refuse_contradictions(
    si: np.ndarray, parts: Stretches, gyro: bool, layout: TableFormat, where: str
) -> None:
    """Refuse numbers in SI, `[rows, 6]`, that contradict the stated units.

    Args:
        si: rows, by the stated units.
        parts: stretches of their accelerometer; without any, magnitudes alone decide.
        gyro: whether there is a gyroscope.
        layout: the stated units.
        where: names the recording for a person.

    Raises:
        PrimusError: see `check_numbers`.
    """
    for doubt, _ in doubts(si, parts, layout.acc_unit, layout.gyro_unit):
        raise PrimusError(f"{where}: {doubt}")
    whole = si[np.isfinite(si).all(1), 3:]
    if gyro and len(whole) and (whole == whole[0]).all():
        raise PrimusError(
            f"{where}: the gyroscope never changes. If there is none, pass --no-gyro."
        )
    if sign := of_sign(parts):
        warn(f"{where}: {sign}")


def refuse_impossible(si: np.ndarray, name: Callable[[int], str]) -> None:
    """Refuse rows of `[rows, 6]` in SI that no body-worn sensor reads, such as a slip of the pen.

    Args:
        si: rows whose units were found to be plausible; NaN where a value is missing.
        name: names a row for a person.

    Raises:
        PrimusError: the first such row.
    """
    sides = zip(("accelerometer", "gyroscope"), ("m/s2", "rad/s"), beyond_range(si), strict=True)
    for k, (sensor, unit, beyond) in enumerate(sides):
        if beyond.any():
            row = int(np.argmax(beyond))
            peak = np.abs(si[row, 3 * k : 3 * k + 3]).max()
            raise PrimusError(
                f"{name(row)}: the {sensor} reads {peak:.4g} {unit}, which no body-worn sensor "
                f"does. Check the unit, and correct or empty the cell."
            )
