"""A good table, damaged in the ways that loggers, spreadsheets and people damage tables.

A `Damage` gives the bytes of the file, the rows whose values it may change, and whether the table
has to be refused because it states something that cannot be true.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from primus_jax.window import GRAVITY

ROWS, RATE = 400, 50.0
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
NAMES = ("time", *CHANNELS, "label", "subject")
# Cells that a number column may hold and that mean nothing, or another number.
MISSING = ("", " ", "nan", "NaN", "NA", "N/A", "#N/A", "NULL", "null", "None", "<NA>", "-", "--")
JUNK = ("oops", "1_000", "0x10", "1.5.2", "∞", "1e", "12:03:04", "true", "=A1", "1 2")
HUGE = ("1e400", "-inf", "inf", "1e300")


class Damage(NamedTuple):
    """What was done: `rows` bool `[ROWS]` whose values may differ, `refused` if only an error is
    right, `line` of the file that the error has to name (0: none)."""

    content: bytes
    rows: np.ndarray
    refused: bool = False
    line: int = 0


Cells = list[list[str]]


def good() -> Cells:
    """Header and rows: 4 s of walking, 4 s of shaking, one person."""
    rng = np.random.default_rng(3)
    t = np.arange(ROWS) / RATE
    sway = 0.5 * np.sin(2 * np.pi * 1.3 * t) * np.where(t < 4, 1.0, 0.4)
    acc = GRAVITY * np.stack([np.sin(sway), 0.1 + 0 * t, np.cos(sway)], 1)
    gyro = np.stack([1 + 0 * t, np.gradient(sway, 1 / RATE), 0.5 * np.cos(3 * t)], 1)
    values = np.concatenate([acc, gyro], 1) + rng.normal(0, 0.02, (ROWS, 6))
    body = [
        [
            f"{t[i]:.2f}",
            *(f"{x:.5f}" for x in values[i]),
            "walk" if i < ROWS // 2 else "shake",
            "s1",
        ]
        for i in range(ROWS)
    ]
    return [list(NAMES), *body]


def written(cells: Cells, delimiter: str = ",", end: str = "\n") -> bytes:
    return end.join(delimiter.join(row) for row in [*cells, []]).encode()


def _row(i: int) -> np.ndarray:
    return np.arange(ROWS) == i


NOTHING = np.zeros(ROWS, bool)


def _cell(cells: Cells, rng: np.random.Generator, words: tuple[str, ...]) -> tuple[int, str]:
    """Put a word into a cell of a channel; the row and the word."""
    i, word = int(rng.integers(ROWS)), str(rng.choice(words))
    cells[i + 1][1 + int(rng.integers(6))] = word
    return i, word


def missing_cell(cells: Cells, rng: np.random.Generator) -> Damage:
    i, _ = _cell(cells, rng, MISSING)
    return Damage(written(cells), _row(i))


def junk_cell(cells: Cells, rng: np.random.Generator) -> Damage:
    i, _ = _cell(cells, rng, JUNK)
    return Damage(written(cells), _row(i), True, i + 2)


def huge_cell(cells: Cells, rng: np.random.Generator) -> Damage:
    i, _ = _cell(cells, rng, HUGE)
    return Damage(written(cells), _row(i))


def bad_time(cells: Cells, rng: np.random.Generator) -> Damage:
    i = int(rng.integers(1, ROWS - 1))
    cells[i + 1][0] = str(rng.choice(["", "nan", "yesterday", "-1", "inf"]))
    return Damage(written(cells), NOTHING, True, i + 2)


def row_lost(cells: Cells, rng: np.random.Generator) -> Damage:
    i, n = int(rng.integers(1, ROWS - 30)), int(rng.integers(1, 20))
    del cells[i + 1 : i + 1 + n]
    rows = NOTHING.copy()
    rows[max(i - 2, 0) : i + n + 2] = True
    return Damage(written(cells), rows)


def row_repeated(cells: Cells, rng: np.random.Generator) -> Damage:
    i = int(rng.integers(ROWS))
    cells.insert(i + 1, list(cells[i + 1]))
    return Damage(written(cells), NOTHING)


def rows_swapped(cells: Cells, rng: np.random.Generator) -> Damage:
    i = int(rng.integers(ROWS - 1))
    cells[i + 1], cells[i + 2] = cells[i + 2], cells[i + 1]
    return Damage(written(cells), NOTHING, True, i + 3)


def short_or_long_row(cells: Cells, rng: np.random.Generator) -> Damage:
    i = int(rng.integers(ROWS))
    cells[i + 1] = cells[i + 1][:-1] if rng.random() < 0.5 else [*cells[i + 1], "7"]
    return Damage(written(cells), NOTHING, True, i + 2)


def header_again(cells: Cells, rng: np.random.Generator) -> Damage:
    i = int(rng.integers(1, ROWS))
    cells.insert(i + 1, list(NAMES))
    return Damage(written(cells), NOTHING, True, i + 2)


def blank_lines(cells: Cells, rng: np.random.Generator) -> Damage:
    content = written(cells).split(b"\n")
    for i in rng.integers(1, ROWS, 3):
        content.insert(int(i), b"")
    return Damage(b"\n".join(content), NOTHING)


def column_lost(cells: Cells, rng: np.random.Generator) -> Damage:
    k = int(rng.integers(1, 7))
    return Damage(written([row[:k] + row[k + 1 :] for row in cells]), NOTHING, True)


def column_renamed(cells: Cells, rng: np.random.Generator) -> Damage:
    k = int(rng.integers(1, 7))
    cells[0][k] = str(rng.choice([NAMES[k].upper(), NAMES[k] + "1", "x", "", NAMES[k][:-1]]))
    return Damage(written(cells), NOTHING, True)


def column_twice(cells: Cells, rng: np.random.Generator) -> Damage:
    k = int(rng.integers(0, 8))
    return Damage(written([[*row, row[k]] for row in cells]), NOTHING, True)


def other_columns(cells: Cells, rng: np.random.Generator) -> Damage:
    more = [["note", *(f"n{i % 7}" for i in range(ROWS))], ["hr", *("71" for _ in range(ROWS))]]
    return Damage(written([[*row, *(m[i] for m in more)] for i, row in enumerate(cells)]), NOTHING)


def columns_moved(cells: Cells, rng: np.random.Generator) -> Damage:
    order = rng.permutation(len(NAMES))
    return Damage(written([[row[k] for k in order] for row in cells]), NOTHING)


def another_dialect(cells: Cells, rng: np.random.Generator) -> Damage:
    end, delimiter = str(rng.choice(["\n", "\r\n"])), str(rng.choice([",", ";", "\t"]))
    quoted = rng.random() < 0.3
    cells = [[f'"{cell}"' for cell in row] for row in cells] if quoted else cells
    mark = b"\xef\xbb\xbf" if rng.random() < 0.5 else b""
    return Damage(mark + written(cells, delimiter, end), NOTHING)


def blanks(cells: Cells, rng: np.random.Generator) -> Damage:
    pad = " " * int(rng.integers(1, 3))
    return Damage(written([[pad + cell + pad for cell in row] for row in cells]), NOTHING)


def blank_behind_labels(cells: Cells, rng: np.random.Generator) -> Damage:
    for i in rng.integers(1, ROWS, 30):
        cells[int(i)][7] += " "
    return Damage(written(cells), NOTHING)


def cut_off(cells: Cells, rng: np.random.Generator) -> Damage:
    content = written(cells)
    at = int(rng.integers(len(content) // 2, len(content) - 2))
    # the last row may be whole, short, or hold a cut number
    rows = np.arange(ROWS) >= content[:at].count(b"\n") - 1
    return Damage(content[:at], rows)


def a_byte(cells: Cells, rng: np.random.Generator) -> Damage:
    content = bytearray(written(cells))
    at = int(rng.integers(content.index(b"\n") + 1, len(content)))
    content[at] = int(rng.choice([0, 0xFF, 0xC3, ord("?"), ord("!")]))
    line = content[:at].count(b"\n")
    rows = np.abs(np.arange(ROWS) - (line - 1)) <= 1
    return Damage(bytes(content), rows)


def _scaled(cells: Cells, columns: range, factor: float, shift: float = 0.0) -> Cells:
    for row in cells[1:]:
        for k in columns:
            row[k] = f"{float(row[k]) * factor + shift:.9g}"
    return cells


def acc_unit(cells: Cells, rng: np.random.Generator) -> Damage:
    factor = float(rng.choice([1 / GRAVITY, 1000 / GRAVITY, GRAVITY, 16384 / GRAVITY, 1000]))
    return Damage(written(_scaled(cells, range(1, 4), factor)), NOTHING, True)


def gyro_unit(cells: Cells, rng: np.random.Generator) -> Damage:
    factor = float(rng.choice([180 / np.pi, 1000, 180_000 / np.pi, 0.0]))
    return Damage(written(_scaled(cells, range(4, 7), factor)), NOTHING, True)


def gravity_removed(cells: Cells, rng: np.random.Generator) -> Damage:
    body = np.array([row[1:4] for row in cells[1:]], float)
    body = (body - body.mean(0)) * float(rng.choice([0.5, 1.0, 2.0, 4.0]))
    for row, acc in zip(cells[1:], body, strict=True):
        row[1:4] = [f"{x:.5f}" for x in acc]
    return Damage(written(cells), NOTHING, True)


def time_unit(cells: Cells, rng: np.random.Generator) -> Damage:
    factor = float(rng.choice([1e3, 1e6, 1e9, 1e-3, 1 / 86400]))
    for i, row in enumerate(cells[1:]):
        row[0] = f"{factor * i / RATE + 40000:.9f}"
    return Damage(written(cells), NOTHING, True)


def time_stands(cells: Cells, rng: np.random.Generator) -> Damage:
    for row in cells[1:]:
        row[0] = "7"
    return Damage(written(cells), NOTHING, True, 3)


def unix_time(cells: Cells, rng: np.random.Generator) -> Damage:
    start = int(rng.integers(10**9, 2 * 10**9))
    for i, row in enumerate(cells[1:]):
        row[0] = f"{start + i // 50}.{i % 50 * 2:02d}"
    return Damage(written(cells), NOTHING)


DAMAGES: tuple[Callable[[Cells, np.random.Generator], Damage], ...] = (
    missing_cell, junk_cell, huge_cell, bad_time, row_lost, row_repeated, rows_swapped,
    short_or_long_row, header_again, blank_lines, column_lost, column_renamed, column_twice,
    other_columns, columns_moved, another_dialect, blanks, blank_behind_labels, cut_off, a_byte,
    acc_unit, gyro_unit, gravity_removed, time_unit, time_stands, unix_time,
)  # fmt: skip
