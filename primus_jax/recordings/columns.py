"""Named columns of a CSV or Parquet file, with the place of every row for error messages."""

import csv
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError

_ROWS_AT_ONCE = 65536
# How an empty cell is written, besides NaN in any case.
_MISSING = frozenset(("", "NULL"))


@dataclasses.dataclass(frozen=True)
class Columns:
    """Numeric columns, float64 `[rows]`, and text columns, object `[rows]`.

    Empty cells and NULL in numeric columns are NaN.
    """

    path: Path
    numbers: dict[str, np.ndarray]
    text: dict[str, np.ndarray]
    lines: np.ndarray
    unit: str

    def row(self, index: int) -> str:
        """Name a row for a person: file and line (CSV) or row (Parquet), counted from 1."""
        return f"{self.path}, {self.unit} {self.lines[index]}"


def column_names(path: Path) -> list[str]:
    """Return the header of a CSV or Parquet file.

    Raises:
        PrimusError: no such file, an empty file, another kind of file, a repeated column name.
    """
    if not path.is_file():
        raise PrimusError(f"{path}: no such file.")
    if path.stat().st_size == 0:
        raise PrimusError(f"{path}: the file is empty; expected a header and rows.")
    if path.suffix.lower() in (".parquet", ".pq"):
        names = list(_parquet(path).schema_arrow.names)
    else:
        names = _header(path)[0]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise PrimusError(f"{path}: column {repeated[0]!r} appears twice; expected unique names.")
    return names


def read_columns(path: Path, numeric: Sequence[str], textual: Sequence[str] = ()) -> Columns:
    """Read the named columns.

    Raises:
        PrimusError: a missing column, text in a numeric column, a row of another length, no rows;
            all name the file and the row.
    """
    names = column_names(path)
    missing = [name for name in (*numeric, *textual) if name not in names]
    if missing:
        raise PrimusError(f"{path}: no column {missing[0]!r}; the file has {names}.")
    if path.suffix.lower() in (".parquet", ".pq"):
        columns = _read_parquet(path, numeric, textual)
    else:
        columns = _read_csv(path, names, numeric, textual)
    if not len(columns.lines):
        raise PrimusError(f"{path}: no rows below the header.")
    return columns


def _header(path: Path) -> tuple[list[str], str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
    except UnicodeDecodeError as error:
        raise PrimusError(f"{path}: not a CSV file in UTF-8 ({error}).") from error
    delimiter = max(",;\t", key=first.count)
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
    if not any(names):
        raise PrimusError(f"{path}, line 1: expected a header with column names.")
    return names, delimiter


def _read_csv(
    path: Path, names: list[str], numeric: Sequence[str], textual: Sequence[str]
) -> Columns:
    numbers: dict[str, list[np.ndarray]] = {name: [] for name in numeric}
    text: dict[str, list[np.ndarray]] = {name: [] for name in textual}
    all_lines: list[np.ndarray] = []
    words: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=_header(path)[1])
            next(reader)
            while True:
                pairs = [(reader.line_num, row) for row in itertools.islice(reader, _ROWS_AT_ONCE)]
                if not pairs:
                    break
                pairs = [pair for pair in pairs if pair[1]]
                for line, row in pairs:
                    if len(row) != len(names):
                        raise PrimusError(
                            f"{path}, line {line}: {len(row)} fields; expected {len(names)} as in "
                            f"the header."
                        )
                lines = np.array([line for line, _ in pairs], np.int64)
                fields = list(zip(*(row for _, row in pairs), strict=True)) or [()] * len(names)
                for name, parts in numbers.items():
                    cells = fields[names.index(name)]
                    parts.append(_floats(cells, f"{path}, line", lines, name))
                for name, parts in text.items():
                    cells = fields[names.index(name)]
                    parts.append(np.array([words.setdefault(c, c) for c in cells], object))
                all_lines.append(lines)
    except UnicodeDecodeError as error:
        raise PrimusError(f"{path}: not a CSV file in UTF-8 ({error}).") from error
    except csv.Error as error:
        raise PrimusError(f"{path}, line {reader.line_num}: not a CSV row ({error}).") from error
    empty = np.empty(0)
    return Columns(
        path,
        {name: np.concatenate([empty, *parts]) for name, parts in numbers.items()},
        {name: np.concatenate([empty.astype(object), *parts]) for name, parts in text.items()},
        np.concatenate([empty.astype(np.int64), *all_lines]),
        "line",
    )


def _floats(cells: Sequence[str], where: str, lines: np.ndarray, name: str) -> np.ndarray:
    filled = [cell if cell.strip() not in _MISSING else "nan" for cell in cells]
    try:
        return np.array(filled, dtype=np.str_).astype(np.float64)
    except ValueError:
        for line, cell in zip(lines, filled, strict=True):
            try:
                float(cell)
            except ValueError:
                raise PrimusError(
                    f"{where} {line}: {cell!r} in column {name!r}; expected a number."
                ) from None
        raise


def _parquet(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise PrimusError(
            f"{path}: reading Parquet needs pyarrow: pip install 'primus-jax[prep]'."
        ) from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise PrimusError(f"{path}: not a Parquet file ({error}).") from error


def _read_parquet(path: Path, numeric: Sequence[str], textual: Sequence[str]) -> Columns:
    import pyarrow

    with _parquet(path) as file:
        try:
            table = file.read(columns=[*numeric, *textual])
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise PrimusError(f"{path}: the file is damaged ({error}).") from error
    numbers, text = {}, {}
    for name in numeric:
        column = table[name]
        kind = column.type
        if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)):
            raise PrimusError(f"{path}: column {name!r} holds {kind}; expected numbers.")
        numbers[name] = np.asarray(column.cast(pyarrow.float64()).to_numpy(), np.float64)
    for name in textual:
        cells = ["" if cell is None else str(cell) for cell in table[name].to_pylist()]
        text[name] = np.array(cells, object)
    return Columns(path, numbers, text, np.arange(1, table.num_rows + 1), "row")
