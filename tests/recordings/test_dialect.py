"""Tables as loggers, spreadsheets and countries write them give the windows of the plain file."""

import gzip
import zipfile

import numpy as np
import pytest
from support.recording_files import table_columns, write_csv

from data_prep.user.tables import Tables
from primus_jax.cli import main
from primus_jax.errors import PrimusError
from primus_jax.recordings.columns import column_names
from primus_jax.recordings.dialect import TextOptions, find_dialect
from primus_jax.recordings.report import Report
from primus_jax.recordings.stream import recording_windows
from primus_jax.recordings.table_format import TableFormat

ROWS = 400
HEADER = ("time", "acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")


@pytest.fixture(scope="module")
def rows():
    columns = table_columns(ROWS)
    return [[f"{columns[name][i]:.5f}" for name in HEADER] for i in range(ROWS)]


@pytest.fixture(scope="module")
def expected(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "plain.csv"
    path.write_bytes(text(rows))
    return both(path)


def text(rows, header=HEADER, delimiter=",", above=(), below=(), end="", decimal=".") -> bytes:
    lines = [*above, delimiter.join(header), *below]
    lines += [delimiter.join(row).replace(".", decimal) + end for row in rows]
    return ("\n".join(lines) + "\n").encode()


def both(path, **layout):
    """What `prepare` and `predict` see of a file."""
    (recording,) = Tables([path], TableFormat(**layout))
    parts = list(recording_windows(path, TableFormat(**layout), 50.0, 100, 1.0, Report()))
    windows = np.concatenate([windows for _, windows in parts])
    np.testing.assert_allclose(recording.signal[:100], windows[0], atol=1e-6)
    return recording.signal


ACTIGRAPH = [
    "------------ Data File Created By ActiGraph GT3X+ ActiLife v6.13.4 date format dd/MM/yyyy -",
    "Serial Number: NEO1F18120387",
    "Start Time 17:41:40",
    "Epoch Period (hh:mm:ss) 00:00:00",
    "Current Memory Address: 0",
    "--------------------------------------------------",
]
GENEACTIV = [f"Field {i},value {i}" for i in range(100)]
COMMENTS = ["# logger 3, firmware 1.2", "# units: s, m/s2, rad/s", ""]

WRITTEN = {
    "semicolons": lambda r: text(r, delimiter=";"),
    "tabs": lambda r: text(r, delimiter="\t"),
    "bars": lambda r: text(r, delimiter="|"),
    "blanks": lambda r: text([[c.rjust(12) for c in row] for row in r], delimiter=" "),
    "decimal commas": lambda r: text(r, delimiter=";", decimal=","),
    "tabs and decimal commas": lambda r: text(r, delimiter="\t", decimal=","),
    "sep=": lambda r: text(r, delimiter=";", above=["sep=;"]),
    "an ActiGraph's preamble": lambda r: text(r, above=ACTIGRAPH),
    "a GENEActiv's preamble": lambda r: text(r, above=GENEACTIV),
    "comments": lambda r: text(r, above=COMMENTS),
    "a row of units": lambda r: text(r, below=["s,m/s^2,m/s^2,m/s^2,rad/s,rad/s,rad/s"]),
    "units in brackets": lambda r: text(r, below=["(s),(m/s2),(m/s2),(m/s2),(rad/s),(rad/s),none"]),
    "delimiters at row ends": lambda r: text(r, end=","),
    "delimiters at all ends": lambda r: text(r, header=(*HEADER, ""), end=","),
    "empty columns": lambda r: text([[*row, "", ""] for row in r], header=(*HEADER, "", "")),
    "repeated columns that nobody reads": lambda r: text(
        [[*row, "1", "2"] for row in r], header=(*HEADER, "status", "status")
    ),
    "UTF-16": lambda r: text(r).decode().encode("utf-16"),
    "UTF-16 without a mark": lambda r: text(r).decode().encode("utf-16-le"),
    "a byte-order mark": lambda r: b"\xef\xbb\xbf" + text(r),
    "cp1252": lambda r: text(
        [[*row, "café"] for row in r], header=(*HEADER, "Ort")
    ).decode().encode("cp1252"),
    "packed": lambda r: gzip.compress(text(r)),
    "packed and in a preamble": lambda r: gzip.compress(text(r, above=ACTIGRAPH, delimiter=";")),
    "lines of Windows": lambda r: text(r).replace(b"\n", b"\r\n"),
    "blank lines": lambda r: text(r).replace(b"\n", b"\n\n", 30),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_every_way_to_write_a_table_is_read(rows, expected, tmp_path, name):
    path = tmp_path / "walk.csv"
    path.write_bytes(WRITTEN[name](rows))
    np.testing.assert_allclose(both(path), expected, atol=1e-6)


def test_names_in_quotes_may_hold_delimiters(rows, expected, tmp_path):
    names = [f"{name}, raw" for name in HEADER]
    path = tmp_path / "de.csv"
    path.write_bytes(text(rows, header=[f'"{name}"' for name in names], delimiter=";"))
    assert column_names(path) == names
    found = both(path, time=names[0], acc=tuple(names[1:4]), gyro=tuple(names[4:]))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_without_a_header_columns_are_numbered(rows, expected, tmp_path):
    path = tmp_path / "plain.txt"
    path.write_bytes(text(rows).split(b"\n", 1)[1])
    assert column_names(path) == ["1", "2", "3", "4", "5", "6", "7"]
    layout = {"time": "1", "acc": ("2", "3", "4"), "gyro": ("5", "6", "7")}
    np.testing.assert_allclose(both(path, **layout), expected, atol=1e-6)


def test_the_second_of_two_names_is_named(rows, expected, tmp_path):
    path = tmp_path / "xyz.csv"
    path.write_bytes(text(rows, header=("time", *"xyz", *"xyz")))
    layout = {"acc": ("x#1", "y#1", "z#1"), "gyro": ("x#2", "y#2", "z#2")}
    np.testing.assert_allclose(both(path, **layout), expected, atol=1e-6)
    with pytest.raises(PrimusError, match=r"column 'x' appears twice\. .*x#1 is the first"):
        both(path, acc=tuple("xyz"), gyro=())


def test_a_table_in_a_zip_file(rows, expected, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("folder/walk.csv", text(rows))
    np.testing.assert_allclose(both(path), expected, atol=1e-6)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("other.csv", text(rows))
    with pytest.raises(PrimusError, match=r"a\.zip: holds 2 tables"):
        both(path)
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w") as file:
        file.writestr("[Content_Types].xml", "")
    with pytest.raises(PrimusError, match="an Office document; save the sheet as CSV"):
        both(tmp_path / "b.xlsx")


@pytest.mark.parametrize(
    ("written", "options"),
    [
        (lambda r: text(r, above=["a,b,c,d,e,f,g"] * 3), {"skip_lines": 3}),
        (lambda r: text(r, above=["a,b,c,d,e,f,g"] * 3), {"header_line": 4}),
        (lambda r: text(r, delimiter=";", decimal=","), {"delimiter": ";", "decimal": ","}),
        (lambda r: text(r).decode().encode("utf-16-be"), {"encoding": "utf-16-be"}),
    ],
)
def test_what_is_stated_is_not_guessed(rows, expected, tmp_path, written, options):
    path = tmp_path / "a.csv"
    path.write_bytes(written(rows))
    np.testing.assert_allclose(both(path, text=TextOptions(**options)), expected, atol=1e-6)


def test_a_line_is_counted_in_the_file(rows, tmp_path):
    bad = [list(row) for row in rows]
    bad[50][2] = "oops"
    path = tmp_path / "a.csv"
    path.write_bytes(text(bad, above=ACTIGRAPH, below=["s,g,g,g,rad/s,rad/s,rad/s"]))
    with pytest.raises(PrimusError, match=r"a\.csv, line 59: 'oops' in column 'acc_y'"):
        both(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(range(256)) * 40, "not a text file, but binary data"),
        (gzip.compress(b"time,acc_x\n1,2\n", mtime=0)[:-9], "packed file is damaged"),
    ],
    ids=["binary", "damaged"],
)
def test_what_is_no_table_is_said(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(PrimusError, match=message):
        both(path, acc=("acc_x", "acc_y", "acc_z"), gyro=())


def test_thousands_are_no_numbers(rows, tmp_path):
    bad = [list(row) for row in rows]
    bad[7][1] = "1.234,5"
    path = tmp_path / "a.csv"
    path.write_text(
        text(rows, delimiter=";", decimal=",")
        .decode()
        .replace(rows[7][1].replace(".", ","), "1.234,5", 1)
    )
    with pytest.raises(PrimusError, match=r"'1\.234,5' in column 'acc_x'; expected a number"):
        both(path)


def test_the_dialect_in_words(rows, tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(text(rows, delimiter=";", decimal=",", above=ACTIGRAPH)))
    assert find_dialect(path).found() == [
        "packed by gzip", "columns separated by semicolon", "decimal commas",
        "column names in line 7",
    ]  # fmt: skip
    write_csv(tmp_path / "b.csv", table_columns(50))
    assert find_dialect(tmp_path / "b.csv").found() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--delimiter", "comma", "--decimal", ","], "cannot be both"),
        (["--encoding", "latin-99"], "--encoding latin-99: unknown encoding"),
        (["--decimal", ";"], "--decimal ';'; expected one of"),
        (["--header-line", "-2"], "--header-line -2; expected 0 or more"),
        (["--encoding", "ascii"], "not a text in ascii"),
    ],
)
def test_impossible_options_are_refused(rows, tmp_path, capsys, options, message):
    path = tmp_path / "a.csv"
    path.write_bytes(text([[*row, "é"] for row in rows], header=(*HEADER, "note")))
    command = ["prepare", "table", str(path), "--out", str(tmp_path / "out"), *options]
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
