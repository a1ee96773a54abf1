"""Rows of a recording, whatever it was: the one form in which they reach the grid."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.arrays import as_array, table_values
from primus_jax.recordings.clock import Clock
from primus_jax.recordings.columns import Columns, TableFile, column_batches, open_table
from primus_jax.recordings.sensor_rows import refuse_shared
from primus_jax.recordings.table_format import FoundColumns, TableFormat
from primus_jax.recordings.units_row import check_units_row
from primus_jax.window import ACC_UNITS, GRAVITY

_PLACE = "the recording, row"


class Rows(NamedTuple):
    """Rows that follow one another.

    Attributes:
        time: float64 `[rows]`, seconds after the first stamp; None where rows are even.
        raw: float64 `[rows, 6]` in the stated units, gravity added and signs changed as the format
            asks for; NaN where a value is missing, zeros where there is no gyroscope.
        gyro: whether there is a gyroscope.
        words: object `[rows]` by recording, label, text, subject, where a file has them.
        lines: int64 `[rows]`, where the rows stand in the file or recording, counted from 1.
        place: what `lines` count, such as "walk.csv, line".
        targets: float64 `[rows]` by column, of numbers to predict; NaN where a cell is missing.
    """

    time: np.ndarray | None
    raw: np.ndarray
    gyro: bool
    words: Mapping[str, np.ndarray]
    lines: np.ndarray
    place: str
    targets: Mapping[str, np.ndarray] = MappingProxyType({})

    def name(self, index: int) -> str:
        """Name a row for a person."""
        return f"{self.place} {self.lines[index]}"

    def part(self, index: slice | np.ndarray) -> "Rows":
        """Some of the rows."""
        return self._replace(
            time=None if self.time is None else self.time[index],
            raw=self.raw[index],
            words={key: words[index] for key, words in self.words.items()},
            lines=self.lines[index],
            targets={name: values[index] for name, values in self.targets.items()},
        )


def find_columns(
    path: Path, layout: TableFormat, *, need_gyro: bool
) -> tuple[TableFile, FoundColumns]:
    """Read the header of a file, and find the columns of `layout` in it.

    Raises:
        PrimusError: not a table, a missing column, a row of units that contradicts `layout`, or
            columns that hold readings of both sensors.
    """
    table = open_table(path, layout.text, [name for name in layout.acc if "*" not in name])
    found = layout.columns(table.names, str(path), need_gyro=need_gyro)
    if table.dialect is not None:
        refuse_shared(table.dialect.sensors, found.numeric, str(path))
        check_units_row(path, table.dialect, found, layout)
    return table, found


def find_gyro(
    path: Path, layout: TableFormat, *, units: bool = True
) -> tuple[TableFile, FoundColumns]:
    """Read the header of a file that holds the gyroscope alone, and find its columns.

    Args:
        path: the file.
        layout: names and units of its columns.
        units: compare a row of units with those stated.

    Raises:
        PrimusError: see `find_columns`.
    """
    table = open_table(path, layout.text, [name for name in layout.gyro if "*" not in name])
    found = layout.gyro_columns(table.names, str(path))
    if table.dialect is not None and units:
        check_units_row(path, table.dialect, found, layout)
    return table, found


def file_rows(
    table: TableFile,
    found: FoundColumns,
    layout: TableFormat,
    clock: Clock,
    words: tuple[str, ...] = (),
    targets: Sequence[str] = (),
) -> Iterator[Rows]:
    """Yield the rows of a CSV or Parquet file, some ten thousand at a time.

    Args:
        table: and found: of `find_columns`.
        found: see table.
        layout: names and units of its columns.
        clock: of its stamps.
        words: which of recording, label, text, subject are read, where the file has them.
        targets: columns of numbers to predict, which every file has to have.

    Raises:
        PrimusError: anything wrong with the file, naming it and the row.
    """
    known = {key: name for key, name in found.words.items() if key in words}
    stamps = [found.time] if found.time else []
    words_of = list(dict.fromkeys(known.values()))
    numeric = list(dict.fromkeys((*found.numeric, *targets)))
    for batch in column_batches(table, numeric, words_of, stamps):
        _check_gravity(batch, found, layout)
        time = None
        if found.time:
            time = clock.seconds(batch.numbers[found.time], batch.own_units.get(found.time))
        raw = _six(batch.numbers, found, layout)
        texts = {key: batch.text[name] for key, name in known.items()}
        place = f"{table.path}, {batch.row_name}"
        numbers = {name: np.asarray(batch.numbers[name], np.float64) for name in targets}
        rows = Rows(time, raw, bool(found.gyro), texts, batch.lines, place, numbers)
        yield rows if time is None else rows.part(~_empty(rows))


def _empty(rows: Rows) -> np.ndarray:
    """Rows that hold nothing at all, as spreadsheets leave below a table."""
    channels = slice(0, 6 if rows.gyro else 3)
    empty = np.isnan(rows.raw[:, channels]).all(1)
    if rows.time is not None:
        empty &= np.isnan(rows.time)
    for words in rows.words.values():
        empty &= words == ""
    return empty


def _check_gravity(batch: Columns, found: FoundColumns, layout: TableFormat) -> None:
    """Refuse columns of gravity whose length is not 1 g in the unit of the accelerometer.

    Raises:
        PrimusError: they are in another unit than stated.
    """
    if not found.gravity:
        return
    length = np.linalg.norm(np.stack([batch.numbers[name] for name in found.gravity], 1), axis=1)
    length = length[np.isfinite(length)]
    length *= layout.scale_acc
    one = GRAVITY / ACC_UNITS[layout.acc_unit]
    middle = float(np.median(length)) if len(length) else one
    if not 0.9 * one < middle < 1.1 * one:
        raise PrimusError(
            f"{batch.path}: the columns of gravity {list(found.gravity)} are {middle:.3g} long; in "
            f"{layout.acc_unit}, the unit of the accelerometer, gravity is {one:.3g}. State the "
            f"unit with --acc-unit, or bring both sensors to one unit."
        )


def joined(parts: Sequence[Rows]) -> Rows:
    """All rows as one."""
    first = parts[0]
    times = [part.time for part in parts if part.time is not None]
    return first._replace(
        time=np.concatenate(times) if times else None,
        raw=np.concatenate([part.raw for part in parts]),
        words={key: np.concatenate([part.words[key] for part in parts]) for key in first.words},
        lines=np.concatenate([part.lines for part in parts]),
        targets={k: np.concatenate([part.targets[k] for part in parts]) for k in first.targets},
    )


def frame_rows(table: Any, layout: TableFormat, clock: Clock, before: int) -> Rows:
    """The rows of a DataFrame, of which `before` others were read already.

    Raises:
        PrimusError: a missing column, or columns that do not hold numbers.
    """
    found = layout.columns(list(table.columns), "the table", need_gyro=False)
    time = clock.seconds(*_stamps(table, found.time)) if found.time else None
    values = table_values(table, found.numeric)
    raw = _six(dict(zip(found.numeric, values.T, strict=True)), found, layout)
    return Rows(time, raw, bool(found.gyro), {}, _lines(before, raw), _PLACE)


def array_rows(part: Any, layout: TableFormat, before: int) -> Rows:
    """The rows of an array `[rows, 6]` or `[rows, 3]`, of which `before` others were read already.

    Raises:
        PrimusError: not numbers of that shape.
    """
    values = as_array(part)
    gyro = values.shape[1] == 6
    six = values if gyro else np.pad(values, [(0, 0), (0, 3)])
    sign = -1.0 if layout.invert_acc else 1.0
    scale = np.repeat([sign * layout.scale_acc, layout.scale_gyro], 3)
    return Rows(None, _finite(six * scale), gyro, {}, _lines(before, six), _PLACE)


def _six(numbers: Mapping[str, np.ndarray], found: FoundColumns, layout: TableFormat) -> np.ndarray:
    """Columns -> `[rows, 6]`; an accelerometer that is in another file is missing."""
    acc = np.full((len(next(iter(numbers.values()))), 3), np.nan)
    if found.acc:
        acc = np.stack([numbers[name] for name in found.acc], 1)
    if found.gravity:
        acc = acc + np.stack([numbers[name] for name in found.gravity], 1)
    acc = acc * (-layout.scale_acc if layout.invert_acc else layout.scale_acc)
    gyro = np.zeros_like(acc)
    if found.gyro:
        gyro = np.stack([numbers[name] for name in found.gyro], 1) * layout.scale_gyro
    return _finite(np.concatenate([acc, gyro], 1))


def _finite(raw: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(raw), raw, np.nan)


def _stamps(table: Any, name: str) -> tuple[np.ndarray, str | None]:
    """Times of a DataFrame with all their digits, and their own unit."""
    column = table[name]
    kind = getattr(column.dtype, "kind", "O")
    if kind in "mM":
        known = column.notna().to_numpy()
        plain = "datetime64[ns]" if kind == "M" else "timedelta64[ns]"
        stamps = column.to_numpy(plain).astype(np.int64)
        if not known.all():
            stamps = stamps.astype(object)
            stamps[~known] = None
        return stamps, "ns"
    if kind in "iu" and column.notna().all():
        return column.to_numpy(np.uint64 if kind == "u" else np.int64), None
    return table_values(table, [name])[:, 0], None


def _lines(before: int, raw: np.ndarray) -> np.ndarray:
    return np.arange(before + 1, before + 1 + len(raw))
