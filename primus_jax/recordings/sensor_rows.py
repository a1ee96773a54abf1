"""Tables with a row per reading, in which a column of words names the sensor of the row."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from primus_jax.errors import PrimusError

_ACC, _GYRO = re.compile(r"acc", re.IGNORECASE), re.compile(r"gyr", re.IGNORECASE)


class SensorRows(NamedTuple):
    """The `column` that names the sensor of a row ("" where none does), two `words` in it, and the
    columns of numbers that are `shared`: filled for accelerometer and gyroscope alike."""

    column: str = ""
    words: tuple[str, ...] = ()
    shared: frozenset[str] = frozenset()


NO_SENSORS = SensorRows()


def find_sensor_rows(
    names: Sequence[str], rows: Sequence[Sequence[str]], is_number: Callable[[str], bool]
) -> SensorRows:
    """Find a column whose words name accelerometer and gyroscope, each alone in a row.

    Args:
        names: of the columns.
        rows: the first rows, as cells.
        is_number: whether a cell is a number.
    """
    for k, name in enumerate(names):
        cells = [(row[k].strip(), row) for row in rows if len(row) > k]
        acc = [(cell, row) for cell, row in cells if _ACC.search(cell) and not _GYRO.search(cell)]
        gyro = [(cell, row) for cell, row in cells if _GYRO.search(cell) and not _ACC.search(cell)]
        if not acc or not gyro:
            continue
        filled = [
            {j for _, row in part for j, cell in enumerate(row) if is_number(cell.strip())}
            for part in (acc, gyro)
        ]
        shared = frozenset(names[j] for j in filled[0] & filled[1] if j < len(names))
        return SensorRows(name, (acc[0][0], gyro[0][0]), shared)
    return NO_SENSORS


def refuse_shared(found: SensorRows, columns: Sequence[str], where: str) -> None:
    """Raise PrimusError where the columns of one sensor hold the readings of another as well."""
    both = [name for name in columns if name in found.shared]
    if both:
        sensors = " and ".join(map(repr, found.words))
        raise PrimusError(
            f"{where}: column {both[0]!r} holds readings of {sensors}, which column "
            f"{found.column!r} tells apart. Write the rows of each sensor to a file of its own, "
            f"and pass --acc-file and --gyro-file."
        )
