"""`primus-jax regress`: numbers of people left out, from prepared folders to tables and plots."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from support.recording_files import GRAVITY
from support.tiny_config import MOTION, ONE_HEAD

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.write import write_dataset
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features, dataset_features
from primus_jax.evals.hand_features import HandFeatures
from primus_jax.evals.regression.comparison import FILES, MEAN
from primus_jax.evals.regression.levels import level_pairs, summarise
from primus_jax.evals.regression.protocol import (
    RegressionOptions,
    draw_sides,
    predict,
    predict_mean,
    target_of,
)
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec

PEOPLE = 6


def swaying(person: int, part: int) -> Recording:
    """20 s of somebody whose sway is the number to predict; of the first person it is not known."""
    rng = np.random.default_rng([person, part])
    time = np.arange(1000) / 50
    size = 0.5 + 0.3 * person + 0.1 * part
    signal = rng.normal(0, 0.1, (1000, 6))
    signal[:, 2] += GRAVITY + size * np.sin(2 * np.pi * time)
    known = np.array([[t, size] for t in (1.0, 6.0, 11.0)])  # not in the last window
    none = np.empty((0, 2))
    targets = {"sway": known, "same": known * [1, 0] + [0, 4], "rare": none, "few": none}
    if person < 2:
        targets["few"] = known
    return Recording(
        f"r{person}{part}", signal, 50.0, subject=f"p{person}", label="sway", targets=targets
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> DatasetFolder:
    recordings = [swaying(person, part) for person in range(PEOPLE) for part in range(2)]
    path = tmp_path_factory.mktemp("regress") / "data"
    return write_dataset(
        recordings, path, Origin("a test", "none", simulated=True), Recipe(WindowSpec())
    )


@pytest.fixture(scope="module")
def features(folder) -> Features:
    return dataset_features(HandFeatures(50.0), folder)


def regress(folder, out, *words) -> int:
    return main(["regress", "--data", str(folder.path), "--out", str(out), *words])


def test_the_command_writes_rows_tables_and_plots(folder, tmp_path, capsys):
    encoder = Encoder.random(ONE_HEAD, 1, 50.0, 5.0)
    encoder.save(tmp_path / "export")
    out = tmp_path / "results"
    words = ["--encoder", f"mine={tmp_path / 'export'}", "--hand-features", "--target", "sway"]
    assert regress(folder, out, *words, "--seeds", "2") == 0
    printed = capsys.readouterr().out
    assert "36 windows predicted, 12 without sway left out" in printed
    assert {path.name for path in out.iterdir()} == set(FILES)
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    methods = (MEAN, "mine", "hand-crafted statistics")
    levels = (("window", 36), ("recording", 12), ("person", 6))
    assert [(row["method"], row["level"]) for row in rows] == [
        (method, level) for method in methods for level, _ in levels
    ]
    for row, (_, pairs) in zip(rows, levels * 3, strict=True):
        assert row["pairs_tested"] == [pairs, pairs]
        assert row["people_tested"] == PEOPLE
        assert row["windows_without_target"] == 12
        assert row["dataset_hash"] == folder.content_hash
        assert row["simulated"]
    by = {(row["method"], row["level"]): row for row in rows}
    good, mean = by["hand-crafted statistics", "person"], by[MEAN, "person"]
    assert good["mae"] < 0.5 * mean["mae"]
    assert good["icc"] > 0.8
    low, high = good["mae_interval"]
    assert low < good["mae"] < high
    assert sum(by["mine", "window"]["penalties"].values()) == 10
    assert by["mine", "window"]["pretraining_leaks"][0]["status"] == "untrained"
    with (out / "predictions.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert len(cells) == 2 * 36
    assert {row["subject"] for row in cells} == {f"p{k}" for k in range(PEOPLE)}
    for name in ("scatter.png", "bland_altman.png"):
        assert (out / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert regress(folder, out, *words) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "speed"], "no target 'speed'; the dataset has ['sway', 'same', 'rare',"),
        (["--target", "same"], "is 4 in every window; expected a number that varies"),
        (["--target", "few"], "known for 2 people; expected 3 at least"),
        (["--target", "rare"], "known for 0 people"),
        (["--target", "sway", "--penalty", "-1"], "penalty -1.0; expected a number from 0"),
        (["--target", "sway", "--seeds", "0"], "seeds 0"),
        (["--target", "sway", "--people", "kfold:9"], "at least 9 people"),
    ],
)
def test_a_sentence_for_what_cannot_be_done(folder, tmp_path, capsys, words, message):
    assert regress(folder, tmp_path / "out", "--hand-features", *words) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_without_targets_and_no_encoder(features):
    without = dataclasses.replace(features, targets=None, target_names=())
    with pytest.raises(PrimusError, match="--target-column sway"):
        target_of(without, "sway")


def test_no_encoder_is_an_error(folder, tmp_path, capsys):
    assert regress(folder, tmp_path / "out", "--target", "sway") == 2
    assert "--hand-features alone" in capsys.readouterr().err


def test_nobody_is_trained_and_tested(features):
    target = target_of(features, "sway")
    sides = draw_sides(features, target, RegressionOptions(seeds=3))
    assert len(sides.test) == 15
    for train, test in zip(sides.train, sides.test, strict=True):
        assert not set(features.subject[train]) & set(features.subject[test])
    tested = sides.test.sum(0)
    assert (tested[np.isfinite(target)] == 3).all()
    assert not tested[~np.isfinite(target)].any()


def test_a_window_of_two_people_is_refused(features):
    """A planted leak: the same samples under another person's name."""
    content = features.content.copy()
    content[features.subject == "p3"] = content[features.subject == "p4"]
    leaking = dataclasses.replace(features, content=content)
    with pytest.raises(PrimusError, match=r"window\(s\) on both the train and the test side"):
        draw_sides(leaking, target_of(leaking, "sway"), RegressionOptions(people="leave-one-out"))


