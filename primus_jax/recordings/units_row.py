"""The row of units below a header, compared with the units that are stated."""

from collections.abc import Sequence
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.recordings.dialect import Dialect
from primus_jax.recordings.table_format import FoundColumns, TableFormat

# As loggers write them, in lower case and without brackets.
_SPELLINGS = {
    "g": "g", "m/s2": "m/s2", "m/s^2": "m/s2", "m/s²": "m/s2", "m/(s^2": "m/s2",
    "rad/s": "rad/s", "deg/s": "deg/s", "°/s": "deg/s", "dps": "deg/s", "d/s": "deg/s",
    "s": "s", "sec": "s", "seconds": "s", "ms": "ms", "us": "us", "µs": "us", "ns": "ns",
    "mg": "mg", "mdeg/s": "mdeg/s", "mdps": "mdeg/s",
}  # fmt: skip


def spelled(written: str) -> str:
    """The unit that a logger writes, as this project spells it; "" for an unknown one."""
    return _SPELLINGS.get(written.strip("()[] ").lower(), "")


def check_units_row(path: Path, dialect: Dialect, found: FoundColumns, layout: TableFormat) -> None:
    """Refuse stated units that the file's row of units contradicts.

    Raises:
        PrimusError: naming the line, the column and the option.
    """
    sides: tuple[tuple[Sequence[str], str, str], ...] = (
        ((*found.acc, *found.gravity), layout.acc_unit, "--acc-unit"),
        (found.gyro, layout.gyro_unit, "--gyro-unit"),
        ((found.time,) if found.time else (), layout.time_unit, "--time-unit"),
    )
    for columns, stated, option in sides:
        for name in columns:
            written = dialect.units.get(name, "")
            unit = spelled(written)
            if unit and unit != stated:
                raise PrimusError(
                    f"{path}, line {dialect.rows_above}: the unit of {name!r} is {written}, "
                    f"{option} is {stated}. Pass {option} {unit}, or convert the numbers."
                )
