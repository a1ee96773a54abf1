"""A user's CSV and Parquet files: what is read, what is repaired and counted, what is refused."""

from collections import Counter

import numpy as np
import pytest
from support.recording_files import GRAVITY, signal, table_columns, write_csv

from data_prep.user.narrations import read_narrations
from data_prep.user.tables import CHANGED, NOT_NARRATED, Tables
from primus_jax.errors import PrimusError
from primus_jax.recordings import grid
from primus_jax.recordings.clock import TIME_UNITS
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.table_format import TableFormat
from primus_jax.recordings.windows import OUTSIDE, TOO_SHORT


def read(path, layout=None, narrations=None, **fields) -> tuple[list[Recording], Counter[str]]:
    paths = path if isinstance(path, list) else [path]
    tables = Tables(paths, layout or TableFormat(**fields), narrations)
    return list(tables), +tables.drops


def test_one_recording_in_a_file(tmp_path):
    path = write_csv(tmp_path / "walk.csv", table_columns(500))
    (r,), drops = read(path)
    assert (r.id, r.rate_hz, r.subject, r.label, r.has_gyro) == ("walk", 50.0, "unknown", "", True)
    np.testing.assert_allclose(r.signal, signal(500), atol=1e-6)
    assert not drops


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_units_names_and_time_units(tmp_path, unit):
    columns = table_columns(500, rate=100.0)
    scale = TIME_UNITS[unit]
    renamed = {"stamp": [int(1e9 + t / scale) for t in columns["time"]]}
    for new, old in zip("abcdef", list(columns)[1:], strict=True):
        unit_scale = GRAVITY if old.startswith("acc") else np.pi / 180
        renamed[new] = columns[old] / unit_scale
    renamed["who"] = ["s1"] * 500
    path = write_csv(tmp_path / "a.csv", renamed)
    (r,), _ = read(
        path,
        acc=tuple("abc"),
        gyro=tuple("def"),
        time="stamp",
        time_unit=unit,
        acc_unit="g",
        gyro_unit="deg/s",
        rate_hz=100.0,
        names={"subject": "who"},
    )
    np.testing.assert_allclose(r.signal, signal(500, 100.0), atol=1e-5)
    assert (r.rate_hz, r.subject) == (100.0, "s1")


def test_without_times_the_rate_counts(tmp_path):
    path = write_csv(tmp_path / "a.csv", table_columns(300, time=None))
    (r,), _ = read(path, rate_hz=31.25)
    assert (r.rate_hz, len(r.signal)) == (31.25, 300)
    with pytest.raises(PrimusError, match=r"unknown rate. Give --rate, or .*--time"):
        read(path)
    with pytest.raises(PrimusError, match="positive"):
        read(path, rate_hz=-5.0)
    timed = write_csv(tmp_path / "b.csv", table_columns(300))
    (r,), _ = read(timed, time=None, rate_hz=20.0)
    assert r.rate_hz == 20.0


def test_no_gyroscope_must_be_said(tmp_path):
    columns = {k: v for k, v in table_columns(300).items() if not k.startswith("gyro")}
    path = write_csv(tmp_path / "a.csv", columns)
    with pytest.raises(PrimusError, match="--no-gyro"):
        read(path)
    (r,), _ = read(path, gyro=())
    assert not r.has_gyro
    assert not r.signal[:, 3:].any()


def test_a_long_table_is_cut_by_recording_label_and_sentence(tmp_path):
    columns = table_columns(1000)
    names = np.where(np.arange(1000) < 600, "one", "two")
    labels = np.where(np.arange(1000) < 250, "walking", "sitting")
    path = write_csv(
        tmp_path / "long.csv",
        {**columns, "recording": names, "label": labels, "subject": ["s"] * 1000},
    )
    items, drops = read(path)
    assert [(r.id, r.label, len(r.signal), r.start_seconds) for r in items] == [
        ("one#1", "walking", 250, 0.0),
        ("one#2", "sitting", 350, 5.0),
        ("two", "sitting", 400, 0.0),
    ]
    assert {r.split_group for r in items} == {"s"}
    assert drops == {CHANGED: 1}
    alone = write_csv(tmp_path / "b.csv", {**columns, "label": labels})
    assert {r.split_group for r in read(alone)[0]} == {"b"}


