"""A user's own recordings: one CSV or Parquet file each, or one long table."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from data_prep.user.intervals import Intervals
from data_prep.user.naming import PathNames
from primus_jax.errors import PrimusError
from primus_jax.recordings.clock import (
    RATE_ROWS,
    Clock,
    check_stated,
    check_steady,
    in_order,
)
from primus_jax.recordings.grid import NOTHING_FINITE, REPEATED, uniform_pieces
from primus_jax.recordings.numbers import Seen, refuse_contradictions, refuse_impossible
from primus_jax.recordings.plausible import ALONE, is_stuck, pooled, stretches
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.rows import Rows, joined
from primus_jax.recordings.sources import SensorFiles, Source, open_source, settled, source_rows
from primus_jax.recordings.table_format import OPTIONAL, TableFormat
from primus_jax.recordings.windows import OUTSIDE, TOO_SHORT
from primus_jax.window import as_rate, to_si

NOT_NARRATED = "recordings without a narration"
AVERAGED = "rows averaged with another of the same time"
WRAPS = "times that the counter of stamps began anew, undone"
EVENED = "rows whose times of arrival were evened out"
JOINED = "rows joined from sensors with times of their own"
CHANGED = "changes of label or sentence that cut a recording"


@dataclasses.dataclass(frozen=True)
class _Timed:
    """One recording of a file: its rows, seconds `[rows]` after the first, SI `[rows, 6]`, rate."""

    name: str
    where: str
    rows: Rows
    time: np.ndarray
    si: np.ndarray
    rate_hz: float

    def words(self, key: str) -> np.ndarray:
        """The words of every row, object `[rows]`; "" where the file has no such column."""
        return self.rows.words.get(key, np.full(len(self.time), "", object))


class Tables:
    """The recordings of some files, read one file at a time.

    A gap in time or a change of label or sentence cuts a recording into pieces `id#1`, `id#2`...,
    which stay in one split group.

    Args:
        sources: CSV and Parquet files, or files of one sensor each.
        layout: names and units of their columns.
        narrations: (seconds, sentence) by recording; recordings without one are left out.
        needed: which of recording, label, text, subject every file has to have.
        targets: columns of numbers to predict, which every file has to have.
        naming: names of recordings and people that stand in paths.
        intervals: labels, in place of a column of labels.

    Attributes:
        drops: counts what was left out since iteration began.
        done: counts what was done to the times since iteration began.
        rates: measured or stated, of the recordings since iteration began, in Hz.
        times: the columns of times of the files since iteration began; None where rows are even.

    Raises:
        PrimusError: while iterating, anything wrong with a file, naming it and the row.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        layout: TableFormat,
        narrations: Mapping[str, list[tuple[float, str]]] | None = None,
        needed: Sequence[str] = (),
        targets: Sequence[str] = (),
        naming: PathNames | None = None,
        intervals: Intervals | None = None,
    ) -> None:
        self.intervals = intervals
        self.sources = [s if isinstance(s, SensorFiles) else Path(s) for s in sources]
        self.naming = naming or PathNames()
        self.layout = layout
        self.narrations = narrations
        self.needed = tuple(needed)
        self.targets = tuple(targets)
        self.drops: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.rates: set[float] = set()
        self.times: set[str | None] = set()

    def __iter__(self) -> Iterator[Recording]:
        self.drops.clear()
        self.done.clear()
        self.rates.clear()
        self.times.clear()
        seen: dict[str, Source] = {}
        subjects = self.naming.subjects(self.sources)
        names = self.naming.recordings(self.sources)
        for path, own, subject in zip(self.sources, names, subjects, strict=True):
            found = []
            clock = Clock(self.layout.time_unit)
            rows = self._rows(path, clock, subject)
            parts = list(_recordings(own, rows, prefixed=bool(self.naming.recording)))
            alone = len(self.sources) == len(parts) == 1
            for name, index in parts:
                if name in seen:
                    raise PrimusError(
                        f"recording {name!r} is in {seen[name]} and again in {path}; expected "
                        f"unique names: the file's name, the recording column, or "
                        f"--recording-from-path with a pattern such as '{{recording}}/*.csv'."
                    )
                seen[name] = path
                timed = self._timed(name, path, rows.part(index), clock, alone=alone)
                if timed is not None:
                    found.append(timed)
            self.drops[WRAPS] += clock.wraps
            self.done[EVENED] += clock.evened
            self.done[JOINED] += clock.joined
            self.drops[AVERAGED] += clock.averaged
            self._check(found)
            for timed in found:
                yield from self._pieces(timed)
        self._check_intervals(seen)
        unknown = sorted(set(self.narrations or ()) - set(seen))
        if unknown:
            raise PrimusError(
                f"the narrations speak of recording {unknown[0]!r} ({len(unknown)} such), which no "
                f"file holds; known are {sorted(seen)[:5]}..."
            )

    def _check_intervals(self, seen: Mapping[str, Source]) -> None:
        """Refuse intervals of a recording that no file holds."""
        if self.intervals is None:
            return
        alone = len(seen) == 1
        found = [row for name in seen for row in self.intervals.of(name, alone=alone)]
        lost = next((row for row in self.intervals.rows if row not in found), None)
        if lost is not None:
            name = lost.recording
            named = (
                f"the file of intervals is called {name[1:]!r}" if name[0] == "?" else repr(name)
            )
            raise PrimusError(
                f"{lost.where}: no recording for {named}; the recordings are {sorted(seen)[:5]}."
            )

    def remembered(self) -> TableFormat:
        """The format of the files that were read, for others of the same kind.

        A column of times that every file had is named; a rate is kept where one had none, or where
        times of arrival were evened out by it.
        """
        kept = None in self.times or self.done[EVENED]
        time, rate_hz = self.layout.time, self.layout.rate_hz if kept else None
        if self.times == {"time"}:
            time = "time"
        names = {"recording": self.layout.names.get("recording", "")}
        return dataclasses.replace(self.layout, time=time, rate_hz=rate_hz, names=names)

    def _rows(self, path: Source, clock: Clock, subject: str) -> Rows:
        """All rows of a file, by the person that its path names."""
        opened = open_source(path, self.layout, need_gyro=True)
        table, found = opened.main.table, opened.main.found
        self.times.add(found.time)
        rows = joined(list(source_rows(opened, clock, tuple(OPTIONAL), self.targets)))
        if set(rows.targets) != set(self.targets):
            raise PrimusError(
                f"{path}: its sensors have rows of their own, so that no row holds a window's "
                f"{self.targets[0]!r}. Leave --target-column out, or join the sensors in one table."
            )
        if subject:
            if "subject" in found.words:
                raise PrimusError(
                    f"{path}: its column {found.words['subject']!r} names people, and so does the "
                    f"path. Leave --subject-from-path out, or rename the column."
                )
            people = np.full(len(rows.raw), subject, object)
            rows = rows._replace(words={**rows.words, "subject": people})
        seen = Seen(self.layout)
        seen.add(rows)
        seen.check(str(path))
        known = {*rows.words, *(["label"] if self.intervals else [])}
        missing = [key for key in self.needed if key not in known]
        if missing:
            raise PrimusError(
                f"{path}: no column {missing[0]!r}; the file has {list(table.names)}. Name it with "
                f"--{missing[0]}-column."
            )
        return rows

    def _timed(
        self, name: str, path: Source, rows: Rows, clock: Clock, *, alone: bool
    ) -> _Timed | None:
        """A recording with its rate; None, counted, where nothing is left of it."""
        layout, where = self.layout, f"{path}, recording {name!r}"
        parts = list(settled([rows], layout, clock))
        rows = joined(parts) if parts else rows.part(slice(0))
        if len(rows.raw) < 2 or not np.isfinite(rows.raw).all(1).any():
            self.drops[TOO_SHORT if len(rows.raw) < 2 else NOTHING_FINITE] += 1
            return None
        if rows.time is None:
            rate = as_rate(layout.rate_hz)
            check_stated(rate, where)
            time, origin = np.arange(len(rows.raw)) / rate, 0.0
        else:
            keep, raw, averaged = in_order(rows.time, rows.raw, rows.name)
            self.drops[AVERAGED] += averaged
            self.drops[REPEATED] += int((~keep).sum()) - averaged
            origin = float(rows.time[0])
            time, rows = rows.time[keep] - origin, rows._replace(raw=raw).part(keep)
            if len(time) < 2:
                self.drops[TOO_SHORT] += 1
                return None
            rate = clock.rate(time[:RATE_ROWS], layout.rate_hz, where)
            check_steady(time, rate, rows.name)
        self.rates.add(rate)
        if self.intervals is not None:
            own = self.intervals.of(name, alone=alone)
            labels = self.intervals.labels(own, time, origin, clock, self.drops)
            rows = rows._replace(words={**rows.words, "label": labels})
        si = to_si(rows.raw, layout.acc_unit, layout.gyro_unit)
        return _Timed(name, where, rows, time, si, rate)

    def _check(self, found: Sequence[_Timed]) -> None:
        """Refuse units that the recordings of a file contradict."""
        own = [stretches(timed.si[:, :3], timed.rate_hz) for timed in found]
        together = pooled(own)
        for timed, parts in zip(found, own, strict=True):
            judged = parts if len(parts.mean) >= ALONE else together
            refuse_contradictions(timed.si, judged, self.layout, timed.where)
            refuse_impossible(timed.si, timed.rows.name)
            gyro = timed.si[np.isfinite(timed.si).all(1), 3:]
            if len(gyro) > timed.rate_hz and is_stuck(gyro):
                raise PrimusError(f"{timed.where}: the gyroscope is stuck at {gyro[0]} rad/s.")

    def _pieces(self, timed: _Timed) -> Iterator[Recording]:
        """A recording without gaps and of one label and sentence."""
        subjects = sorted(set(timed.words("subject")) - {""}) or [""]
        if len(subjects) > 1:
            raise PrimusError(f"{timed.where}: two subjects, {subjects[0]!r} and {subjects[1]!r}.")
        label, text = timed.words("label"), timed.words("text")
        changes = np.flatnonzero((label[1:] != label[:-1]) | (text[1:] != text[:-1])) + 1
        self.drops[CHANGED] += len(changes)
        pieces = [
            (part[0], timed.time[part[0]] + piece.start_seconds, piece)
            for part in np.split(np.arange(len(timed.time)), changes)
            for piece in uniform_pieces(timed.time[part], timed.si[part], timed.rate_hz, self.drops)
        ]
        told = 0
        spoken = (self.narrations or {}).get(timed.name, ())
        for number, (first, start, piece) in enumerate(pieces, 1):
            duration = len(piece.signal) / timed.rate_hz
            narrations = tuple(
                (t - start, sentence) for t, sentence in spoken if start <= t < start + duration
            )
            told += len(narrations)
            if self.narrations is not None and not narrations:
                self.drops[NOT_NARRATED] += 1
                continue
            yield Recording(
                id=timed.name if len(pieces) == 1 else f"{timed.name}#{number}",
                signal=piece.signal,
                rate_hz=timed.rate_hz,
                subject=subjects[0] or "unknown",
                group=subjects[0] or timed.name,
                label=label[first],
                text=text[first],
                narrations=narrations,
                has_gyro=timed.rows.gyro,
                start_seconds=float(start),
                bad_spans=piece.bad_spans,
                targets=_known(timed, start, start + duration),
            )
        self.drops[OUTSIDE] += len(spoken) - told