def test_what_is_predicted_does_not_depend_on_the_truth_of_the_tested(features):
    """The target of a tested person is changed: its prediction stays, that of others moves."""
    target = target_of(features, "sway")
    sides = draw_sides(features, target, RegressionOptions("leave-one-out", seeds=1))
    before = predict(features, target, sides)
    own = features.group[before.rows] == "p2"
    changed = np.where(features.group == "p2", target + 5.0, target)
    after = predict(features, changed, sides)
    np.testing.assert_allclose(before.predicted[0, own], after.predicted[0, own], atol=1e-8)
    assert not np.allclose(before.predicted[0, ~own], after.predicted[0, ~own], atol=0.1)


def test_three_people_are_left_out_one_by_one(features):
    target = target_of(features, "sway")
    three = np.where(np.isin(features.subject, ["p1", "p3", "p5"]), target, np.nan)
    sides = draw_sides(features, three, RegressionOptions(seeds=1))
    assert len(sides.test) == 3
    found = predict(features, three, sides, penalty=0.01)
    assert np.isfinite(found.predicted).all()
    assert set(found.penalties) == {0.01}
    assert len(predict(features, three, sides).penalties) == 3


def test_levels_are_means_of_truth_and_prediction(features):
    target = target_of(features, "sway")
    found = predict_mean(target, draw_sides(features, target, RegressionOptions(seeds=1)))
    true, predicted, group = level_pairs(features, found, 0, "person")
    assert group.tolist() == [f"p{k}" for k in range(PEOPLE)]
    for k in range(PEOPLE):
        own = features.group[found.rows] == f"p{k}"
        assert true[k] == pytest.approx(found.true[own].mean())
        assert predicted[k] == pytest.approx(found.predicted[0, own].mean())
    row = summarise(features, [found, found], "recording")
    true, predicted, _ = level_pairs(features, found, 0, "recording")
    assert row["mae"] == pytest.approx(np.abs(true - predicted).mean())
    assert row["mae_se"] is None
    assert row["pairs_tested"] == [12]


def test_features_that_are_not_finite(features):
    damaged = features.embedding.copy()
    damaged[5, 3] = np.nan
    target = target_of(features, "sway")
    sides = draw_sides(features, target, RegressionOptions(seeds=1))
    with pytest.raises(PrimusError, match=r"embedding of window 5 .* is not finite"):
        predict(dataclasses.replace(features, embedding=damaged), target, sides)


def stepping(person: int, part: int) -> Recording:
    """15 s of steps, at one of four rates for everybody: the number is not that of a person."""
    rng = np.random.default_rng([person, part, 1])
    time, rate = np.arange(750) / 50, 0.6 + 0.8 * part
    signal = rng.normal(0, 0.1, (750, 6))
    signal[:, 2] += GRAVITY + 2 * np.sin(2 * np.pi * rate * time)
    targets = {"rate": np.array([[1.0, rate], [6.0, rate], [11.0, rate]])}
    return Recording(
        f"s{person}{part}", signal, 50.0, subject=f"p{person}", label="walk", targets=targets
    )


@pytest.mark.slow
def test_an_encoder_is_trained_for_the_number(tmp_path, capsys):
    recordings = [stepping(person, part) for person in range(6) for part in range(4)]
    origin = Origin("a test", "none", simulated=True)
    folder = write_dataset(recordings, tmp_path / "data", origin, Recipe(WindowSpec()))
    encoder = Encoder.random(MOTION, 1, 50.0, 5.0)
    encoder.metadata = {}
    encoder.save(tmp_path / "export")
    out = tmp_path / "results"
    words = ["--encoder", f"mine={tmp_path / 'export'}", "--target", "rate", "--people", "kfold:3"]
    train = ["--finetune", "--from-scratch", "--epochs", "20", "--lr", "1e-2", "--batch-size", "8"]
    assert regress(folder, out, *words, *train, "--seeds", "1") == 0
    assert "mine, fine-tuned: draw 3 of 3: best epoch" in capsys.readouterr().out
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    errors = {row["method"]: row for row in rows if row["level"] == "window"}
    assert list(errors) == [MEAN, "mine", "mine, fine-tuned", "supervised from scratch"]
    tuned = errors["mine, fine-tuned"]
    assert tuned["training"]["chosen_by"] == "squared_error"
    assert len(tuned["best_epochs"]) == 3
    assert tuned["pairs_tested"] == errors["mine"]["pairs_tested"]
    assert tuned["mae"] < 0.7 * errors[MEAN]["mae"]
    assert errors["supervised from scratch"]["pretraining_leaks"][0]["why"] == "from scratch"


def test_training_options_need_a_training(folder, tmp_path, capsys):
    words = ["--hand-features", "--target", "sway"]
    assert regress(folder, tmp_path / "out", *words, "--epochs", "3") == 2
    assert "belong to --finetune or --from-scratch" in capsys.readouterr().err
    assert regress(folder, tmp_path / "out", *words, "--from-scratch") == 2
    assert "no encoder to train" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
