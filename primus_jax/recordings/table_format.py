"""Names, units and rate of the columns of a table of recordings."""

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.clock import TIME_UNITS
from primus_jax.recordings.dialect import TextOptions
from primus_jax.window import ACC_UNITS, GYRO_UNITS

OPTIONAL = {"recording": "recording", "label": "label", "text": "text", "subject": "subject"}


@dataclasses.dataclass(frozen=True)
class TableFormat:
    """Names, units and rate of the columns.

    Attributes:
        acc: three columns, gravity included: +1 g upwards at rest. In a name of a column, here and
            below, `*` stands for any characters.
        gyro: three columns, or () where there is no gyroscope.
        time: column of times; "" takes the column `time` if the file has one; None means that there
            is none. Without it the rows are `1 / rate_hz` apart.
        time_unit: s, ms, us, ns or days; written times and timestamps state their own.
        rate_hz: samples a second; measured from the times if None.
        acc_unit: a key of `window.ACC_UNITS`.
        gyro_unit: a key of `window.GYRO_UNITS`.
        scale_acc: one count of accelerometer and gravity in `acc_unit`, such as 1 / 16384.
        scale_gyro: one count of the gyroscope in `gyro_unit`.
        gravity: three columns, in `acc_unit`, added to `acc` (userAcceleration, linear
            acceleration); () where gravity is in `acc`.
        invert_acc: change the sign of the accelerometer, gravity added: Apple reports -1 g upwards.
        separate: each sensor has a file of its own, so that names of columns may repeat.
        text: how a CSV file is written, as far as it is stated.
        names: mapped columns for recording, label, text, subject; the column of that same name is
            taken where none is mapped and the file has it.
    """

    acc: tuple[str, ...] = ("acc_x", "acc_y", "acc_z")
    gyro: tuple[str, ...] = ("gyro_x", "gyro_y", "gyro_z")
    time: str | None = ""
    time_unit: str = "s"
    rate_hz: float | None = None
    acc_unit: str = "m/s2"
    gyro_unit: str = "rad/s"
    gravity: tuple[str, ...] = ()
    invert_acc: bool = False
    scale_acc: float = 1.0
    scale_gyro: float = 1.0
    separate: bool = False
    text: TextOptions = dataclasses.field(default_factory=TextOptions)
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.acc) != 3 or len(self.gyro) not in (0, 3) or len(self.gravity) not in (0, 3):
            raise PrimusError(
                f"acc {list(self.acc)}, gyro {list(self.gyro)}, gravity {list(self.gravity)}; "
                f"expected three accelerometer columns, and three or no columns of the others."
            )
        time = [self.time] if self.time else []
        files = [[*self.acc, *self.gyro, *self.gravity, *time]]
        if self.separate:
            files = [[*columns, *time] for columns in (self.acc, self.gyro, self.gravity)]
        named = next((names for names in files if len(set(names)) < len(names)), [])
        twice = [name for name in named if named.count(name) > 1]
        if twice:
            raise PrimusError(
                f"column {twice[0]!r} is named {named.count(twice[0])} times among acc "
                f"{list(self.acc)}, gyro {list(self.gyro)}, gravity {list(self.gravity)} and time; "
                f"expected a column of its own for each."
            )
        for value, known in (
            (self.time_unit, TIME_UNITS),
            (self.acc_unit, ACC_UNITS),
            (self.gyro_unit, GYRO_UNITS),
        ):
            if value not in known:
                raise PrimusError(f"unit {value!r}; expected one of {list(known)}.")
        for scale in (self.scale_acc, self.scale_gyro):
            if not (np.isfinite(scale) and scale > 0):
                raise PrimusError(f"a scale of {scale!r}; expected a positive number.")
        if self.rate_hz is not None and not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise PrimusError(f"--rate {self.rate_hz!r}; expected a positive number of Hz.")

    def columns(self, present: Sequence[str], where: str, *, need_gyro: bool) -> "FoundColumns":
        """Find the columns in a file or table that has the columns `present`.

        Args:
            present: their names.
            where: names the file or table for a person.
            need_gyro: whether a table without any gyroscope column is refused.

        Raises:
            PrimusError: a missing column, or neither times nor a rate.
        """
        if any("*" in name for name in self._named()):
            return self._filled(present, where).columns(present, where, need_gyro=need_gyro)
        self._refuse_repeated(present, where)
        gyro = self.gyro if set(self.gyro) & set(present) else ()
        if self.gyro and not gyro and need_gyro:
            raise PrimusError(
                f"{where}: no gyroscope columns {list(self.gyro)}; the file has {list(present)}. "
                f"Name them with --gyro, or pass --no-gyro."
            )
        time = self._time(present)
        if time is None and self.rate_hz is None:
            raise PrimusError(
                f"{where}: unknown rate. Give --rate, or name the column of times with --time."
            )
        words = {key: self.names.get(key, "") for key in OPTIONAL}
        words = {key: name or OPTIONAL[key] for key, name in words.items()}
        words = {k: name for k, name in words.items() if self.names.get(k) or name in present}
        wanted = [*self.acc, *gyro, *self.gravity, *([time] if time else []), *words.values()]
        _refuse_missing(wanted, present, where)
        return FoundColumns(self.acc, gyro, self.gravity, time, words)

    def gyro_columns(self, present: Sequence[str], where: str) -> "FoundColumns":
        """Find the columns of a file that holds the gyroscope (or gravity) alone.

        Raises:
            PrimusError: a missing column.
        """
        if any("*" in name for name in self._named()):
            return self._filled(present, where).gyro_columns(present, where)
        self._refuse_repeated(present, where)
        time = self._time(present)
        _refuse_missing([*self.gyro, *([time] if time else [])], present, where)
        return FoundColumns((), self.gyro, (), time, {})

    def _named(self) -> list[str]:
        """All names of columns of sensors and times."""
        return [*self.acc, *self.gyro, *self.gravity, *([self.time] if self.time else [])]

    def _filled(self, present: Sequence[str], where: str) -> "TableFormat":
        """The format with the names of a file in the place of patterns.

        Raises:
            PrimusError: a pattern that fits two names.
        """
        filled = {}
        for name in self._named():
            fitting = [other for other in present if fnmatch.fnmatchcase(other, name)]
            if "*" in name and len(fitting) > 1:
                raise PrimusError(
                    f"{where}: the columns {fitting} fit {name!r}; expected one. Name it in full."
                )
            # a name that fits nothing is missing, and stays as it is
            filled[name] = fitting[0] if "*" in name and fitting else name.replace("*", "…")
        return dataclasses.replace(
            self,
            acc=tuple(filled[name] for name in self.acc),
            gyro=tuple(filled[name] for name in self.gyro),
            gravity=tuple(filled[name] for name in self.gravity),
            time=filled[self.time] if self.time else self.time,
        )

    def _time(self, present: Sequence[str]) -> str | None:
        """The column of times."""
        return self.time if self.time != "" else "time" if "time" in present else None

    def _refuse_repeated(self, present: Sequence[str], where: str) -> None:
        """Refuse a name that several columns have, where it would be read."""
        usual = [self.names.get(key) or name for key, name in OPTIONAL.items()]
        for name in (*self.acc, *self.gyro, *self.gravity, self.time or "time", *usual):
            if f"{name}#1" in present:
                raise PrimusError(
                    f"{where}: column {name!r} appears twice. Name the one that is meant: "
                    f"{name}#1 is the first, {name}#2 the second."
                )


