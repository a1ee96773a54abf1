"""A table of unknown columns -> a format that reads it, with the reasons, for a person."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.apps import APPS
from primus_jax.recordings.bursts import find_bursts
from primus_jax.recordings.clock import RATE_ROWS, Clock
from primus_jax.recordings.columns import Columns, TableFile, column_batches, open_table
from primus_jax.recordings.evidence import unit_of_acc, unit_of_gyro, unit_of_names, unit_of_times
from primus_jax.recordings.plausible import stretches
from primus_jax.recordings.roles import Roles, guess_roles
from primus_jax.recordings.sensor_rows import refuse_shared
from primus_jax.recordings.table_format import TableFormat
from primus_jax.window import ACC_UNITS, GYRO_UNITS


@dataclasses.dataclass
class Inspection:
    """What a table holds.

    Attributes:
        layout: a format that reads it; None where no accelerometer was found.
        app: name of the app that exported it, or "".
        lines: (what, finding) for a person.
        label: whether there is a column of labels.
    """

    layout: TableFormat | None = None
    app: str = ""
    lines: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    label: bool = False

    def add(self, what: str, finding: str) -> None:
        """Note a finding."""
        self.lines.append((what, finding))


def recognised(path: Path) -> str:
    """The name of the app that exported a folder, or ""."""
    return next((name for name, app in APPS.items() if app.recognises_folder(path)), "")


def inspect_table(path: Path, stated: TableFormat, given: frozenset[str]) -> Inspection:
    """Find out how a table is written, and what its columns are.

    Args:
        path: CSV, Parquet or a device's own file.
        stated: what the person stated.
        given: fields of `stated` that were stated, and are not guessed.

    Raises:
        PrimusError: not a table, or one whose columns hold readings of several sensors.
    """
    result = Inspection()
    wanted = [name for name in stated.acc if "*" not in name] if "acc" in given else []
    table = open_table(path, stated.text, wanted)
    _text(table, result)
    roles = guess_roles(table.names)
    acc = stated.acc if "acc" in given else roles.acc
    if not given & {"acc", "time", "acc_unit"} and (name := _app(table)):
        result.app = name
        result.add("app", f"{APPS[name].title}, by the names of its columns")
        _, found = APPS[name].find([path])
        result.layout = found
        added = f"; gravity {' '.join(found.gravity)} is added" if found.gravity else ""
        result.add("accelerometer", f"{' '.join(found.acc)}, {found.acc_unit}{added}")
        result.add(
            "gyroscope", f"{' '.join(found.gyro)}, {found.gyro_unit}" if found.gyro else "none"
        )
        result.add("sign", APPS[name].signs)
        result.add("time", APPS[name].clock)
        result.label = "label" in roles.words
        return result
    if not acc:
        holds = "a gyroscope alone" if roles.gyro else "no accelerometer"
        result.add("columns", f"{holds} by their names, among {list(table.names)}")
        return result
    if table.dialect is not None:
        refuse_shared(table.dialect.sensors, acc, str(path))
    gyro = stated.gyro if "gyro" in given else roles.gyro
    gravity = stated.gravity if "gravity" in given else roles.gravity if roles.linear else ()
    layout = dataclasses.replace(
        stated, acc=tuple(acc), gyro=tuple(gyro), gravity=tuple(gravity), names=roles.words
    )
    first = _first_rows(table, layout, [*roles.times, *([stated.time] if stated.time else [])])
    layout, rate = _clock(first, layout, roles, given, result)
    result.layout = _units(first, table, layout, roles, rate, given, result)
    result.label = "label" in roles.words
    for role, name in sorted(roles.words.items()):
        result.add(role, f"column {name!r}")
    return result


def _app(table: TableFile) -> str:
    """The name of the app that exported a table, or ""."""
    return next((name for name, app in APPS.items() if app.recognises(table.names)), "")


def _text(table: TableFile, result: Inspection) -> None:
    """How the file is written."""
    dialect = table.dialect
    if dialect is not None:
        plain = [f"encoding {dialect.encoding}", f"decimal mark {dialect.decimal!r}"]
        header = f"column names in line {dialect.header_line}" if dialect.header_line else ""
        found = [part for part in dialect.found() if "column names" not in part]
        delimiter = "columns separated by comma" if dialect.delimiter == "," else ""
        result.add("text", "; ".join(filter(None, [*plain, delimiter, header, *found])))
    result.add("columns", f"{len(table.names)}: {', '.join(table.names)}")


def _first_rows(table: TableFile, layout: TableFormat, times: list[str]) -> Columns:
    """The first rows, with every column that may hold times."""
    numeric = list(dict.fromkeys([*layout.acc, *layout.gyro, *layout.gravity]))
    present = [name for name in dict.fromkeys(times) if name in table.names and name not in numeric]
    usable = []
    for name in present:
        try:
            next(column_batches(table, [], [], [name]))
            usable.append(name)
        except PrimusError:
            # a column of words whose name sounds like times
            continue
    return next(column_batches(table, numeric, [], usable))


def _clock(
    first: Columns, layout: TableFormat, roles: Roles, given: frozenset[str], result: Inspection
) -> tuple[TableFormat, float]:
    """The column of times and its unit, and the rate of the first rows (NaN if unknown)."""
    names = [layout.time] if "time" in given and layout.time else list(roles.times)
    if "time" in given and layout.time is None:
        names = []
    for name in names:
        stamps = first.numbers.get(name)
        if stamps is None:
            continue
        # A table with a row for each event has rows of other sensors between.
        read = np.isfinite(first.numbers[layout.acc[0]])
        stamps, own = stamps[read][:RATE_ROWS], first.own_units.get(name)
        unit, rate = unit_of_times(stamps, own)
        if "time_unit" in given:
            unit = layout.time_unit
        if not unit:
            continue
        clock = Clock(unit)
        time = clock.seconds(stamps, own)
        written = "written times or timestamps" if own else f"numbers in {unit}"
        result.add("time", f"column {name!r}: {written}, {rate:.4g} rows a second")
        layout = dataclasses.replace(layout, time=name, time_unit="s" if own else unit)
        bursts = find_bursts(time)
        if bursts:
            result.add("time", f"{bursts}: times of arrival")
            if "rate_hz" not in given:
                rate = float(round(bursts.rate_hz))
                layout = dataclasses.replace(layout, rate_hz=rate)
        return layout, rate
    if "rate_hz" in given:
        return dataclasses.replace(layout, time=None), float(layout.rate_hz or np.nan)
    result.add("time", "no column whose steps give 10 to 5,000 rows a second: state --rate")
    return dataclasses.replace(layout, time=None), float("nan")


def _units(
    first: Columns,
    table: TableFile,
    layout: TableFormat,
    roles: Roles,
    rate_hz: float,
    given: frozenset[str],
    result: Inspection,
) -> TableFormat:
    """Units of accelerometer and gyroscope, with the evidence."""
    rows = dict(table.dialect.units) if table.dialect else {}
    raw = np.stack([first.numbers[name] for name in layout.acc], 1)
    if layout.gravity:
        raw = raw + np.stack([first.numbers[name] for name in layout.gravity], 1)
    rate = rate_hz if np.isfinite(rate_hz) else 50.0
    unit, why = unit_of_names(layout.acc, rows)
    number, scale, seen = unit_of_acc(raw, rate)
    changed: dict[str, Any] = {}
    if "acc_unit" in given:
        unit, why = layout.acc_unit, "the option"
    elif unit not in ACC_UNITS:
        unit, why = number, "the numbers"
        if scale != 1.0 and "scale_acc" not in given:
            changed["scale_acc"] = scale
    sensor = f"{' '.join(layout.acc)}, {roles.why.get('acc', 'as stated')}"
    if layout.gravity:
        sensor += f"; gravity {' '.join(layout.gravity)} is added"
    result.add("accelerometer", f"{sensor}; {unit or 'unknown unit'}, by {why}")
    result.add("gravity", seen)
    changed["acc_unit"] = unit or layout.acc_unit
    if unit and "invert_acc" not in given:
        axis = stretches(raw * ACC_UNITS[unit] * scale, rate).opposite()
        if axis:
            result.add("sign", f"-1 g along {axis} at rest: Apple's sign, or upside down")
    if layout.gyro:
        turning = np.stack([first.numbers[name] for name in layout.gyro], 1)
        unit, why = unit_of_names(layout.gyro, rows)
        if "gyro_unit" in given:
            unit, why = layout.gyro_unit, "the option"
        elif unit not in GYRO_UNITS:
            unit, why = unit_of_gyro(turning)
        sensor = f"{' '.join(layout.gyro)}, {roles.why.get('gyro', 'as stated')}"
        taken = unit or f"{layout.gyro_unit} is taken"
        result.add("gyroscope", f"{sensor}; {taken}: {why}")
        changed["gyro_unit"] = unit or layout.gyro_unit
    else:
        result.add("gyroscope", "none")
    return dataclasses.replace(layout, **changed)
