"""A user's own recordings: one CSV or Parquet file each, or one long table."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings import grid
from primus_jax.recordings.columns import Columns, column_names, read_columns
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.table_format import OPTIONAL, TableFormat
from primus_jax.recordings.windows import OUTSIDE, TOO_SHORT

NOT_NARRATED = "recordings without a narration"


class Tables:
    """The recordings of some files, read one file at a time.

    A gap in time or a change of label or sentence cuts a recording into pieces `id#1`, `id#2`...,
    which stay in one split group. `drops` counts what was left out since iteration began.

    Raises:
        PrimusError: while iterating, anything wrong with a file, naming it and the row.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        layout: TableFormat,
        narrations: Mapping[str, list[tuple[float, str]]] | None = None,
    ) -> None:
        self.paths = [Path(path) for path in paths]
        self.layout = layout
        self.narrations = narrations
        self.drops: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Recording]:
        self.drops.clear()
        seen: dict[str, Path] = {}
        for path in self.paths:
            for name, table, rows in self._recordings(path):
                if name in seen:
                    raise PrimusError(
                        f"recording {name!r} is in {seen[name]} and again in {path}; expected "
                        f"unique names (the file's name, or the recording column)."
                    )
                seen[name] = path
                yield from self._pieces(name, table, rows)
        unknown = sorted(set(self.narrations or ()) - set(seen))
        if unknown:
            raise PrimusError(
                f"the narrations speak of recording {unknown[0]!r} ({len(unknown)} such), which no "
                f"file holds; known are {sorted(seen)[:5]}..."
            )

    def _columns(self, path: Path) -> tuple[str, dict[str, str]]:
        """The time column ("" for none) and the columns of recording, label, text and subject."""
        present = column_names(path)
        time = self.layout.time
        if time == "":
            time = "time" if "time" in present else None
        names = {}
        for key, usual in OPTIONAL.items():
            mapped = self.layout.names.get(key, "")
            if mapped or usual in present:
                names[key] = mapped or usual
        if self.layout.gyro and not set(self.layout.gyro) & set(present):
            raise PrimusError(
                f"{path}: no gyroscope columns {list(self.layout.gyro)}; the file has {present}. "
                f"Name them with --gyro, or pass --no-gyro."
            )
        if time is None and self.layout.rate_hz is None:
            raise PrimusError(
                f"{path}: unknown rate. Give --rate, or name the column of times with --time."
            )
        return time or "", names

    def _recordings(self, path: Path) -> Iterator[tuple[str, Columns, np.ndarray]]:
        time, names = self._columns(path)
        numeric = [*self.layout.acc, *self.layout.gyro, *([time] if time else [])]
        table = read_columns(path, numeric, list(dict.fromkeys(names.values())))
        for column in numeric:
            if not np.isfinite(table.numbers[column]).any():
                raise PrimusError(f"{path}: column {column!r} holds no number at all.")
        table.numbers["time"] = table.numbers.get(time)
        for key in OPTIONAL:
            table.text[key] = table.text.get(names.get(key), np.full(len(table.lines), "", object))
        if "recording" not in names:
            yield path.stem, table, np.arange(len(table.lines))
            return
        ids = table.text["recording"]
        if "" in ids:
            raise PrimusError(f"{table.row(int(np.argmax(ids == '')))}: no recording is named.")
        rows: dict[str, list[int]] = {}
        for index, name in enumerate(ids):
            rows.setdefault(name, []).append(index)
        for name, indices in rows.items():
            yield name, table, np.array(indices)

    def _pieces(self, name: str, table: Columns, rows: np.ndarray) -> Iterator[Recording]:
        layout = self.layout
        where = f"{table.path}, recording {name!r}"
        subjects = sorted(set(table.text["subject"][rows]))
        if len(subjects) > 1:
            raise PrimusError(f"{where}: two subjects, {subjects[0]!r} and {subjects[1]!r}.")
        columns = [table.numbers[c][rows] for c in (*layout.acc, *layout.gyro)]
        raw = np.stack(columns + [np.zeros(len(rows))] * (6 - len(columns)), 1)
        raw[np.isinf(raw)] = np.nan
        if len(rows) < 2 or not np.isfinite(raw).all(1).any():
            self.drops[TOO_SHORT if len(rows) < 2 else grid.NOTHING_FINITE] += 1
            return
        si = grid.checked_si(raw, layout.acc_unit, layout.gyro_unit, bool(layout.gyro), where)

        if table.numbers["time"] is None:
            rate, time = layout.rate_hz, np.arange(len(rows)) / layout.rate_hz
        else:
            time = table.numbers["time"][rows]
            keep = grid.check_time(time, raw, lambda index: table.row(rows[index]))
            self.drops[grid.REPEATED] += int((~keep).sum())
            rows, si = rows[keep], si[keep]
            time = (time[keep] - time[0]) * grid.TIME_UNITS[layout.time_unit]
            if len(rows) < 2:
                self.drops[TOO_SHORT] += 1
                return
            rate = grid.sampling_rate(time, layout.rate_hz, where)

        label, text = table.text["label"][rows], table.text["text"][rows]
        changes = np.flatnonzero((label[1:] != label[:-1]) | (text[1:] != text[:-1])) + 1
        pieces = [
            (part[0], time[part[0]] + piece.start_seconds, piece)
            for part in np.split(np.arange(len(rows)), changes)
            for piece in grid.uniform_pieces(time[part], si[part], rate, self.drops)
        ]
        told = 0
        for number, (first, start, piece) in enumerate(pieces, 1):
            duration = len(piece.signal) / rate
            narrations = tuple(
                (t - start, sentence)
                for t, sentence in (self.narrations or {}).get(name, ())
                if start <= t < start + duration
            )
            told += len(narrations)
            if self.narrations is not None and not narrations:
                self.drops[NOT_NARRATED] += 1
                continue
            yield Recording(
                id=name if len(pieces) == 1 else f"{name}#{number}",
                signal=piece.signal,
                rate_hz=rate,
                subject=subjects[0] or "unknown",
                group=subjects[0] or name,
                label=label[first].strip(),
                text=text[first].strip(),
                narrations=narrations,
                has_gyro=bool(layout.gyro),
                start_seconds=float(start),
                bad_spans=piece.bad_spans,
            )
        self.drops[OUTSIDE] += len((self.narrations or {}).get(name, ())) - told
