"""Run folders and export folders that version 0.1.0 wrote are still read.

tests/golden/version_0_1_0.tar.xz holds two runs of three steps on simulated people and their
exports: PRIMUS with a released encoder, transformation prediction with a motion encoder.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from primus_jax.config import from_dict, to_dict
from primus_jax.encoder import load_encoder
from primus_jax.export.run import export
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.multitask import MultitaskConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.training.digest import digest
from primus_jax.training.run import load_state

ARCHIVE = Path(__file__).parents[1] / "golden" / "version_0_1_0.tar.xz"
RUNS = {
    "released": (
        ReleasedConfig(channels=4, embed_dim=8, bins=4, head_dim=512),
        PrimusConfig(queue_size=8),
        "ca8d04415a881be1d6fdb6af42c3f0d1",
    ),
    "motion": (
        MotionConfig(channels=4, multihead=False),
        MultitaskConfig(hidden=2),
        "d7b451c119852fe13a6f8db7f74c79a7",
    ),
}


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_the_state_and_the_config_are_those_of_then(old, name):
    encoder, objective, digested = RUNS[name]
    state, config, row = load_state(old / name, "latest")
    assert digest(state) == digested
    assert (config.encoder, config.objective) == (encoder, objective)
    assert "trunk" in row["config"]["encoder"]
    assert from_dict(to_dict(config)) == config


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_is_exported_as_it_was_then(old, name, tmp_path):
    export(old / name, tmp_path / "encoder")
    then, now = load_encoder(old / f"{name}_encoder"), load_encoder(tmp_path / "encoder")
    assert then.config == now.config == RUNS[name][0]
    windows = np.random.default_rng(0).normal(size=(3, 130, 6)).astype(np.float32)
    np.testing.assert_array_equal(then.encode_windows(windows), now.encode_windows(windows))
    written = json.loads((tmp_path / "encoder" / "config.json").read_text())
    assert written["encoder"]["kind"] == name


def test_a_folder_without_the_width_of_its_heads_is_read(old):
    path = old / "motion_encoder" / "config.json"
    description = json.loads(path.read_text())
    del description["encoder"]["head_dim"]
    path.write_text(json.dumps(description))
    assert load_encoder(old / "motion_encoder").config == RUNS["motion"][0]
