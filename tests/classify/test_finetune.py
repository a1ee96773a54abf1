"""`primus-jax finetune`: the table, and a classifier folder that `predict` applies."""

import csv
import json

import numpy as np
import pytest
from support.recording_files import write_csv

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
from primus_jax.models.motion import MotionConfig
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec

SECONDS = 0.8
ENCODER = MotionConfig(channels=4, multihead=False)


def signal(seed: list[int], activity: int, samples: int = 160) -> np.ndarray:
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
def root(tmp_path_factory):
    """A dataset of five people and an encoder."""
    root = tmp_path_factory.mktemp("tuned")
    write_dataset(
        recordings(), root / "data", Origin("a test", "none", simulated=True),
        Recipe(WindowSpec(50.0, SECONDS, SECONDS), Splits((0.5, 0.0, 0.5))),
    )  # fmt: skip
    Encoder.random(ENCODER, 0, 50.0, SECONDS).save(root / "encoder")
    return root


def words(root, out, *options):
    """A command of few epochs, with a hidden layer."""
    given = ["finetune", "--encoder", f"mine={root / 'encoder'}", "--data", str(root / "data")]
    given += ["--out", str(out), "--people", "kfold:2", "--seeds", "1", "--hidden", "8"]
    return [*given, "--lr", "0.02", "--epochs", "40", "--batch-size", "16", *options]


def predicted(folder, out, activity: int) -> list[str]:
    """The labels that `predict` gives to somebody new."""
    imu = signal([9, activity], activity)
    columns = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
    table = {"time": np.arange(len(imu)) / 50, **dict(zip(columns, imu.T, strict=True))}
    write_csv(out / "new.csv", table)
    given = ["predict", str(out / "new.csv"), "--classifier", str(folder), "--overwrite"]
    assert main([*given, "--out", str(out / "predicted"), "--hop", "0.4"]) == 0
    with (out / "predicted" / "predictions.csv").open() as file:
        return [row["label"] for row in csv.DictReader(file)]


def check_folder(root, out, name: str) -> None:
    """The table has what `fewshot` has, and `predict` is mostly right."""
    files = {"results.jsonl", "table.md", "curves.png", "confusion.png", "classifier"}
    assert {path.name for path in out.iterdir()} == files
    (row,) = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert row["classifier"]["name"] == name
    assert row["macro_f1"] > 0.7
    assert row["dataset_hash"] == DatasetFolder(root / "data").content_hash
    assert len(row["folds"]) == 2
    for fold, epoch in zip(row["folds"], row["fits"][0]["best_epoch"], strict=True):
        assert not set(fold["people"]["validation"]) & set(fold["people"]["test"])
        assert 1 <= epoch <= 40
    assert "MLP of 8" in (out / "table.md").read_text()
    for activity, label in enumerate(("stroll", "jog")):
        found = predicted(out / "classifier", out.parent, activity)
        assert found.count(label) > len(found) / 2


def test_a_probe_is_tested_saved_and_applied(root, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(words(root, out, "--layers", "0", "--class-weights")) == 0
    assert "chose epoch" in capsys.readouterr().out
    check_folder(root, out, "MLP of 8, frozen features")
    classifier, encoder = load_classifier(out / "classifier")
    assert classifier.hidden_kernel.shape == (ENCODER.embed_dim, 8)
    assert encoder.metadata["random_seed"] == 0


@pytest.mark.slow
def test_the_last_layers_are_trained_and_nobody_is_tested_on_them_later(root, tmp_path):
    out = tmp_path / "out"
    assert main(words(root, out, "--layers", "2")) == 0
    check_folder(root, out, "MLP of 8, last 2 layers fine-tuned")
    _, encoder = load_classifier(out / "classifier")
    before = load_encoder(root / "encoder").params
    same = {
        name: np.array_equal(*(tree["trunk"][name]["kernel"] for tree in (encoder.params, before)))
        for name in ("stem", "block20_conv1")
    }
    assert same == {"stem": True, "block20_conv1": False}
    folder = DatasetFolder(root / "data")
    features = dataset_features(encoder, folder)
    with pytest.raises(PrimusError, match="leak"):
        check_pretraining(encoder.metadata, folder, features, features.split == "test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "40"], "40 layers to train; this motion encoder has"),
        (["--layers", "two"], "--layers 'two'; expected a whole number"),
        (["--shots", "0"], "--shots 0; expected whole numbers"),
        (["--epochs", "0"], "epochs 0"),
        (["--hidden", "-1"], "hidden units -1"),
        (["--people", "kfold:9"], "needs at least 9 people"),
    ],
)
def test_mistakes_get_a_sentence(root, tmp_path, capsys, options, message):
    assert main(words(root, tmp_path / "out", *options)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_row_from_scratch(root, tmp_path):
    out = tmp_path / "out"
    options = ["--layers", "0", "--from-scratch", "--epochs", "2", "--shots", "1", "2"]
    assert main(words(root, out, *options)) == 0
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert {row["method"]: row["classifier"]["name"] for row in rows} == {
        "mine": "MLP of 8, frozen features",
        "supervised from scratch": "MLP of 8, from scratch",
    }
    assert [row["shots"] for row in rows] == [1, 2, 1, 2]
