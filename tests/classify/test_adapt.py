"""`primus-jax adapt` and `predict` on a user's CSV in g and deg/s, at 25 Hz, with gaps."""

import csv
import json
import shutil

import numpy as np
import pytest
from support.recording_files import table_columns, write_csv
from support.user_files import tiny_encoder, write_user_csv

from primus_jax import SignalWarning
from primus_jax.classify.classifier import load_classifier
from primus_jax.classify.folds import hold_out, training_rows
from primus_jax.classify.predict import predict
from primus_jax.cli import main
from primus_jax.errors import PrimusError
from primus_jax.recordings.table_format import TableFormat, format_to_row

UNITS = ["--acc-unit", "g", "--gyro-unit", "deg/s"]
LABELS = ["--label-column", "activity"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    tiny_encoder().save(folder / "encoder")
    write_user_csv(folder / "my.csv")
    return folder


@pytest.fixture(scope="module")
def adapted(folder):
    out = folder / "classifier"
    assert main(["adapt", str(folder / "my.csv"), "--encoder", str(folder / "encoder"),
                 "--out", str(out), *LABELS, *UNITS]) == 0  # fmt: skip
    return out


def test_people_are_left_out_and_the_folder_is_whole(folder, adapted):
    names = {"classifier.json", "classifier.safetensors", "encoder", "confusion.png"}
    assert {path.name for path in adapted.iterdir()} == names
    row = json.loads((adapted / "classifier.json").read_text())
    score = row["evaluation"]
    assert (score["held_out_by"], score["folds"]) == ("person", 3)
    assert sorted(score["accuracy_of"]) == ["anna", "ben", "carl"]
    # 3 people x 3 labels x 3 bouts of 15 s, 5 windows of 3 s each
    assert score["windows"] == np.sum(score["confusion"]) == 135
    assert score["accuracy"] > 0.9
    assert row["labels"] == ["sit", "stairs", "walk"]
    assert (adapted / "confusion.png").read_bytes()[:4] == b"\x89PNG"


def test_prediction_has_a_label_for_every_window_but_none_in_gaps(folder, adapted, capsys):
    new = write_user_csv(
        folder / "new.csv", people=("dora",), seed=900, seconds=20.0, labelled=False
    )
    out = folder / "predicted"
    command = ["predict", str(new), "--classifier", str(adapted), "--out", str(out), *UNITS]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "1 gaps, together 2.04 s, were skipped" in said.out
    assert said.err.count("warning:") == said.err.count("band from 12.5 to 25 Hz") == 1
    with (out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    start = np.array([float(row["start_seconds"]) for row in rows])
    # bouts of 20 s, the second three after a gap of 2 s at 60 s
    truth = np.array(["walk", "stairs", "sit"] * 3)
    bout = np.where(start < 60, start // 20, (start - 2) // 20).astype(int)
    inside = np.where(start < 60, start % 20, (start - 2) % 20) <= 17
    right = np.array([row["label"] for row in rows]) == truth[bout]
    assert right[inside].mean() > 0.9
    assert not ((start > 57) & (start < 62)).any()
    total = [sum(float(row[f"p_{name}"]) for name in ("sit", "stairs", "walk")) for row in rows]
    np.testing.assert_allclose(total, 1, atol=2e-4)
    assert (out / "timeline.png").read_bytes()[:4] == b"\x89PNG"
    assert main(command) == 2
    assert "already exists" in capsys.readouterr().err


def test_a_classifier_is_for_the_sensors_it_was_adapted_with(folder, adapted, capsys):
    out = ["--out", str(folder / "nothing")]
    command = ["predict", str(folder / "my.csv"), "--classifier"]
    assert main([*command, str(adapted), *out, "--no-gyro", "--acc-unit", "g"]) == 2
    assert "adapted with a gyroscope" in capsys.readouterr().err
    assert main([*command, str(folder), *out, *UNITS]) == 2
    assert "has no classifier.json" in capsys.readouterr().err
    assert not (folder / "nothing").exists()


def test_a_classifier_remembers_columns_units_and_clock(folder, adapted, tmp_path, capsys):
    """No option of `adapt` has to be given again; what the file lacks is an error."""
    row = json.loads((adapted / "classifier.json").read_text())
    assert row["rates_hz"] == [25.0]
    layout = load_classifier(adapted)[0].layout
    units = {"acc_unit": "g", "gyro_unit": "deg/s"}
    assert layout == TableFormat(time="time", names={"recording": ""}, **units)
    new = write_user_csv(tmp_path / "new.csv", people=("dora",), seed=900, labelled=False)
    out = ["--classifier", str(adapted), "--out", str(tmp_path / "out"), "--overwrite"]
    assert main(["predict", str(new), *out]) == 0
    with pytest.warns(SignalWarning, match="12.5 to 25 Hz"):
        expected = predict(*load_classifier(adapted), new, layout, 1.0)
    with (tmp_path / "out" / "predictions.csv").open() as file:
        found = [row["label"] for row in csv.DictReader(file)]
    assert found == [expected.labels[k] for k in expected.label]

    text = new.read_text()
    header, _, body = text.partition("\n")
    for change, message in (
        (header.replace("gyro_", "w"), "no gyroscope columns ['gyro_x', 'gyro_y', 'gyro_z']"),
        (header.replace("time", "clock"), "no column 'time'"),
        (header.replace("acc_y", "ay"), "no column 'acc_y'"),
    ):
        path = tmp_path / "other.csv"
        path.write_text(change + "\n" + body)
        capsys.readouterr()
        assert main(["predict", str(path), *out]) == 2
        assert message in capsys.readouterr().err
    # an option stands for what was remembered
    path.write_text(header.replace("time", "clock") + "\n" + body)
    assert main(["predict", str(path), *out, "--time", "clock"]) == 0
    assert main(["predict", str(path), *out, "--no-time", "--rate", "50"]) == 0
    assert "adapted on 25" in capsys.readouterr().err
    assert main(["predict", str(new), *out, "--acc-unit", "m/s2"]) == 2
    assert "It looks like g: pass --acc-unit g" in capsys.readouterr().err


def test_a_classifier_without_times_remembers_its_rate(folder, tmp_path, capsys):
    rows = (folder / "my.csv").read_text().splitlines()
    plain = tmp_path / "my.csv"
    plain.write_text("\n".join(row.partition(",")[2] for row in rows) + "\n")
    command = ["adapt", str(plain), "--encoder", str(folder / "encoder"), *LABELS, *UNITS]
    assert main([*command, "--out", str(tmp_path / "c"), "--rate", "25"]) == 0
    layout = load_classifier(tmp_path / "c")[0].layout
    assert (layout.time, layout.rate_hz) == ("", 25.0)
    new = write_user_csv(tmp_path / "new.csv", people=("dora",), labelled=False)
    command = ["predict", str(new), "--classifier", str(tmp_path / "c")]
    assert main([*command, "--out", str(tmp_path / "p")]) == 0
    # times that are there are used, and must say the remembered rate
    fast = write_user_csv(tmp_path / "fast.csv", people=("dora",), rate_hz=50.0, labelled=False)
    command[1] = str(fast)
    capsys.readouterr()
    assert main([*command, "--out", str(tmp_path / "r")]) == 2
    assert "the times say 50 samples a second, --rate says 25" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "r"), "--no-time", "--time-unit", "ms"]) == 2
    assert "--time-unit without times" in capsys.readouterr().err
    command[1] = str(new)
    # times that are named take the place of the remembered rate
    assert main([*command, "--out", str(tmp_path / "q"), "--time", "time"]) == 0


