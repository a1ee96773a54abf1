"""Weights of other programs: the Lightning layout, prefixes, recognition, `primus-jax import`."""

import dataclasses
import json
import os
import tracemalloc

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file
from support.random_weights import random_tensors
from support.tiny_config import MOTION, PRIMUS

from primus_jax.cli import main
from primus_jax.encoder import load_encoder
from primus_jax.errors import PrimusError
from primus_jax.hub.loading import AssumptionWarning, read_encoder
from primus_jax.hub.recognise import recognise
from primus_jax.hub.torch_names import from_torch_names
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import ReleasedConfig

RELEASED = {"rate_hz": 200, "window_seconds": 5}


def assert_loads(path, tensors, config, **options):
    params, found, description = read_encoder(path, **options)
    assert found == config
    expected = from_torch_names(tensors, config)[0]
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    return description


@pytest.mark.parametrize(
    "config",
    [
        PRIMUS,
        ReleasedConfig(channels=8, embed_dim=16, head_layers=2, readout="pool"),
        ReleasedConfig(channels=12, embed_dim=7, bins=9, multihead=False, third_pool="max"),
        ReleasedConfig(channels=12, embed_dim=7, multihead=False, third_pool="max", readout="pool"),
        MOTION,
        MotionConfig(channels=8, multihead=False),
    ],
)
def test_architectures_are_recognised_under_any_prefix(config, tmp_path):
    tensors = random_tensors(config)
    for prefix in ("", "module.", "imu_encoder.", "model.", "encoder.", "a.imu_encoder.module."):
        others = {} if not prefix else {"towers.net.1.weight": np.zeros((2, 2), np.float32)}
        file = tmp_path / f"{prefix}x.safetensors"
        save_file({f"{prefix}{name}": value for name, value in tensors.items()} | others, file)
        assert_loads(file, tensors, config)


def test_single_head_primus_has_other_names_here(tmp_path):
    config = ReleasedConfig(channels=8, embed_dim=16, multihead=False)
    tensors = random_tensors(config)
    theirs = {name.replace("net.", "backbone.", 1): value for name, value in tensors.items()}
    save_file(theirs, tmp_path / "single.safetensors")
    assert_loads(tmp_path / "single.safetensors", tensors, config)


def test_the_released_lightning_layout(tmp_path):
    torch = pytest.importorskip("torch")
    from support.lightning_file import lightning_checkpoint

    tensors, file = random_tensors(PRIMUS), tmp_path / "best_model.ckpt"
    torch.save(lightning_checkpoint(tensors), file)
    description = assert_loads(file, tensors, PRIMUS)
    assert (description["rate_hz"], description["window_seconds"]) == (50, 5)
    with pytest.warns(AssumptionWarning, match=r"taken as 5 s at 25 Hz, head emb"):
        encoder = load_encoder(file, rate_hz=25)
    assert encoder.rate_hz == 25
    assert encoder.metadata["assumed"].startswith("window, as of")
    assert encoder.metadata["source"] == "best_model.ckpt"


def test_only_the_encoder_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    from support.lightning_file import lightning_checkpoint

    content = lightning_checkpoint(random_tensors(PRIMUS))
    content["state_dict"]["video_encoder.big"] = torch.zeros(16 << 20)
    torch.save(content, tmp_path / "best_model.ckpt")
    tracemalloc.start()
    read_encoder(tmp_path / "best_model.ckpt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20 < (tmp_path / "best_model.ckpt").stat().st_size


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    from support.lightning_file import lightning_checkpoint

    marker, file = tmp_path / "ran", tmp_path / "best_model.ckpt"
    content = lightning_checkpoint(random_tensors(PRIMUS), {"harmless": Touch(marker)})
    torch.save(content, file)
    with pytest.raises(PrimusError, match=r"would call (posix|nt).system") as error:
        load_encoder(file)
    assert "damaged" not in str(error.value)
    assert "torch.save(model.state_dict()" in str(error.value)
    assert not marker.exists()
    torch.load(file, weights_only=False)
    assert marker.exists(), "the file was not hostile: this test shows nothing"


def test_faults_are_explained_in_one_message(tmp_path):
    tensors = {f"imu_encoder.{name}": value for name, value in random_tensors(PRIMUS).items()}
    del tensors["imu_encoder.backbone.4.bias"]
    tensors["imu_encoder.ssl_head.bias"] = np.zeros(3, np.float32)
    for i in range(20):
        tensors[f"imu_encoder.extra.{i}"] = np.zeros(1, np.float32)
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(PrimusError) as error:
        load_encoder(tmp_path / "x.safetensors")
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'x.safetensors'}: these are not the weights")
    assert "missing: backbone.4.bias [8]" in message
    assert "of the wrong shape: ssl_head.bias [3] instead of [16]" in message
    assert message.count("extra.") == 12
    assert "and 8 more" in message


