"""A recording in one file, or in a file for each sensor, as rows that hold both sensors."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
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
    """One recording in a file for each sensor.

    Attributes:
        acc: the accelerometer.
        gyro: the gyroscope; None where there is none.
        gravity: what is added to an accelerometer without it; None where gravity is in it.
        name: of the recording; "" where the files do not name it.
    """

    acc: Path
    gyro: Path | None = None
    gravity: Path | None = None
    name: str = ""

    def __str__(self) -> str:
        """The files, for a person."""
        return " and ".join(map(str, files_of(self)))


Source = Path | SensorFiles


def files_of(source: Source) -> list[Path]:
    """The files of a recording, that of the accelerometer first."""
    if not isinstance(source, SensorFiles):
        return [source]
    return [path for path in (source.acc, source.gyro, source.gravity) if path is not None]


@dataclasses.dataclass(frozen=True)
class _Part:
    """One table of a source, with its columns, and the format by which they are read."""

    table: TableFile
    found: FoundColumns
    layout: TableFormat


@dataclasses.dataclass(frozen=True)
class OpenSource:
    """The tables of a source.

    Attributes:
        source: what was opened.
        main: the one table, or that of the accelerometer.
        gravity: that of gravity, or None.
        gyro: that of the gyroscope, or None.
    """

    source: Source
    main: _Part
    gravity: _Part | None = None
    gyro: _Part | None = None


def open_source(source: Source, layout: TableFormat, *, need_gyro: bool) -> OpenSource:
    """Read the headers of a source, and find the columns of `layout` in them.

    Raises:
        PrimusError: see `rows.find_columns`; several files without times, or a file for a sensor
            that `layout` lacks; one file for a format of several.
    """
    if not isinstance(source, SensorFiles):
        if layout.separate:
            raise PrimusError(
                f"{source}: the format has a file for each sensor. Give --acc-file and --gyro-file "
                f"(and --gravity-file where gravity is apart)."
            )
        return OpenSource(source, _Part(*find_columns(source, layout, need_gyro=need_gyro), layout))
    for path, columns, name in (
        (source.gyro, layout.gyro, "gyro"),
        (source.gravity, layout.gravity, "gravity"),
    ):
        if (path is None) == bool(columns) and (columns or name == "gravity" or need_gyro):
            has = "has no file" if path is None else "has a file"
            raise PrimusError(
                f"{source}: {name} {has}, and its columns are {list(columns)}. Give both "
                f"--{name}-file and --{name}, or neither (--no-gyro for the gyroscope)."
            )
    alone = dataclasses.replace(layout, gyro=(), gravity=())
    main = _Part(*find_columns(source.acc, alone, need_gyro=False), alone)
    gyro = gravity = None
    if source.gyro is not None and layout.gyro:
        gyro = _Part(*find_gyro(source.gyro, layout), layout)
    if source.gravity is not None:
        apart = dataclasses.replace(alone, gyro=layout.gravity, scale_gyro=layout.scale_acc)
        gravity = _Part(*find_gyro(source.gravity, apart, units=False), apart)
    for part in (main, gyro, gravity):
        if part is not None and part.found.time is None:
            raise PrimusError(
                f"{part.table.path}: no column of times, by which the sensors are joined; the file "
                f"has {list(part.table.names)}. Name it with --time."
            )
    return OpenSource(source, main, gravity, gyro)


def source_rows(
    opened: OpenSource,
    clock: Clock,
    words: tuple[str, ...] = (),
    targets: Sequence[str] = (),
) -> Iterator[Rows]:
    """Yield the rows of a source, some ten thousand at a time.

    Args:
        opened: of `open_source`.
        clock: of its stamps.
        words: which of recording, label, text, subject are read, where the file has them.
        targets: columns of numbers to predict; rows that are joined from two sensors have none.

    Raises:
        PrimusError: anything wrong with a file, naming it and the row; files that hold no moment
            in common.
    """
    main = opened.main
    rows = file_rows(main.table, main.found, main.layout, clock, words, targets)
    if not isinstance(opened.source, SensorFiles):
        yield from rows
        return
    rows = _even(rows, main.layout, clock)
    if opened.gravity is not None:
        both = _joined(rows, _others(opened.gravity, clock), opened.source, clock)
        rows = (_with_gravity(part, main.layout) for part in both)
    if opened.gyro is not None:
        rows = _joined(rows, _others(opened.gyro, clock), opened.source, clock)
    yield from rows


def _others(part: _Part, clock: Clock) -> Iterator[Rows]:
    """Rows of a second file, whose times count from the first stamp of `clock`."""
    own = _Following(part.layout.time_unit, clock)
    yield from _even(file_rows(part.table, part.found, part.layout, own), part.layout, own)
    clock.evened += own.evened


def _with_gravity(rows: Rows, layout: TableFormat) -> Rows:
    """Gravity, which stands in the place of the gyroscope, added to the accelerometer."""
    raw = rows.raw.copy()
    raw[:, :3] += raw[:, 3:] * (-1.0 if layout.invert_acc else 1.0)
    raw[:, 3:] = 0.0
    return rows._replace(raw=raw, gyro=False)


def _joined(
    first: Iterator[Rows], second: Iterator[Rows], source: Source, clock: Clock
) -> Iterator[Rows]:
    """Rows that hold the sensors of two files."""
    join, found = SensorJoin(), 0
    sides = (first, second)
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
    clock.joined += found
    if not found:
        raise PrimusError(
            f"{source}: the sensors have no moment in common. Their times have to come from one "
            f"clock."
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
            f"{rows.name(0)} and below: {bursts}. Either the clock is too coarse, or these are "
            f"times of arrival. State the rate that was set, such as --rate "
            f"{round(bursts.rate_hz)}: the times are then evened out."
        )
