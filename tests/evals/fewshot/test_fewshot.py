"""Few-shot: draws, scores, errors, and the command on a real dataset folder and encoder."""

import json

import numpy as np
import pytest
from support.tiny_config import ONE_HEAD

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder, load_encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features, dataset_features
from primus_jax.evals.fewshot.comparison import FILES
from primus_jax.evals.fewshot.probe_protocol import probe_fewshot
from primus_jax.evals.fewshot.sampling import (
    choose_sides,
    draw_shots,
    folder_people,
    resampled_people,
    validation_people,
)
from primus_jax.evals.fewshot.scores import standard_error, summarize
from primus_jax.evals.identity import encoder_hash
from primus_jax.recordings.recording import Recording


def simulated_features(
    people: int = 8, classes: int = 4, per_class: int = 12, dim: int = 16, seed: int = 0
) -> Features:
    """Clusters per activity, shifted per person."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), classes * per_class)
    label = np.tile(np.repeat(np.arange(classes), per_class), people).astype(np.int32)
    centre, shift = 1.5 * rng.normal(size=(classes, dim)), rng.normal(size=(people, dim))
    x = centre[label] + shift[person] + rng.normal(size=(len(label), dim))
    name = np.array([f"person {i}" for i in range(people)])[person]
    split = np.where(person < people // 2, "train", "test").astype("<U10")
    split[person == people - 1] = "validation"
    blank = np.full(len(label), "")
    names = tuple(f"activity {k}" for k in range(classes))
    return Features(x.astype(np.float32), label, names, name, name, name, blank, split)


def replaced(features: Features, **values) -> Features:
    return Features(**{**features.__dict__, **values})


def test_people_are_on_one_side_and_every_class_on_both():
    features = simulated_features(people=9)
    sides = resampled_people(features.label, features.group, range(6))
    held_out = []
    for train, test in zip(sides.train, sides.test, strict=True):
        assert (train ^ test).all()
        assert not set(features.group[train]) & set(features.group[test])
        assert set(features.label[train]) == set(features.label[test]) == {0, 1, 2, 3}
        held_out.append(tuple(np.unique(features.group[test])))
        assert len(held_out[-1]) == 2  # a quarter of nine
    assert len(set(held_out)) > 1


def test_a_rare_class_decides_who_is_held_out():
    """Only two of twelve people do activity 3: one of them on each side, whatever the seed."""
    features = simulated_features(people=12)
    who = np.isin(features.group, ["person 3", "person 7"])
    label = np.where((features.label == 3) & ~who, -1, features.label)
    sides = resampled_people(label, features.group, range(20))
    for test in sides.test:
        assert (label[test] == 3).any()
        assert (label[~test] == 3).any()


def test_shots_are_nested_and_from_the_training_people():
    features = simulated_features(per_class=3)
    label = features.label.copy()
    label[np.flatnonzero(label == 2)[1:]] = -1  # a single window of activity 2
    seeds = (0, 5)
    sides = resampled_people(label, features.group, seeds)
    many = draw_shots(label, sides, 10, 4, seeds)
    few = draw_shots(label, sides, 2, 4, seeds)
    for i in range(2):
        np.testing.assert_array_equal(many.rows[i, :, :2][few.valid[i]], few.rows[i][few.valid[i]])
        shown = many.rows[i][many.valid[i]]
        assert len(set(shown)) == len(shown)
        assert sides.train[i, shown].all()
        np.testing.assert_array_equal(many.valid[i].sum(1), [10, 10, 1, 10])
        for k in range(4):
            assert (label[many.rows[i, k][many.valid[i, k]]] == k).all()
    assert not np.array_equal(many.rows[0], many.rows[1])


def test_scores_equal_scikit_learn_and_grow_with_shots():
    metrics = pytest.importorskip("sklearn.metrics")
    linear_model = pytest.importorskip("sklearn.linear_model")
    features = simulated_features()
    result = probe_fewshot(features, shots=(1, 10), seeds=3, c=1.0)
    assert result.accuracy.shape == result.macro_f1.shape == (2, 3)
    sides = resampled_people(features.label, features.group, range(3))
    drawn = draw_shots(features.label, sides, 10, 4, range(3))
    for s in range(3):
        own = features.embedding[sides.train[s]].astype(np.float64)
        x = np.clip((features.embedding - own.mean(0)) / own.std(0), -8, 8)
        shown = drawn.rows[s].reshape(-1)
        model = linear_model.LogisticRegression(tol=1e-8, max_iter=10_000)
        model.fit(x[shown], features.label[shown])
        true = features.label[sides.test[s]]
        predicted = model.predict(x[sides.test[s]])
        assert result.accuracy[1, s] == pytest.approx(metrics.accuracy_score(true, predicted))
        f1 = metrics.f1_score(true, predicted, average="macro")
        assert result.macro_f1[1, s] == pytest.approx(f1)
    assert result.accuracy[1].mean() > result.accuracy[0].mean() + 0.05


@pytest.mark.parametrize(("people", "draws"), [("kfold:4", 4), ("leave-one-out", 8)])
def test_folds_test_everybody_once_per_seed(people, draws):
    features = simulated_features()
    sides = choose_sides(people, features.label, features.group, features.split, (3, 4))
    assert sides.test.shape == (2 * draws, len(features.label))
    assert sides.seed.tolist() == [3] * draws + [4] * draws
    for half in (sides.test[:draws], sides.test[draws:]):
        assert (half.sum(0) == 1).all()
    result = probe_fewshot(features, shots=(2, 5), seeds=(3, 4), people=people, classifier="ridge")
    assert (result.confusion.sum((2, 3)) == len(features.label)).all()
    assert (result.by_person.sum((3, 4)) == 48).all()
    _, row = summarize([result])
    assert row["people_tested"] == 8
    low, high = row["accuracy_interval"]
    assert low <= row["accuracy"] <= high
    assert high - low > 0.01


def test_validation_people_are_kept_apart():
    features = simulated_features(people=10)
    sides = resampled_people(features.label, features.group, range(3))
    kept = validation_people(sides, features.label, features.group)
    for i in range(3):
        assert ((kept.train[i] | kept.validation[i]) == sides.train[i]).all()
        assert not set(features.group[kept.train[i]]) & set(features.group[kept.validation[i]])
        assert set(features.label[kept.validation[i]]) == {0, 1, 2, 3}
    own = folder_people(features.split, (0,))
    assert (validation_people(own, features.label, features.group).train == own.train).all()


def test_a_class_with_a_single_window_and_ragged_counts():
    features = simulated_features(per_class=6)
    label = features.label.copy()
    label[np.flatnonzero(label == 3)[1:]] = -1
    label[np.flatnonzero(label == 2)[5:]] = -1
    result = probe_fewshot(
        replaced(features, label=label), shots=(1, 20), seeds=6, classifier="ridge"
    )
    assert (result.confusion.sum((2, 3)) > 0).all()
    assert np.isfinite(result.accuracy).all()
    in_training = result.labelled[1] - result.labelled[1] // 40 * 40
    assert (in_training <= 6).all()  # 20 of two classes, at most 5 and 1 of the others


def test_the_draws_do_not_depend_on_the_method():
    features = simulated_features()
    other = replaced(features, embedding=-3 * features.embedding[:, ::-1])
    a, b = (probe_fewshot(f, shots=(2,), seeds=2, c=1.0) for f in (features, other))
    np.testing.assert_array_equal(a.labelled, b.labelled)
    # mirrored, scaled and reordered features carry the same information
    np.testing.assert_array_equal(a.confusion, b.confusion)


def test_a_class_with_a_single_window_is_learned_from_not_dropped():
    features = simulated_features(people=5)
    label = features.label.copy()
    label[np.flatnonzero(label == 1)[1:]] = -1
    result = probe_fewshot(
        replaced(features, label=label), shots=(1, 5), seeds=4, classifier="ridge"
    )
    assert (result.labelled[0] == 4).all()
    assert (result.labelled[1] == 16).all()
    assert result.confusion[:, :, 1].sum() == 0  # its only window is shown, none is left to test
    assert np.isfinite(result.macro_f1).all()


def test_the_folders_own_people():
    features = simulated_features()
    result = probe_fewshot(features, shots=(5,), seeds=3, people="folder")
    assert (result.confusion.sum((2, 3)) == (features.split == "test").sum()).all()
    assert len(set(result.accuracy[0])) > 1  # other shots, same people


def test_summary_has_mean_and_standard_error_over_seeds():
    one, two = (
        probe_fewshot(simulated_features(seed=s), shots=(1, 5), seeds=4, classifier="ridge")
        for s in (0, 1)
    )
    rows = summarize([one, two])
    assert [row["shots"] for row in rows] == [1, 5]
    expected = (one.accuracy[1] + two.accuracy[1]) / 2
    assert rows[1]["accuracy"] == pytest.approx(expected.mean())
    assert rows[1]["accuracy_se"] == pytest.approx(expected.std(ddof=1) / 2)
    assert rows[1]["averaged_over"] == 2
    assert json.loads(json.dumps(rows)) == rows
    assert standard_error(np.array([0.5])) is None


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"label": np.full(384, -1)}, {}, "no labels"),
        ({"label": np.zeros(384, np.int32)}, {}, "only 'activity 0'"),
        ({"group": np.full(384, "me")}, {}, "at least two people"),
        ({"split": np.full(384, "train")}, {"people": "folder"}, "'test' split"),
        ({"embedding": np.full((384, 2), np.nan, np.float32)}, {}, "not finite"),
        ({}, {"shots": (0, 5)}, "at least 1"),
        ({}, {"seeds": 0}, "at least one"),
        ({}, {"c": 0.0}, "positive"),
        ({}, {"classifier": "svm"}, "'logistic', 'ridge'"),
        ({}, {"people": "everyone"}, "expected one of"),
        ({}, {"people": "kfold:1"}, "at least 2"),
        ({}, {"people": "kfold:9"}, "at least 9 people"),
    ],
)
def test_mistakes_are_explained(change, options, message):
    with pytest.raises(PrimusError, match=message):
        probe_fewshot(replaced(simulated_features(), **change), **options)


def movements(people: int = 5, activities: int = 3):
    """Recordings of 3 windows of 4 s at 50 Hz: a tone of the activity's own frequency."""
    rng = np.random.default_rng(0)
    time = np.arange(600) / 50
    for person in range(people):
        for activity in range(activities):
            wave = np.sin(2 * np.pi * (activity + 1) * time + rng.uniform(0, 6))
            signal = np.outer(wave, rng.normal(1 + activity, 0.2, 6))
            signal[:, 2] += 9.8
            yield Recording(
                id=f"{person}-{activity}",
                signal=signal + 0.05 * rng.normal(size=signal.shape),
                rate_hz=50.0,
                subject=f"person {person}",
                label=f"activity {activity}",
            )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> DatasetFolder:
    from primus_jax.recordings.windows import WindowSpec

    return write_dataset(
        movements(),
        tmp_path_factory.mktemp("data") / "tones",
        Origin("a test", "none", simulated=True),
        Recipe(WindowSpec(50.0, 4.0, 4.0), Splits((0.6, 0.2, 0.2))),
    )


