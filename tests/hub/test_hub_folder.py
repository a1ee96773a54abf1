"""The exported folder, written and read: equal files, descriptions, damage, folders of before."""

import dataclasses
import hashlib
import json
import math

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.random_weights import assert_equal_trees, random_params
from support.tiny_config import IMU2CLIP, READOUTS

from primus_jax.encoder import load_encoder
from primus_jax.errors import PrimusError
from primus_jax.hub.folder import read_folder, write_folder
from primus_jax.hub.loading import read_encoder
from primus_jax.hub.torch_names import to_torch_names
from primus_jax.models.released import CHOICES, ReleasedConfig

ABOUT = {"rate_hz": 50, "window_seconds": 5, "provenance": {"steps": 7}}


def test_folder_round_trip(tmp_path):
    config = READOUTS[0]
    params = random_params(config)
    description = write_folder(tmp_path / "out", params, config, head="mmcl", **ABOUT)
    again, same, read = read_folder(tmp_path / "out")
    assert_equal_trees(again, params)
    assert same == config
    assert read == description == json.loads((tmp_path / "out" / "config.json").read_text())
    assert read["provenance"] == {"steps": 7}
    assert read["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(PrimusError, match="already exists"):
        write_folder(tmp_path / "out", params, config, **ABOUT)
    write_folder(tmp_path / "out", random_params(config, 1), config, overwrite=True, **ABOUT)
    assert_equal_trees(read_folder(tmp_path / "out")[0], random_params(config, 1))


def test_equal_parameters_are_equal_files_whatever_made_them(tmp_path):
    params = random_params(IMU2CLIP)
    for number in range(8):
        about = ABOUT | {
            "provenance": {"step": number, "data": {f"/data/{number}": {"splits": {}}}},
            "metrics": {"validation_loss": 1.0 / (number + 1)},
        }
        write_folder(tmp_path / f"{number}", params, IMU2CLIP, **about)
    weights = {(path / "model.safetensors").read_bytes() for path in tmp_path.iterdir()}
    assert len(weights) == 1
    # PyTorch and the library of safetensors read the file.
    read = load_file(tmp_path / "0" / "model.safetensors")
    expected = to_torch_names(params, IMU2CLIP)
    assert read.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(read[name], tensor)


def test_a_lone_weights_file_tells_the_encoder_and_not_its_training(tmp_path):
    params = random_params(IMU2CLIP)
    about = ABOUT | {
        "head": IMU2CLIP.heads[0],
        "licence": "MIT",
        "metrics": {"validation_loss": 2.0},
    }
    whole = write_folder(tmp_path / "out", params, IMU2CLIP, **about)
    lone = tmp_path / "elsewhere" / "weights.safetensors"
    lone.parent.mkdir()
    lone.write_bytes((tmp_path / "out" / "model.safetensors").read_bytes())
    again, config, description = read_encoder(lone)
    assert_equal_trees(again, params)
    assert config == IMU2CLIP
    told = ("rate_hz", "window_seconds", "head", "license", "units", "channels", "parameters")
    assert {name: description[name] for name in told} == {name: whole[name] for name in told}
    assert "provenance" not in description
    # Beside the config.json that was written with it, nothing is lost.
    beside = read_encoder(tmp_path / "out" / "model.safetensors")[2]
    assert beside["provenance"] == {"steps": 7}
    assert beside["metrics"] == {"validation_loss": 2.0}
    # Another config.json is not believed.
    (lone.parent / "config.json").write_text('{"weights_sha256": "0", "provenance": {"steps": 9}}')
    assert "provenance" not in read_encoder(lone)[2]


def test_a_weights_file_of_before_tells_its_training(tmp_path):
    params = random_params(IMU2CLIP)
    whole = write_folder(tmp_path / "out", params, IMU2CLIP, **ABOUT)
    header = {"format": "pt", "primus_jax": json.dumps(whole)}
    save_file(to_torch_names(params, IMU2CLIP), tmp_path / "old.safetensors", metadata=header)
    again, config, description = read_encoder(tmp_path / "old.safetensors")
    assert_equal_trees(again, params)
    assert (config, description["provenance"]) == (IMU2CLIP, {"steps": 7})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate_hz": 0}, "rate_hz is 0.0"),
        ({"window_seconds": math.nan}, "window_seconds is nan"),
        ({"head": "video"}, "head is 'video'"),
        ({"provenance": {"loss": math.inf}}, "provenance cannot be written"),
        ({"provenance": {"params": np.zeros(2)}}, "provenance cannot be written"),
        ({"provenance": {"data": 5}}, r"provenance\.data is 5"),
        ({"config": ReleasedConfig()}, "these are not the weights"),
    ],
)
def test_nothing_is_written_of_a_wrong_export(change, message, tmp_path):
    arguments = {"params": random_params(READOUTS[0]), "config": READOUTS[0]} | ABOUT | change
    with pytest.raises(PrimusError, match=message):
        write_folder(tmp_path / "out", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_damaged_folders_are_refused(tmp_path):
    folder = tmp_path / "out"
    write_folder(folder, random_params(READOUTS[0]), READOUTS[0], **ABOUT)
    weights, text = (
        (folder / "model.safetensors").read_bytes(),
        (folder / "config.json").read_text(),
    )
    description = json.loads(text)

    def refused(name, content, message):
        (folder / name).write_bytes(content)
        with pytest.raises(PrimusError, match=message):
            read_folder(folder)
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "config.json").write_text(text)

    flipped = bytearray(weights)
    flipped[-5] ^= 1
    refused("model.safetensors", bytes(flipped), "damaged or was replaced")
    refused("model.safetensors", weights[:-100], "damaged or was replaced")
    refused("config.json", text[:50].encode(), "is not JSON")
    for change, message in (
        ({"format": "another"}, "format 'another'; expected"),
        ({"encoder": {"bins": 32}}, "whose kind is one of"),
        ({"encoder": {"kind": "released", "bins": 32}}, "expected the keys"),
        ({"encoder": description["encoder"] | {"bins": 0}}, "encoder.bins is 0"),
        ({"rate_hz": "50"}, "rate_hz is '50'"),
        ({"weights_sha256": None}, "damaged or was replaced"),
    ):
        refused("config.json", json.dumps(description | change).encode(), message)
    short = weights[:-100]
    digest = {"weights_sha256": hashlib.sha256(short).hexdigest()}
    (folder / "config.json").write_text(json.dumps(description | digest))
    refused("model.safetensors", short, "not a whole safetensors file")
    (folder / "model.safetensors").unlink()
    with pytest.raises(PrimusError, match=r"has no model.safetensors"):
        read_folder(folder)