def test_several_encoders_need_a_prefix(tmp_path):
    student, teacher = random_tensors(PRIMUS, 1), random_tensors(PRIMUS, 2)
    tensors = {f"student.{name}": value for name, value in student.items()}
    tensors |= {f"teacher.{name}": value for name, value in teacher.items()}
    file = tmp_path / "two.safetensors"
    save_file(tensors, file)
    with pytest.raises(PrimusError, match=r"2 IMU encoders, .*'student.', 'teacher.'"):
        load_encoder(file)
    assert_loads(file, teacher, PRIMUS, prefix="teacher.")
    with pytest.raises(PrimusError, match="no IMU encoder under the prefix"):
        load_encoder(file, prefix="ema.")
    with pytest.raises(PrimusError, match="expected backbone"):
        recognise({"conv.weight": (3,)})


def test_import_writes_a_folder(tmp_path, capsys):
    tensors, file = random_tensors(PRIMUS), tmp_path / "w.safetensors"
    save_file({f"module.{name}": value for name, value in tensors.items()}, file)
    command = ["import", str(file), "--to", str(tmp_path / "out")]
    options = ["--license", "CC-BY-4.0", "--head", "mmcl", "--window", "4"]
    assert main([*command, *options]) == 0
    printed = capsys.readouterr().out
    assert "embed_dim 16" in printed
    assert "assumed: rate, as of the released weights" in printed
    assert_loads(tmp_path / "out", tensors, PRIMUS)
    assert_loads(tmp_path / "out" / "model.safetensors", tensors, PRIMUS)
    description = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (description["rate_hz"], description["window_seconds"]) == (50, 4)
    assert (description["license"], description["head"]) == ("CC-BY-4.0", "mmcl")
    assert len(description["provenance"]["source_sha256"]) == 64
    assert main(command) == 2
    assert "already exists" in capsys.readouterr().err


def test_import_takes_what_shapes_do_not_tell(tmp_path, capsys):
    config = ReleasedConfig(channels=32, embed_dim=16, readout="gru_time", activation="gelu")
    tensors, file = random_tensors(config), tmp_path / "w.safetensors"
    save_file(tensors, file)
    command = ["import", str(file), "--to", str(tmp_path / "out"), "--overwrite"]
    said = ["--encoder", "readout=gru_time", "--encoder", "activation=gelu"]
    assert main([*command, *said]) == 0
    assert_loads(tmp_path / "out", tensors, config)
    assert main([*command, *said, "--encoder", "norm=layer"]) == 0
    assert_loads(tmp_path / "out", tensors, dataclasses.replace(config, norm="layer"))
    for word, message in (
        ("norm=batch", "encoder.norm is 'batch'; expected one of ('group', 'layer', 'instance')"),
        ("readout", "expected one of"),
        ("depth=3", "expected FIELD=VALUE"),
        ("bins=many", "expected a whole number"),
        ("multihead=maybe", "expected true or false"),
        ("bins=9", "of the wrong shape"),
    ):
        assert main([*command, "--encoder", word]) == 2
        assert message in capsys.readouterr().err


def test_real_imu2clip_files_are_imported(shared_data, tmp_path):
    for i, file in enumerate(sorted((shared_data / "imu2clip").glob("*.pt"))):
        assert main(["import", str(file), "--to", str(tmp_path / str(i))]) == 0
        ours, theirs = load_encoder(tmp_path / str(i)), load_encoder(file, **RELEASED)
        assert (ours.config, ours.rate_hz) == (theirs.config, 200)
        jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)
