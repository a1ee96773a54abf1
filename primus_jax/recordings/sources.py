"""A recording in one file, or in a file for each sensor, as rows that hold both sensors."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.bursts import Evener, find_bursts
from primus_jax.recordings.clock import RATE_ROWS, Clock
from primus_jax.recordings.columns import TableFile
from primus_jax.recordings.rows import Rows, file_rows, find_columns, find_gyro
from primus_jax.recordings.sensor_join import SensorJoin, are_events, split_events
from primus_jax.recordings.table_format import FoundColumns, TableFormat


@dataclasses.dataclass(frozen=True)
class SensorFiles:
    """One recording in two files, one for the accelerometer and one for the gyroscope."""

    acc: Path
    gyro: Path

    def __str__(self) -> str:
        """Both files, for a person."""
        return f"{self.acc} and {self.gyro}"


Source = Path | SensorFiles


def files_of(source: Source) -> list[Path]:
    """The files of a recording."""
    return [source.acc, source.gyro] if isinstance(source, SensorFiles) else [source]


@dataclasses.dataclass(frozen=True)
class OpenSource:
    """The tables of a source, with the columns that were found in each.

    Attributes:
        source: what was opened.
        layout: names and units of the columns.
        tables: one, or that of the accelerometer and that of the gyroscope.
        found: their columns.
    """

    source: Source
    layout: TableFormat
    tables: tuple[TableFile, ...]
    found: tuple[FoundColumns, ...]


def open_source(source: Source, layout: TableFormat, *, need_gyro: bool) -> OpenSource:
    """Read the headers of a source, and find the columns of `layout` in them.

    Raises:
        PrimusError: see `rows.find_columns`; two files without times, or for a format without
            gyroscope.
    """
    if not isinstance(source, SensorFiles):
        table, found = find_columns(source, layout, need_gyro=need_gyro)
        return OpenSource(source, layout, (table,), (found,))
    if not layout.gyro:
        raise PrimusError(f"{source}: a file for the gyroscope, and --no-gyro. Leave one out.")
    acc = find_columns(source.acc, dataclasses.replace(layout, gyro=()), need_gyro=False)
    gyro = find_gyro(source.gyro, layout)
    for table, found in (acc, gyro):
        if found.time is None:
            raise PrimusError(
                f"{table.path}: no column of times, by which the two sensors are joined; the file "
                f"has {list(table.names)}. Name it with --time."
            )
    return OpenSource(source, layout, (acc[0], gyro[0]), (acc[1], gyro[1]))


def source_rows(opened: OpenSource, clock: Clock, words: tuple[str, ...] = ()) -> Iterator[Rows]:
    """Yield the rows of a source, some ten thousand at a time.

    Args:
        opened: of `open_source`.
        clock: of its stamps.
        words: which of recording, label, text, subject are read, where the file has them.

    Raises:
        PrimusError: anything wrong with a file, naming it and the row; two files that hold no
            moment in common.
    """
    layout = opened.layout
    parts = list(zip(opened.tables, opened.found, strict=True))
    if len(parts) == 1:
        yield from file_rows(*parts[0], layout, clock, words)
        return
    other = _Following(layout.time_unit, clock)
    sides = [
        _even(file_rows(*part, layout, own, words), layout, own)
        for part, own in zip(parts, (clock, other), strict=True)
    ]
    join, found = SensorJoin(), 0
    while (rows := next(sides[join.behind], None)) is not None:
        both = join.push(join.behind, rows)
        if both is not None:
            found += len(both.raw)
            yield both
    both = join.finish()
    if both is not None:
        found += len(both.raw)
        yield both
    clock.averaged += join.averaged
    clock.evened += other.evened
    clock.joined += found
    if not found:
        raise PrimusError(
            f"{opened.source}: the two sensors have no moment in common. Their times have to come "
            f"from one clock."
        )


class _Following(Clock):
    """The clock of a second file, which counts from the first stamp of another clock."""

    def __init__(self, unit: str, leader: Clock) -> None:
        super().__init__(unit)
        self._leader = leader

    def seconds(self, stamps: np.ndarray, own_unit: str | None = None) -> np.ndarray:
        if bool(own_unit) != self._leader.own:
            raise PrimusError(
                "one of the two files has written times or timestamps, the other has numbers; "
                "expected times of one clock. Name a column that both have with --time."
            )
        self.first = self._leader.first
        return super().seconds(stamps, own_unit)


def settled(parts: Iterable[Rows], layout: TableFormat, clock: Clock) -> Iterator[Rows]:
    """Yield rows of one recording that hold both sensors, at the times of sampling.

    A row for each event becomes a row for both sensors. Times of arrival, in bursts, are evened
    out where the rate is stated.

    Args:
        parts: rows of one recording, in order.
        layout: states the rate.
        clock: counts what was done.

    Raises:
        PrimusError: bursts without a stated rate; two sensors without a moment in common.
    """
    first, rest = _first(parts)
    if first is None:
        return
    if not are_events(first):
        yield from _even(rest, layout, clock)
        return
    if not first.gyro:
        yield from _even((split_events(rows)[0] for rows in rest), layout, clock)
        return
    join, found = SensorJoin(), 0
    eveners = [Evener(layout.rate_hz), Evener(layout.rate_hz)]
    for rows in rest:
        for sensor, part in enumerate(split_events(rows)):
            _refuse_bursts(part, layout)
            even = eveners[sensor].push(part)
            both = None if even is None else join.push(sensor, even)
            if both is not None:
                found += len(both.raw)
                yield both
    for sensor, evener in enumerate(eveners):
        even = evener.finish()
        both = None if even is None else join.push(sensor, even)
        if both is not None:
            found += len(both.raw)
            yield both
        clock.evened += evener.rows
    both = join.finish()
    if both is not None:
        found += len(both.raw)
        yield both
    clock.averaged += join.averaged
    clock.joined += found
    if not found:
        raise PrimusError(
            f"{first.name(0)} and below: no row holds both sensors, and they have no moment in "
            f"common."
        )


def _first(parts: Iterable[Rows]) -> tuple[Rows | None, Iterator[Rows]]:
    """The first rows that there are, and all rows."""
    iterator = iter(parts)
    first = next((rows for rows in iterator if len(rows.raw)), None)

    def rest() -> Iterator[Rows]:
        if first is not None:
            yield first
            yield from iterator

    return first, rest()


def _even(parts: Iterable[Rows], layout: TableFormat, clock: Clock) -> Iterator[Rows]:
    """Rows whose times of arrival were evened out."""
    evener, number = Evener(layout.rate_hz), 0
    for rows in parts:
        if not number:
            _refuse_bursts(rows, layout)
        number += len(rows.raw)
        even = evener.push(rows)
        if even is not None:
            yield even
    even = evener.finish()
    if even is not None:
        yield even
    clock.evened += evener.rows


def _refuse_bursts(rows: Rows, layout: TableFormat) -> None:
    """Refuse bursts of rows whose rate nobody stated.

    Raises:
        PrimusError: with the rate that they make up.
    """
    if layout.rate_hz is not None or rows.time is None or len(rows.raw) < 2:
        return
    again = (np.diff(rows.time) == 0) & (rows.raw[1:] == rows.raw[:-1]).all(1)
    bursts = find_bursts(rows.time[np.append(True, ~again)][:RATE_ROWS])
    if bursts:
        raise PrimusError(
            f"{rows.name(0)} and below: {bursts}. These are times of arrival, not of sampling. "
            f"State the rate that was set, such as --rate {round(bursts.rate_hz)}: the times are "
            f"then evened out."
        )
