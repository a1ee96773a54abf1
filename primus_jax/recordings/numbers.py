"""Rows of a recording against what was stated of them: refused, or warned of."""

from collections.abc import Callable

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.arrays import check_units, warn
from primus_jax.recordings.doubts import doubts, of_sign
from primus_jax.recordings.plausible import Stretches, beyond_range, stretches
from primus_jax.recordings.rows import Rows
from primus_jax.recordings.table_format import TableFormat
from primus_jax.window import to_si


def check_numbers(
    raw: np.ndarray, rate_hz: float, layout: TableFormat, where: str, *, strict: bool
) -> None:
    """Compare rows `[rows, 6]` in the stated units with what a worn sensor reads.

    Args:
        raw: rows of one recording, NaN where a value is missing.
        rate_hz: of the rows.
        layout: the stated units.
        where: names the recording for a person.
        strict: refuse what contradicts the units; else warn.

    Raises:
        PrimusError: strict, and a unit that cannot be true, or gravity removed.
    """
    si = to_si(raw, layout.acc_unit, layout.gyro_unit)
    if strict:
        refuse_contradictions(si, stretches(si[:, :3], rate_hz), layout, where)
    else:
        check_units(si, rate_hz, layout.acc_unit, layout.gyro_unit)


def refuse_contradictions(
    si: np.ndarray, parts: Stretches, layout: TableFormat, where: str
) -> None:
    """Refuse numbers in SI, `[rows, 6]`, that contradict the stated units.

    Args:
        si: rows, by the stated units.
        parts: stretches of their accelerometer; without any, magnitudes alone decide.
        layout: the stated units.
        where: names the recording for a person.

    Raises:
        PrimusError: see `check_numbers`.
    """
    for doubt, _ in doubts(si, parts, layout.acc_unit, layout.gyro_unit):
        raise PrimusError(f"{where}: {doubt}")
    if sign := of_sign(parts):
        warn(f"{where}: {sign}")


class Seen:
    """What the rows of a file showed so far: numbers in every column, a gyroscope that changes."""

    def __init__(self, layout: TableFormat) -> None:
        self._columns = (*layout.acc, *layout.gyro)
        self._some = np.zeros(6, bool)
        self._first: np.ndarray | None = None
        self._gyro = self._turns = False

    def add(self, rows: Rows) -> None:
        """Look at further rows."""
        self._some |= np.isfinite(rows.raw).any(0)
        self._gyro = rows.gyro
        gyro = rows.raw[np.isfinite(rows.raw).all(1), 3:]
        if len(gyro):
            self._first = gyro[0] if self._first is None else self._first
            self._turns = self._turns or bool((gyro != self._first).any())

    def check(self, where: str, *, strict: bool = True) -> None:
        """Refuse a column without any number and, if strict, a gyroscope that never changes.

        Raises:
            PrimusError: see above.
        """
        for column, some in zip(self._columns, self._some, strict=False):
            if not some:
                raise PrimusError(f"{where}: column {column!r} holds no number at all.")
        if strict and self._gyro and self._first is not None and not self._turns:
            raise PrimusError(
                f"{where}: the gyroscope never changes. If there is none, pass --no-gyro."
            )


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