def test_interleaved_recordings_are_told_apart(tmp_path):
    one, two = signal(300, seed=1), signal(300, seed=2)
    both = np.stack([one, two], 1).reshape(600, 6)
    columns = table_columns(600, time=np.repeat(np.arange(300) / 50, 2))
    columns |= {name: both[:, i] for i, name in enumerate(list(columns)[1:])}
    path = write_csv(tmp_path / "a.csv", {**columns, "recording": ["one", "two"] * 300})
    items, _ = read(path)
    np.testing.assert_allclose(items[0].signal, one, atol=1e-6)
    np.testing.assert_allclose(items[1].signal, two, atol=1e-6)


def test_jittered_times_are_put_on_the_grid(tmp_path):
    rng = np.random.default_rng(0)
    time = np.arange(1000) / 50 + rng.uniform(-0.004, 0.004, 1000)
    x = np.sin(2 * np.pi * 0.5 * time)
    columns = table_columns(1000, time=time, acc_x=x)
    (r,), drops = read(write_csv(tmp_path / "a.csv", columns))
    assert r.rate_hz == 50.0
    grid = time[0] + np.arange(len(r.signal)) / 50
    np.testing.assert_allclose(r.signal[:, 0], np.sin(2 * np.pi * 0.5 * grid), atol=2e-3)
    assert not drops


def test_a_clock_in_milliseconds_gives_the_mean_rate(tmp_path):
    time = np.floor(np.arange(900) / 60 * 1000).astype(int)
    (r,), _ = read(write_csv(tmp_path / "a.csv", table_columns(900, time=time)), time_unit="ms")
    assert r.rate_hz == 60.0


def test_a_gap_cuts_and_is_counted_and_a_few_lost_samples_are_bridged(tmp_path):
    columns = table_columns(1000)
    keep = np.ones(1000, bool)
    keep[200:204] = False
    keep[500:520] = False
    path = write_csv(tmp_path / "a.csv", {k: v[keep] for k, v in columns.items()})
    items, drops = read(path)
    assert [(r.id, len(r.signal), r.start_seconds) for r in items] == [
        ("a#1", 500, 0.0),
        ("a#2", 480, 10.4),
    ]
    assert drops == {grid.GAPS: 1}
    np.testing.assert_allclose(items[1].signal, signal(1000)[520:], atol=1e-6)


def test_missing_values_become_bad_spans(tmp_path):
    columns = table_columns(1000)
    columns["gyro_y"][300:310] = np.nan
    columns["acc_x"][0] = np.inf
    cells = {k: ["" if np.isnan(x) else x for x in v] for k, v in columns.items()}
    (r,), _ = read(write_csv(tmp_path / "a.csv", cells))
    assert len(r.signal) == 1000
    first, second = r.bad_spans
    assert first[0] < 0 < first[1] == pytest.approx(0.02)
    assert 299 / 50 < second[0] < 300 / 50
    assert second[1] == pytest.approx(310 / 50)
    known = signal(1000)
    assert r.signal[305, 4] == pytest.approx(
        known[299, 4] + 6 / 11 * (known[310, 4] - known[299, 4]), abs=1e-5
    )


def test_exact_repetitions_are_dropped_and_counted(tmp_path):
    rows = np.sort(np.concatenate([np.arange(500), [7, 7, 300]]))
    path = write_csv(tmp_path / "a.csv", {k: v[rows] for k, v in table_columns(500).items()})
    (r,), drops = read(path)
    assert len(r.signal) == 500
    assert drops == {grid.REPEATED: 3}


def test_too_short_recordings_are_counted(tmp_path):
    names = ["a"] * 499 + ["b"]
    path = write_csv(tmp_path / "a.csv", {**table_columns(500), "recording": names})
    items, drops = read(path)
    assert [r.id for r in items] == ["a"]
    assert drops == {TOO_SHORT: 1}


MISSING = ("nan", "NaN", "NULL", "None", "NA", "N/A", "#N/A", "<NA>", "-", "", " ")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_missing_words_however_written_are_no_label_and_no_person(tmp_path, kind):
    labels = np.repeat(["walking", *MISSING, "sitting "], 50)
    columns = table_columns(len(labels), label=labels, subject=["N/A"] * len(labels))
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        write_csv(path, columns)
    else:
        pyarrow = pytest.importorskip("pyarrow")
        columns["label"] = [None if label == "NA" else label for label in labels]
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path)
    items, drops = read(path)
    # neighbouring ways to write nothing are one piece
    assert [(r.label, len(r.signal), r.subject) for r in items] == [
        ("walking", 50, "unknown"),
        ("", 50 * len(MISSING), "unknown"),
        ("sitting", 50, "unknown"),
    ]
    assert drops == {CHANGED: 2}


