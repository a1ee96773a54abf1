"""Stamps keep their digits, and a unit that cannot be is refused with the one that fits."""

import warnings
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.recording_files import table_columns, write_csv

from data_prep.user.tables import AVERAGED, WRAPS, Tables
from primus_jax import SignalWarning
from primus_jax.errors import PrimusError
from primus_jax.recordings.clock import TIME_UNITS, Clock, in_order
from primus_jax.recordings.report import Report
from primus_jax.recordings.stream import recording_windows
from primus_jax.recordings.table_format import TableFormat

EPOCH = 1_717_000_000
ROWS = 500


def stamps(unit: str) -> list[int]:
    """Unix times of 50 Hz, whole numbers of the unit, with a jitter of up to 3 ms."""
    scale = round(1 / TIME_UNITS[unit])
    jitter = np.random.default_rng(0).integers(-3, 4, ROWS)
    return [(EPOCH * 1000 + 20 * i + int(jitter[i])) * scale // 1000 for i in range(ROWS)]


def seconds(unit: str) -> np.ndarray:
    exact = stamps(unit)
    return np.array([(stamp - exact[0]) * TIME_UNITS[unit] for stamp in exact])


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("kind", [np.int64, np.uint64, object, "decimal"])
def test_stamps_above_two_to_the_53_keep_their_digits(unit, kind):
    exact = stamps(unit)
    column = [Decimal(stamp) for stamp in exact] if kind == "decimal" else exact
    array = np.array(column, object if kind == "decimal" else kind)
    clock = Clock(unit)
    # in two pieces, as a long file is read
    found = np.concatenate([clock.seconds(array[:100]), clock.seconds(array[100:])])
    np.testing.assert_allclose(found, seconds(unit), atol=1e-12)
    assert clock.first == exact[0]


def test_missing_stamps_are_missing_and_the_first_known_one_is_the_origin():
    clock = Clock("ns")
    found = clock.seconds(np.array([None, 5, 7, None], object))
    np.testing.assert_array_equal(found, [np.nan, 0.0, 2e-9, np.nan])
    clock = Clock("s")
    np.testing.assert_array_equal(clock.seconds(np.array([np.nan])), [np.nan])
    np.testing.assert_array_equal(clock.seconds(np.array([3.5, 4.0])), [0.0, 0.5])


def windows(recording, layout: TableFormat) -> tuple[np.ndarray, np.ndarray]:
    report = Report()
    parts = list(recording_windows(recording, layout, 50.0, 100, 1.0, report))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_every_kind_of_file_and_every_reader_agree_on_unix_times(tmp_path, unit):
    """CSV and Parquet, whole and in pieces: what the same times in seconds give."""
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    plain = table_columns(ROWS, time=seconds(unit))
    exact = {**plain, "time": stamps(unit)}
    timestamps = np.array(exact["time"], "int64") * round(1e9 * TIME_UNITS[unit])
    files = {
        write_csv(tmp_path / "exact.csv", exact): unit,
        write_csv(
            tmp_path / "decimals.csv", {**exact, "time": [f"{t}.0" for t in stamps(unit)]}
        ): unit,
        tmp_path / "exact.parquet": unit,
        tmp_path / "stamps.parquet": "s",
        tmp_path / "decimal.parquet": unit,
    }
    parquet.write_table(pyarrow.table(exact), tmp_path / "exact.parquet")
    dates = pyarrow.array(timestamps, pyarrow.timestamp("ns", "Europe/Paris"))
    parquet.write_table(pyarrow.table({**exact, "time": dates}), tmp_path / "stamps.parquet")
    numbers = pyarrow.array([Decimal(t) for t in stamps(unit)], pyarrow.decimal128(30, 2))
    parquet.write_table(pyarrow.table({**exact, "time": numbers}), tmp_path / "decimal.parquet")

    first = write_csv(
        tmp_path / "plain.csv", {k: [repr(float(x)) for x in v] for k, v in plain.items()}
    )
    (expected,) = Tables([first], TableFormat())
    times, expected_windows = windows(first, TableFormat())
    for path, stated in files.items():
        layout = TableFormat(time_unit=stated)
        (found,) = Tables([path], layout)
        assert found.rate_hz == expected.rate_hz == 50.0
        np.testing.assert_allclose(found.signal, expected.signal, atol=1e-5, err_msg=str(path))
        again = windows(path, layout)
        np.testing.assert_array_equal(again[0], times)
        np.testing.assert_allclose(again[1], expected_windows, atol=1e-5, err_msg=str(path))
    frame = windows(pd.DataFrame(exact), TableFormat(time_unit=unit))
    np.testing.assert_allclose(frame[1], expected_windows, atol=1e-5)
    dated = pd.DataFrame({**exact, "time": pd.to_datetime(timestamps, utc=True)})
    np.testing.assert_allclose(windows(dated, TableFormat())[1], expected_windows, atol=1e-5)


@pytest.mark.parametrize(
    ("factor", "unit", "message"),
    [
        (1e3, "s", r"times in s say 0\.05 samples .* In ms they say 50: pass --time-unit ms"),
        (1e6, "s", r"In us they say 50: pass --time-unit us"),
        (1e9, "s", r"In ns they say 50: pass --time-unit ns"),
        (1.0, "ms", r"times in ms say 5e\+04 .* In s they say 50: pass --time-unit s"),
        (1e3, "us", r"In ms they say 50: pass --time-unit ms"),
        (1 / 86400, "s", "In days they say 50: pass --time-unit days"),
        (1 / 150, "s", r"none of them fits.*--no-time"),
    ],
)
def test_a_unit_that_cannot_be_is_refused_with_the_one_that_fits(tmp_path, factor, unit, message):
    time = 45_000 + np.arange(ROWS) / 50 * factor
    path = write_csv(tmp_path / "a.csv", table_columns(ROWS, time=time))
    layout = TableFormat(time_unit=unit)
    for read in (lambda: list(Tables([path], layout)), lambda: windows(path, layout)):
        with pytest.raises(PrimusError, match=message) as error:
            read()
        assert str(path) in str(error.value)


def test_a_timestamp_column_states_its_unit(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    slow = pyarrow.array(np.arange(ROWS), pyarrow.timestamp("s"))
    parquet.write_table(pyarrow.table(table_columns(ROWS, time=slow)), tmp_path / "a.parquet")
    with pytest.raises(PrimusError, match="The column itself states that unit"):
        list(Tables([tmp_path / "a.parquet"], TableFormat()))
    words = {**table_columns(ROWS), "time": [str(t) for t in range(ROWS)]}
    parquet.write_table(pyarrow.table(words), tmp_path / "b.parquet")
    with pytest.raises(PrimusError, match="holds string; expected numbers, timestamps"):
        list(Tables([tmp_path / "b.parquet"], TableFormat()))


def test_rates_of_no_sensor_are_refused_without_times_too(tmp_path):
    path = write_csv(tmp_path / "a.csv", table_columns(ROWS, time=None))
    for rate in (5.0, 9000.0):
        layout = TableFormat(rate_hz=rate)
        for read in (
            lambda lay=layout: list(Tables([path], lay)),
            lambda lay=layout: windows(path, lay),
        ):
            with pytest.raises(PrimusError, match="expected 10 to 5,000 Hz"):
                read()


def test_order():
    def name(i: int) -> str:
        return f"row {i}"

    signal = np.arange(12.0).reshape(4, 3)
    keep, same, averaged = in_order(np.arange(4.0), signal, name)
    assert keep.all()
    assert same is signal
    assert averaged == 0
    with pytest.raises(PrimusError, match=r"row 2: its time lies 0\.5 s before"):
        in_order(np.array([0.0, 1.0, 0.5, 2.0]), signal, name)
    with pytest.raises(PrimusError, match="row 1: its time is that of the row above"):
        in_order(np.array([0.0, 0.0, 0.5, 2.0]), signal, name)


def test_files_read_in_pieces_name_the_line(tmp_path):
    columns = table_columns(ROWS)
    columns["time"][300] = 0.5
    path: Path = write_csv(tmp_path / "a.csv", columns)
    with pytest.raises(PrimusError, match=r"a\.csv, line 302: its time lies"):
        windows(path, TableFormat())


@pytest.mark.parametrize(
    ("time", "message"),
    [
        (np.arange(ROWS), r"The steps are 1: the column counts rows\..*--no-time"),
        (638_000_000_000_000_000 + 200_000 * np.arange(ROWS), "ticks of Windows or .NET"),
    ],
)
def test_counters_and_ticks_are_not_taken_for_another_unit(tmp_path, time, message):
    path = write_csv(tmp_path / "a.csv", table_columns(ROWS, time=time))
    for read in (lambda: list(Tables([path], TableFormat())), lambda: windows(path, TableFormat())):
        with pytest.raises(PrimusError, match=message):
            read()


@pytest.mark.parametrize("start", [0, 1_700_000_000])
@pytest.mark.parametrize(
    ("rate", "digits"), [(10, 3), (20, 3), (25, 3), (26, 6), (28, 3), (31, 4), (35, 3), (50, 3)]
)
def test_rounded_stamps_cost_no_sample_and_no_rate(tmp_path, rate, digits, start):
    """Ten seconds are ten seconds at every rate, whatever digits the logger wrote."""
    rows = 10 * rate
    time = [f"{start + i / rate:.{digits}f}" for i in range(rows)]
    path = write_csv(tmp_path / "a.csv", table_columns(rows, rate, time=time))
    (found,) = Tables([path], TableFormat())
    assert (found.rate_hz, len(found.signal)) == (rate, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignalWarning)
        assert len(windows(path, TableFormat())[0]) == 9


def test_a_rate_that_rises_later_is_refused(tmp_path):
    time = np.concatenate([np.arange(17_000) / 50, 340 + np.arange(17_000) / 100])
    path = write_csv(tmp_path / "a.csv", table_columns(len(time), time=time))
    for read in (lambda: list(Tables([path], TableFormat())), lambda: windows(path, TableFormat())):
        with pytest.raises(PrimusError, match=r"line \d+: from about here .* 96\.38 samples"):
            read()


def test_the_name_of_a_recording_is_followed_over_pieces():
    rows = 70_000
    frame = pd.DataFrame(table_columns(rows, recording=["a"] * 65_536 + ["b"] * (rows - 65_536)))
    parts = [frame.iloc[:100].assign(recording="a"), frame.iloc[100:300].assign(recording="b")]
    for recording in (frame, parts, iter(parts)):
        with pytest.raises(PrimusError, match="names 'a' and 'b'"):
            windows(recording, TableFormat())
    blank = frame.iloc[:300].assign(recording=["a", "a "] * 150)
    assert len(windows(blank, TableFormat())[0])


@pytest.mark.parametrize("hop", ["1", None, np.nan, 0])
def test_a_hop_is_a_positive_number(hop):
    with pytest.raises(PrimusError, match="hop_seconds is"):
        list(recording_windows(np.zeros((9, 6)), TableFormat(rate_hz=50.0), 50.0, 5, hop, Report()))


def test_a_few_rows_of_one_time_are_averaged_and_counted(tmp_path):
    rows = 1000
    columns = table_columns(rows)
    columns["time"][400] = columns["time"][399]
    columns["time"][600:602] = columns["time"][599]
    path = write_csv(tmp_path / "a.csv", columns)
    tables = Tables([path], TableFormat())
    (found,) = tables
    assert +tables.drops == {AVERAGED: 3}
    raw = np.stack([columns[name] for name in list(columns)[1:]], 1)
    np.testing.assert_allclose(found.signal[399], raw[399:401].mean(0), atol=1e-5)
    np.testing.assert_allclose(found.signal[599], raw[599:602].mean(0), atol=1e-5)
    report = Report()
    list(recording_windows(path, TableFormat(), 50.0, 100, 1.0, report))
    assert report.averaged == 3
    assert "3 rows with the time of another were averaged" in report.problems()
    columns["time"] = np.floor(columns["time"])
    write_csv(path, columns)
    with pytest.raises(PrimusError, match="the clock is too coarse"):
        windows(path, TableFormat())


@pytest.mark.parametrize(
    ("bits", "unit", "step"), [(32, "us", 20_000), (16, "ms", 20), (24, "us", 20_000)]
)
def test_a_counter_that_begins_anew_goes_on(tmp_path, bits, unit, step):
    time = (2**bits - 150 * step + step * np.arange(ROWS)) % 2**bits
    path = write_csv(tmp_path / "a.csv", table_columns(ROWS, time=time))
    layout = TableFormat(time_unit=unit)
    tables = Tables([path], layout)
    (found,) = tables
    assert (found.rate_hz, len(found.signal)) == (50.0, ROWS)
    assert tables.drops[WRAPS] == 1
    times, _ = windows(path, layout)
    np.testing.assert_allclose(times, np.arange(len(times)))
    # in pieces, too
    clock = Clock(unit)
    parts = [clock.seconds(part) for part in np.split(time, [150, 151, 400])]
    np.testing.assert_allclose(np.concatenate(parts), np.arange(ROWS) / 50, atol=1e-9)
    # what is no wrap is a fault of the order
    time[[10, 11]] = time[[11, 10]]
    with pytest.raises(PrimusError, match="its time lies"):
        windows(write_csv(path, table_columns(ROWS, time=time)), layout)
