"""The study of IMG2IMU's table II: its rows, and the row of an architecture without training."""

import dataclasses
from pathlib import Path

import pytest
from support.tiny_config import ONE_HEAD

from primus_jax.cli import main
from primus_jax.config_file import run_file
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.study import run
from primus_jax.study.study import Study

PATH = Path(__file__).parents[2] / "configs" / "study_img2imu.py"


def test_the_rows_of_the_table():
    study = run_file(str(PATH), "get_study", Study)
    study.validate()
    kinds = {name: config.objective.kind for name, config in study.methods.items()}
    assert kinds == {
        "PRIMUS": "primus",
        "SimCLR": "primus",
        "multi-task": "multitask",
        "CPC": "cpc",
    }
    simclr = study.methods["SimCLR"].objective
    assert (simclr.self_supervised, simclr.multimodal, simclr.neighbors) == (True, False, False)
    # 1-D rows differ in their objective alone
    base = dataclasses.replace(study.methods["PRIMUS"], objective=None)
    for config in study.methods.values():
        assert dataclasses.replace(config, objective=None) == base
    assert study.people == "kfold:5"
    assert study.shots == (1, 2, 5, 10, 20, 50)
    assert study.hand_features
    runs = len(study.methods) * len(study.pretraining_seeds)
    assert f"{runs} runs" in PATH.read_text()


def test_encoders_of_one_name_are_one_row(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(run, "run_study", lambda study, out, log: asked.append(study) or True)
    words = ["study", str(PATH), "--out", str(tmp_path / "out"), "--external"]
    assert main([*words, "IMG2IMU=a", "MoCo=c", "IMG2IMU=b"]) == 0
    assert asked[0].external_paths == {"IMG2IMU": ("a", "b"), "MoCo": ("c",)}
    monkeypatch.setattr(
        run, "load_encoder", lambda path: Encoder(ONE_HEAD, {}, 50.0, 3.0, {"path": str(path)})
    )
    study = dataclasses.replace(asked[0], random_seeds=(), untrained={}, hand_features=False)
    methods = run._methods(study, tmp_path)
    assert [one.metadata["path"] for one in methods["IMG2IMU"]] == ["a", "b"]
    assert [one.metadata["path"] for one in methods["MoCo"]] == ["c"]
    assert main([*words, "MoCo=c", "MoCo=c"]) == 2


def test_an_architecture_without_training_has_a_row(monkeypatch, tmp_path):
    study = run_file(str(PATH), "get_study", Study)
    tiny = VisionConfig(channels=1, nfft=32, overlap=16)
    study = dataclasses.replace(
        study, methods={"PRIMUS": study.methods["PRIMUS"]}, untrained={"pictures": tiny},
        random_seeds=(4, 5), pretraining_seeds=(0,),
    )  # fmt: skip

    def random(config, seed, rate_hz, window_seconds):
        assert (rate_hz, window_seconds) == (50.0, 3.0)
        return Encoder(config, {}, rate_hz, window_seconds, {"random_seed": seed})

    monkeypatch.setattr(run.Encoder, "random", random)
    monkeypatch.setattr(run, "load_encoder", lambda path: Encoder(ONE_HEAD, {}, 50.0, 3.0))
    methods = run._methods(study, tmp_path)
    assert list(methods) == [
        "PRIMUS",
        "random initialisation",
        "random initialisation (pictures)",
        "hand-crafted statistics",
    ]
    row = methods["random initialisation (pictures)"]
    assert [encoder.config for encoder in row] == [tiny, tiny]
    assert [encoder.metadata["random_seed"] for encoder in row] == [4, 5]
    for changes in ({"untrained": {"PRIMUS": tiny}}, {"random_seeds": ()}):
        with pytest.raises(PrimusError, match=r"study\.untrained"):
            dataclasses.replace(study, **changes).validate()
