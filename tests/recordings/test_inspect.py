"""`primus-jax inspect`: what is printed of a file, and the command that then reads it."""

import shlex

import numpy as np
import pytest

from primus_jax.cli import main
from primus_jax.commands.prepare import add_arguments
from tests.support.sensor_files import NAMES, RATE, at, table, write

ROWS = 400
TIME = np.arange(ROWS) / RATE
SI = at(TIME)


@pytest.fixture
def inspect(capsys):
    def call(*words, status=0):
        assert main(["inspect", *map(str, words)]) == status
        return capsys.readouterr().out

    return call


def reads(text, tmp_path):
    """The printed command of `prepare` reads the file."""
    line = next(line for line in text.splitlines() if "prepare table" in line)
    words = shlex.split(line.strip())[1:]
    words[words.index("--out") + 1] = str(tmp_path / "out")
    assert main([*words, "--splits", "1", "0", "0", "--window", "2"]) == 0


def test_a_plain_table_needs_no_option(inspect, tmp_path):
    text = inspect(table(tmp_path / "a.csv", TIME, SI))
    assert "encoding utf-8" in text
    assert "column 'time': numbers in s, 50 rows a second" in text
    assert "m/s2, by the numbers" in text
    assert "nothing states it" in text
    assert "1 recording, 8.0 s at 50 Hz" in text
    assert f"prepare table {tmp_path / 'a.csv'} --out data/mine" in text
    assert "--classifier CLASSIFIER" in text
    reads(text, tmp_path)


@pytest.mark.parametrize(
    ("names", "scale", "expected"),
    [
        (NAMES, 1000 / 9.80665, "--acc-unit mg"),
        (NAMES, 16384 / 9.80665, "--acc-unit g --scale-acc 1/16384"),
        ([f"Accel {a} (g)" for a in "XYZ"] + [f"Rotation {a} (rad/s)" for a in "XYZ"],
         1 / 9.80665, "--gyro 'Rotation X (rad/s)'"),
        (["ax", "ay", "az", "wx", "wy", "wz"], 1.0, "--acc ax ay az --gyro wx wy wz"),
    ],
)  # fmt: skip
def test_units_and_names_become_options(inspect, tmp_path, names, scale, expected):
    values = SI * np.repeat([scale, 1.0], 3)
    path = write(tmp_path / "a.csv", ["stamp_ms", *names], [TIME * 1000, *values.T])
    text = inspect(path)
    assert expected in text
    assert "--time stamp_ms --time-unit ms" in text
    reads(text, tmp_path)


def test_text_labels_people_and_bursts(inspect, tmp_path):
    label = np.repeat(["sit", "walk"], ROWS // 2)
    who = np.repeat(["anna"], ROWS)
    burst = np.floor(TIME * 5) / 5
    path = table(tmp_path / "a.csv", burst, SI, activity=label, subject=who)
    path.write_text("# made by a test\n" + path.read_text().replace(",", ";").replace(".", ","))
    text = inspect(path)
    for part in (
        "decimal mark ','", "columns separated by semicolon", "column names in line 2",
        "rows come in bursts of about 10", "--rate 50", "--label-column activity",
        "labels         sit 4 s, walk 4 s", "people         anna", "primus-jax adapt",
    ):  # fmt: skip
        assert part in text
    reads(text, tmp_path)


def test_what_cannot_be_read_is_said_with_what_is_missing(inspect, tmp_path):
    path = write(tmp_path / "a.csv", NAMES, [*SI.T])
    text = inspect(path, status=2)
    assert "no column whose steps give 10 to 5,000 rows a second" in text
    assert "unknown rate. Give --rate" in text
    assert "1 recording, 8.0 s at 50 Hz" in inspect(path, "--rate", 50)
    path = write(tmp_path / "b.csv", ["time", "heart", "steps"], [TIME, SI[:, 0], SI[:, 1]])
    assert "no accelerometer by their names" in inspect(path, status=2)
    path = write(tmp_path / "c.csv", ["time", *NAMES[3:]], [TIME, *SI[:, 3:].T])
    text = inspect(path, status=2)
    assert "a gyroscope alone" in text
    assert "give --acc-file and --gyro-file" in text


def test_options_are_believed(inspect, tmp_path):
    path = table(tmp_path / "a.csv", TIME, SI)
    text = inspect(path, "--acc-unit", "g", status=2)
    assert "It looks like m/s2" in text
    text = inspect(path, "--no-gyro", "--no-time", "--rate", 100)
    assert "4.0 s at 100 Hz" in text
    assert "--no-gyro --no-time --rate 100" in text


def test_every_printed_option_exists(inspect, tmp_path):
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    text = inspect(table(tmp_path / "a.csv", TIME, SI), "--decimal", ".", "--header-line", 1)
    line = next(line for line in text.splitlines() if "prepare table" in line)
    args = parser.parse_args(shlex.split(line)[2:])
    assert args.header_line == 1
    assert args.decimal == "."


def test_rows_of_several_sensors_in_one_set_of_columns_are_refused(tmp_path, capsys):
    path = tmp_path / "long.csv"
    rows = [
        f"{sensor},{k / 50:.2f},0.1,0.2,{value}"
        for k in range(300)
        for sensor, value in (("Accelerometer", 9.8), ("Gyroscope", 0.0))
    ]
    path.write_text("\n".join(["sensor,time,x,y,z", *rows]))
    words = "holds readings of 'Accelerometer' and 'Gyroscope', which column 'sensor' tells apart"
    assert main(["inspect", str(path)]) == 2
    assert words in capsys.readouterr().err
    out = ["--out", str(tmp_path / "out")]
    assert main(["prepare", "table", str(path), "--acc", "x", "y", "z", "--no-gyro", *out]) == 2
    assert words in capsys.readouterr().err
    # With columns of their own, a column of names is one of any.
    rows = [
        f"{sensor},{k / 50:.2f},{cells}"
        for k in range(300)
        for sensor, cells in (("acc", "0.1,0.2,9.8,,,"), ("gyro", ",,,0,0,0"))
    ]
    path.write_text("\n".join(["sensor,time,ax,ay,az,gx,gy,gz", *rows]))
    assert main(["inspect", str(path)]) == 0
    assert "300 rows joined" in capsys.readouterr().out
