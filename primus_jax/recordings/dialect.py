"""How a table is written as text: found in the first lines of the file, or stated."""

import csv
import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.recordings.cells import is_missing
from primus_jax.recordings.sensor_rows import NO_SENSORS, SensorRows, find_sensor_rows
from primus_jax.recordings.text_file import decode_sample, find_encoding, packing, read_sample
from primus_jax.recordings.written_times import DATE_ORDERS

DELIMITERS = (",", ";", "\t", "|", " ")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blanks"}
_COMMENT = ("#", "//", "%")
_SEP = re.compile(r"\s*\"?sep=(.)\"?\s*$", re.IGNORECASE)
_UNIT = re.compile(
    r"[(\[]?\s*(s|ms|us|µs|ns|sec|seconds|g|mg|m/s2|m/s\^2|m/s²|m/\(s\^2\)|rad/s|deg/s|mdeg/s|°/s"
    r"|dps|mdps|ut|µt|gauss|mv)\s*[)\]]?",
    re.IGNORECASE,
)
_NO_UNIT = re.compile(r"[(\[]?\s*(no[_ ]units?|none|unix|cal|raw)\s*[)\]]?", re.IGNORECASE)
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
                "acc_x".encode(self.encoding).decode(self.encoding)
            except (LookupError, UnicodeError) as error:
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
            if value is not None and (type(value) is not int or value < 0):
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
        sensors: what the first rows tell of a column that names the sensor of a row.
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
    sensors: SensorRows = NO_SENSORS

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
            parts.append(f"a row of units in line {self.rows_above}")
        return parts


def find_dialect(
    path: Path, options: TextOptions | None = None, wanted: Sequence[str] = ()
) -> Dialect:
    """Find how a text file is written.

    Args:
        path: the file.
        options: what is stated of it.
        wanted: names of columns that will be read: a line that holds them all is the header.

    Raises:
        PrimusError: not a text file, nothing that looks like a header, or an empty file.
    """
    options = options or TextOptions()
    sample = read_sample(path)
    encoding = options.encoding or find_encoding(sample, str(path))
    lines = decode_sample(sample, encoding, str(path))
    if not any(line.strip() for line in lines):
        raise PrimusError(f"{path}, line 1: expected a header with column names.")
    lines[0] = lines[0].removeprefix("\ufeff")
    named = _named(lines[:_PREAMBLE], wanted, options)
    delimiter, decimal = _separators(lines, options, named)
    stated = max(options.header_line or 0, options.skip_lines or 0)
    rows = [_cells(line, delimiter) for line in lines[: max(_PREAMBLE, stated + _LOOKED_AT)]]
    if stated >= len(rows):
        raise PrimusError(
            f"{path}: the header is stated to stand in line {stated}; the first {len(rows)} lines "
            f"were looked at, and the file has no more."
        )
    header, above = (named[0], named[0]) if named else _header(rows, lines, decimal, options)
    if header and lines[header - 1].count('"') % 2:
        # a name in quotes goes on in the lines below
        while above < len(lines) and "".join(lines[header - 1 : above]).count('"') % 2:
            above += 1
        rows[header - 1] = next(csv.reader(lines[header - 1 : above], delimiter=delimiter))
    width = _width(rows, header, above)
    if header:
        names = [cell.strip() for cell in rows[header - 1]]
        names[0] = names[0].lstrip("#%/ ") or names[0]
        while len(names) > width and not names[-1]:
            names.pop()
        _refuse_row_names(rows[above:], names, f"{path}, line {above + 1}")
    else:
        names = [str(k + 1) for k in range(width)]
    if not any(names):
        raise PrimusError(f"{path}, line {header}: expected a header with column names.")
    units: dict[str, str] = {}
    if header and len(rows) > above and _are_units(rows[above], decimal):
        units = {name: cell.strip() for name, cell in zip(names, rows[above], strict=False)}
        above += 1
    unique = numbered(names)
    if len(set(unique)) < len(unique):
        raise PrimusError(f"{path}, line {header}: the names {names} are not unique.")
    sensors = find_sensor_rows(
        unique, rows[above : above + _LOOKED_AT], lambda cell: is_number(cell, decimal)
    )
    return Dialect(
        encoding, packing(path), delimiter, decimal, header, above, unique, units,
        options.date_order or "", options.time_zone or "", sensors,
    )  # fmt: skip


def _named(
    lines: Sequence[str], wanted: Sequence[str], options: TextOptions
) -> tuple[int, str] | None:
    """The first line that holds all wanted names, counted from 1, and its delimiter."""
    if not wanted or options.header_line is not None or options.skip_lines is not None:
        return None
    if all(name.isdecimal() for name in wanted):
        # a row of data may hold these numbers
        return None
    delimiters = (options.delimiter,) if options.delimiter else DELIMITERS
    for k, line in enumerate(lines):
        # most lines hold no name, and need not be cut
        if wanted[0] not in line:
            continue
        for delimiter in delimiters:
            cells = {cell.strip().lstrip("#%/ ") for cell in _cells(line, delimiter)}
            if cells >= set(wanted):
                return k + 1, delimiter
    return None