def test_features_of_every_window_in_order(folder):
    encoder = Encoder.random(ONE_HEAD, 0, 50.0, 4.0)
    features = dataset_features(encoder, folder, batch_size=7)
    assert features.embedding.shape == (45, ONE_HEAD.embed_dim)
    assert features.embedding.dtype == np.float32
    assert set(features.split) == {"train", "validation", "test"}
    row = int(np.flatnonzero(features.split == "test")[1])
    window = folder.source("test")[1]
    assert features.recording[row] == window["recording"]
    assert features.label[row] == window["label"]
    alone = encoder.encode_windows(window["imu"][None])[0]
    np.testing.assert_allclose(features.embedding[row], alone, rtol=1e-4, atol=1e-5)
    with pytest.raises(PrimusError, match="--target-rate 25"):
        dataset_features(Encoder.random(ONE_HEAD, 0, 25.0, 8.0), folder)


def test_command(folder, tmp_path, capsys):
    Encoder.random(ONE_HEAD, 7, 50.0, 4.0).save(tmp_path / "export")
    out = tmp_path / "results"
    words = ["fewshot", "--encoder", f"mine={tmp_path / 'export'}", "--data", str(folder.path)]
    words += ["--shots", "1", "2", "--seeds", "2", "--random-init", "--out", str(out)]
    assert main(words) == 0
    assert "| mine " in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == set(FILES)
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [(row["method"], row["shots"]) for row in rows] == [
        ("mine", 1), ("mine", 2), ("random initialisation", 1), ("random initialisation", 2),
    ]  # fmt: skip
    for row in rows:
        assert row["dataset_hash"] == folder.content_hash
        assert len(row["accuracy_per_seed"]) == len(row["seeds"]) == 2
        assert row["accuracy"] == pytest.approx(np.mean(row["accuracy_per_seed"]), abs=1e-5)
    loaded = encoder_hash(load_encoder(tmp_path / "export"))
    assert rows[0]["encoder_hashes"] == [loaded]
    assert len(set(rows[2]["encoder_hashes"])) == 3
    assert "simulated" in (out / "table.md").read_text()

    before = (out / "results.jsonl").read_bytes()
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words[:-2], "--shots", "0", "--out", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()
    (out / "mine.txt").write_text("kept")
    assert main([*words, "--overwrite"]) == 2
    assert (out / "results.jsonl").read_bytes() == before
    (out / "mine.txt").unlink()
    words.remove("--random-init")
    assert main([*words, "--overwrite"]) == 0


