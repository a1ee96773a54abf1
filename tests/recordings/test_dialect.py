"""Tables as loggers, spreadsheets and countries write them give the windows of the plain file."""

import contextlib
import gzip
import zipfile

import numpy as np
import pytest
from support.recording_files import table_columns, write_csv

from data_prep.user.narrations import read_narrations
from data_prep.user.tables import Tables
from primus_jax.cli import main
from primus_jax.errors import PrimusError
from primus_jax.recordings.columns import open_table
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
    assert list(open_table(path).names) == names
    found = both(path, time=names[0], acc=tuple(names[1:4]), gyro=tuple(names[4:]))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_without_a_header_columns_are_numbered(rows, expected, tmp_path):
    path = tmp_path / "plain.txt"
    path.write_bytes(text(rows).split(b"\n", 1)[1])
    assert list(open_table(path).names) == ["1", "2", "3", "4", "5", "6", "7"]
    layout = {"time": "1", "acc": ("2", "3", "4"), "gyro": ("5", "6", "7")}
    np.testing.assert_allclose(both(path, **layout), expected, atol=1e-6)


def test_a_row_that_holds_the_numbers_of_columns_is_no_header(rows, tmp_path):
    path = tmp_path / "plain.txt"
    body = [list(row) for row in rows]
    body[50][1:4] = ["2", "3", "4"]
    path.write_bytes(text(body).split(b"\n", 1)[1])
    layout = {"time": "1", "acc": ("2", "3", "4"), "gyro": ("5", "6", "7")}
    assert len(both(path, **layout)) == ROWS


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
    path.write_bytes(text(bad, above=ACTIGRAPH, below=["s,m/s2,m/s2,m/s2,rad/s,rad/s,rad/s"]))
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


def quoted(rows, row, cell):
    """All labels in quotes, but one whose last quote is missing."""
    lines = [",".join((*HEADER, "label"))]
    lines += [",".join((*cells, cell if i == row else '"walk"')) for i, cells in enumerate(rows)]
    return ("\n".join(lines) + "\n").encode()


