"""Written dates and times -> nanoseconds, as loggers and spreadsheets write them."""

import datetime
import re
import zoneinfo
from collections.abc import Callable, Sequence

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.cells import is_missing

DATE_ORDERS = ("dmy", "mdy")
_TIME = r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,:](\d{1,9})\d*)?)?"
_ZONE = r"\s*(Z|UTC|[+-]\d{2}:?\d{2})?(?:\[[\w/+-]+\])?"
_YEAR_FIRST = re.compile(rf"(\d{{4}})[-/.](\d{{1,2}})[-/.](\d{{1,2}})[T ]\s*{_TIME}{_ZONE}")
_YEAR_LAST = re.compile(
    rf"(\d{{1,2}})[-/.](\d{{1,2}})[-/.](\d{{4}})[T ]\s*{_TIME}\s*([AaPp][Mm])?{_ZONE}"
)
_CLOCK = re.compile(rf"{_TIME}\s*([AaPp][Mm])?")
_SECOND, _DAY = 1_000_000_000, 86_400_000_000_000
_EPOCH = datetime.date(1970, 1, 1).toordinal()


class WrittenTimes:
    """Cells of one column, block by block -> int64 nanoseconds.

    ISO 8601 with or without zone, day/month/year or month/day/year, and times of day, which go on
    past midnight. Times with a zone count from 1970 in UTC; others by the wall clock, or in UTC if
    `zone` is given.

    Args:
        where: names the column for a person.
        order: "dmy" or "mdy" for dates with the year last; "" finds it, and refuses dates that
            could be both.
        zone: name of a time zone, such as Europe/Berlin, or "".

    Raises:
        PrimusError: an unknown zone.
    """

    def __init__(self, where: str, order: str = "", zone: str = "") -> None:
        self._where, self._order = where, order
        self._days: dict[tuple[int, int, int], int] = {}
        self._offsets: dict[tuple[int, int, int, int, int], int] = {}
        self._midnights, self._last = 0, 0
        self._zone: zoneinfo.ZoneInfo | None = None
        if zone:
            try:
                self._zone = zoneinfo.ZoneInfo(zone)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
                raise PrimusError(
                    f"--time-zone {zone}: not a known zone; expected a name such as Europe/Berlin."
                ) from error

    def read(self, cells: Sequence[str], refuse: Callable[[int], None]) -> np.ndarray:
        """Return nanoseconds int64 `[cells]`, or object with None where some are missing.

        Args:
            cells: of the column, in order.
            refuse: raises for the cell of an index, which is neither missing nor a time.

        Raises:
            PrimusError: dates whose order is unknown.
        """
        if not self._order:
            self._find_order(cells)
        found: list[int | None] = []
        for index, cell in enumerate(cells):
            value = None if is_missing(cell) else self._one(cell.strip())
            if value is None and not is_missing(cell):
                refuse(index)
            found.append(value)
        if None in found:
            return np.array(found, object)
        return np.array(found, np.int64)

    def _find_order(self, cells: Sequence[str]) -> None:
        dates = [m for m in map(_YEAR_LAST.fullmatch, map(str.strip, cells)) if m]
        if not dates:
            self._order = "ymd"
            return
        first, second = (max(int(m[k]) for m in dates) for k in (1, 2))
        if first <= 12 and second <= 12:
            raise PrimusError(
                f"{self._where}: {dates[0][0]!r} is day/month or month/day. State it with "
                f"--time-format dmy or --time-format mdy."
            )
        self._order = "dmy" if first > 12 else "mdy"

    def _one(self, cell: str) -> int | None:
        if match := _YEAR_FIRST.fullmatch(cell):
            year, month, day, *time, zone = match.groups()
            return self._moment((int(year), int(month), int(day)), (*time, None), zone)
        if match := _YEAR_LAST.fullmatch(cell):
            one, two, year, *time, half, zone = match.groups()
            day, month = (one, two) if self._order == "dmy" else (two, one)
            return self._moment((int(year), int(month), int(day)), (*time, half), zone)
        if match := _CLOCK.fullmatch(cell):
            *time, half = match.groups()
            within = _of_day((*time, half))
            return None if within is None else self._since_first_midnight(within)
        return None

    def _since_first_midnight(self, within: int) -> int:
        """A time of day; one that is twelve hours earlier than the last is of the next day."""
        if within + self._midnights < self._last - _DAY // 2:
            self._midnights += _DAY
        self._last = within + self._midnights
        return self._last

    def _moment(
        self, date: tuple[int, int, int], time: Sequence[str | None], zone: str | None
    ) -> int | None:
        within = _of_day(time)
        if date not in self._days:
            try:
                self._days[date] = datetime.date(*date).toordinal() - _EPOCH
            except ValueError:
                return None
        if within is None:
            return None
        wall = self._days[date] * _DAY + within
        if zone is not None:
            return wall - _offset(zone)
        if self._zone is None:
            return wall
        return self._last_in_zone(date, wall)

    def _last_in_zone(self, date: tuple[int, int, int], wall: int) -> int:
        """In UTC; of the two moments of an hour that comes twice, the one that goes on."""
        minutes = wall % _DAY // (60 * _SECOND)
        moments = []
        for fold in (0, 1):
            key = (*date, minutes, fold)
            if key not in self._offsets:
                hour, minute = divmod(minutes, 60)
                local = datetime.datetime(*date, hour, minute, tzinfo=self._zone, fold=fold)
                offset = local.utcoffset() or datetime.timedelta()
                self._offsets[key] = round(offset.total_seconds()) * _SECOND
            moments.append(wall - self._offsets[key])
        chosen = moments[0] if moments[0] >= self._last else moments[1]
        self._last = chosen
        return chosen


def _of_day(time: Sequence[str | None]) -> int | None:
    """Nanoseconds after midnight, or None for a time that does not exist."""
    hour, minute, second, fraction, half = time
    hours, minutes, seconds = int(hour or 0), int(minute or 0), int(second or 0)
    if half:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if half.lower() == "pm" else 0)
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return (hours * 3600 + minutes * 60 + seconds) * _SECOND + int((fraction or "0").ljust(9, "0"))


def _offset(zone: str) -> int:
    if zone in ("Z", "UTC"):
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    return (-1 if zone[0] == "-" else 1) * (hours * 3600 + minutes * 60) * _SECOND
