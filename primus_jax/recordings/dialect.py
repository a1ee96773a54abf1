"""How a table is written as text: found in the first lines of the file, or stated."""

import codecs
import csv
import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.recordings.cells import is_missing
from primus_jax.recordings.text_file import decode_sample, find_encoding, packing, read_sample
from primus_jax.recordings.written_times import DATE_ORDERS

DELIMITERS = (",", ";", "\t", "|", " ")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blanks"}
_COMMENT = ("#", "//", "%")
_SEP = re.compile(r"\s*\"?sep=(.)\"?\s*$", re.IGNORECASE)
_UNIT = re.compile(
    r"[(\[]?\s*(s|ms|us|µs|ns|sec|seconds|g|mg|m/s2|m/s\^2|m/s²|m/\(s\^2\)|rad/s|deg/s|mdeg/s|°/s"
    r"|dps|mdps|ut|µt|gauss|mv|no[_ ]units?|none|unix|cal|raw)\s*[)\]]?",
    re.IGNORECASE,
)
# Lines that decide on the delimiter: the last ones of the sample, where the rows are.
_LOOKED_AT = 60
# Lines among which the header is looked for; GENEActiv writes a hundred above it.
_PREAMBLE = 400


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """What is stated of a text file; None is found in its first lines.

    Attributes:
        encoding: such as utf-8, utf-16, cp1252.
        delimiter: one of `DELIMITERS`.
        decimal: "." or ",".
        header_line: line of the column names, counted from 1; 0 where there is none, and columns
            are called "1", "2"...
        skip_lines: lines above the header.
        date_order: "dmy" or "mdy", of written dates that end with the year.
        time_zone: of written times without one, such as Europe/Berlin; None: the wall clock.

    Raises:
        PrimusError: a value that cannot be.
    """

    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    header_line: int | None = None
    skip_lines: int | None = None
    date_order: str | None = None
    time_zone: str | None = None

    def __post_init__(self) -> None:
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError as error:
                raise PrimusError(f"--encoding {self.encoding}: {error}.") from error
        known_values = {
            "delimiter": DELIMITERS,
            "decimal": (".", ","),
            "date_order": DATE_ORDERS,
        }
        for name, known in known_values.items():
            value = getattr(self, name)
            if value is not None and value not in known:
                option = "time-format" if name == "date_order" else name
                raise PrimusError(f"--{option} {value!r}; expected one of {list(known)}.")
        for name in ("header_line", "skip_lines"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise PrimusError(f"--{name.replace('_', '-')} {value}; expected 0 or more.")
        if self.header_line is not None and self.skip_lines is not None:
            raise PrimusError("expected --header-line or --skip-lines, not both.")
        if self.delimiter == "," and self.decimal == ",":
            raise PrimusError("a comma cannot be both the delimiter and the decimal mark.")


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a text file is written.

    Attributes:
        encoding: of its text.
        packing: "gzip", "zip" or "".
        delimiter: one of `DELIMITERS`.
        decimal: "." or ",".
        header_line: counted from 1; 0 where there is none.
        rows_above: lines above the first row.
        names: of the columns; those of one name `x` are called "x#1", "x#2"...
        units: of columns, from a row of units below the header.
        date_order: "dmy", "mdy" or "" of written dates, as stated.
        time_zone: of written times, as stated, or "".
    """

    encoding: str
    packing: str
    delimiter: str
    decimal: str
    header_line: int
    rows_above: int
    names: tuple[str, ...]
    units: Mapping[str, str]
    date_order: str = ""
    time_zone: str = ""

    def found(self) -> list[str]:
        """What differs from a plain CSV file, each in a few words."""
        parts = []
        if self.packing:
            parts.append(f"packed by {self.packing}")
        if self.encoding not in ("utf-8", "utf-8-sig"):
            parts.append(f"text in {self.encoding}")
        if self.delimiter != ",":
            parts.append(f"columns separated by {_NAMES[self.delimiter]}")
        if self.decimal == ",":
            parts.append("decimal commas")
        if self.header_line == 0:
            parts.append("no header: columns are called 1, 2...")
        if self.header_line > 1:
            parts.append(f"column names in line {self.header_line}")
        if self.units:
            parts.append(f"units in line {self.rows_above}")
        return parts


def find_dialect(path: Path, options: TextOptions | None = None) -> Dialect:
    """Find how a text file is written.

    Raises:
        PrimusError: not a text file, nothing that looks like a header, or an empty file.
    """
    options = options or TextOptions()
    sample = read_sample(path)
    encoding = options.encoding or find_encoding(sample, str(path))
    lines = decode_sample(sample, encoding, str(path))
    if not any(line.strip() for line in lines):
        raise PrimusError(f"{path}, line 1: expected a header with column names.")
    delimiter, decimal = _separators(lines, options)
    rows = [_cells(line, delimiter) for line in lines[:_PREAMBLE]]
    header = _header(rows, lines, decimal, options)
    width = _width(rows, header)
    if header:
        names = [cell.strip() for cell in rows[header - 1]]
        while len(names) > width and not names[-1]:
            names.pop()
    else:
        names = [str(k + 1) for k in range(width)]
    if not any(names):
        raise PrimusError(f"{path}, line {header}: expected a header with column names.")
    above = header
    units: dict[str, str] = {}
    if header and len(rows) > header and _are_units(rows[header]):
        above = header + 1
        units = {name: cell.strip() for name, cell in zip(names, rows[header], strict=False)}
    return Dialect(
        encoding, packing(path), delimiter, decimal, header, above, numbered(names), units,
        options.date_order or "", options.time_zone or "",
    )  # fmt: skip


def numbered(names: Sequence[str]) -> tuple[str, ...]:
    """Names of columns; those of one name `x` become "x#1", "x#2"..."""
    counts, seen = Counter(names), Counter[str]()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if counts[name] == 1 else f"{name}#{seen[name]}")
    return tuple(result)


def is_number(cell: str, decimal: str) -> bool:
    """Return whether a cell is a number that a program wrote."""
    if decimal == ",":
        if "." in cell:
            return False
        cell = cell.replace(",", ".")
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell and not is_missing(cell)


def _cells(line: str, delimiter: str) -> list[str]:
    """Cells of one line; quotes that never end are part of the cell."""
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=delimiter == " "), [])
    except csv.Error:
        return line.rstrip("\r\n").split(delimiter)


def _separators(lines: Sequence[str], options: TextOptions) -> tuple[str, str]:
    """Delimiter and decimal mark: the pair by which most cells of a row are numbers."""
    stated = next((m[1] for m in map(_SEP.match, lines[:2]) if m), None)
    rows = [line for line in lines if line.strip()][1:][-_LOOKED_AT:]
    delimiters = [options.delimiter or stated] if options.delimiter or stated else DELIMITERS
    decimals = [options.decimal] if options.decimal else [".", ","]
    best, chosen = (0.0, 0.0), None
    for delimiter in delimiters:
        assert delimiter is not None
        cells = [_cells(line, delimiter) for line in rows]
        for decimal in decimals:
            if decimal == delimiter:
                continue
            numbers = sum(is_number(cell, decimal) for row in cells for cell in row)
            wide = sum(map(len, cells))
            share = numbers / max(wide, 1)
            # a row of words between numbers is better than numbers that were cut in two
            score = (numbers * share if delimiter != " " else 0.5 * numbers * share, wide)
            if len(rows) and max(map(len, cells)) > 1 and score > best:
                best, chosen = score, (delimiter, decimal)
    if chosen is not None:
        return chosen
    first = next(line for line in lines if line.strip())
    return options.delimiter or stated or max(",;\t", key=first.count), options.decimal or "."


def _header(
    rows: Sequence[Sequence[str]], lines: Sequence[str], decimal: str, options: TextOptions
) -> int:
    """The line of the header, counted from 1; 0 where the first row is one of numbers."""
    if options.header_line is not None:
        return options.header_line
    if options.skip_lines is not None:
        return options.skip_lines + 1
    widths = Counter(len(row) for row in rows[1:][-_LOOKED_AT:] if any(c.strip() for c in row))
    width = widths.most_common(1)[0][0] if widths else len(rows[0])
    for k, row in enumerate(rows):
        if not any(cell.strip() for cell in row) or _SEP.match(lines[k]):
            continue
        numbers = sum(is_number(cell, decimal) for cell in row)
        if numbers and len(row) >= width and 2 * numbers >= len(row):
            return 0
        if lines[k].lstrip('" ').startswith(_COMMENT):
            continue
        # a header may lack the delimiter that ends every row, or have one more
        fits = width - 1 <= len(row) <= width + 1 and (width > 2 or k == 0 or len(row) == width)
        if fits or (len(row) > width and not numbers and all(cell.strip() for cell in row)):
            return k + 1
    return 1


def _width(rows: Sequence[Sequence[str]], header: int) -> int:
    """Columns of the table."""
    below = Counter(len(row) for row in rows[header:] if any(cell.strip() for cell in row))
    most = below.most_common(1)[0][0] if below else 0
    if not header:
        return most
    named = len(rows[header - 1])
    while named > most and not rows[header - 1][named - 1].strip():
        named -= 1
    return named


def _are_units(row: Sequence[str]) -> bool:
    units = [cell for cell in row if _UNIT.fullmatch(cell.strip())]
    return len(units) >= 2 and 2 * len(units) >= sum(bool(cell.strip()) for cell in row)
