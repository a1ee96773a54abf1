"""Evaluation through its commands where it may go wrong: rare classes, leaks, ties, chance."""

import json

import jax
import numpy as np
import pytest
from support.tiny_config import ONE_HEAD

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from primus_jax.cli import main
from primus_jax.encoder import Encoder
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec

SPEC = WindowSpec(50.0, 3.0, 3.0)


def recordings(windows: int = 3, seed: int = 0, prefix: str = ""):
    """Three activities of four people, and one person's only window of a fourth."""
    rng = np.random.default_rng(seed)
    vector = np.ones(8, np.float32) / np.sqrt(8)
    for person in range(4):
        for activity in range(4 if person == 0 else 3):
            count = 1 if activity == 3 else windows
            yield Recording(
                id=f"{prefix}{person}-{activity}",
                signal=(1 + activity) * rng.normal(size=(150 * count, 6)).astype(np.float32),
                rate_hz=50.0, subject=f"person {person}", label=f"activity {activity}",
                text="a person moves", text_embedding=vector,
            )  # fmt: skip


def written(path, source="a test", **options):
    return write_dataset(
        recordings(**options), path, Origin(source, "none", simulated=True),
        Recipe(SPEC, Splits((0.5, 0.0, 0.5))),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("cli") / "moves")


@pytest.fixture(scope="module")
def constant(tmp_path_factory):
    """An encoder that collapsed: all weights are zero."""
    path = tmp_path_factory.mktemp("encoders") / "constant"
    encoder = Encoder.random(ONE_HEAD, 0, 50.0, 3.0)
    zeros = jax.tree.map(np.zeros_like, encoder.params)
    Encoder(ONE_HEAD, zeros, 50.0, 3.0, {"random_seed": 0}).save(path)
    return path


def rows_of(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("classifier", [pytest.param("logistic", marks=pytest.mark.slow), "ridge"])
def test_a_class_with_a_single_window(folder, tmp_path, classifier):
    out = tmp_path / "out"
    words = ["fewshot", "--hand-features", "--data", str(folder.path), "--out", str(out)]
    words += ["--shots", "1", "5", "--seeds", "2", "--people", "leave-one-out"]
    assert main([*words, "--classifier", classifier]) == 0
    for row in rows_of(out):
        assert row["classes"] == 4
        # shown to three of the four folds, tested (and missed) in the fourth
        assert np.sum(row["confusion"][3]) == 2
        assert row["confusion"][3][3] == 0
        assert row["windows_tested"] == [37, 37]
        shown = 1 if row["shots"] == 1 else 5
        assert sorted(row["windows_shown"]) == [3 * shown] * 2 + [3 * shown + 1] * 6
        low, high = row["macro_f1_interval"]
        assert low <= row["macro_f1"] <= high
    table = (out / "table.md").read_text()
    assert f"{'ridge' if classifier == 'ridge' else 'logistic'} regression on frozen" in table
    assert "95 % over people" in table
    assert " to " in table.split("95 % over people")[1]


@pytest.mark.parametrize("what", ["person", "recording", "window"])
def test_a_planted_leak_into_pretraining_stops_the_command(folder, tmp_path, capsys, what):
    """Pretrained on other cuts of the recordings, on the very windows, or on the same people."""
    options = {
        "person": {"seed": 1, "prefix": "another "},
        "recording": {"windows": 4, "source": "elsewhere"},
        "window": {"source": "elsewhere"},
    }[what]
    other = written(tmp_path / "pretraining", **options)
    encoder = Encoder.random(ONE_HEAD, 0, 50.0, 3.0)
    data = {str(other.path): {"content_hash": other.content_hash}}
    Encoder(ONE_HEAD, encoder.params, 50.0, 3.0, {"data": data}).save(tmp_path / "export")
    out = tmp_path / "out"
    words = ["fewshot", "--encoder", f"mine={tmp_path / 'export'}", "--data", str(folder.path)]
    words += ["--shots", "1", "--seeds", "4", "--c", "1", "--out", str(out)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "leak" in said
    assert what in said
    assert "np.str_" not in said
    assert not out.exists()
    if what == "window":
        assert main([*words, "--leaks", "report"]) == 0
        assert "**Leak:" in (out / "table.md").read_text()
        assert rows_of(out)[0]["pretraining_leaks"][0]["status"] == "leak"


def test_constant_embeddings_score_chance(folder, constant, tmp_path, capsys):
    out = tmp_path / "few"
    words = ["--data", str(folder.path), "--out", str(out)]
    few = ["--encoder", str(constant), "--shots", "2", "--seeds", "3", "--people", "kfold:4"]
    assert main(["fewshot", *few, *words]) == 0
    for row in rows_of(out):
        # one class for every window of a draw: no agreement beyond chance
        assert row["kappa"] == pytest.approx(0, abs=0.08)
        assert row["balanced_accuracy"] < 0.35
    words[-1] = str(tmp_path / "retrieved")
    assert main(["retrieve", "--encoder", str(constant), "--split", "all", *words]) == 0
    for row in rows_of(tmp_path / "retrieved"):
        for name in ("recall_at_1", "recall_at_10", "mrr", "median_rank"):
            assert row[name] == pytest.approx(row["chance"][name])
    assert "37" in capsys.readouterr().out


def test_a_pool_of_equal_texts_scores_chance_or_everything(folder, tmp_path):
    """Whatever the encoder, one sentence for all windows cannot be told apart."""
    Encoder.random(ONE_HEAD, 0, 50.0, 3.0).save(tmp_path / "export")
    words = ["retrieve", "--encoder", str(tmp_path / "export"), "--data", str(folder.path)]
    words += ["--split", "all", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    for row in rows_of(tmp_path / "out"):
        assert row["distinct_targets"] == 1
        if row["direction"] == "imu->text":
            assert row["recall_at_1"] == pytest.approx(1 / 37)
            assert row["median_rank"] == pytest.approx(19)
        assert row["chance"]["recall_at_1"] == pytest.approx(1 / 37)
    assert main([*words, "--equal-texts", "--overwrite"]) == 0
    for row in rows_of(tmp_path / "out"):
        assert row["recall_at_1"] == row["chance"]["recall_at_1"] == pytest.approx(1)


def test_zero_shot_of_an_untrained_encoder_says_so(folder, tmp_path, capsys):
    Encoder.random(ONE_HEAD, 0, 50.0, 3.0).save(tmp_path / "export")
    names = [f"a person is activity {k}" for k in range(4)]
    vectors = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    np.savez(tmp_path / "prompts.npz", text=names, text_embedding=vectors)
    words = ["zeroshot", "--encoder", str(tmp_path / "export"), "--data", str(folder.path)]
    assert main([*words, "--embeddings", str(tmp_path / "prompts.npz")]) == 0
    said = capsys.readouterr().out
    assert "never trained" in said
    assert "chance" in said