def _refuse_missing(wanted: Sequence[str], present: Sequence[str], where: str) -> None:
    """Refuse a file without a column that is wanted."""
    missing = [name for name in wanted if name not in present]
    if missing:
        raise PrimusError(
            f"{where}: no column {missing[0]!r}; the file has {list(present)}. `primus-jax "
            f"inspect` prints what the columns are and the command to run."
        )


@dataclasses.dataclass(frozen=True)
class FoundColumns:
    """The columns of one file: `gyro` is () where it has none, `time` None where rows are even,
    `words` the columns of recording, label, text and subject that it has."""

    acc: tuple[str, ...]
    gyro: tuple[str, ...]
    gravity: tuple[str, ...]
    time: str | None
    words: Mapping[str, str]

    @property
    def numeric(self) -> tuple[str, ...]:
        """The columns of numbers, without the times."""
        return (*self.acc, *self.gyro, *self.gravity)


def format_to_row(layout: TableFormat) -> dict[str, Any]:
    """The format as JSON."""
    return dataclasses.asdict(dataclasses.replace(layout, names=dict(layout.names)))


def format_from_row(row: Mapping[str, Any]) -> TableFormat:
    """What `format_to_row` gave.

    Raises:
        PrimusError: an impossible value.
        TypeError: an unknown name, or a value of another kind.
    """
    names: dict[str, Any] = {key: tuple(row[key]) for key in ("acc", "gyro", "gravity")}
    if not all(isinstance(name, str) for columns in names.values() for name in columns):
        raise TypeError(f"columns {names}; expected names")
    words, text = row.get("names", {}), row.get("text", {})
    if not (isinstance(words, dict) and all(isinstance(word, str) for word in words.values())):
        raise TypeError(f"names {words!r}; expected columns by recording, label, text, subject")
    if not isinstance(text, dict):
        raise TypeError(f"text {text!r}; expected options by name")
    if not isinstance(row.get("invert_acc", False), bool):
        raise TypeError(f"invert_acc {row['invert_acc']!r}; expected true or false")
    return TableFormat(**{**row, **names, "text": TextOptions(**text)})
