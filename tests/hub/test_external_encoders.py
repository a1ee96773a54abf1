"""Encoders at 200 Hz, those released with IMU2CLIP among them, on windows at 50 Hz."""

import dataclasses
import json

import numpy as np
import pytest
from support.recording_files import people, signal

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.user.packs import Packs
from primus_jax.cli import main
from primus_jax.encoder import Encoder, load_encoder
from primus_jax.evals.features import dataset_features
from primus_jax.evals.resampled import ResampledEncoder
from primus_jax.models.released import ReleasedConfig
from primus_jax.recordings.windows import WindowSpec
from primus_jax.window import resample

PEOPLE = tuple(f"usc_had/s0{k}" for k in range(1, 5))
LABELS = ("walking forward", "jumping up", "sitting", "sleeping")


def check(encoders, recordings, tmp_path, capsys):
    """Embed at both rates, then score all of them with the command; rows by method."""
    folders = {}
    for rate_hz in (50.0, 200.0):
        folders[rate_hz] = write_dataset(
            recordings, tmp_path / f"at_{rate_hz:.0f}", Origin("a test", "none"),
            Recipe(WindowSpec(rate_hz, 5.0, 5.0), Splits((1.0, 0.0, 0.0))),
        )  # fmt: skip
    for path in encoders.values():
        encoder = load_encoder(path)
        assert encoder.rate_hz == 200
        resampled = dataset_features(ResampledEncoder(encoder, 50.0), folders[50.0])
        own = dataset_features(encoder, folders[200.0])
        np.testing.assert_array_equal(resampled.recording, own.recording)
        a, b = (f.embedding - f.embedding.mean(0) for f in (resampled, own))
        # a window resampled by itself lacks its neighbours' samples at the edges
        assert np.vdot(a, b) / np.sqrt(np.vdot(a, a) * np.vdot(b, b)) > 0.95
    words = ["fewshot", "--encoder", *(f"{name}={path}" for name, path in encoders.items())]
    words += ["--classifier", "ridge", "--shots", "1", "2", "--seeds", "2"]
    words += ["--out", str(tmp_path / "out"), "--data"]
    assert main([*words, str(folders[50.0].path)]) == 2
    assert "--target-rate 200" in capsys.readouterr().err
    assert main([*words, str(folders[200.0].path)]) == 0
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    rows = {(row["method"], row["shots"]): row for row in map(json.loads, lines)}
    assert set(rows) == {(name, k) for name in encoders for k in (1, 2)}
    for row in rows.values():
        assert sum(row["windows_tested"]) > 0
        assert row["encoder_config"]["third_pool"] == "max"
    return rows


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::primus_jax.hub.loading.AssumptionWarning")
def test_the_released_imu2clip_encoders_on_real_windows(shared_data, tmp_path, capsys):
    encoders = {
        part: next((shared_data / "imu2clip").glob(f"*_{part}_ie_*_imu_encoder.pt"))
        for part in ("t_t", "t_v")
    }
    chosen = {}
    for one in Packs([shared_data / "usc_had.npz"]):
        if one.subject in PEOPLE and one.label in LABELS:
            chosen.setdefault((one.subject, one.label), one)
    recordings = [
        dataclasses.replace(
            one, signal=resample(one.signal[None, :1000], one.rate_hz, 50.0)[0], rate_hz=50.0
        )
        for one in chosen.values()
    ]
    rows = check(encoders, recordings, tmp_path, capsys)
    assert all(row["accuracy"] > 1 / len(LABELS) for row in rows.values())
    assert {row["pretraining_leaks"][0]["status"] for row in rows.values()} == {"not verified"}


def test_an_encoder_of_that_architecture(tmp_path, capsys):
    config = ReleasedConfig(channels=8, embed_dim=16, third_pool="max", multihead=False)
    Encoder.random(config, 0, 200.0, 5.0).save(tmp_path / "export")
    recordings = [
        dataclasses.replace(one, signal=signal(1000, seed=seed))
        for seed, one in enumerate(people(4, 2))
    ]
    check({"mine": tmp_path / "export"}, recordings, tmp_path, capsys)