@pytest.mark.slow
def test_command_with_every_baseline_under_the_papers_protocol(folder, tmp_path, capsys):
    Encoder.random(ONE_HEAD, 7, 50.0, 4.0).save(tmp_path / "export")
    out = tmp_path / "results"
    words = ["fewshot", "--data", str(folder.path), "--shots", "2", "--seeds", "1"]
    words += ["--encoder", f"mine={tmp_path / 'export'}", "--out", str(out)]
    paper = [*words, "--hand-features", "--from-scratch", "--protocol", "paper", "--epochs", "2"]
    assert main([*paper, "--finetune", "--people", "kfold:5"]) == 0
    assert "supervised from scratch" in capsys.readouterr().out
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [row["method"] for row in rows] == [
        "mine", "hand-crafted statistics", "supervised from scratch",
    ]  # fmt: skip
    assert [row["classifier"]["name"].split(", ")[1] for row in rows] == [
        "full fine-tuning", "frozen features", "from scratch",
    ]  # fmt: skip
    assert all(row["windows_tested"] == [45] for row in rows)
    assert rows[0]["pretraining_leaks"][0]["status"] == "untrained"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--finetune"], "--protocol paper"),
        (["--prompts", "p.npz"], "--protocol paper"),
        (["--lr", "0.1"], "--protocol paper"),
        (["--protocol", "paper", "--c", "1"], "no penalty"),
        (["--protocol", "paper", "--classifier", "ridge"], "belongs to the probe"),
        (["--c", "-1"], "positive"),
        (["--protocol", "paper", "--epochs", "0"], "at least 1"),
        (["--people", "kfold:x"], "kfold:5"),
    ],
)
def test_contradicting_options_are_explained(folder, tmp_path, capsys, options, message):
    words = ["fewshot", "--data", str(folder.path), "--hand-features"]
    assert main([*words, "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