def _known(timed: _Timed, start: float, end: float) -> dict[str, np.ndarray]:
    """The numbers to predict of rows from `start` to before `end`, with seconds after `start`."""
    inside = (timed.time >= start) & (timed.time < end)
    found = {}
    for name, values in timed.rows.targets.items():
        keep = inside & np.isfinite(values)
        found[name] = np.stack([timed.time[keep] - start, values[keep]], 1)
    return found


def _recordings(own: str, rows: Rows, *, prefixed: bool) -> Iterator[tuple[str, np.ndarray]]:
    """The recordings of a file and their rows, int64 `[rows]`.

    Args:
        own: name of the file's recording, where no column names them.
        rows: of the file.
        prefixed: whether `own` goes before the names of a column.

    Raises:
        PrimusError: a row without a recording in a file that names them.
    """
    ids = rows.words.get("recording")
    if ids is None:
        yield own, np.arange(len(rows.raw))
        return
    if "" in ids:
        raise PrimusError(f"{rows.name(int(np.argmax(ids == '')))}: no recording is named.")
    numbers: dict[str, list[int]] = {}
    for index, name in enumerate(ids):
        numbers.setdefault(name, []).append(index)
    for name, indices in numbers.items():
        yield f"{own}/{name}" if prefixed else name, np.array(indices)
