"""Labels as intervals, as tools write them, and names that stand in paths."""

import json

import numpy as np
import pytest

from data_prep.user.intervals import OUTSIDE_INTERVALS, read_intervals
from data_prep.user.naming import PathNames
from data_prep.user.tables import Tables
from primus_jax.cli import main
from primus_jax.errors import PrimusError
from primus_jax.recordings.table_format import TableFormat
from tests.support.recording_files import table_columns, write_csv
from tests.support.sensor_files import RATE, at, table

ROWS = 1000
TIME = np.arange(ROWS) / RATE
PLAIN = "recording,start,end,label\nwalk,0,6,sit\nwalk,8,30,walk\n"
CLOCKS = (("00:00:00.000", "00:00:06.000"), ("00:00:08.000", "00:00:20.000"))
ELAN = "".join(
    f"act\t\t{a}\t{k}.0\t{b}\t{k + 1}.0\t00:00:01.000\t1.0\t{name}\n"
    for k, ((a, b), name) in enumerate(zip(CLOCKS, ("sit", "walk"), strict=True))
)
ELAN_HEADER = "Begin Time - hh:mm:ss.ms\tEnd Time - hh:mm:ss.ms\tact\n" + "".join(
    f"{a}\t{b}\t{name}\n" for (a, b), name in zip(CLOCKS, ("sit", "walk"), strict=True)
)
BORIS = (
    "Observation id,Media file,Subject,Behavior,Behavior type,Start (s),Stop (s)\n"
    "walk,v.mp4,s,sit,STATE,0,6\nwalk,v.mp4,s,clap,POINT,7,7\nwalk,v.mp4,s,walk,STATE,8,20\n"
)
BORIS_TABULAR = (
    "Observation id,walk\n\nTime,Media file path,Subject,Behavior,Status\n"
    "0,v,s,sit,START\n6,v,s,sit,STOP\n8,v,s,walk,START\n20,v,s,walk,STOP\n"
)


def studio(start, scale, name="5e8c3f2a-walk.csv"):
    result = [
        {
            "value": {
                "start": start + a * scale,
                "end": start + b * scale,
                "timeserieslabels": [n],
            },
            "from_name": "label",
        }
        for a, b, n in ((0, 6, "sit"), (8, 20, "walk"))
    ]
    return json.dumps([{"id": 1, "file_upload": name, "annotations": [{"result": result}]}])


def dates(first="2024-03-05T10:00:00"):
    stamps = np.datetime64(first) + np.round(TIME * 1000).astype("timedelta64[ms]")
    return stamps.astype(str)


WRITTEN = (
    "recording,start,end,label\nwalk,2024-03-05 10:00:00,2024-03-05 10:00:06,sit\n"
    "walk,2024-03-05 10:00:08,2024-03-05 10:00:30,walk\n"
)


@pytest.mark.parametrize(
    ("name", "text", "time"),
    [
        ("labels.csv", PLAIN, TIME),
        ("labels.csv", PLAIN.replace(",", ";"), TIME),
        ("labels.csv", WRITTEN, dates()),
        ("labels.csv", WRITTEN, 1_709_632_800 + TIME),
        ("any.txt", ELAN_HEADER, TIME),
        ("boris.csv", BORIS, TIME),
        ("boris.csv", BORIS_TABULAR, TIME),
        ("export.json", studio(0.0, 1.0), TIME),
        ("export.json", studio(5_000.0, 1.0), 5_000 + TIME),
        ("export.json", studio(1_709_632_800_000, 1000), dates()),
    ],
)
def test_every_kind_of_intervals_gives_the_same_labels(tmp_path, name, text, time):
    path = table(tmp_path / "walk.csv", time, at(TIME))
    (tmp_path / name).write_text(text)
    tables = Tables([path], TableFormat(), intervals=read_intervals([tmp_path / name]))
    found = [(r.label, round(len(r.signal) / RATE, 1)) for r in tables]
    assert found == [("sit", 6.0), ("", 2.0), ("walk", 12.0)]


