"""`primus-jax finetune`: the table, and a classifier folder that `predict` applies."""

import csv
import json

import numpy as np
import pytest
from support.recording_files import write_csv
from support.tiny_config import ONE_HEAD

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from primus_jax.classify.classifier import load_classifier
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder, load_encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import dataset_features
from primus_jax.evals.fewshot.leaks import check_pretraining
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec

SECONDS = 0.8


def signal(seed: list[int], activity: int, samples: int = 200) -> np.ndarray:
    """Gravity, and a slow or a fast swing of an axis."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 50 + rng.uniform(0, 1)
    imu = 0.1 * rng.normal(size=(samples, 6))
    imu[:, 2] += 9.8
    imu[:, 0] += 3 * np.sin(2 * np.pi * (1 + 4 * activity) * time)
    return imu.astype(np.float32)


def recordings():
    for person in range(5):
        for activity, label in enumerate(("stroll", "jog")):
            yield Recording(
                id=f"{person}-{label}", signal=signal([person, activity], activity), rate_hz=50.0,
                subject=f"person {person}", label=label,
            )  # fmt: skip


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The command's folder, for the last two layers and a hidden layer."""
    root = tmp_path_factory.mktemp("tuned")
    write_dataset(
        recordings(), root / "data", Origin("a test", "none", simulated=True),
        Recipe(WindowSpec(50.0, SECONDS, SECONDS), Splits((0.5, 0.0, 0.5))),
    )  # fmt: skip
    Encoder.random(ONE_HEAD, 0, 50.0, SECONDS).save(root / "encoder")
    words = ["finetune", "--encoder", f"mine={root / 'encoder'}", "--data", str(root / "data")]
    words += ["--out", str(root / "out"), "--people", "kfold:2", "--seeds", "1", "--layers", "2"]
    words += ["--hidden", "8", "--lr", "0.02", "--epochs", "15", "--batch-size", "16"]
    assert main([*words, "--class-weights"]) == 0
    return root


def test_the_table_is_that_of_fewshot(tuned):
    out = tuned / "out"
    names = {"results.jsonl", "table.md", "curves.png", "confusion.png", "classifier"}
    assert {path.name for path in out.iterdir()} == names
    (row,) = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert row["classifier"]["name"] == "MLP of 8, last 2 layers fine-tuned"
    assert row["classifier"]["class_weights"] is True
    assert row["macro_f1"] > 0.8
    assert len(row["folds"]) == 2
    for fold, fit in zip(row["folds"], row["fits"][0]["best_epoch"], strict=True):
        assert not set(fold["people"]["validation"]) & set(fold["people"]["test"])
        assert 1 <= fit <= 15
    assert "MLP of 8" in (out / "table.md").read_text()


def test_predict_applies_the_classifier(tuned, tmp_path):
    folder = tuned / "out" / "classifier"
    classifier, encoder = load_classifier(folder)
    before = load_encoder(tuned / "encoder").params
    assert classifier.hidden_kernel.shape == (8, 8)
    assert np.array_equal(encoder.params["conv1"]["kernel"], before["conv1"]["kernel"])
    assert not np.array_equal(encoder.params["norm1"]["scale"], before["norm1"]["scale"])
    for activity, label in enumerate(classifier.labels[::-1]):
        imu = signal([9, activity], activity)
        columns = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
        table = {"time": np.arange(len(imu)) / 50, **dict(zip(columns, imu.T, strict=True))}
        write_csv(tmp_path / "new.csv", table)
        words = ["predict", str(tmp_path / "new.csv"), "--classifier", str(folder), "--overwrite"]
        assert main([*words, "--out", str(tmp_path / "out")]) == 0
        with (tmp_path / "out" / "predictions.csv").open() as file:
            found = [row["label"] for row in csv.DictReader(file)]
        assert found.count(label) > len(found) / 2


def test_nobody_who_was_trained_on_is_tested_later(tuned):
    folder = DatasetFolder(tuned / "data")
    _, encoder = load_classifier(tuned / "out" / "classifier")
    features = dataset_features(encoder, folder)
    with pytest.raises(PrimusError, match="leak"):
        check_pretraining(encoder.metadata, folder, features, features.split == "test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "40"], "40 layers to train; this released encoder has"),
        (["--layers", "two"], "--layers 'two'; expected a whole number"),
        (["--shots", "0"], "--shots 0; expected whole numbers"),
        (["--epochs", "0"], "epochs 0"),
        (["--hidden", "-1"], "hidden units -1"),
        (["--people", "kfold:9"], "needs at least 9 people"),
    ],
)
def test_mistakes_get_a_sentence(tuned, tmp_path, capsys, options, message):
    words = ["finetune", "--encoder", str(tuned / "encoder"), "--data", str(tuned / "data")]
    assert main([*words, "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_frozen_encoder_and_one_from_scratch(tuned, tmp_path, capsys):
    words = ["finetune", "--encoder", f"mine={tuned / 'encoder'}", "--data", str(tuned / "data")]
    words += ["--out", str(tmp_path / "out"), "--layers", "0", "--from-scratch", "--epochs", "2"]
    assert main([*words, "--seeds", "1", "--shots", "2", "all"]) == 2
    assert main([*words, "--seeds", "1", "--shots", "1", "2"]) == 0
    assert "chose epoch" in capsys.readouterr().out
    rows = [json.loads(s) for s in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    names = {row["method"]: row["classifier"]["name"] for row in rows}
    assert names == {
        "mine": "linear head, frozen features",
        "supervised from scratch": "linear head, from scratch",
    }
    _, encoder = load_classifier(tmp_path / "out" / "classifier")
    before = load_encoder(tuned / "encoder").params
    assert np.array_equal(encoder.params["conv3"]["kernel"], before["conv3"]["kernel"])
