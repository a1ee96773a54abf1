"""A long recording of any kind as chunks of rows: array, DataFrame, iterator, CSV or Parquet."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from primus_jax.errors import PrimusError
from primus_jax.recordings.arrays import is_table, no_gyroscope, plain_array
from primus_jax.recordings.cells import word
from primus_jax.recordings.clock import Clock
from primus_jax.recordings.rows import Rows, array_rows, frame_rows
from primus_jax.recordings.sources import (
    SensorFiles,
    Source,
    open_source,
    settled,
    source_rows,
)
from primus_jax.recordings.table_format import TableFormat
from primus_jax.window import as_rate

ROWS = 65536


def table_format(
    rate_hz: float | None, acc_unit: str, gyro_unit: str, columns: Mapping[str, Any]
) -> TableFormat:
    """The `TableFormat` of keyword arguments.

    Raises:
        PrimusError: an unknown name, unit or rate.
    """
    known = {"acc", "gyro", "gravity", "invert_acc", "time", "time_unit", "scale_acc", "scale_gyro"}
    unknown = sorted(columns.keys() - known)
    if unknown:
        raise PrimusError(f"unknown option {unknown[0]!r}; expected one of {sorted(known)}.")
    names = {key: tuple(columns[key]) for key in ("acc", "gyro", "gravity") if key in columns}
    rate_hz = None if rate_hz is None else as_rate(rate_hz)
    layout = {"rate_hz": rate_hz, "acc_unit": acc_unit, "gyro_unit": gyro_unit}
    return TableFormat(**{**columns, **names, **layout})


def read_chunks(
    recording: Any, layout: TableFormat, clock: Clock, *, need_gyro: bool = False
) -> Iterator[Rows]:
    """Chunks of at most about `ROWS` rows (those of an iterator may be longer).

    Args:
        recording: an array `[time, 6]` or `[time, 3]`, a DataFrame, an iterator of these or a list
            of DataFrames, or the path of a CSV or Parquet file, which are read in pieces. Arrays
            hold no times.
        layout: names and units of the columns of tables.
        clock: of its stamps.
        need_gyro: whether a recording without gyroscope is refused; else zeros stand in for it,
            with a warning.

    Raises:
        PrimusError: while iterating, anything wrong with the recording.
    """
    if isinstance(recording, str | os.PathLike):
        parts = _file(Path(recording), layout, clock, need_gyro)
    elif isinstance(recording, SensorFiles):
        parts = _file(recording, layout, clock, need_gyro)
    elif is_table(recording) or hasattr(recording, "shape") or _is_nested(recording):
        parts = _values([recording], layout, clock)
    elif isinstance(recording, Iterable):
        parts = _values(recording, layout, clock)
    else:
        raise PrimusError(
            f"a recording of type {type(recording).__name__}; expected an array [time, 6], a "
            f"DataFrame, an iterator of these, or the path of a CSV or Parquet file."
        )
    warned = False
    for rows in settled(parts, layout, clock):
        if not rows.gyro and need_gyro:
            raise PrimusError(
                "the recording has no gyroscope; expected an array [time, 6], or a table with the "
                f"columns {list(layout.gyro)}."
            )
        if not rows.gyro and not warned:
            # one warning is enough for a recording
            no_gyroscope()
            warned = True
        yield rows


def _is_nested(recording: Any) -> bool:
    """Whether it is one array, written as a list of rows."""
    return isinstance(recording, list | tuple) and not any(map(is_table, recording))


def _values(parts: Iterable[Any], layout: TableFormat, clock: Clock) -> Iterator[Rows]:
    """Rows of arrays and DataFrames.

    Raises:
        PrimusError: the column of recordings names two.
    """
    before, names = 0, _OneName("the table")
    for part in (piece for whole in parts for piece in _slices(whole)):
        if is_table(part):
            column = layout.names.get("recording") or "recording"
            if column in part.columns:
                names.check(word(str(name)) for name in part[column].unique())
            yield frame_rows(part, layout, clock, before)
        else:
            yield array_rows(part, layout, before)
        before += len(part)


def _slices(part: Any) -> Iterator[Any]:
    """Pieces of an array or DataFrame: a memory-mapped array is never in memory as a whole."""
    table = is_table(part)
    part = part if table or hasattr(part, "shape") else plain_array(part)
    if not table and part.ndim != 2:
        raise PrimusError(f"the recording has shape {part.shape}; expected [time, 6].")
    for start in range(0, len(part), ROWS):
        yield part.iloc[start : start + ROWS] if table else part[start : start + ROWS]


def _file(source: Source, layout: TableFormat, clock: Clock, need_gyro: bool) -> Iterator[Rows]:
    """Rows of a file with one recording.

    Raises:
        PrimusError: the column of recordings names two.
    """
    names = _OneName(str(source))
    opened = open_source(source, layout, need_gyro=need_gyro)
    for rows in source_rows(opened, clock, ("recording",)):
        names.check(dict.fromkeys(rows.words.get("recording", ())))
        yield rows


class _OneName:
    """The one recording that a column of recordings may name."""

    def __init__(self, where: str) -> None:
        self._where, self._name = where, ""

    def check(self, names: Iterable[str]) -> None:
        """Look at further names.

        Raises:
            PrimusError: two names.
        """
        for name in names:
            if self._name and name and name != self._name:
                raise PrimusError(
                    f"{self._where}: the column of recordings names {self._name!r} and {name!r}; "
                    f"expected one recording at a time."
                )
            self._name = self._name or name
