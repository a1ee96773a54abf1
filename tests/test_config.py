"""Configs: every file in configs/ builds and is valid, round trips, and is described."""

import dataclasses
import itertools
from pathlib import Path

import pytest

from primus_jax.config import Config, DataConfig, config_hash, flatten, from_dict, to_dict
from primus_jax.config_file import read_config
from primus_jax.errors import PrimusError
from primus_jax.optim import OptimConfig, make_schedule

FILES = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))
CONFIGS = [path for path in FILES if "def get_config" in path.read_text()]
PRIMUS = next(path for path in CONFIGS if path.stem == "primus")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_file_is_valid_and_says_its_command_and_cost(path):
    config = read_config(str(path), ["--config.data.train=('somewhere',)"])
    config.validate()
    assert f"--config configs/{path.name}" in path.read_text()
    assert "Cost:" in path.read_text()


def test_a_config_survives_json():
    config = Config(data=DataConfig(train=("a", "b"), weights=(0.5, 1.5)), steps=7)
    again = from_dict(to_dict(config))
    assert again == config
    assert config_hash(again) == config_hash(config)
    assert flatten(to_dict(config))["objective.second_view.scale"] == 0.25
    with pytest.raises(PrimusError, match="nonsense"):
        from_dict({"nonsense": 1})


def test_overrides_keep_the_rest_and_reach_every_depth():
    file = str(FILES[0].with_name("primus.py"))
    config = read_config(file, ["--config.objective.second_view.noise=0.5", "--config.steps=3"])
    assert (config.steps, config.objective.second_view.noise) == (3, 0.5)
    assert config.optim == read_config(file, []).optim


def test_the_norm_of_the_released_encoder_is_a_flag():
    path = str(Path(__file__).parents[1] / "configs" / "primus.py")
    data = "--config.data.train=('somewhere',)"
    for norm in ("group", "layer", "instance"):
        config = read_config(path, [data, f"--config.encoder.norm={norm}"])
        config.validate()
        assert config.encoder.norm == norm
        assert from_dict(to_dict(config)) == config
    values = to_dict(config)
    del values["encoder"]["norm"]
    assert from_dict(values).encoder.norm == "group"
    with pytest.raises(PrimusError, match=r"encoder\.norm is 'batch'; expected one of"):
        read_config(path, [data, "--config.encoder.norm=batch"]).validate()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"steps": 0}, "steps"),
        ({"seed": -1}, "seed"),
        ({"data": DataConfig()}, "data.train is empty"),
        ({"data": DataConfig(train=("a", "a"))}, "twice"),
        ({"data": DataConfig(train=("a",), embedding_dim=384)}, "384"),
        ({"optim": OptimConfig(name="sgd")}, "sgd"),
        ({"optim": OptimConfig(weight_decay=0.1)}, "adamw"),
        ({"optim": OptimConfig(warmup_steps=20_000)}, "warmup_steps"),
    ],
)
def test_values_that_mean_nothing_are_refused_by_name(change, word):
    config = dataclasses.replace(Config(data=DataConfig(train=("a",))), **change)
    with pytest.raises(PrimusError, match=word):
        config.validate()


def test_the_schedule_warms_up_and_never_rises_again():
    schedule = make_schedule(OptimConfig(lr=1.0, schedule="cosine", warmup_steps=10), steps=50)
    rates = [float(schedule(step)) for step in range(60)]
    assert rates[0] == 0
    assert rates[10] == pytest.approx(1.0)
    assert all(a < b for a, b in itertools.pairwise(rates[:11]))
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert rates[50] == rates[59] == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("def get_config():\n    return None\n", ["NoneType", "Config"]),
        ("\nx = nonsense\n", ["line 2", "NameError"]),
        ("", ["get_config"]),
    ],
)
def test_a_config_file_that_makes_no_config_is_refused(tmp_path, content, words):
    path = tmp_path / "config.py"
    path.write_text(content)
    with pytest.raises(PrimusError) as error:
        read_config(str(path), [])
    assert all(word in str(error.value) for word in words)
