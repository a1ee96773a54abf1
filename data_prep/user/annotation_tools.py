"""Exports of annotation tools -> intervals: ELAN (tab text), BORIS (CSV), Label Studio (JSON)."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from primus_jax.errors import PrimusError
from primus_jax.recordings.text_file import decode_sample, find_encoding, open_text, read_sample


class Row(NamedTuple):
    """One interval as a tool wrote it.

    Attributes:
        recording: that it belongs to; "" where the tool names none.
        start: and end: seconds after the recording's first sample, or stamps of the recording's
            clock: numbers in its unit, or written times.
        end: see start.
        label: what was done.
        tier: layer of the annotation, or "".
        where: file and row, for a person.
        stamps: whether start and end are stamps.
    """

    recording: str
    start: float | str
    end: float | str
    label: str
    tier: str
    where: str
    stamps: bool


_CLOCK = re.compile(r"(\d+):(\d{2}):(\d{2}(?:[.,]\d+)?)$")
# "5e8c3f2a-walk.csv" of an uploaded file
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")


def text_rows(path: Path) -> tuple[list[str], str]:
    """Lines of a text file, and its encoding.

    Raises:
        PrimusError: not a text file.
    """
    encoding = find_encoding(read_sample(path), str(path))
    decode_sample(read_sample(path), encoding, str(path))
    with open_text(path, encoding) as file:
        return [line.rstrip("\r\n").removeprefix("\ufeff") for line in file], encoding


def elan(path: Path, lines: Sequence[str]) -> Iterator[Row]:
    """Rows of ELAN's tab-delimited text, with or without a header, times in any of its formats.

    Raises:
        PrimusError: a row without begin, end and annotation.
    """
    rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    header = [cell.strip().lower() for cell in rows[0]]
    named = any(cell.startswith("begin time") for cell in header)
    for number, row in enumerate(rows, 1):
        if not any(cell.strip() for cell in row) or (named and number == 1):
            continue
        where = f"{path}, line {number}"
        if named:
            begin, end = _column(header, "begin time"), _column(header, "end time")
            yield from _tiers(header, row, begin, end, where)
            continue
        times = [k for k, cell in enumerate(row) if k and _seconds(cell) is not None]
        times = [k for k in times if k - times[0] == times.index(k)]
        each = len(times) // 3 if len(times) % 3 == 0 else len(times) // 2
        if not each or len(row) <= times[-1] + 1:
            raise PrimusError(
                f"{where}: expected tier, begin time, end time and annotation, as ELAN exports "
                f"them (File, Export As, Tab-delimited Text); got {row}."
            )
        begin_at, end_at = _seconds(row[times[0]]), _seconds(row[times[each]])
        assert begin_at is not None
        assert end_at is not None
        yield Row("", begin_at, end_at, row[-1].strip(), row[0].strip(), where, stamps=False)


def _tiers(
    header: Sequence[str], row: Sequence[str], begin: int, end: int, where: str
) -> Iterator[Row]:
    """The annotations of one row below a header: a column for each tier, or one for all."""
    start, stop = _seconds(row[begin]), _seconds(row[end]) if end < len(row) else None
    if start is None or stop is None:
        raise PrimusError(f"{where}: expected a begin and an end time; got {row}.")
    fixed = ("begin time", "end time", "duration", "tier", "participant", "file")
    for name, cell in zip(header, row, strict=False):
        if cell.strip() and not name.startswith(fixed):
            one = row[0].strip() if header[0].startswith("tier") else name
            yield Row("", start, stop, cell.strip(), one, where, stamps=False)


def _column(header: Sequence[str], name: str) -> int:
    """The column of a time; seconds are preferred to other formats of it."""
    fitting = [k for k, cell in enumerate(header) if cell.startswith(name)]
    return next((k for k in fitting if "ss.msec" in header[k]), fitting[0] if fitting else 10**6)


def _seconds(cell: str) -> float | None:
    """A time of ELAN: hh:mm:ss.ms, ss.msec, or whole ms."""
    cell = cell.strip()
    if match := _CLOCK.match(cell):
        return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3].replace(",", "."))
    if re.fullmatch(r"\d+[.,]\d+", cell):
        return float(cell.replace(",", "."))
    return int(cell) / 1000 if cell.isdecimal() else None


def boris(path: Path, lines: Sequence[str], delimiter: str) -> Iterator[Row]:
    """Rows of BORIS: aggregated events, or tabular events with START and STOP.

    Point events have no duration and are passed over.

    Raises:
        PrimusError: a state without its end, or a time that is not a number.
    """
    rows = list(csv.reader(lines, delimiter=delimiter))
    first = next(k for k, row in enumerate(rows) if "Behavior" in row)
    # tabular events name the observation above the header
    above = next((row[1] for row in rows[:first] if row[:1] == ["Observation id"] and row[1:]), "")
    begun: dict[tuple[str, str, str], tuple[float, str]] = {}
    for number, cells in enumerate(rows[first + 1 :], first + 2):
        row = dict(zip(rows[first], cells, strict=False))
        where = f"{path}, line {number}"
        if not row.get("Behavior"):
            continue
        label, name = row["Behavior"].strip(), row.get("Observation id", above).strip()
        kind = (row.get("Behavior type") or row.get("Status") or "STATE").strip().upper()
        if "Start (s)" in row:
            if kind == "STATE":
                times = _number(row["Start (s)"], where), _number(row.get("Stop (s)", ""), where)
                yield Row(name, *times, label, "", where, stamps=False)
            continue
        key, time = (name, row.get("Subject", ""), label), _number(row.get("Time", ""), where)
        if kind == "START":
            begun[key] = time, where
        elif kind == "STOP" and key in begun:
            yield Row(name, begun.pop(key)[0], time, label, "", where, stamps=False)
    for (_, _, label), (_, where) in begun.items():
        raise PrimusError(f"{where}: {label!r} starts and never stops; expected a STOP.")


def _number(cell: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise PrimusError(f"{where}: {cell!r}; expected seconds.") from None


def label_studio(path: Path) -> Iterator[Row]:
    """Rows of Label Studio's JSON or JSON-MIN of time series.

    Raises:
        PrimusError: not such an export.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PrimusError(f"{path}: not a JSON file ({error}).") from error
    tasks = tasks if isinstance(tasks, list) else [tasks]
    for number, task in enumerate(tasks, 1):
        where = f"{path}, task {number}"
        if not isinstance(task, dict):
            raise PrimusError(f"{where}: expected an object, as Label Studio exports tasks.")
        results = _results(task)
        for value, tier in results:
            labels = value.get("timeserieslabels")
            if not isinstance(labels, list) or not labels or value.get("instant"):
                continue
            start, end = value.get("start"), value.get("end")
            if not isinstance(start, int | float | str) or not isinstance(end, int | float | str):
                raise PrimusError(f"{where}: a label without start and end: {value}.")
            yield Row(_named(task), start, end, str(labels[0]), tier, where, stamps=True)


def _results(task: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Labelled stretches of a task, each with the name of its control."""
    found = []
    for annotation in task.get("annotations") or task.get("completions") or ():
        for result in annotation.get("result", ()):
            if isinstance(result.get("value"), dict):
                found.append((result["value"], str(result.get("from_name", ""))))
    for name, values in task.items():
        if isinstance(values, list):
            found += [(v, name) for v in values if isinstance(v, dict) and "timeserieslabels" in v]
    return found


def _named(task: dict[str, Any]) -> str:
    """The file that a task is about, without folder and ending."""
    data = task.get("data") if isinstance(task.get("data"), dict) else task
    names = [task.get("file_upload"), *(data or {}).values()]
    files = [n for n in names if isinstance(n, str) and re.search(r"\.(csv|tsv|txt|json)\b", n)]
    if not files:
        return ""
    stem = re.split(r"[/\\=]", files[0].split("?")[0])[-1].rsplit(".", 1)[0]
    return _UPLOADED.sub("", stem)
