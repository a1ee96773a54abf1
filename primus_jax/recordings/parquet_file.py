"""A Parquet file in batches of rows: numbers, words and exact stamps."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.cells import word

ROWS = 65536


@dataclasses.dataclass(frozen=True)
class Batch:
    """Columns as in `columns.Columns`."""

    numbers: dict[str, np.ndarray]
    text: dict[str, np.ndarray]
    own_units: dict[str, str]
    rows: int


def names(path: Path) -> list[str]:
    """Return the names of the columns.

    Raises:
        PrimusError: not a Parquet file, or nothing is installed that reads one.
    """
    with _open(path) as file:
        return list(file.schema_arrow.names)


def batches(
    path: Path, numeric: Sequence[str], textual: Sequence[str], stamps: Sequence[str]
) -> Iterator[Batch]:
    """Yield batches of at most `ROWS` rows.

    Raises:
        PrimusError: a column of another kind than asked for, or a damaged file.
    """
    import pyarrow

    wanted = [*numeric, *textual, *stamps]
    with _open(path) as file:
        try:
            for table in file.iter_batches(ROWS, columns=wanted):
                units: dict[str, str] = {}
                numbers = {name: _floats(table[name], path, name) for name in numeric}
                for name in stamps:
                    numbers[name], unit = _stamps(table[name], path, name)
                    if unit:
                        units[name] = unit
                text = {name: _words(table[name]) for name in textual}
                yield Batch(numbers, text, units, table.num_rows)
        except (pyarrow.ArrowException, OSError) as error:
            raise PrimusError(f"{path}: the file is damaged ({error}).") from error


def _open(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise PrimusError(
            f"{path}: reading Parquet needs pyarrow: pip install 'primus-jax[prep]'."
        ) from error
    try:
        return pyarrow.parquet.ParquetFile(path, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise PrimusError(f"{path}: not a Parquet file ({error}).") from error


def _floats(column: Any, path: Path, name: str) -> np.ndarray:
    from pyarrow import types

    kind = column.type
    if types.is_decimal(kind):
        return np.array([np.nan if v is None else float(v) for v in column.to_pylist()])
    if not (types.is_integer(kind) or types.is_floating(kind)):
        raise PrimusError(f"{path}: column {name!r} holds {kind}; expected numbers.")
    values = column.to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float64)


def _stamps(column: Any, path: Path, name: str) -> tuple[np.ndarray, str]:
    """Times and their own unit, "" where the column states none."""
    import pyarrow
    from pyarrow import types

    kind = column.type
    if types.is_timestamp(kind) or types.is_duration(kind) or types.is_time(kind):
        counts = column.cast(pyarrow.int32() if types.is_time32(kind) else pyarrow.int64())
        return _integers(counts), kind.unit
    if types.is_decimal(kind):
        return np.array(column.to_pylist(), object), ""
    if types.is_integer(kind):
        return _integers(column), ""
    if types.is_floating(kind):
        return _floats(column, path, name), ""
    raise PrimusError(
        f"{path}: column {name!r} holds {kind}; expected numbers, timestamps or durations."
    )


def _integers(column: Any) -> np.ndarray:
    """Integers as they are, or object with None where some are missing."""
    if column.null_count:
        return np.array(column.to_pylist(), object)
    return column.to_numpy(zero_copy_only=False)


def _words(column: Any) -> np.ndarray:
    cells = ["" if cell is None else str(cell) for cell in column.to_pylist()]
    words = {cell: word(cell) for cell in set(cells)}
    return np.array([words[cell] for cell in cells], object)
