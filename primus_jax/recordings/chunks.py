"""A long recording of any kind as chunks of rows: array, DataFrame, iterator, CSV or Parquet."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.arrays import as_array, is_table, plain_array, six_channels, table_values
from primus_jax.recordings.columns import column_names, read_columns
from primus_jax.recordings.grid import TIME_UNITS
from primus_jax.recordings.table_format import TableFormat
from primus_jax.window import as_rate

ROWS = 65536
# Text of a CSV file read at once; the reader works on many such pieces ahead.
READ_BYTES = 1 << 20
_PARQUET = (".parquet", ".pq")


class Chunk(NamedTuple):
    """Rows of a recording: `time` float64 `[rows]` in seconds, or None where rows are evenly
    spaced; `raw` float64 `[rows, 6]` in the stated units, NaN where values are missing."""

    time: np.ndarray | None
    raw: np.ndarray


def table_format(
    rate_hz: float | None, acc_unit: str, gyro_unit: str, columns: Mapping[str, Any]
) -> TableFormat:
    """The `TableFormat` of keyword arguments.

    Raises:
        PrimusError: an unknown name, unit or rate.
    """
    unknown = sorted(columns.keys() - {"acc", "gyro", "time", "time_unit"})
    if unknown:
        raise PrimusError(f"unknown option {unknown[0]!r}; expected acc, gyro, time, time_unit.")
    names = {key: tuple(columns[key]) for key in ("acc", "gyro") if key in columns}
    rate_hz = None if rate_hz is None else as_rate(rate_hz)
    layout = {"rate_hz": rate_hz, "acc_unit": acc_unit, "gyro_unit": gyro_unit}
    return distinct(TableFormat(**{**columns, **names, **layout}))


def distinct(layout: TableFormat) -> TableFormat:
    """The same, after a look at its columns.

    Raises:
        PrimusError: one column stands for two.
    """
    names = [*layout.acc, *layout.gyro, *([layout.time] if layout.time else [])]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise PrimusError(
            f"column {twice[0]!r} is named {len(twice)} times among acc {list(layout.acc)}, gyro "
            f"{list(layout.gyro)} and time; expected a column of its own for each."
        )
    return layout


def read_chunks(recording: Any, layout: TableFormat) -> Iterator[Chunk]:
    """Chunks of at most about `ROWS` rows (those of an iterator may be longer).

    Args:
        recording: an array `[time, 6]` or `[time, 3]`, a DataFrame, an iterator of these or a list
            of DataFrames, or the path of a CSV or Parquet file, which are read in pieces. Arrays
            hold no times.
        layout: names and units of the columns of tables.

    Raises:
        PrimusError: while iterating, anything wrong with the recording.
    """
    if isinstance(recording, str | os.PathLike):
        parts = _file(Path(recording), layout)
    elif is_table(recording) or hasattr(recording, "shape") or _is_nested(recording):
        parts = _slices(recording)
    elif isinstance(recording, Iterable):
        parts = (piece for part in recording for piece in _slices(part))
    else:
        raise PrimusError(
            f"a recording of type {type(recording).__name__}; expected an array [time, 6], a "
            f"DataFrame, an iterator of these, or the path of a CSV or Parquet file."
        )
    warned = False
    for time, raw in (_values(part, layout) for part in parts):
        if raw.shape[1] == 3:
            # one warning is enough for a recording
            raw = np.pad(raw, [(0, 0), (0, 3)]) if warned else six_channels(raw)
            warned = True
        yield Chunk(time, np.where(np.isfinite(raw), raw, np.nan))


def _is_nested(recording: Any) -> bool:
    """Whether it is one array, written as a list of rows."""
    return isinstance(recording, list | tuple) and not any(map(is_table, recording))


def _slices(part: Any) -> Iterator[Any]:
    """Pieces of an array or DataFrame: a memory-mapped array is never in memory as a whole."""
    table = is_table(part)
    part = part if table or hasattr(part, "shape") else plain_array(part)
    if not table and part.ndim != 2:
        raise PrimusError(f"the recording has shape {part.shape}; expected [time, 6].")
    for start in range(0, len(part), ROWS):
        yield part.iloc[start : start + ROWS] if table else part[start : start + ROWS]


def _values(part: Any, layout: TableFormat) -> tuple[np.ndarray | None, np.ndarray]:
    """(seconds or None, `[rows, 3 or 6]`) of a piece."""
    if not is_table(part):
        return None, as_array(part)
    if "recording" in part.columns and part["recording"].nunique() > 1:
        raise PrimusError(
            "the table's column 'recording' names several recordings; expected one at a time."
        )
    return _time(part, layout), table_values(part, _channels(list(part.columns), layout))


def _channels(present: list[str], layout: TableFormat) -> tuple[str, ...]:
    """The columns to read: without gyroscope where the file has none of its columns."""
    return layout.acc + (layout.gyro if set(layout.gyro) & set(present) else ())


def _time(table: Any, layout: TableFormat) -> np.ndarray | None:
    name = time_column(list(table.columns), layout)
    if name is None:
        return None
    if name in table.columns and table[name].dtype.kind == "M":
        nanoseconds = table[name].to_numpy("datetime64[ns]").astype(np.int64)
        return nanoseconds * 1e-9
    return table_values(table, [name])[:, 0] * TIME_UNITS[layout.time_unit]


def time_column(present: list[str], layout: TableFormat) -> str | None:
    """The column of times: the one stated, or `time` if it is there; None: rows are even.

    Raises:
        PrimusError: neither times nor a rate.
    """
    name = layout.time
    if name == "":
        name = "time" if "time" in present else None
    if name is None and layout.rate_hz is None:
        raise PrimusError("unknown rate. State it, or name the column of times.")
    return name


def _file(path: Path, layout: TableFormat) -> Iterator[Any]:
    """A CSV or Parquet file as DataFrames, so that rows and names have one meaning."""
    present = column_names(path)
    time = time_column(present, layout)
    numeric = [*_channels(present, layout), *([time] if time else [])]
    missing = [name for name in numeric if name not in present]
    if missing:
        raise PrimusError(f"{path}: no column {missing[0]!r}; the file has {present}.")
    textual = ["recording"] if "recording" in present else []
    parquet = path.suffix.lower() in _PARQUET
    yielded, last = False, None
    batches = _parquet_batches if parquet else _csv_batches
    for frame in batches(path, present, numeric, textual):
        if textual and len(frame):
            first = frame["recording"].iloc[0]
            if last is not None and first != last:
                raise PrimusError(
                    f"{path}: the column 'recording' names {last!r} and {first!r}; expected one "
                    f"recording in a file."
                )
            last = frame["recording"].iloc[-1]
        yielded = yielded or len(frame) > 0
        yield frame
    if not yielded:
        raise PrimusError(f"{path}: no rows below the header.")


def _csv_batches(
    path: Path, present: list[str], numeric: list[str], textual: list[str]
) -> Iterator[Any]:
    pyarrow = _pyarrow(path)
    from pyarrow import csv

    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    types = {name: pyarrow.float64() for name in numeric}
    types |= {name: pyarrow.string() for name in textual}
    try:
        reader = csv.open_csv(
            path,
            csv.ReadOptions(column_names=present, skip_rows=1, block_size=READ_BYTES),
            csv.ParseOptions(delimiter=max(",;\t", key=header.count)),
            csv.ConvertOptions(
                include_columns=[*numeric, *textual],
                column_types=types,
                null_values=["", "NULL", "nan", "NaN", "NAN"],
            ),
        )
        for batch in reader:
            yield batch.to_pandas()
    except pyarrow.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        # names the row; pyarrow does not
        read_columns(path, numeric, textual)
        raise PrimusError(f"{path}: not a CSV file of numbers ({error}).") from error


def _parquet_batches(
    path: Path, present: list[str], numeric: list[str], textual: list[str]
) -> Iterator[Any]:
    _pyarrow(path)
    from pyarrow import parquet

    with parquet.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(ROWS, columns=[*numeric, *textual]):
            yield batch.to_pandas()


def _pyarrow(path: Path) -> Any:
    try:
        import pandas  # noqa: F401
        import pyarrow
    except ImportError as error:
        raise PrimusError(
            f"{path}: reading files in pieces needs pandas and pyarrow: "
            f"pip install 'primus-jax[prep]'."
        ) from error
    return pyarrow
