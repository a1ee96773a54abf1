"""Written dates and times are the seconds that they state."""

import datetime
import zoneinfo

import numpy as np
import pytest
from support.recording_files import table_columns, write_csv

from data_prep.user.tables import Tables
from primus_jax.cli import main
from primus_jax.errors import PrimusError
from primus_jax.recordings.dialect import TextOptions
from primus_jax.recordings.report import Report
from primus_jax.recordings.stream import recording_windows
from primus_jax.recordings.table_format import TableFormat

ROWS = 600
START = datetime.datetime(2024, 3, 5, 23, 59, 55)
MOMENTS = [START + datetime.timedelta(milliseconds=20 * i) for i in range(ROWS)]


def seen(path, **layout):
    """Samples and rate of a file, the same for a whole file and for one read in pieces."""
    (recording,) = Tables([path], TableFormat(**layout))
    report = Report()
    parts = list(recording_windows(path, TableFormat(**layout), 50.0, 100, 1.0, report))
    assert report.rate_hz == recording.rate_hz == 50.0
    assert not report.gaps
    windows = np.concatenate([windows for _, windows in parts])
    np.testing.assert_allclose(recording.signal[:100], windows[0], atol=1e-6)
    return recording.signal


def written(template: str, moment: datetime.datetime) -> str:
    """`template` by strftime, with %L for milliseconds."""
    return moment.strftime(template.replace("%L", f"{moment.microsecond // 1000:03d}"))


@pytest.mark.parametrize(
    ("template", "options"),
    [
        ("%Y-%m-%dT%H:%M:%S.%L", {}),
        ("%Y-%m-%dT%H:%M:%S.%L+0100", {}),
        ("%Y-%m-%dT%H:%M:%S.%L+01:00", {}),
        ("%Y-%m-%dT%H:%M:%S.%LZ", {}),
        ("%Y-%m-%dT%H:%M:%S.%L+00:00[Europe/London]", {}),
        ("%Y-%m-%d %H:%M:%S.%L", {}),
        ("%Y-%m-%d %H:%M:%S:%L", {}),
        ("%Y/%m/%d %H:%M:%S.%L", {}),
        ("%d/%m/%Y %H:%M:%S.%L", {"date_order": "dmy"}),
        ("%m/%d/%Y %I:%M:%S.%L %p", {"date_order": "mdy"}),
        ("%d.%m.%Y %H:%M:%S.%L", {"date_order": "dmy"}),
        ("%H:%M:%S.%L", {}),
        ("%I:%M:%S.%L %p", {}),
        ("%Y-%m-%d %H:%M:%S.%L", {"time_zone": "Europe/Berlin"}),
    ],
)
def test_every_way_to_write_a_time_over_midnight(tmp_path, template, options):
    time = [written(template, moment) for moment in MOMENTS]
    path = write_csv(tmp_path / "a.csv", table_columns(ROWS, time=time))
    plain = write_csv(tmp_path / "b.csv", table_columns(ROWS))
    found = seen(path, text=TextOptions(**options))
    np.testing.assert_allclose(found, seen(plain), atol=1e-5)


def test_a_day_above_twelve_tells_the_order_of_a_date(tmp_path):
    moments = [moment.replace(day=25 if moment.day == 5 else 26) for moment in MOMENTS]
    for template in ("%d/%m/%Y %H:%M:%S.%L", "%m/%d/%Y %H:%M:%S.%L"):
        time = [written(template, moment) for moment in moments]
        path = write_csv(tmp_path / "a.csv", table_columns(ROWS, time=time))
        assert len(seen(path)) == ROWS
    time = [written("%d/%m/%Y %H:%M:%S.%L", moment) for moment in MOMENTS]
    path = write_csv(tmp_path / "a.csv", table_columns(ROWS, time=time))
    with pytest.raises(PrimusError, match=r"a\.csv, column 'time': .* --time-format dmy or"):
        seen(path)


def test_an_hour_that_comes_twice(tmp_path):
    """The clock of Berlin is set back at 01:00 UTC on 27 October 2024."""
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    start = datetime.datetime(2024, 10, 27, 0, 59, 55, tzinfo=datetime.UTC)
    utc = [start + datetime.timedelta(milliseconds=20 * i) for i in range(ROWS)]
    time = [written("%Y-%m-%d %H:%M:%S.%L", moment.astimezone(zone)) for moment in utc]
    path = write_csv(tmp_path / "a.csv", table_columns(ROWS, time=time))
    with pytest.raises(PrimusError, match="If a clock was set back, give --time-zone"):
        seen(path)
    found = seen(path, text=TextOptions(time_zone="Europe/Berlin"))
    plain = write_csv(tmp_path / "b.csv", table_columns(ROWS))
    np.testing.assert_allclose(found, seen(plain), atol=1e-5)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("2024-13-05T00:00:00", r"line 11: '2024-13-05T00:00:00' in column 'time'; expected"),
        ("25:00:00", "expected a number or a time"),
        ("yesterday", "expected a number or a time"),
        ("", "line 11: the time is missing"),
    ],
)
def test_what_is_no_time_names_its_row(tmp_path, cell, message):
    time = [written("%Y-%m-%dT%H:%M:%S.%L", moment) for moment in MOMENTS]
    time[9] = cell
    path = write_csv(tmp_path / "a.csv", table_columns(ROWS, time=time))
    with pytest.raises(PrimusError, match=message):
        seen(path)


def test_days_of_a_spreadsheet_and_options_of_the_command(tmp_path, capsys):
    time = [f"{45356.99 + i / 50 / 86400:.12f}" for i in range(ROWS)]
    path = write_csv(tmp_path / "a.csv", table_columns(ROWS, time=time))
    assert len(seen(path, time_unit="days")) == ROWS
    command = ["prepare", "table", str(path), "--splits", "1", "0", "0"]
    command += ["--out", str(tmp_path / "out")]
    assert main([*command, "--time-unit", "days"]) == 0
    dates = [written("%d/%m/%Y %H:%M:%S.%L", moment) for moment in MOMENTS]
    write_csv(path, table_columns(ROWS, time=dates))
    capsys.readouterr()
    assert main([*command, "--overwrite", "--time-format", "dmy", "--time-zone", "Mars/A"]) == 2
    assert "--time-zone Mars/A: not a known zone" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--time-format", "dmy"]) == 0
