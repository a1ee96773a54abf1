"""`primus-jax adapt` and `predict` on a user's CSV in g and deg/s, at 25 Hz, with gaps."""

import csv
import json

import numpy as np
import pytest

from primus_jax.cli import main
from primus_jax.errors import PrimusError
from primus_jax.using.classifier import load_classifier
from primus_jax.using.folds import hold_out, training_rows
from tests.user_files import tiny_encoder, write_user_csv

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
    assert "expected at least two labels" in capsys.readouterr().err
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
    rows = training_rows(held, 1, bout, overlap=2)
    assert np.flatnonzero(~rows[:20]).tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert rows[20:22].all()
    first = training_rows(held, 0, bout, overlap=2)
    assert first[18:20].all()
