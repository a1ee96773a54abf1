"""A CSV file in blocks of rows: numbers, words and exact stamps.

A block of plain numbers is parsed by NumPy in one call; a block with text, quotes or missing cells
goes through the csv module, which also finds the row of whatever is wrong.
"""

import csv
import itertools
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.cells import is_missing, word
from primus_jax.recordings.dialect import Dialect
from primus_jax.recordings.text_file import DAMAGED, open_text
from primus_jax.recordings.written_times import WrittenTimes

ROWS = 65536
# The first integer whose neighbour float64 cannot hold.
EXACT = 2.0**53


class Batch(NamedTuple):
    """Columns as in `columns.Columns`; `lines` int64 `[rows]`."""

    numbers: dict[str, np.ndarray]
    text: dict[str, np.ndarray]
    lines: np.ndarray
    own_units: dict[str, str]


def batches(
    path: Path,
    dialect: Dialect,
    numeric: Sequence[str],
    textual: Sequence[str],
    stamps: Sequence[str],
) -> Iterator[Batch]:
    """Yield blocks of at most `ROWS` rows; columns as in `columns.Columns`.

    Raises:
        PrimusError: text in a numeric column, a row of another length, another encoding, with the
            line.
    """
    block = _Block(path, dialect, numeric, textual, stamps)
    try:
        with open_text(path, dialect.encoding) as file:
            before = dialect.rows_above
            for _ in range(before):
                next(file, "")
            while lines := list(itertools.islice(file, ROWS)):
                if any('"' in line for line in lines):
                    yield from _quoted(block, itertools.chain(lines, file), before)
                    return
                yield block.parse(lines, before)
                before += len(lines)
    except UnicodeError as error:
        raise PrimusError(
            f"{path}: not a text in {dialect.encoding} ({error}). State another with --encoding, "
            f"such as cp1252, or save the file in UTF-8."
        ) from error
    except DAMAGED as error:
        raise PrimusError(f"{path}: the packed file is damaged ({error}).") from error


def _quoted(block: "_Block", lines: Iterable[str], before: int) -> Iterator[Batch]:
    """Blocks of rows whose cells may hold delimiters and line ends."""
    reader = block.reader(lines)
    try:
        while True:
            rows: list[list[str]] = []
            starts: list[int] = []
            line = before + reader.line_num + 1
            for row in itertools.islice(reader, ROWS):
                end = before + reader.line_num
                if end > line:
                    block.refuse_swallowed(row, line)
                rows.append(row)
                starts.append(line)
                line = end + 1
            if not rows:
                return
            yield block.rows(rows, np.array(starts, np.int64))
    except csv.Error as error:
        line = before + reader.line_num
        raise PrimusError(f"{block.path}, line {line}: not a CSV row ({error}).") from error


