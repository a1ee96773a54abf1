"""The page "Add a method" of docs/architecture.md, run as it stands there."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from primus_jax.config_file import read_config
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.inputs import example_batch
from primus_jax.data.pipeline import Pipeline
from primus_jax.encoder import load_encoder
from primus_jax.export.run import export
from primus_jax.objectives.registry import OBJECTIVES
from primus_jax.training.digest import digest
from primus_jax.training.loop import pretrain
from primus_jax.training.metrics import read_metrics
from primus_jax.training.run import load_state

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
METHOD, CONFIG = re.findall(
    r"```python\n(.*?)```", PAGE[PAGE.index("## Add a method") :], re.DOTALL
)
SMALL = ("steps=4", "data.batch_size=8", "encoder.channels=4", "log_every=1", "checkpoint.every=2")


@pytest.fixture(scope="module")
def companion():
    """The module of the page, under the name that the page gives it, and its entry."""
    name = "primus_jax.objectives.companion"
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(METHOD, name, "exec"), module.__dict__)
    OBJECTIVES["companion"] = module.CompanionConfig
    yield module
    del OBJECTIVES["companion"], sys.modules[name]


@pytest.fixture(scope="module")
def config_file(companion, tmp_path_factory):
    path = tmp_path_factory.mktemp("configs") / "companion.py"
    path.write_text(CONFIG)
    return str(path)


def small(config_file, data, **changes):
    words = [*SMALL, f"data.train=('{data}',)", *(f"{k}={v}" for k, v in changes.items())]
    return read_config(config_file, [f"--config.{word}" for word in words])


@pytest.fixture(scope="module")
def trained(config_file, simulated, tmp_path_factory):
    """Four steps on one device: folder of the run, config and final state."""
    folder = tmp_path_factory.mktemp("companion") / "run"
    config = small(config_file, simulated, devices=1)
    return folder, config, pretrain(config, folder, log=lambda line: None)


def test_the_method_trains_resumes_and_is_exported(trained, tmp_path):
    folder, config, whole = trained
    state, stored, _ = load_state(folder, "latest")
    assert stored.objective == config.objective
    assert digest(state) == digest(whole)
    export(folder, tmp_path / "encoder")
    windows = np.random.default_rng(0).normal(size=(2, 130, 6)).astype(np.float32)
    assert load_encoder(tmp_path / "encoder").encode_windows(windows).shape == (2, 232)


def test_its_kind_is_chosen_on_the_command_line(companion, simulated, tmp_path):
    file = Path(__file__).parents[1] / "support" / "tiny_config.py"
    words = ["--config.objective.kind=companion", "--config.objective.scale=2.0"]
    config = read_config(str(file), words)
    assert config.objective == companion.CompanionConfig(scale=2.0)


def test_its_batches_are_a_function_of_seed_and_step_on_any_hosts(companion, simulated):
    folders = [DatasetFolder(simulated)]
    inputs = companion.CompanionConfig().inputs(130, 512)

    def rows(seed, step, host=0, hosts=1):
        pipeline = Pipeline(folders, "train", 16, seed, inputs, host=host, hosts=hosts)
        return next(pipeline.from_step(step))

    whole = rows(3, 5)
    assert 0 < whole["same"].sum() < 16
    parts = [rows(3, 5, host, 2) for host in range(2)]
    for name in whole:
        joined = np.stack([part[name] for part in parts], 1).reshape(whole[name].shape)
        np.testing.assert_array_equal(whole[name], joined)
    assert (rows(4, 5)["second"] != whole["second"]).any()
    assert whole.keys() == example_batch(inputs).keys()


@pytest.mark.slow
def test_its_loss_and_gradient_are_the_same_on_two_devices(
    trained, config_file, simulated, tmp_path
):
    pretrain(small(config_file, simulated, devices=2, steps=1), tmp_path / "run", log=len)
    one, two = (read_metrics(folder)[0] for folder in (trained[0], tmp_path / "run"))
    for name in ("loss", "grad_norm"):
        assert one[name] == pytest.approx(two[name], rel=1e-5)
