"""Files that are not what their dataset promises: an error that names file and line."""

import zipfile
from collections import Counter

import numpy as np
import pytest
from scipy.io import savemat
from support import har_files

from data_prep.har import SOURCES
from data_prep.har.source import believable
from primus_jax.cli import main
from primus_jax.errors import PrimusError


@pytest.mark.parametrize("name", SOURCES)
def test_a_folder_without_the_files_says_what_was_expected(name, tmp_path, capsys):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    out = tmp_path / "out"
    for raw in (tmp_path, tmp_path / "nowhere"):
        assert main(["prepare", name, "--raw", str(raw), "--out", str(out)]) == 2
        message = capsys.readouterr().err
        assert str(raw) in message
        assert SOURCES[name].layout in message
        assert SOURCES[name].download in message
    assert not out.exists()


def edit(pattern, old, new):
    def change(root):
        path = sorted(root.rglob(pattern))[0]
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def first_line(pattern, line, number=1):
    def change(root):
        path = sorted(root.rglob(pattern))[0]
        lines = path.read_text().split("\n")
        lines[number - 1] = line
        path.write_text("\n".join(lines))

    return change


def without(pattern):
    return lambda root: sorted(root.rglob(pattern))[0].unlink()


def renamed(pattern, name):
    def change(root):
        path = sorted(root.rglob(pattern))[0]
        path.rename(path.with_name(name))

    return change


def mat(pattern, **arrays):
    return lambda root: savemat(sorted(root.rglob(pattern))[0], arrays)


def moved_person(root):
    (root / "Dataset_1A" / "User1").rename(root / "Dataset_1A" / "User3")


WRONG = [
    ("usc_had", mat("a1t1.mat", other=np.ones((5, 6))), r"a1t1\.mat: no array 'sensor_readings'"),
    ("usc_had", mat("a1t1.mat", sensor_readings=np.ones((5, 5))), r"a1t1.mat.*\(5, 5\).*6"),
    (
        "usc_had",
        mat("a1t1.mat", sensor_readings=np.full((5, 6), np.nan)),
        r"a1t1\.mat: row 1 .* not finite",
    ),
    ("usc_had", renamed("a1t1.mat", "a13t1.mat"), r"a13t1\.mat: activity 13; expected 1 to 12"),
    ("utd_mhad", renamed("a1_*.mat", "a28_s1_t1_inertial.mat"), r"action 28"),
    ("dsads", first_line("s02.txt", "1,2,3", 7), r"s02\.txt, line 7: 3 fields; expected 45"),
    ("dsads", edit("s01.txt", ",0.50000", ",x"), r"s01\.txt, line 1: 'x'; expected a number"),
    ("dsads", edit("s01.txt", "0.50000", "nan"), r"s01\.txt, line 1: a value is not finite"),
    ("dsads", edit("s01.txt", "\n", "\n\n" + ",".join("0" * 45) + "\n"), r"126 rows; expected 125"),
    ("sisfall", first_line("D01*.txt", " 1, 2;", 3), r"R01\.txt, line 3: 2 fields; expected 9"),
    ("sisfall", renamed("D01*", "D20_SA01_R01.txt"), r"activity D20"),
    ("classyglass", moved_person, r"experiment 1 belongs to person 1 .* folder of 3"),
    ("classyglass", edit("1_*Acc*", "x-axis (g)", "x-axis"), r"no column 'x-axis \(g\)'"),
    ("uci_har", first_line("y_train.txt", "7"), r"y_train\.txt, line 1: 7; expected 1 to 6"),
    ("uci_har", without("total_acc_z_test.txt"), r"total_acc_z_test\.txt"),
    ("uci_har", first_line("body_gyro_y_test.txt", "1 2", 2), r"_test\.txt, line 2: 2 fields"),
    ("uci_har", first_line("y_test.txt", "", 4), r"subject_test\.txt: 4 rows; .* has 3"),
    ("motionsense", edit("sub_1.csv", "gravity.x", "g.x"), r"sub_1\.csv: no column 'gravity\.x'"),
    ("motionsense", first_line("sub_1.csv", "0" + "," * 12, 5), r"sub_1\.csv, line 5: a missing"),
    ("pamap2", edit("subject101.dat", "NaN", ""), r"subject101\.dat, line 2: 53 fields"),
    ("pamap2", edit("subject101.dat", " 4 ", " 8 "), r"line 101: activity 8"),
    ("opportunity", first_line("S1-*", "0 " * 249 + "0\n0", 9), r"S1-ADL1\.dat, line 10: 1 fields"),
    ("opportunity", edit("S1-*", " 1 0 0 0 0 0 0\n", " 3 0 0 0 0 0 0\n"), r"locomotion 3"),
    ("capture24", without("annotation-*"), r"annotation-label-dictionary\.csv: no such file"),
    ("capture24", edit("annotation-*", "17250", "17251"), r"annotation '17250 walking"),
    ("capture24", edit("annotation-*", ",walking", ",strolling"), r"line 3: 'strolling'"),
    ("wisdm", edit("data_1600_accel_phone.txt", ",A,", ",N,"), r"row 1: person 1600, activity 'N'"),
    ("wisdm", edit("data_1600_accel_phone.txt", "1600", "1601"), r"row 1: person 1601"),
    ("wisdm", first_line("data_1600_gyro_phone.txt", "1600,A,x;", 4), r"line 4: 3 fields"),
    ("wisdm", first_line("data_1600_gyro_phone.txt", "1600,,1,2,3,4;", 4), r"line 4: ''.*letter"),
    (
        "hhar",
        edit("Phones_acc*", ",walk\n", ",hop\n"),
        r"Phones_accelerometer\.csv: activity 'hop'",
    ),
    (
        "hhar",
        first_line("Phones_gyro*", "1,2,3", 3),
        r"Phones_gyroscope\.csv: .*Row #3: Expected 10 columns",
    ),
    ("hhar", edit("Watch_acc*", ",a,nexus4", "9x,a,nexus4"), r"Watch_accelerometer\.csv: .*9x"),
    (
        "daphnet",
        first_line("S01R02.txt", "1 2 3", 4),
        r"S01R02\.txt, line 4: 3 fields; .* 11",
    ),
    (
        "daphnet",
        edit("S01R02.txt", " 0\n", " 7\n"),
        r"S01R02\.txt, line 1: annotation 7; expected 0",
    ),
    (
        "wisdm_v1",
        edit("*_raw.txt", "Jogging", "Swimming"),
        r"line 1: activity 'Swimming'; expected one",
    ),
    (
        "wisdm_v1",
        lambda root: next(root.rglob("*.txt")).write_text("33,Jogging\n"),
        r"1 of 1 rows are broken, the first in line 1: '33,Jogging'",
    ),
    ("pvs", without("dataset_labels.csv"), r"dataset_labels\.csv: no such file"),
    (
        "pvs",
        first_line("dataset_labels.csv", "1,0,1,1,0,1", 3),
        r"line 3: expected a 1 for at most",
    ),
    ("pvs", edit("dataset_labels.csv", "1,0,0,1,0,1\n", ""), r"labels\.csv: 619 rows; .* has 620"),
    ("pvs", renamed("PVS 1", "PVS 0"), r"drive 0; expected PVS 1 to PVS 9"),
    ("goat", edit("pos_A.csv", "timestamp_ms", "time"), r"pos_A\.csv: .*timestamp_ms"),
    ("hhar", edit("Watch_acc*", "gt\n", "label\n"), r"Watch_accelerometer\.csv: .*gt"),
]


