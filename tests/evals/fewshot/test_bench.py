"""Benchmarks: scores by fold against scikit-learn, planted leaks refused, wrong datasets named."""

import dataclasses
import json

import numpy as np
import pytest
from support import har_files

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot import draws as drawing
from primus_jax.evals.fewshot.benches import BENCHES
from primus_jax.evals.fewshot.sampling import Sides
from primus_jax.models.motion import MotionConfig
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec
from primus_jax.reports.bench import FILES, mean_and_deviation

sklearn = pytest.importorskip("sklearn.metrics")
ENCODER = MotionConfig(channels=4, multihead=False)
PEOPLE = [f"person {i}" for i in range(6)]


def recordings():
    """Two activities of six people, of which one does the first alone."""
    for person, name in enumerate(PEOPLE):
        for activity in range(2 if person else 1):
            rng = np.random.default_rng([person, activity])
            yield Recording(
                id=f"{person}-{activity}",
                signal=((1 + activity) * rng.normal(size=(160, 6))).astype(np.float32),
                rate_hz=50.0, subject=name, label=f"activity {activity}",
            )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "moves"
    return write_dataset(
        recordings(), path, Origin("a test", "none", simulated=True),
        Recipe(WindowSpec(50.0, 0.8, 0.8), Splits((0.5, 0.0, 0.5))),
    )  # fmt: skip


def words(folder, out, *more):
    return ["bench", "any", "--data", str(folder.path), "--out", str(out), *more]


def rows_of(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_a_bench_reports_every_fold_of_people(folder, tmp_path):
    out = tmp_path / "out"
    more = ["--hand-features", "--modes", "linear", "--people", "leave-one-out"]
    assert main(words(folder, out, *more)) == 0
    (row,) = rows_of(out)
    assert row["method"] == "hand-crafted statistics, linear probe"
    assert [fold["people"]["test"] for fold in row["folds"]] != []
    assert sorted(name for fold in row["folds"] for name in fold["people"]["test"]) == PEOPLE
    for fold in row["folds"]:
        assert not set(fold["people"]["test"]) & set(fold["people"]["train"])
        alone = fold["people"]["test"] == ["person 0"]
        # who does one activity has no area, and counts in the other scores
        assert (fold["auc"] is None) == alone
        assert fold["windows_tested"] == (4 if alone else 8)
    assert row["auc_interval"][0] <= row["auc"] <= row["auc_interval"][1]
    assert None not in (row["macro_f1_interval"], row["kappa_interval"])
    assert row["provenance"]["packages"]
    assert {path.name for path in out.iterdir()} == {*FILES, "bench.json"}
    table = (out / "table.md").read_text()
    for word in ("Cohen's kappa", "AUC", "95 % over people", "activity 1", "simulated"):
        assert word in table
    settings = json.loads((out / "bench.json").read_text())
    assert settings["dataset_hash"] == row["dataset_hash"] == folder.content_hash


@pytest.mark.slow
def test_every_mode_of_an_encoder(folder, tmp_path, capsys):
    Encoder.random(ENCODER, 0, 50.0, 0.8).save(tmp_path / "export")
    out = tmp_path / "out"
    more = ["--encoder", f"mine={tmp_path / 'export'}", "--random-init", "--hand-features"]
    assert main(words(folder, out, *more, "--people", "kfold:2", "--epochs", "2")) == 0
    rows = rows_of(out)
    assert [row["method"] for row in rows] == [
        "mine, linear probe", "random initialisation, linear probe",
        "hand-crafted statistics, linear probe", "mine, MLP probe",
        "random initialisation, MLP probe", "hand-crafted statistics, MLP probe",
        "mine, fine-tuned", "motion of mine, from scratch",
    ]  # fmt: skip
    assert rows[3]["classifier"]["hidden"] == 512
    assert rows[6]["classifier"]["epochs"] == 2
    for row in rows:
        confusion = np.array(row["confusion"])
        true, predicted = (np.repeat(np.indices((2, 2))[i], confusion.ravel()) for i in (0, 1))
        if row["averaged_over"] == 1:
            kappa = sklearn.cohen_kappa_score(true, predicted)
            assert row["kappa"] == pytest.approx(kappa, abs=1e-6)
        for fold in row["folds"]:
            sides = [set(fold["people"][side]) for side in ("test", "train", "validation")]
            assert not sides[0] & (sides[1] | sides[2])
    assert "draw 1 of 2: best epoch" in capsys.readouterr().out


def leaking(sides: Sides, label: np.ndarray, group: np.ndarray, share: float) -> Sides:
    """The published leak: rows counted within the training people, taken from all windows."""
    train, validation = np.zeros_like(sides.train), np.zeros_like(sides.train)
    for i, own in enumerate(sides.train):
        names = group[own]
        inner = np.flatnonzero(names != names[-1])
        train[i, inner] = True
        validation[i, np.flatnonzero(names == names[-1])] = True
    return Sides(train, sides.test, validation, sides.seed)


def test_the_published_leak_is_refused(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(drawing, "validation_people", leaking)
    out = tmp_path / "out"
    more = ["--hand-features", "--modes", "mlp", "--people", "leave-one-out"]
    assert main(words(folder, out, *more)) == 2
    message = capsys.readouterr().err
    assert "leak" in message
    assert "person(s) on both the train and the test side" in message
    assert not out.exists()


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ([{"test": PEOPLE[:2], "train": PEOPLE[1:]}], "'person 1' on the test and the train side"),
        ([{"test": PEOPLE[:2]}, {"test": PEOPLE[1:3]}], "tests 'person 1' in fold 1 and in fold 2"),
        ([{"test": ["nobody"]}], "'nobody' in test; the dataset has person 0"),
        ([{"train": PEOPLE}], 'expected {"folds"'),
        ({}, 'expected {"folds"'),
    ],
)
def test_folds_that_mix_people_are_refused(folder, tmp_path, capsys, folds, message):
    (tmp_path / "folds.json").write_text(json.dumps({"folds": folds}))
    more = ["--hand-features", "--people", str(tmp_path / "folds.json")]
    assert main(words(folder, tmp_path / "out", *more)) == 2
    assert message in capsys.readouterr().err