def test_a_classifier_of_an_earlier_version_takes_the_usual_format(adapted, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(adapted, copy)
    row = json.loads((copy / "classifier.json").read_text())
    del row["recordings"], row["rates_hz"]
    (copy / "classifier.json").write_text(json.dumps(row))
    assert load_classifier(copy)[0].layout == TableFormat()
    for damage in ({"rates_hz": "abc"}, {"rates_hz": [0]}, {"rates_hz": [None]}):
        (copy / "classifier.json").write_text(json.dumps(row | damage))
        with pytest.raises(PrimusError, match="'rates_hz' is"):
            load_classifier(copy)
    wrong = format_to_row(TableFormat()) | {"invert_acc": "false"}
    for damage in ({"recordings": {"acc": ["x"]}}, {"recordings": 7}, {"recordings": wrong}):
        (copy / "classifier.json").write_text(json.dumps(row | damage))
        with pytest.raises(PrimusError, match="'recordings' is no format of a table"):
            load_classifier(copy)


def test_predict_reads_one_recording(folder, adapted, tmp_path, capsys):
    """The column of recordings is remembered, under whatever name."""
    text = (folder / "my.csv").read_text().replace("recording", "session", 1)
    path = tmp_path / "sessions.csv"
    path.write_text(text)
    command = ["--encoder", str(folder / "encoder"), *LABELS, *UNITS]
    out = ["--out", str(tmp_path / "c")]
    assert main(["adapt", str(path), *command, "--recording-column", "session", *out]) == 0
    command = [
        "predict",
        str(path),
        "--classifier",
        str(tmp_path / "c"),
        "--out",
        str(tmp_path / "p"),
    ]
    assert main(command) == 2
    assert "the column of recordings names" in capsys.readouterr().err
    rows = [line.split(",") for line in text.splitlines()]
    column = rows[0].index("acc_z")
    empty = [
        [*row[:column], "acc_z" if k == 0 else "", *row[column + 1 :]] for k, row in enumerate(rows)
    ]
    path.write_text("\n".join(",".join(row) for row in empty if row[7] in ("session", rows[1][7])))
    assert main(command) == 2
    assert "column 'acc_z' holds no number at all" in capsys.readouterr().err


def test_a_refusal_counts_the_changes_of_label(folder, tmp_path, capsys):
    columns = table_columns(3000, label=np.tile(np.repeat(["a", "b"], 30), 50))
    path = write_csv(tmp_path / "a.csv", columns)
    command = ["adapt", str(path), "--encoder", str(folder / "encoder")]
    assert main([*command, "--out", str(tmp_path / "c")]) == 2
    said = capsys.readouterr().err
    assert "99 changes of label or sentence that cut a recording" in said
    assert "100 recordings shorter than a window" in said


def test_damaged_numbers_are_refused(adapted, tmp_path):
    copy = tmp_path / "copy"
    classifier, encoder = load_classifier(adapted)
    copy.mkdir()
    classifier.save(copy, encoder)
    again, _ = load_classifier(copy)
    np.testing.assert_array_equal(again.kernel, classifier.kernel)
    content = bytearray((copy / "classifier.safetensors").read_bytes())
    content[-3] ^= 1
    (copy / "classifier.safetensors").write_bytes(content)
    with pytest.raises(PrimusError, match="damaged or was replaced"):
        load_classifier(copy)


def test_too_little_to_learn_from_is_said(folder, tmp_path, capsys):
    command = ["adapt", str(folder / "my.csv"), "--encoder", str(folder / "encoder"), *UNITS]
    command += ["--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "no column 'label'; the file has" in capsys.readouterr().err
    assert main([*command, *LABELS, "--window", "20"]) == 2
    assert "27 recordings shorter than a window" in capsys.readouterr().err
    assert main([*command, *LABELS, "--shots", "1"]) == 2
    assert "--shots 1; expected at least 2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def many(*values, each=6):
    return np.repeat(np.array(values), each)


def test_the_strictest_way_to_hold_out_that_leaves_something_to_learn_from():
    label = many(0, 1, 0, 1)
    bout = many("a#1", "a#2", "b#1", "b#2")
    people = hold_out(label, many("p", "p", "q", "q"), many("a", "a", "b", "b"), bout)
    assert (people.by, people.folds, people.names) == ("person", 2, ("p", "q"))
    alone = hold_out(label, many("p", "p", "p", "p"), many("a", "a", "b", "b"), bout)
    assert (alone.by, alone.folds) == ("recording", 2)
    assert "one person was recorded" in alone.meaning
    apart = hold_out(label, many("p", "q", "p", "q"), many("a", "b", "a", "b"), bout)
    assert (apart.by, apart.folds) == ("bout", 2)
    assert "no two people did the same" in apart.meaning
    for fold in range(apart.folds):
        assert set(label[apart.fold == fold]) == {0, 1}
    crowd = np.array([f"p{i}" for i in range(24)])
    assert hold_out(np.tile([0, 1], 12), crowd, crowd, crowd).folds == 10


def test_stretches_of_time_share_no_sample_with_what_is_tested():
    label, bout = many(0, 1, each=20), many("a#1", "a#2", each=20)
    held = hold_out(label, many("p", "p", each=20), many("a", "a", each=20), bout)
    assert (held.by, held.folds) == ("time", 5)
    start = np.tile(np.arange(20) * 50, 2)
    rows = training_rows(held, 1, bout, start, window=100)
    assert np.flatnonzero(~rows[:20]).tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert rows[20:22].all()
    first = training_rows(held, 0, bout, start, window=100)
    assert first[18:20].all()
    # where windows were left out, time counts and not the place
    far = training_rows(held, 1, bout, 10 * start, window=100)
    assert np.flatnonzero(~far[:20]).tolist() == [4, 5, 6, 7]


def test_few_windows_of_one_recording_are_spread_over_it(folder, tmp_path, capsys):
    """Two windows a label, far apart: each is tested by the other, though they are neighbours."""
    path = write_user_csv(tmp_path / "one.csv", people=("anna",), bouts=1, seconds=60.0)
    command = ["adapt", str(path), "--encoder", str(folder / "encoder"), *LABELS, *UNITS]
    assert main([*command, "--out", str(tmp_path / "out"), "--shots", "2"]) == 0
    score = json.loads((tmp_path / "out" / "classifier.json").read_text())["evaluation"]
    assert (score["held_out_by"], score["windows"], score["folds"]) == ("time", 6, 2)
    assert score["accuracy"] == 1
    assert score["accuracy_interval_95"] is None
    assert "accuracy 100.0 % (2 stretches: too few for an interval)" in capsys.readouterr().out
    short = write_user_csv(tmp_path / "short.csv", people=("anna",), bouts=1, seconds=6.1)
    command[1] = str(short)
    assert main([*command, "--out", str(tmp_path / "none")]) == 2
    assert "touch no tested one; expected at least 2" in capsys.readouterr().err


def test_an_interval_needs_ten_people(folder, adapted, tmp_path, capsys):
    few = json.loads((adapted / "classifier.json").read_text())["evaluation"]
    assert few["accuracy_interval_95"] is None
    people = tuple("abcdefghij")
    path = write_user_csv(tmp_path / "ten.csv", people=people, bouts=1, seconds=7.0)
    command = ["adapt", str(path), "--encoder", str(folder / "encoder"), *LABELS, *UNITS]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    score = json.loads((tmp_path / "out" / "classifier.json").read_text())["evaluation"]
    low, high = score["accuracy_interval_95"]
    assert low <= score["accuracy"] <= high
    assert "95 % interval over 10 people: " in capsys.readouterr().out


def test_a_hop_longer_than_the_window_counts_no_time_that_was_not_seen(folder, adapted, tmp_path):
    layout = TableFormat(acc_unit="g", gyro_unit="deg/s")
    with pytest.warns(SignalWarning, match="band from"):
        found = predict(*load_classifier(adapted), one_person(tmp_path), layout, 1e6)
    assert len(found.label) == 2
    assert sum(found.time_per_label().values()) == 2 * 3
    assert main(["predict", str(one_person(tmp_path)), "--classifier", str(adapted), "--out",
                 str(tmp_path / "out"), "--hop", "1e6", *UNITS]) == 0  # fmt: skip


def one_person(folder):
    return write_user_csv(folder / "dora.csv", people=("dora",), seed=900, labelled=False)


def test_one_column_is_no_three(folder, adapted, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out"), *UNITS, "--acc", "acc_x", "acc_x", "acc_z"]
    assert main(["predict", str(folder / "my.csv"), "--classifier", str(adapted), *out]) == 2
    assert "'acc_x' is named 2 times" in capsys.readouterr().err
    command = ["adapt", str(folder / "my.csv"), "--encoder", str(folder / "encoder"), *out]
    assert main([*command, *LABELS]) == 2
    assert "'acc_x' is named 2 times" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({name: None}, f"{name!r} is None") for name in ("weights_sha256", "gyro", "head")),
        ({"labels": 5}, "'labels' is 5"),
        ({"labels": ["sit", "walk"]}, "2 labels .* do not go with tensors"),
        ({"window_seconds": "3"}, "'window_seconds' is '3'"),
        ({"window_seconds": -3}, "'window_seconds' is -3"),
        ({"head": "zz"}, "the head 'zz' of an encoder"),
        ({"format": "other"}, "expected the format"),
        ("[" * 200000, "is not JSON"),
        ("[]", "expected the format"),
    ],
)
def test_a_description_that_says_too_little_is_refused(adapted, tmp_path, change, message):
    copy = tmp_path / "copy"
    shutil.copytree(adapted, copy)
    row = json.loads((copy / "classifier.json").read_text())
    if isinstance(change, dict):
        row |= change
        change = json.dumps({name: value for name, value in row.items() if value is not None})
    (copy / "classifier.json").write_text(change)
    with pytest.raises(PrimusError, match=message):
        load_classifier(copy)


def test_long_names_leave_room_for_the_matrix_and_numbers_stand_out(tmp_path):
    from matplotlib.image import imread

    from primus_jax.reports.confusion import LARGE_CELL, Confusion, plot_confusions

    def size(names):
        matrix = Confusion(np.eye(6, dtype=int), tuple(names), "subtitle", LARGE_CELL)
        plot_confusions([matrix], tmp_path / "a.png", "title")
        return imread(tmp_path / "a.png")

    short = size([f"label {k}" for k in range(6)])
    long = size([f"cycling on an exercise bike in position {k} and more" * 3 for k in range(6)])
    # the blue of the diagonal: cells as large as those of short names, but for a third
    blue = [(picture[..., 2] - picture[..., 0] > 0.5).mean() for picture in (short, long)]
    assert blue[1] > 0.5 * blue[0]