@pytest.mark.parametrize(("name", "change", "message"), WRONG)
def test_an_unexpected_file_is_named(name, change, message, tmp_path):
    getattr(har_files, name)(tmp_path)
    change(tmp_path)
    with pytest.raises(PrimusError, match=message):
        list(SOURCES[name].recordings(tmp_path, Counter()))


def test_archives_of_realworld(tmp_path):
    har_files.realworld(tmp_path)
    path = tmp_path / "proband4" / "data" / "acc_walking_csv.zip"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(PrimusError, match=r"acc_walking_csv\.zip: not a readable archive"):
        list(SOURCES["realworld"].recordings(tmp_path, Counter()))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("acc_walking_chest.csv", "id,attr_time,attr_x,attr_y,attr_z\n1,2,3\n")
    with pytest.raises(PrimusError, match=r"zip/acc_walking_chest\.csv, line 2: 3 fields; .* 5"):
        list(SOURCES["realworld"].recordings(tmp_path, Counter()))


@pytest.mark.parametrize(
    ("acc", "gyro", "reason"),
    [
        (0.0, 0.1, "recordings whose median acceleration is not 0.3 to 3 g"),
        (9.81 * 9.81, 0.1, "recordings whose median acceleration is not 0.3 to 3 g"),
        (9.81, 200.0, "recordings beyond the range of any body-worn sensor"),
        (9.81, 0.0, "recordings whose gyroscope never changes"),
    ],
)
def test_signals_that_cannot_be_true_are_counted(acc, gyro, reason):
    signal = np.zeros((50, 6))
    signal[:, 2] = acc
    signal[1::2, 4] = gyro
    drops = Counter()
    fields = {"id": "x", "signal": signal, "rate_hz": 50.0, "label": "walking"}
    assert not list(believable(drops, **fields))
    assert drops == {reason: 1}
    assert len(list(believable(drops, **fields, has_gyro=False))) == (reason.endswith("changes"))