def _refuse_row_names(rows: Sequence[Sequence[str]], names: Sequence[str], where: str) -> None:
    """Refuse rows with a counter in front that the header does not name, as R writes them.

    A last cell that is empty would be taken for a delimiter at the row's end, and every column for
    its neighbour.
    """
    first = [row for row in rows[:5] if any(cell.strip() for cell in row)]
    longer = [row for row in first if len(row) == len(names) + 1]
    counted = [row[0].strip() for row in longer]
    start = int(counted[0]) if counted and counted[0].isdecimal() else -1
    if len(longer) > 2 and counted == [str(start + k) for k in range(len(longer))]:
        raise PrimusError(
            f"{where}: the rows begin with a number that counts them, which the header of "
            f"{len(names)} names does not name. Write a name for it into the header."
        )


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


def _separators(
    lines: Sequence[str], options: TextOptions, named: tuple[int, str] | None
) -> tuple[str, str]:
    """Delimiter and decimal mark: the pair by which most cells of a row are numbers."""
    stated = next((m[1] for m in map(_SEP.match, lines[:2]) if m), None)
    chosen = named[1] if named else options.delimiter or stated
    below = [line for line in lines[named[0] if named else 1 :] if line.strip()]
    step = -(-len(below) // _LOOKED_AT) or 1
    rows = below[::step]
    decimals = [options.decimal] if options.decimal else [".", ","]
    best, found = (0.0, 0.0), None
    for delimiter in [chosen] if chosen else DELIMITERS:
        cells = [_cells(line, delimiter) for line in rows]
        for decimal in decimals:
            if decimal == delimiter:
                continue
            numbers = sum(is_number(cell, decimal) for row in cells for cell in row)
            wide = sum(map(len, cells))
            share = numbers / max(wide, 1)
            # a row of words between numbers is better than numbers that were cut in two
            score = (numbers * share if delimiter != " " else 0.5 * numbers * share, wide)
            if rows and max(map(len, cells)) > 1 and score > best:
                best, found = score, (delimiter, decimal)
    if found is not None:
        return found
    first = next(line for line in lines if line.strip())
    return chosen or max(",;\t", key=first.count), options.decimal or "."


def _header(
    rows: Sequence[Sequence[str]], lines: Sequence[str], decimal: str, options: TextOptions
) -> tuple[int, int]:
    """The line of the header, counted from 1, and the lines above the first row.

    The header is line 0 where the first row is one of numbers.
    """
    if options.header_line is not None:
        return options.header_line, options.header_line
    if options.skip_lines is not None:
        return options.skip_lines + 1, options.skip_lines + 1
    widths = Counter(len(row) for row in rows[1:][-_LOOKED_AT:] if any(c.strip() for c in row))
    width = widths.most_common(1)[0][0] if widths else len(rows[0])
    for k, row in enumerate(rows):
        if not any(cell.strip() for cell in row) or _SEP.match(lines[k]):
            continue
        if _are_names_that_count(row, rows[k + 1 :]):
            return k + 1, k + 1
        numbers = sum(is_number(cell, decimal) for cell in row)
        if numbers and len(row) >= width and 2 * numbers >= len(row):
            return 0, k
        if lines[k].lstrip('" ').startswith(_COMMENT):
            continue
        # a header may lack the delimiter that ends every row, or have one more
        fits = width - 1 <= len(row) <= width + 1 and (width > 2 or k == 0 or len(row) == width)
        if fits or (len(row) > width and not numbers and all(cell.strip() for cell in row)):
            return k + 1, k + 1
    return 1, 1


def _are_names_that_count(row: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether a row is 0, 1, 2..., as pandas names columns, above rows of other numbers."""
    cells = [cell.strip() for cell in row]
    cells = cells[1:] if not cells[0] else cells
    if len(cells) < 3 or not all(cell.isdecimal() for cell in cells):
        return False
    counts = [int(cell) for cell in cells]
    rising = counts == list(range(counts[0], counts[0] + len(counts)))
    return rising and any("." in cell or "," in cell for other in below[:20] for cell in other)


def _width(rows: Sequence[Sequence[str]], header: int, above: int) -> int:
    """Columns of the table."""
    below = Counter(len(row) for row in rows[above:] if any(cell.strip() for cell in row))
    most = below.most_common(1)[0][0] if below else 0
    if not header:
        return most
    named = len(rows[header - 1])
    while named > most and not rows[header - 1][named - 1].strip():
        named -= 1
    return named


def _are_units(row: Sequence[str], decimal: str) -> bool:
    """Whether a row below the header holds the units of the columns."""
    cells = [cell.strip() for cell in row if cell.strip()]
    if any(is_number(cell, decimal) for cell in cells):
        return False
    units = [cell for cell in cells if _UNIT.fullmatch(cell)]
    filled = [cell for cell in cells if _NO_UNIT.fullmatch(cell)]
    return len(units) >= 2 and 2 * (len(units) + len(filled)) >= len(cells)
