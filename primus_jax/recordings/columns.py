"""Named columns of a CSV or Parquet file, with the place of every row for error messages."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings import csv_file, parquet_file
from primus_jax.recordings.dialect import TextOptions, find_dialect


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


def is_parquet(path: Path) -> bool:
    """Return whether the file's name is that of a Parquet file."""
    return path.suffix.lower() in (".parquet", ".pq")


def column_names(
    path: Path, text: TextOptions | None = None, wanted: Sequence[str] = ()
) -> list[str]:
    """Return the names of the columns; several of one name `x` are called "x#1", "x#2"...

    Args:
        path: a CSV or Parquet file.
        text: what is stated of a CSV file.
        wanted: names that tell the header from lines above it.

    Raises:
        PrimusError: no such file, an empty file, another kind of file.
    """
    if not path.is_file():
        raise PrimusError(f"{path}: no such file.")
    if path.stat().st_size == 0:
        raise PrimusError(f"{path}: the file is empty; expected a header and rows.")
    if is_parquet(path):
        return parquet_file.names(path)
    return list(find_dialect(path, text, wanted).names)


def column_batches(
    path: Path,
    numeric: Sequence[str],
    textual: Sequence[str] = (),
    stamps: Sequence[str] = (),
    text: TextOptions | None = None,
) -> Iterator[Columns]:
    """Yield the named columns, some ten thousand rows at a time.

    Args:
        path: a CSV or Parquet file.
        numeric: columns of numbers.
        textual: columns of text.
        stamps: columns of times, which keep all their digits.
        text: what is stated of a CSV file.

    Raises:
        PrimusError: a missing column, text in a numeric column, a row of another length, no rows;
            all name the file and the row.
    """
    wanted = [*numeric, *textual, *stamps]
    names = column_names(path, text, wanted)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise PrimusError(f"{path}: no column {missing[0]!r}; the file has {names}.")
    found = 0
    if is_parquet(path):
        for batch in parquet_file.batches(path, numeric, textual, stamps):
            lines = np.arange(found + 1, found + 1 + batch.rows)
            yield Columns(path, batch.numbers, batch.text, lines, "row", batch.own_units)
            found += batch.rows
    else:
        dialect = find_dialect(path, text, wanted)
        for part in csv_file.batches(path, dialect, numeric, textual, stamps):
            yield Columns(path, part.numbers, part.text, part.lines, "line", part.own_units)
            found += len(part.lines)
    if not found:
        raise PrimusError(f"{path}: no rows below the header.")


def read_columns(path: Path, numeric: Sequence[str], textual: Sequence[str] = ()) -> Columns:
    """Read the named columns of a whole file.

    Raises:
        PrimusError: see `column_batches`.
    """
    parts = list(column_batches(path, numeric, textual))
    return Columns(
        path,
        {name: np.concatenate([part.numbers[name] for part in parts]) for name in numeric},
        {name: np.concatenate([part.text[name] for part in parts]) for name in textual},
        np.concatenate([part.lines for part in parts]),
        parts[0].row_name,
    )
