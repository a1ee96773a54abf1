"""Rows of numbers and MATLAB arrays; errors name file and line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from primus_jax.errors import PrimusError


def text_lines(path: Path) -> list[str]:
    """The lines of a text file.

    Raises:
        PrimusError: it cannot be read, or it is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PrimusError(f"{path}: not a readable text file ({error}).") from error


def read_rows(
    lines: Sequence[str],
    where: str,
    columns: int,
    *,
    delimiter: str | None = ",",
    end: str | None = None,
    use: Sequence[int] | None = None,
    letter: int | None = None,
    header: int = 0,
) -> np.ndarray:
    """Parse rows of numbers to float64 `[rows, columns]`, or `[rows, len(use)]`.

    Args:
        lines: of the file; the parser passes over blank ones.
        where: names the file.
        columns: that every row must have.
        delimiter: None means white space.
        end: a mark that closes a row; the parser does not read behind it.
        use: columns to keep, from 0.
        letter: a column that holds one character, read as its code point.
        header: lines to leave out at the top.

    Raises:
        PrimusError: no rows, a row of another length, or something that is not a number; names
            file and line.
    """
    numbered = [(n, line) for n, line in enumerate(lines, 1) if n > header and line.strip()]
    if not numbered:
        raise PrimusError(f"{where}: no rows; expected {columns} fields a row.")
    rows = [line.split(end)[0] if end else line for _, line in numbered]
    # NumPy would pass over surplus or missing columns that are not used.
    for (number, _), row in zip(numbered, rows, strict=True):
        fields = len(row.split(delimiter))
        if fields != columns:
            raise PrimusError(f"{where}, line {number}: {fields} fields; expected {columns}.")
    try:
        return np.loadtxt(
            rows,
            delimiter=delimiter,
            comments=None,
            usecols=use,
            ndmin=2,
            converters=None if letter is None else {letter: _code_point},
        )
    except (ValueError, TypeError) as error:
        for (number, _), row in zip(numbered, rows, strict=True):
            for index, cell in enumerate(row.split(delimiter)):
                if use is None or index in use:
                    _check_cell(cell, index == letter, f"{where}, line {number}")
        raise PrimusError(f"{where}: {error}") from error


def read_mat(path: Path, name: str, columns: int) -> np.ndarray:
    """Read one array float64 `[rows, columns]` of a MATLAB file.

    Raises:
        PrimusError: not such a file, no such array, another shape, or values that are not finite.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        arrays: Mapping[str, np.ndarray] = loadmat(path)
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise PrimusError(f"{path}: not a readable MATLAB file ({error}).") from error
    array = arrays.get(name)
    if array is None:
        raise PrimusError(
            f"{path}: no array {name!r}; it holds {sorted(k for k in arrays if k[0] != '_')}."
        )
    if (
        array.ndim != 2
        or array.shape[1] != columns
        or not len(array)
        or array.dtype.kind not in "fiu"
    ):
        raise PrimusError(
            f"{path}: {name} is {array.dtype} {array.shape}; expected numbers [rows, {columns}]."
        )
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(1)))
        raise PrimusError(f"{path}: row {row + 1} of {name} is not finite; expected numbers.")
    return array.astype(np.float64)


class Words(NamedTuple):
    """A column of few different words: the words with "", and an index for each row."""

    names: list[str]
    codes: np.ndarray


def read_large_csv(
    path: Path, numbers: Mapping[str, str], words: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, Words]]:
    """Read the named columns of a CSV file (.gz too) of millions of rows, by pyarrow.

    Args:
        path: the file.
        numbers: column -> "number" (float64) or "time" (float64 seconds since 1970).
        words: columns of few different words, "" where there is none.

    Returns:
        the columns of `numbers`, and those of `words`.

    Raises:
        PrimusError: pyarrow is not installed, a missing column, or a row that does not fit.
    """
    try:
        import pyarrow
        from pyarrow import csv
    except ImportError as error:
        raise PrimusError(f"{path} needs pyarrow: pip install 'primus-jax[prep]'.") from error
    kinds = {"number": pyarrow.float64(), "time": pyarrow.timestamp("ns")}
    word = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    types = {name: kinds[kind] for name, kind in numbers.items()} | dict.fromkeys(words, word)
    convert = csv.ConvertOptions(
        column_types=types,
        include_columns=list(types),
        strings_can_be_null=True,
    )
    try:
        # One thread: errors then name the row.
        table = csv.read_csv(path, csv.ReadOptions(use_threads=False), csv.ParseOptions(), convert)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowKeyError, OSError, KeyError) as error:
        raise PrimusError(f"{path}: {error}") from error
    if not table.num_rows:
        raise PrimusError(f"{path}: no rows below the header.")
    values = {name: table[name].to_numpy() for name in numbers}
    for name in [name for name, kind in numbers.items() if kind == "time"]:
        seconds = values[name].astype(np.int64).astype(np.float64) / 1e9
        values[name] = np.where(np.isnat(values[name]), np.nan, seconds)
    spelled = {}
    for name in words:
        column = table[name].unify_dictionaries().combine_chunks()
        codes = column.indices.fill_null(len(column.dictionary)).to_numpy()
        spelled[name] = Words([*column.dictionary.to_pylist(), ""], codes)
    return values, spelled


def _code_point(cell: str) -> float:
    return float(ord(cell.strip()))


def _check_cell(cell: str, letter: bool, where: str) -> None:
    try:
        _code_point(cell) if letter else float(cell)
    except (ValueError, TypeError):
        expected = "one letter" if letter else "a number"
        raise PrimusError(f"{where}: {cell.strip()!r}; expected {expected}.") from None