def test_missing_numbers_however_written_are_missing(tmp_path):
    columns = table_columns(500)
    for name in ("acc_x", "gyro_z"):
        columns[name] = list(columns[name])
        columns[name][100 : 100 + len(MISSING)] = MISSING
    (r,), drops = read(write_csv(tmp_path / "a.csv", columns))
    assert len(r.bad_spans) == 1
    assert not drops
    columns["acc_x"][9] = "1_000"
    with pytest.raises(PrimusError, match=r"line 11: '1_000' in column 'acc_x'; expected a number"):
        read(write_csv(tmp_path / "a.csv", columns))


def test_a_missing_subject_and_empty_rows_are_passed_over(tmp_path):
    path = write_csv(tmp_path / "a.csv", table_columns(500, subject=["s1"] * 400 + [""] * 100))
    path.write_text(path.read_text() + ",,,,,,,\n" * 5)
    (r,), drops = read(path)
    assert (r.subject, len(r.signal)) == ("s1", 500)
    assert not drops


def test_blanks_around_words_cut_nothing(tmp_path):
    rng = np.random.default_rng(0)
    labels = [label + " " * int(rng.integers(3)) for label in ["sitting"] * 250 + ["walking"] * 250]
    items, drops = read(write_csv(tmp_path / "a.csv", table_columns(500, label=labels)))
    assert [(r.label, len(r.signal)) for r in items] == [("sitting", 250), ("walking", 250)]
    assert drops == {CHANGED: 1}


@pytest.mark.parametrize("value", ["1e300", "-1e400", "2000", "inf"])
def test_a_reading_of_no_sensor_names_its_row(tmp_path, value):
    columns = table_columns(500)
    columns["acc_y"] = list(columns["acc_y"])
    columns["acc_y"][40] = value
    path = write_csv(tmp_path / "a.csv", columns)
    if "inf" in str(float(value)):
        (r,), _ = read(path)
        assert len(r.bad_spans) == 1
        return
    with pytest.raises(PrimusError, match=r"a\.csv, line 42: the accelerometer reads .*e"):
        read(path)


def test_narrations_go_to_the_piece_they_lie_in(tmp_path):
    label = ["x"] * 400 + ["y"] * 300 + ["z"] * 300
    path = write_csv(tmp_path / "a.csv", {**table_columns(1000), "label": label})
    told = tmp_path / "n.csv"
    told.write_text('recording,seconds,text\na,2.5,"waves, twice"\na,9,turns\na,99,gone\n')
    items, drops = read(path, narrations=read_narrations(told))
    assert [(r.id, r.narrations) for r in items] == [
        ("a#1", ((2.5, "waves, twice"),)),
        ("a#2", ((1.0, "turns"),)),
    ]
    assert drops == {NOT_NARRATED: 1, OUTSIDE: 1, CHANGED: 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recording,seconds,text\na,x,hello\n", "line 2: 'x' in column 'seconds'"),
        ("recording,seconds,text\na,1,hello\na,,hello\n", "line 3: expected"),
        ("recording,seconds,text\na,1,\n", "line 2: expected"),
        ("recording,time,text\na,1,b\n", "no column 'seconds'"),
        ("recording,seconds,text\nelse,1,b\n", "'else'"),
    ],
)
def test_wrong_narrations_are_refused(tmp_path, text, message):
    path = write_csv(tmp_path / "a.csv", table_columns(500))
    (tmp_path / "n.csv").write_text(text)
    with pytest.raises(PrimusError, match=message):
        read(path, narrations=read_narrations(tmp_path / "n.csv"))


def at(column, row, value):
    """A change of one cell; the row counts from 0."""

    def change(columns):
        columns[column] = list(columns[column])
        columns[column][row] = value

    return change