def test_a_folder_from_before_heads_had_a_width_still_loads(tmp_path):
    write_folder(tmp_path / "out", random_params(READOUTS[0]), READOUTS[0], **ABOUT)
    path = tmp_path / "out" / "config.json"
    description = json.loads(path.read_text())
    encoder = description["encoder"]
    assert encoder.pop("head_dim") == 0
    description["encoder"] = {"trunk": encoder.pop("kind"), **encoder}
    description["format"] = "primus-jax encoder 1"
    path.write_text(json.dumps(description))
    assert read_folder(tmp_path / "out")[1] == READOUTS[0]


@pytest.mark.parametrize("norm", CHOICES["norm"])
def test_folder_and_lone_weights_tell_the_norm(norm, tmp_path):
    config = dataclasses.replace(READOUTS[0], norm=norm)
    params = random_params(config)
    described = write_folder(tmp_path / "out", params, config, **ABOUT)
    assert f"{norm.capitalize()}Norm" in described["normalisation"]
    assert read_folder(tmp_path / "out")[1] == config
    assert load_encoder(tmp_path / "out" / "model.safetensors").config == config


def test_a_folder_from_before_there_was_a_norm_to_choose_still_loads(tmp_path):
    torch = pytest.importorskip("torch")
    from primus_jax.hub.modeling_primus import PrimusEncoder

    write_folder(tmp_path / "out", random_params(READOUTS[0]), READOUTS[0], **ABOUT)
    path = tmp_path / "out" / "config.json"
    imu = torch.ones(1, 200, 6)
    then = PrimusEncoder.from_pretrained(tmp_path / "out").embed(imu)
    description = json.loads(path.read_text())
    assert description["encoder"].pop("norm") == "group"
    path.write_text(json.dumps(description))
    assert read_folder(tmp_path / "out")[1] == READOUTS[0]
    assert torch.equal(PrimusEncoder.from_pretrained(tmp_path / "out").embed(imu), then)


def test_pytorch_loads_the_export(tmp_path):
    torch = pytest.importorskip("torch")
    from support.torch_imu_encoder import TorchEncoder

    for config in (READOUTS[0], READOUTS[3], READOUTS[4]):
        params = random_params(config)
        write_folder(tmp_path / config.readout, params, config, **ABOUT)
        tensors = load_file(tmp_path / config.readout / "model.safetensors")
        module = TorchEncoder(config)
        module.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        imu = np.random.default_rng(0).normal(size=(2, 200, 6)).astype(np.float32)
        expected = module(torch.from_numpy(imu))
        outputs = jax.jit(config.build().apply)({"params": params}, imu)
        for head, value in expected.items():
            np.testing.assert_allclose(outputs[head], value.detach(), rtol=1e-5, atol=1e-5)