class _Block:
    """The columns that are wanted, and how lines become them."""

    def __init__(
        self,
        path: Path,
        dialect: Dialect,
        numeric: Sequence[str],
        textual: Sequence[str],
        stamps: Sequence[str],
    ) -> None:
        self.path, self.dialect, self.names = path, dialect, list(dialect.names)
        self.delimiter = dialect.delimiter
        self.numeric, self.textual, self.stamps = tuple(numeric), tuple(textual), tuple(stamps)
        self._words: dict[str, str] = {}
        self._written: dict[str, WrittenTimes] = {}

    def reader(self, lines: Iterable[str]) -> Any:
        """The reader of this dialect."""
        blanks = self.delimiter == " "
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=blanks, strict=True)

    def refuse_swallowed(self, row: list[str], line: int) -> None:
        """Refuse a cell in quotes that holds whole rows: its last quote is missing.

        Raises:
            PrimusError: naming the line where the cell begins.
        """
        for cell in row:
            for inside in cell.splitlines()[1:]:
                if inside.count(self.delimiter) >= len(self.names) - 1:
                    raise PrimusError(
                        f"{self.path}, line {line}: a quote is opened and not closed in this row; "
                        f"{cell[:40]!r}... runs on over the rows below."
                    )

    def parse(self, lines: list[str], before: int) -> Batch:
        """Lines without quotes, of which `before` stand above in the file."""
        numbers = None if self.textual else self._plain(lines)
        if numbers is not None:
            return Batch(numbers, {}, np.arange(before + 1, before + 1 + len(lines)), {})
        try:
            rows = list(self.reader(lines))
        except csv.Error as error:
            raise PrimusError(
                f"{self.path}, line {before + 1} or below: not a CSV row ({error})."
            ) from error
        return self.rows(rows, np.arange(before + 1, before + 1 + len(rows)))

    def _plain(self, lines: list[str]) -> dict[str, np.ndarray] | None:
        """All columns in one call, or None where a row is not made of that many plain numbers."""
        cells = len(self.names) - 1
        if self.delimiter == " " or any(line.count(self.delimiter) != cells for line in lines):
            return None
        if self.dialect.decimal == ",":
            if any("." in line for line in lines):
                return None
            lines = [line.replace(",", ".") for line in lines]
        wanted = (*self.numeric, *self.stamps)
        try:
            table = np.loadtxt(
                lines,
                delimiter=self.delimiter,
                comments=None,
                usecols=[self.names.index(name) for name in wanted],
                ndmin=2,
            )
        except ValueError:
            return None
        if len(table) != len(lines):
            return None
        numbers = dict(zip(wanted, np.ascontiguousarray(table.T), strict=True))
        if any(np.nanmax(np.abs(numbers[name]), initial=0.0) >= EXACT for name in self.stamps):
            return None
        return numbers

    def rows(self, rows: list[list[str]], lines: np.ndarray) -> Batch:
        """Rows of cells, one per line number; empty ones are left out."""
        if not all(rows):
            lines = lines[[bool(row) for row in rows]]
            rows = [row for row in rows if row]
        for line, row in zip(lines, rows, strict=True):
            # many loggers end each row, but not the header, with a delimiter
            while len(row) > len(self.names) and not row[-1].strip():
                row.pop()
            if len(row) != len(self.names):
                raise PrimusError(
                    f"{self.path}, line {line}: {len(row)} fields; expected {len(self.names)} as "
                    f"in the header."
                )
        fields = dict(zip(self.names, zip(*rows, strict=True), strict=True)) if rows else {}
        numbers = {n: self._floats(fields.get(n, ()), lines, n) for n in self.numeric}
        numbers |= {n: self._stamps(fields.get(n, ()), lines, n) for n in self.stamps}
        text = {n: self._text(fields.get(n, ())) for n in self.textual}
        return Batch(numbers, text, lines, dict.fromkeys(self._written, "ns"))

    def _text(self, cells: Sequence[str]) -> np.ndarray:
        for cell in set(cells) - self._words.keys():
            self._words[cell] = word(cell)
        return np.array([self._words[cell] for cell in cells], object)

    def _floats(self, cells: Sequence[str], lines: np.ndarray, name: str) -> np.ndarray:
        if self.dialect.decimal == ",":
            cells = self._with_points(cells, lines, name)
        try:
            values = np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            values = np.array(
                [self._number(*cell, name) for cell in zip(cells, lines, strict=True)]
            )
        if any("_" in cell for cell in cells):
            # float() reads 1_000, which no logger writes
            bad = next(i for i, cell in enumerate(cells) if "_" in cell)
            self._refuse(cells[bad], lines[bad], name)
        return values

    def _with_points(self, cells: Sequence[str], lines: np.ndarray, name: str) -> list[str]:
        """Decimal commas as points; a point among them would be a mark of thousands."""
        for cell, line in zip(cells, lines, strict=True):
            if "." in cell:
                self._refuse(cell, line, name)
        return [cell.replace(",", ".") for cell in cells]

    def _number(self, cell: str, line: int, name: str) -> float:
        try:
            return float(cell)
        except ValueError:
            if not is_missing(cell):
                self._refuse(cell, line, name)
            return np.nan

    def _stamps(self, cells: Sequence[str], lines: np.ndarray, name: str) -> np.ndarray:
        """Times, exact where float64 is not; written ones in nanoseconds."""
        if self._are_written(cells, name):

            def refuse(index: int) -> None:
                self._refuse(cells[index], lines[index], name, "number or a time")

            return self._written[name].read(cells, refuse)
        values = self._floats(cells, lines, name)
        if not np.nanmax(np.abs(values), initial=0.0) >= EXACT:
            return values
        try:
            return np.array([int(cell) for cell in cells], np.int64)
        except (ValueError, OverflowError):
            points = [cell.replace(",", ".") for cell in cells]
            return np.array([_exact(cell) for cell in points], object)

    def _are_written(self, cells: Sequence[str], name: str) -> bool:
        """Whether a column holds written times: its first cell decides."""
        if name not in self._written:
            first = next((cell for cell in cells if not is_missing(cell)), "0")
            if ":" not in first:
                return False
            where = f"{self.path}, column {name!r}"
            dialect = self.dialect
            self._written[name] = WrittenTimes(where, dialect.date_order, dialect.time_zone)
        return True

    def _refuse(self, cell: str, line: int, name: str, expected: str = "number") -> None:
        raise PrimusError(
            f"{self.path}, line {line}: {cell!r} in column {name!r}; expected a {expected}."
        )


def _exact(cell: str) -> Decimal | None:
    """A stamp with all its digits, or None where it is missing or infinite."""
    try:
        value = Decimal(cell.strip())
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