def scaled(prefix, factor):
    def change(columns):
        for name in columns:
            if name.startswith(prefix):
                columns[name] = np.asarray(columns[name]) * factor

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("acc_y"), "no column 'acc_y'"),
        (lambda c: c.pop("gyro_y"), "no column 'gyro_y'"),
        (at("acc_x", 9, "oops"), r"a.csv, line 11: 'oops' in column 'acc_x'"),
        (at("time", 9, ""), "line 11: the time is missing"),
        (at("time", 9, 0.02), "line 11: its time lies 0.14 s before that of the row above"),
        (at("acc_x", slice(None), [float("nan")] * 500), "column 'acc_x' holds no number"),
        (scaled("acc", 1 / GRAVITY), "accelerometer magnitude is 1 m/s2.*--acc-unit g"),
        (scaled("acc", 0), "Gravity seems to have been removed.*--gravity GX GY GZ"),
        (scaled("gyro", 180 / np.pi), "--gyro-unit"),
        (scaled("gyro", 0), "--no-gyro"),
        (scaled("time", 1000), "expected.*--time-unit|--time-unit and --rate"),
        (lambda c: c.update(subject=["s1"] * 499 + ["s2"]), "two subjects"),
        (lambda c: c.update(recording=["a"] * 499 + [""]), "line 501: no recording"),
    ],
)
def test_wrong_tables_are_refused_by_file_and_row(tmp_path, change, message):
    columns = table_columns(500)
    change(columns)
    with pytest.raises(PrimusError, match=message) as error:
        read(write_csv(tmp_path / "a.csv", columns), rate_hz=50.0)
    assert str(tmp_path / "a.csv") in str(error.value)


def test_a_wrong_unit_in_g_is_refused(tmp_path):
    path = write_csv(tmp_path / "a.csv", table_columns(500))
    with pytest.raises(PrimusError, match=r"--acc-unit m/s2"):
        read(path, acc_unit="g")


def test_the_same_recording_twice_is_refused(tmp_path):
    file = write_csv(tmp_path / "a.csv", table_columns(200))
    with pytest.raises(PrimusError, match="a' is in"):
        read([file, file])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "header"),
        (b"time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z\n", "no rows"),
        (b"time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z\n1,2,3\n", "line 2: 3 fields; expected 7"),
        (b"time,time,acc_x\n1,2,3\n", "'time' appears twice"),
        (b"\xff\xfe\x00\x01,,\n", "UTF-8"),
        (b"time\n\xff\xfe\n", "UTF-8|no gyroscope"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(PrimusError, match=message):
        read(tmp_path / "a.csv")
    with pytest.raises(PrimusError, match="no such file"):
        read(tmp_path / "b.csv")


def test_other_delimiters_blank_lines_and_a_byte_order_mark(tmp_path):
    columns = table_columns(200)
    path = write_csv(tmp_path / "a.csv", columns)
    text = path.read_text().replace(",", ";").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n\r\n")
    (r,), _ = read(path)
    np.testing.assert_allclose(r.signal, signal(200), atol=1e-6)


def test_many_rows_are_read_in_parts(tmp_path):
    columns = table_columns(70_000)
    columns["acc_x"] = list(columns["acc_x"])
    (r,), _ = read(write_csv(tmp_path / "a.csv", columns))
    assert len(r.signal) == 70_000
    columns["acc_x"][69_000] = "x"
    with pytest.raises(PrimusError, match="line 69002"):
        read(write_csv(tmp_path / "a.csv", columns))


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = table_columns(500)
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({**columns, "label": ["walking"] * 500}), path)
    (r,), _ = read(path)
    np.testing.assert_allclose(r.signal, signal(500), atol=1e-6)
    assert r.label == "walking"
    columns["acc_x"] = [str(x) for x in columns["acc_x"]]
    parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(PrimusError, match=r"'acc_x' holds string"):
        read(path)
    columns = table_columns(500)
    columns["time"][7] = -1
    parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(PrimusError, match=r"a.parquet, row 8"):
        read(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PrimusError, match="not a Parquet file"):
        read(path)


def test_a_parquet_file_with_a_name_twice_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = table_columns(200)
    arrays = [pyarrow.array(values) for values in (*columns.values(), columns["acc_x"])]
    table = pyarrow.Table.from_arrays(arrays, names=[*columns, "acc_x"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(PrimusError, match=r"a\.parquet: column 'acc_x' appears twice"):
        read(tmp_path / "a.parquet")
