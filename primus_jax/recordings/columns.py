"""Named columns of a CSV or Parquet file, with the place of every row for error messages."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings import csv_file, device_file, parquet_file
from primus_jax.recordings.dialect import Dialect, TextOptions, find_dialect


@dataclasses.dataclass(frozen=True)
class Columns:
    """Some rows of a file.

    Attributes:
        path: the file.
        numbers: float64 `[rows]` by column, missing cells as NaN. Columns of stamps may be int64,
            or object with `int`, `Decimal` and None, where float64 would lose digits.
        text: object `[rows]` by column, without blanks around a cell; missing cells are "".
        lines: int64 `[rows]`, counted from 1 in the file.
        row_name: what a row of such a file is called, "line" or "row".
        own_units: the unit, a key of `clock.TIME_UNITS`, of columns that state it themselves.
    """

    path: Path
    numbers: dict[str, np.ndarray]
    text: dict[str, np.ndarray]
    lines: np.ndarray
    row_name: str
    own_units: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def row(self, index: int) -> str:
        """Name a row for a person: file and line (CSV) or row (Parquet), counted from 1."""
        return f"{self.path}, {self.row_name} {self.lines[index]}"


@dataclasses.dataclass(frozen=True)
class TableFile:
    """A CSV or Parquet file of which the header was read.

    Attributes:
        path: the file.
        names: of the columns; several of one name `x` in a CSV file are called "x#1", "x#2"...
        dialect: how a CSV file is written; None for Parquet and a device's own file.
    """

    path: Path
    names: tuple[str, ...]
    dialect: Dialect | None


def open_table(
    path: Path, text: TextOptions | None = None, wanted: Sequence[str] = ()
) -> TableFile:
    """Read the header of a CSV or Parquet file, or of a device's own file.

    Args:
        path: the file.
        text: what is stated of a CSV file.
        wanted: names that tell the header from lines above it.

    Raises:
        PrimusError: no such file, an empty file, another kind of file, or a name that two columns
            of a Parquet file have.
    """
    if not path.is_file():
        raise PrimusError(f"{path}: no such file.")
    if path.stat().st_size == 0:
        raise PrimusError(f"{path}: the file is empty; expected a header and rows.")
    if device_file.is_device(path):
        return TableFile(path, device_file.NAMES, None)
    if path.suffix.lower() not in (".parquet", ".pq"):
        dialect = find_dialect(path, text, wanted)
        return TableFile(path, dialect.names, dialect)
    names = parquet_file.names(path)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise PrimusError(f"{path}: column {repeated[0]!r} appears twice; expected unique names.")
    return TableFile(path, tuple(names), None)


def column_batches(
    table: TableFile,
    numeric: Sequence[str],
    textual: Sequence[str] = (),
    stamps: Sequence[str] = (),
) -> Iterator[Columns]:
    """Yield the named columns, some ten thousand rows at a time.

    Args:
        table: the file.
        numeric: columns of numbers.
        textual: columns of text.
        stamps: columns of times, which keep all their digits.

    Raises:
        PrimusError: a missing column, text in a numeric column, a row of another length, no rows;
            all name the file and the row.
    """
    path, found = table.path, 0
    missing = [name for name in (*numeric, *textual, *stamps) if name not in table.names]
    if missing:
        raise PrimusError(f"{path}: no column {missing[0]!r}; the file has {list(table.names)}.")
    if table.dialect is None:
        reader = device_file if device_file.is_device(path) else parquet_file
        for batch in reader.batches(path, numeric, textual, stamps):
            lines = np.arange(found + 1, found + 1 + batch.rows)
            yield Columns(path, batch.numbers, batch.text, lines, "row", batch.own_units)
            found += batch.rows
    else:
        for part in csv_file.batches(path, table.dialect, numeric, textual, stamps):
            yield Columns(path, part.numbers, part.text, part.lines, "line", part.own_units)
            found += len(part.lines)
    if not found:
        raise PrimusError(f"{path}: no rows below the header.")


def read_columns(path: Path, numeric: Sequence[str], textual: Sequence[str] = ()) -> Columns:
    """Read the named columns of a whole file.

    Raises:
        PrimusError: see `column_batches`.
    """
    table = open_table(path, wanted=[*numeric, *textual])
    parts = list(column_batches(table, numeric, textual))
    return Columns(
        path,
        {name: np.concatenate([part.numbers[name] for part in parts]) for name in numeric},
        {name: np.concatenate([part.text[name] for part in parts]) for name in textual},
        np.concatenate([part.lines for part in parts]),
        parts[0].row_name,
    )