def test_elan_without_a_header_and_with_layers(tmp_path):
    path = table(tmp_path / "walk.csv", TIME, at(TIME))
    (tmp_path / "e.txt").write_text(ELAN)
    found = list(Tables([path], TableFormat(), intervals=read_intervals([tmp_path / "e.txt"])))
    assert [r.label for r in found] == ["sit", "", "walk"]
    (tmp_path / "e.txt").write_text(ELAN + ELAN.replace("act", "mood"))
    with pytest.raises(PrimusError, match=r"layers \['act', 'mood'\]; name one with --tier"):
        read_intervals([tmp_path / "e.txt"])
    assert len(read_intervals([tmp_path / "e.txt"], "mood").rows) == 2
    with pytest.raises(PrimusError, match="--tier x"):
        read_intervals([tmp_path / "e.txt"], "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "expected columns recording, start, end, label, or an export of ELAN"),
        ("recording,start,end,label\n", "no rows below the header"),
        ("recording,start,end,label\nwalk,1,x,sit\n", "line 2: '1' to 'x'; expected seconds"),
        ("recording,start,end,label\nwalk,1,2,\n", "line 2: expected a label"),
        ("recording,start,end,label\nwalk,2,1,sit\n", "line 2: ends at 1.0, not after its start"),
        ("recording,start,end,label\nwalk,0,5,a\nwalk,4,6,b\n", "line 3: 'b' begins before 'a'"),
        ("recording,start,end,label\nrun,0,5,a\n", "line 2: no recording for 'run'"),
        (WRITTEN, "is a date, and the times of the recording count from its start"),
        (BORIS_TABULAR.replace("20,v,s,walk,STOP\n", ""), "'walk' starts and never stops"),
    ],
)
def test_wrong_intervals_are_refused_by_file_and_row(tmp_path, text, message):
    path = table(tmp_path / "walk.csv", TIME, at(TIME))
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(PrimusError, match=message):
        list(Tables([path], TableFormat(), intervals=read_intervals([tmp_path / "l.csv"])))


def test_intervals_outside_are_counted_and_files_are_matched_by_their_names(tmp_path):
    paths = [table(tmp_path / who / "walk.csv", TIME, at(TIME)) for who in ("anna", "ben")]
    (tmp_path / "l.csv").write_text(
        "recording,start,end,label\nanna/walk,0,20,sit\nben/walk,0,20,run\nben/walk,90,99,sit\n"
    )
    tables = Tables(paths, TableFormat(), intervals=read_intervals([tmp_path / "l.csv"]))
    assert [(r.id, r.label) for r in tables] == [("anna/walk", "sit"), ("ben/walk", "run")]
    assert tables.drops[OUTSIDE_INTERVALS] == 1
    (tmp_path / "unknown.txt").write_text(ELAN_HEADER)
    unnamed = read_intervals([tmp_path / "unknown.txt"])
    with pytest.raises(PrimusError, match="the file of intervals is called 'unknown'"):
        list(Tables(paths, TableFormat(), intervals=unnamed))


def test_equal_file_names_and_people_in_paths(tmp_path):
    paths = [
        table(tmp_path / who / day / "walk.csv", TIME, at(TIME))
        for who, day in (("anna", "1"), ("anna", "2"), ("ben", "1"))
    ]
    names = [r.id for r in Tables(paths, TableFormat())]
    assert names == ["anna/1/walk", "anna/2/walk", "ben/1/walk"]
    naming = PathNames("{recording}/walk.csv", "{subject}/*/walk.csv")
    with pytest.raises(PrimusError, match=r"recording '1' is in .* and again in"):
        list(Tables(paths, TableFormat(), naming=naming))
    found = list(Tables(paths[1:], TableFormat(), naming=naming))
    assert [(r.id, r.subject) for r in found] == [("2", "anna"), ("1", "ben")]
    with pytest.raises(PrimusError, match="does not fit the pattern"):
        list(Tables(paths, TableFormat(), naming=PathNames(subject="{subject}.txt")))
    with pytest.raises(PrimusError, match=r"has no \{recording\}"):
        list(Tables(paths, TableFormat(), naming=PathNames("*.csv")))
    named = write_csv(tmp_path / "named.csv", table_columns(ROWS, subject=["s"] * ROWS))
    with pytest.raises(PrimusError, match="names people, and so does the path"):
        list(Tables([named], TableFormat(), naming=PathNames(subject="{subject}.csv")))


def test_the_command_takes_files_for_each_sensor_names_and_intervals(tmp_path, capsys):
    for who in ("anna", "ben"):
        table(tmp_path / who / "acc.csv", TIME, at(TIME))
        table(tmp_path / who / "gyro.csv", TIME + 0.003, at(TIME + 0.003))
    (tmp_path / "l.csv").write_text("recording,start,end,label\nanna,0,10,sit\nben,0,20,run\n")
    words = ["prepare", "table", "--out", str(tmp_path / "out"), "--splits", "1", "0", "0"]
    words += ["--intervals", str(tmp_path / "l.csv"), "--subject-from-path", "{subject}/*.csv"]
    for sensor in ("acc", "gyro"):
        words += [f"--{sensor}-file", f"{tmp_path}/*/{sensor}.csv"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "rows joined from sensors with times of their own" in text
    assert "run" in text or "2           2" in text
    assert main([*words[:6], "--acc-file", "nothing*"]) == 2
    assert "expected --acc-file with --gyro-file" in capsys.readouterr().err
    assert main(["inspect", "--from", "phyphox", str(tmp_path)]) == 2
