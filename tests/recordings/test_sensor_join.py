"""Sensors with stamps of their own, in one table or in a file each, through both readers."""

import dataclasses

import numpy as np
import pytest

from data_prep.user.tables import JOINED, Tables
from primus_jax.errors import PrimusError
from primus_jax.recordings.path_pattern import sensor_files
from primus_jax.recordings.report import Report
from primus_jax.recordings.sources import SensorFiles
from primus_jax.recordings.stream import recording_windows
from primus_jax.recordings.table_format import TableFormat
from tests.support.sensor_files import NAMES, RATE, at, write

SECONDS = 12.0
XYZ = ("x", "y", "z")
SEPARATE = TableFormat(acc=XYZ, gyro=XYZ, time="t", separate=True)


def stream(source, layout=None):
    """Windows of the streaming reader, end to end, and its report."""
    report = Report()
    parts = [
        windows
        for _, windows in recording_windows(
            source, layout or TableFormat(), RATE, 100, 2.0, report, strict=True
        )
    ]
    return np.concatenate(parts).reshape(-1, 6), report


def events(path, gyro_rate, late=0.007):
    """A row for each event: the accelerometer at 50 Hz, the gyroscope at another rate."""
    times = [np.arange(0, SECONDS, 1 / RATE), late + np.arange(0, SECONDS, 1 / gyro_rate)]
    rows = []
    for sensor, time in enumerate(times):
        six = at(time)
        six[:, 3 * (1 - sensor) : 3 * (1 - sensor) + 3] = np.nan
        rows += list(zip(time, six, strict=True))
    rows.sort(key=lambda row: row[0])
    return write(
        path, ["time", *NAMES], [np.array([r[0] for r in rows]), *np.array([r[1] for r in rows]).T]
    )


@pytest.mark.parametrize("gyro_rate", [50.0, 20.0, 100.0])
def test_a_row_for_each_event_becomes_rows_of_both(tmp_path, gyro_rate):
    path = events(tmp_path / "a.csv", gyro_rate)
    tables = Tables([path], TableFormat())
    (found,) = tables
    assert found.rate_hz == max(RATE, gyro_rate)
    start = 0.007 if gyro_rate > RATE else 0.0
    expected = at(start + np.arange(len(found.signal)) / found.rate_hz)
    np.testing.assert_allclose(found.signal[5:-5], expected[5:-5], atol=2e-3)
    assert tables.done[JOINED] == len(found.signal)
    windows, report = stream(path)
    assert report.joined == len(found.signal)
    assert len(windows) == 600
    assert np.abs(windows[50:500, 4]).max() > 0.9


def test_two_files_are_joined_alike_however_they_are_read(tmp_path):
    for person in ("anna", "ben"):
        for sensor, late in (("acc", 0.0), ("gyro", 0.004)):
            time = late + np.arange(600) / RATE
            six = at(time)[:, :3] if sensor == "acc" else at(time)[:, 3:]
            write(tmp_path / person / f"{sensor}.csv", ["t", *XYZ], [time, *six.T])
    sources = sensor_files({s: f"{tmp_path}/*/{s}.csv" for s in ("acc", "gyro")})
    assert [source.name for source in sources] == ["anna", "ben"]
    found = list(Tables(sources, SEPARATE))
    assert [recording.id for recording in found] == ["anna", "ben"]
    expected = at(np.arange(600) / RATE)
    np.testing.assert_allclose(found[0].signal[2:-2], expected[2:-2], atol=1e-3)
    windows, _ = stream(sources[0], SEPARATE)
    np.testing.assert_allclose(windows[2:500], expected[2:500], atol=1e-3)
    (tmp_path / "ben" / "gyro.csv").unlink()
    with pytest.raises(PrimusError, match=r"ben/acc.csv: no file of gyro .*/ben/gyro.csv"):
        sensor_files({s: f"{tmp_path}/*/{s}.csv" for s in ("acc", "gyro")})


def test_gravity_in_a_file_of_its_own_is_added_with_its_sign(tmp_path):
    time = np.arange(600) / RATE
    six = at(time)
    gravity = np.tile([0.0, 0.0, 9.80665], (600, 1))
    for name, values in (("acc", six[:, :3] - gravity), ("gravity", gravity), ("gyro", six[:, 3:])):
        sign = 1 if name == "gyro" else -1
        write(tmp_path / f"{name}.csv", ["t", *XYZ], [time, *(sign * values).T])
    source = SensorFiles(*(tmp_path / f"{name}.csv" for name in ("acc", "gyro", "gravity")), "me")
    layout = dataclasses.replace(SEPARATE, gravity=XYZ, invert_acc=True)
    (found,) = Tables([source], layout)
    np.testing.assert_allclose(found.signal[1:-1], six[1:-1], atol=1e-4)
    with pytest.raises(PrimusError, match="a file for each sensor"):
        list(Tables([tmp_path / "acc.csv"], layout))
    with pytest.raises(PrimusError, match="gravity has a file"):
        list(Tables([source], SEPARATE))


def test_clocks_without_a_common_moment_are_refused(tmp_path):
    time = np.arange(600) / RATE
    acc = write(tmp_path / "a.csv", ["t", *XYZ], [time, *at(time)[:, :3].T])
    gyro = write(tmp_path / "g.csv", ["t", *XYZ], [time + 99, *at(time)[:, 3:].T])
    with pytest.raises(PrimusError, match="no moment in common"):
        list(Tables([SensorFiles(acc, gyro)], SEPARATE))
    bare = write(tmp_path / "b.csv", XYZ, [*at(time)[:, 3:].T])
    with pytest.raises(PrimusError, match=r"b\.csv: no column 't'"):
        list(Tables([SensorFiles(acc, bare)], SEPARATE))


def test_a_gap_of_one_sensor_costs_the_windows_that_touch_it(tmp_path):
    time = np.arange(1000) / RATE
    acc = write(tmp_path / "a.csv", ["t", *XYZ], [time, *at(time)[:, :3].T])
    kept = (time < 8) | (time > 9)
    gyro = write(tmp_path / "g.csv", ["t", *XYZ], [time[kept], *at(time)[kept, 3:].T])
    (found,) = Tables([SensorFiles(acc, gyro)], SEPARATE)
    ((begin, end),) = found.bad_spans
    assert 7.9 < begin < 8.1
    assert 8.9 < end < 9.1
    _, report = stream(SensorFiles(acc, gyro), SEPARATE)
    assert report.touched == 1