def test_another_dataset_than_the_bench_is_refused(folder, tmp_path, capsys):
    command = words(folder, tmp_path / "out", "--hand-features")
    command[1] = "pamap2-ankle"
    assert main(command) == 2
    message = capsys.readouterr().err
    assert "window 0.8 s; PAMAP2 at the ankle has 2 s" in message
    assert 'primus-jax prepare pamap2 --raw DIR --placement "dominant ankle"' in message
    assert main(["bench", "nothing", *command[2:]]) == 2
    assert "expected one of hhar-watch" in capsys.readouterr().err
    assert main([*command[:-1], "--random-init"]) == 2


def test_a_prepared_bench_dataset_is_known(tmp_path):
    """Opportunity's right wrist as its bench prepares it, short of two activities."""
    har_files.opportunity(tmp_path)
    bench = BENCHES["opportunity-wrist"]
    command = bench.prepare().replace('"right wrist"', "right_wrist").split()[1:]
    command = [{"DIR": str(tmp_path), "right_wrist": "right wrist"}.get(w, w) for w in command]
    out = tmp_path / "out"
    command[command.index("--window") + 1] = "2"
    assert main([*command, "--out", str(out), "--splits", "1", "0", "0"]) == 0
    with pytest.raises(PrimusError, match="window 2 s"):
        bench.check(DatasetFolder(out))
    short = dataclasses.replace(bench, window_seconds=2.0, labels=("standing", "walking"))
    short.check(DatasetFolder(out))
    with pytest.raises(PrimusError, match="labels 'standing', 'walking'"):
        dataclasses.replace(short, labels=bench.labels).check(DatasetFolder(out))


def test_means_over_folds():
    assert mean_and_deviation([]) == (None, None)
    assert mean_and_deviation([0.5]) == (0.5, None)
    mean, deviation = mean_and_deviation([0.2, 0.4, 0.9])
    assert (mean, deviation) == pytest.approx((0.5, np.std([0.2, 0.4, 0.9], ddof=1)))
