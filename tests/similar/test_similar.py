"""`primus-jax similar`: what repeats is found, nothing overlaps, and bad queries are sentences."""

import csv
import json
import shutil

import numpy as np
import pytest
from support.recording_files import write_csv
from support.user_files import moving, tiny_encoder

from primus_jax.cli import main
from primus_jax.encoder import Encoder
from primus_jax.models.motif import MotifConfig

RATE = 25.0
# Seconds at which somebody climbs stairs; the rest is sitting.
STAIRS = (6.0, 21.0, 30.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recording of 42 s with a gap of 4 s at 36, an encoder, and a distance."""
    folder = tmp_path_factory.mktemp("similar")
    signal = moving("sit", 42.0, RATE, 0)
    for number, start in enumerate(STAIRS):
        first = round(start * RATE)
        signal[first : first + 75] = moving("stairs", 3.0, RATE, 5 + number)
    time = np.arange(len(signal)) / RATE
    time[time >= 36] += 4
    names = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
    columns = {name: signal[:, i] for i, name in enumerate(names)}
    write_csv(folder / "day.csv", {"time": time, **columns})
    still = {name: 0 * values for name, values in columns.items() if name.startswith("acc")}
    write_csv(folder / "gyro.csv", {"time": time, **columns, **still})
    tiny_encoder().save(folder / "encoder")
    motif = MotifConfig(features=8, blocks=1)
    Encoder.random(motif, 0, 50.0, 3.0).save(folder / "motif")
    return folder


def similar(folder, *options, query=("6", "9"), encoder="encoder", file="day.csv", out="out"):
    units = ("--acc-unit", "g", "--gyro-unit", "deg/s", "--encoder", str(folder / encoder))
    place = ("--query", *query, "--out", str(folder / out), *units)
    return main(["similar", str(folder / file), *place, *options])


@pytest.fixture(scope="module")
def rows(folder):
    """Of both kinds of distance."""
    found = {}
    for kind in ("encoder", "motif"):
        assert similar(folder, "--top", "4", encoder=kind, out=f"out_{kind}") == 0
        with (folder / f"out_{kind}" / "similar.csv").open() as file:
            found[kind] = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    return found


def test_what_was_done_again_is_found(rows):
    starts = [row["start_seconds"] for row in rows["encoder"]]
    assert sorted(starts[:2]) == pytest.approx(STAIRS[1:], abs=0.6)


@pytest.mark.parametrize("kind", ["encoder", "motif"])
def test_matches_overlap_nothing(rows, folder, kind):
    found = rows[kind]
    assert [row["rank"] for row in found] == [1, 2, 3, 4]
    distances = [row["distance"] for row in found]
    assert distances == sorted(distances)
    starts = [6.0, *(row["start_seconds"] for row in found)]
    assert min(abs(a - b) for i, a in enumerate(starts) for b in starts[:i]) > 2.99
    assert all(row["end_seconds"] - row["start_seconds"] == pytest.approx(3) for row in found)
    # nothing lies across the gap
    assert not any(33 < start < 40 for start in starts)
    picture = folder / f"out_{kind}" / "similar.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("query", "options", "words"),
    [
        (("50", "53"), {}, "lies outside of"),
        (("45", "48"), {}, "lies outside of"),
        (("34", "37"), {}, "touches a gap"),
        (("6", "8"), {}, "expected 3 s, the window"),
        (("6", "40"), {}, "to 30 s"),
        (("9", "6"), {}, "an END after it"),
        (("6", "9"), {"file": "gyro.csv", "encoder": "motif"}, "accelerometer"),
        (("6", "9"), {"encoder": "nowhere"}, "does not exist"),
    ],
)
def test_a_query_that_means_nothing_is_a_sentence(folder, capsys, query, options, words):
    assert similar(folder, query=query, out="refused", **options) == 2
    error = capsys.readouterr().err
    assert words in error
    assert not (folder / "refused").exists()


def test_a_distance_of_the_accelerometer_does_not_miss_a_gyroscope(rows, folder, capsys):
    assert similar(folder, "--no-gyro", encoder="motif", out="still", query=("6", "9")) == 0
    assert "gyroscope" not in capsys.readouterr().err
    of_both = (folder / "out_motif" / "similar.csv").read_text().splitlines()
    assert (folder / "still" / "similar.csv").read_text().splitlines()[:5] == of_both


def test_other_units_rates_and_channels_are_refused(folder, capsys):
    for options, words in (
        (("--acc-unit", "m/s2"), "acc-unit"),
        (("--rate", "80"), "80"),
        (("--no-gyro",), "--no-gyro"),
        (("--top", "0"), "top is 0"),
        (("--head", "voice"), "voice"),
    ):
        assert similar(folder, *options, out="refused") == 2, options
        assert words in capsys.readouterr().err


def test_a_distance_of_another_unit_is_refused(folder, capsys):
    shutil.copytree(folder / "motif", folder / "in_g")
    description = json.loads((folder / "in_g" / "config.json").read_text())
    description["units"]["acc"] = "g"
    (folder / "in_g" / "config.json").write_text(json.dumps(description))
    assert similar(folder, encoder="in_g", out="refused") == 2
    assert "accelerations in 'g'" in capsys.readouterr().err
