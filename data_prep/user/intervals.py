"""Labels as intervals: a CSV file with recording, start, end, label, or an annotation tool's."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_prep.user.annotation_tools import Row, boris, elan, label_studio, text_rows
from primus_jax.errors import PrimusError
from primus_jax.recordings.cells import word
from primus_jax.recordings.clock import TIME_UNITS, Clock
from primus_jax.recordings.columns import read_columns
from primus_jax.recordings.written_times import WrittenTimes

OUTSIDE_INTERVALS = "intervals outside their recording"
# Stamps in seconds above this count from 1970.
_SINCE_1970 = 1e8


def read_intervals(paths: Sequence[Path], tier: str = "") -> "Intervals":
    """Read intervals from files of any of the kinds.

    Args:
        paths: CSV, ELAN's tab text, BORIS's CSV, or Label Studio's JSON. A file that names no
            recording is about the one of its own name, or about the only one.
        tier: the layer to read, where the files have several.

    Raises:
        PrimusError: another kind of file, a row without a time or label, or several layers.
    """
    rows: list[Row] = []
    for path in paths:
        if not path.is_file():
            raise PrimusError(f"{path}: no such file.")
        found = list(_rows(path))
        if not found:
            raise PrimusError(f"{path}: holds no interval with a label.")
        rows += [row if row.recording else row._replace(recording=f"?{path.stem}") for row in found]
    tiers = sorted({row.tier for row in rows})
    if tier:
        if tier not in tiers:
            raise PrimusError(f"--tier {tier}: the files have {tiers}.")
        rows = [row for row in rows if row.tier == tier]
    elif len(tiers) > 1:
        raise PrimusError(f"the intervals have the layers {tiers}; name one with --tier.")
    return Intervals(rows)


def _rows(path: Path) -> list[Row]:
    """The rows of one file, by its kind."""
    if path.suffix.lower() == ".json":
        return list(label_studio(path))
    lines, _ = text_rows(path)
    head = next((line for line in lines if line.strip()), "")
    for line in lines[:60]:
        for delimiter in (",", "\t", ";"):
            cells = [cell.strip().strip('"') for cell in line.split(delimiter)]
            if "Behavior" in cells and ({"Start (s)", "Time"} & set(cells)):
                return list(boris(path, lines, delimiter))
    plain = {
        cell.strip().strip('"') for cell in head.replace(";", ",").replace("\t", ",").split(",")
    }
    if {"start", "end", "label"} <= plain:
        return _plain(path, named="recording" in plain)
    if "\t" in head:
        return list(elan(path, lines))
    raise PrimusError(
        f"{path}, line 1: {head[:80]!r}; expected columns recording, start, end, label, or an "
        f"export of ELAN (tab-delimited text), BORIS (CSV) or Label Studio (JSON)."
    )


def _plain(path: Path, *, named: bool) -> list[Row]:
    """Rows of a CSV file; written times are stamps, numbers are seconds."""
    wanted = ["start", "end", "label", *(["recording"] if named else [])]
    table = read_columns(path, [], wanted)
    rows = []
    for index, (start, end, label) in enumerate(
        zip(*(table.text[name] for name in ("start", "end", "label")), strict=True)
    ):
        where, recording = table.row(index), table.text["recording"][index] if named else ""
        if not label or (named and not recording):
            raise PrimusError(f"{where}: expected a label{' and a recording' * named}.")
        if ":" in start:
            rows.append(Row(recording, start, end, label, "", where, stamps=True))
            continue
        try:
            times = float(start.replace(",", ".")), float(end.replace(",", "."))
        except ValueError:
            raise PrimusError(
                f"{where}: {start!r} to {end!r}; expected seconds after the first sample, or "
                f"written times."
            ) from None
        rows.append(Row(recording, *times, label, "", where, stamps=False))
    return rows


@dataclasses.dataclass
class Intervals:
    """Labelled stretches of recordings.

    Attributes:
        rows: as read; a recording that begins with "?" is that of a file which names none.
    """

    rows: list[Row]

    def of(self, name: str, *, alone: bool) -> list[Row]:
        """The intervals of a recording.

        Args:
            name: of the recording.
            alone: whether there is no other, so that files that name none are about it.
        """
        short = name.rsplit("/", 1)[-1]
        own = (name, short, f"?{name}", f"?{short}")
        return [
            row for row in self.rows if row.recording in own or (alone and row.recording[:1] == "?")
        ]

    def labels(
        self,
        rows: Sequence[Row],
        time: np.ndarray,
        origin: float,
        clock: Clock,
        drops: Counter[str],
    ) -> np.ndarray:
        """Return a label for each row of a recording, object `[rows]`, "" outside all intervals.

        Args:
            rows: of `of`.
            time: float64 `[rows]`, seconds after the first row.
            origin: of the first row, seconds after the clock's first stamp.
            clock: of the recording's stamps.
            drops: counts intervals outside the recording.

        Raises:
            PrimusError: an end before its start, or two labels at one time.
        """
        result = np.full(len(time), "", object)
        spans = [(*_span(row, origin, clock, time), row) for row in rows]
        spans.sort(key=lambda span: span[:2])
        last: tuple[float, Row] | None = None
        for start, end, row in spans:
            if not end > start:
                raise PrimusError(
                    f"{row.where}: ends at {row.end}, not after its start {row.start}."
                )
            if last and start < last[0] - 1e-6 and row.label != last[1].label:
                raise PrimusError(
                    f"{row.where}: {row.label!r} begins before {last[1].label!r} ends "
                    f"({last[1].where}); expected one label at a time."
                )
            inside = (time >= start) & (time < end)
            drops[OUTSIDE_INTERVALS] += not inside.any()
            result[inside] = word(row.label)
            if last is None or end > last[0]:
                last = end, row
        return result


def _span(row: Row, origin: float, clock: Clock, time: np.ndarray) -> tuple[float, float]:
    """Start and end in seconds after the first row."""
    if not row.stamps:
        return float(row.start), float(row.end)
    start, end = (_after_first(stamp, row, clock, time) - origin for stamp in (row.start, row.end))
    return start, end


def _after_first(stamp: float | str, row: Row, clock: Clock, time: np.ndarray) -> float:
    """Seconds of a stamp after the clock's first stamp."""
    if clock.first is None:
        # Label Studio counts samples where there is no column of times
        period = time[1] - time[0] if len(time) > 1 else 0.0
        return float(stamp) * period
    scale = TIME_UNITS[clock.unit]
    if isinstance(stamp, str):
        try:
            return (float(stamp) - float(clock.first)) * scale
        except ValueError:
            moment = _moment(stamp, row)
    elif clock.own:
        # numbers beside written times are those of JavaScript, ms since 1970
        moment = round(stamp * 1e6)
    else:
        return (float(stamp) - float(clock.first)) * scale
    if clock.own:
        return (moment - clock.first) * scale
    if float(clock.first) * scale < _SINCE_1970:
        raise PrimusError(
            f"{row.where}: {stamp} is a date, and the times of the recording count from its start. "
            f"Give seconds after the first sample."
        )
    return (moment * 1e-9 / scale - float(clock.first)) * scale


def _moment(stamp: str, row: Row) -> int:
    """A written time in ns."""

    def refuse(_: int) -> None:
        raise PrimusError(f"{row.where}: {stamp!r}; expected seconds or a written time.")

    return int(WrittenTimes(row.where).read([stamp], refuse)[0])