def test_a_quote_that_is_never_closed_swallows_no_rows(rows, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(quoted(rows, 99, '"walk'))
    with pytest.raises(
        PrimusError, match=r"a\.csv, line 10[12]: (a quote is opened|not a CSV row)"
    ):
        both(path)
    path.write_bytes(text([[*row, '"walk' if i == 99 else "walk"] for i, row in enumerate(rows)],
                          header=(*HEADER, "label")))  # fmt: skip
    with pytest.raises(PrimusError, match=r"a\.csv, line \d+: "):
        both(path)


@pytest.mark.parametrize(
    "above",
    [
        ['"Note wrist'],
        ['Note,"5 cm'],
        ["Logger\x0cX\x0bY\u2028Z"],
        ["Subject,Anna,,,,,"],
        ["a,b,c,d,e,f,g"],
    ],
)
def test_what_stands_above_the_header_costs_no_row(rows, expected, tmp_path, above):
    path = tmp_path / "a.csv"
    path.write_bytes(text([[*row, '"walk"'] for row in rows], (*HEADER, "label"), above=above))
    np.testing.assert_allclose(both(path), expected, atol=1e-6)


def test_numbers_that_count_are_names(rows, expected, tmp_path):
    path = tmp_path / "pandas.csv"
    path.write_bytes(text(rows, header=[str(k) for k in range(7)]))
    assert list(open_table(path).names) == [str(k) for k in range(7)]
    layout = {"time": "0", "acc": ("1", "2", "3"), "gyro": ("4", "5", "6")}
    np.testing.assert_allclose(both(path, **layout), expected, atol=1e-6)


def test_a_header_in_a_comment_and_comments_without_a_header(rows, expected, tmp_path):
    path = tmp_path / "ros.csv"
    path.write_bytes(text(rows, header=("%time", *HEADER[1:])))
    np.testing.assert_allclose(both(path), expected, atol=1e-6)
    path.write_bytes(b"# seven columns\n# of numbers\n" + text(rows).split(b"\n", 1)[1])
    layout = {"time": "1", "acc": ("2", "3", "4"), "gyro": ("5", "6", "7")}
    np.testing.assert_allclose(both(path, **layout), expected, atol=1e-6)


@pytest.mark.parametrize(
    "label", ["1;2;3;4;5;6;7;8;9;10", "[1 2 3 4 5 6 7 8 9 10 11]", "1|2|3|4|5"]
)
def test_lists_in_a_label_are_no_columns(rows, expected, tmp_path, label):
    path = tmp_path / "a.csv"
    path.write_bytes(text([[*row, label] for row in rows], header=(*HEADER, "label")))
    np.testing.assert_allclose(both(path), expected, atol=1e-6)


@pytest.mark.parametrize(
    "sentence", ['"puts 2 cups, 3 plates on 1 table"', "lifts 0 of 12 boxes", "1;2;3;4", "a|b|c|d"]
)
def test_narrations_may_hold_numbers(tmp_path, sentence):
    path = tmp_path / "words.csv"
    path.write_text(f"recording,seconds,text\nraw,5,none of it\na,1.5,{sentence}\n")
    assert read_narrations(path)["a"] == [(1.5, sentence.strip('"'))]
    assert read_narrations(path)["raw"] == [(5.0, "none of it")]
    path.write_text('recording,seconds,text\na,1.5,"walks\na,5,sits\n')
    with pytest.raises(PrimusError, match=r"line \d: (a quote is opened|not a CSV row)"):
        read_narrations(path)


def test_a_row_of_missing_words_is_no_row_of_units(rows, expected, tmp_path):
    path = tmp_path / "a.csv"
    body = [["0.00", *["None"] * 6], *rows[1:]]
    path.write_bytes(text(body))
    (recording,) = Tables([path], TableFormat())
    assert len(recording.signal) == ROWS
    np.testing.assert_allclose(recording.signal[1:], expected[1:], atol=1e-6)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ("s,g,g,g,rad/s,rad/s,rad/s", r"line 2: the unit of 'acc_x' is g, --acc-unit is m/s2\."),
        ("s,m/s2,m/s2,m/s2,dps,dps,dps", "Pass --gyro-unit deg/s"),
        ("ms,m/s2,m/s2,m/s2,rad/s,rad/s,rad/s", "--time-unit is s. Pass --time-unit ms"),
        ("s,mg,mg,mg,rad/s,rad/s,rad/s", "Pass --acc-unit mg, or convert the numbers"),
    ],
)
def test_a_row_of_units_is_believed(rows, tmp_path, units, message):
    path = tmp_path / "a.csv"
    path.write_bytes(text(rows, below=[units]))
    with pytest.raises(PrimusError, match=message):
        both(path)


def test_a_counter_without_a_name_is_refused(rows, tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes(text([[str(i + 1), *row, ""][: len(row) + 1] for i, row in enumerate(rows)]))
    with pytest.raises(PrimusError, match="a number that counts them, which the header of 7"):
        both(path)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_packed_file_is_refused_or_right(rows, expected, tmp_path, seed):
    rng = np.random.default_rng(seed)
    path = tmp_path / ("a.csv.gz" if seed % 2 else "a.zip")
    if seed % 2:
        path.write_bytes(gzip.compress(text(rows)))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("__MACOSX/._a.csv", b"x")
            file.writestr("a.csv", text(rows))
    content = bytearray(path.read_bytes())
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    with contextlib.suppress(PrimusError):
        np.testing.assert_allclose(both(path), expected, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"encoding": "rot13"}, {"encoding": "undefined"}, {"header_line": 1.5}]
)
def test_impossible_values_in_python_are_refused(options):
    with pytest.raises(PrimusError, match="--"):
        TextOptions(**options)


def test_a_header_below_the_end_of_the_file(rows, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(text(rows))
    with pytest.raises(PrimusError, match="stated to stand in line 700"):
        both(path, text=TextOptions(header_line=700))
    path.write_bytes(text(rows, above=["note"] * 500))
    assert len(both(path, text=TextOptions(header_line=501))) == ROWS


def test_what_was_found_is_printed(rows, tmp_path, capsys):
    path = tmp_path / "walk.csv.gz"
    path.write_bytes(gzip.compress(text(rows, delimiter=";", decimal=",")))
    command = ["prepare", "table", str(path), "--out", str(tmp_path / "out"), "--splits", "1", "0"]
    assert main([*command, "0"]) == 0
    said = capsys.readouterr().out
    assert f"{path}: packed by gzip; columns separated by semicolon; decimal commas" in said
    (recording,) = Tables([path], TableFormat())
    assert recording.id == "walk"
