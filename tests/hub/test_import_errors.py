"""Weights that are refused or skipped with a reason: two encoders, zip tricks, odd objects."""

import enum
import stat
import warnings
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.random_weights import random_tensors
from support.tiny_config import PRIMUS

from primus_jax.cli import main
from primus_jax.encoder import load_encoder
from primus_jax.errors import PrimusError
from primus_jax.files import replace_file
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import ReleasedConfig

SINGLE = ReleasedConfig(channels=8, embed_dim=16, multihead=False)
STATED = {"rate_hz": 50, "window_seconds": 5}


def refusal(tensors, tmp_path, **options):
    """What loading these tensors says."""
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(PrimusError) as error:
        load_encoder(tmp_path / "x.safetensors", **STATED, **options)
    return str(error.value)


@pytest.mark.parametrize("prefix", ["", "imu_encoder."])
def test_two_encoders_under_one_prefix(prefix, tmp_path):
    net = random_tensors(SINGLE)
    for first in (random_tensors(PRIMUS), {n.replace("net", "backbone", 1): net[n] for n in net}):
        both = {f"{prefix}{name}": value for name, value in (first | net).items()}
        for options in ({}, {"prefix": prefix}):
            message = refusal(both, tmp_path, **options)
            assert f"2 IMU encoders, backbone.* and net.*, under one prefix, '{prefix}'" in message
            assert "Say which" in message


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("backbone.5.weight_ih_l0", None, "missing: backbone.5.weight_ih_l0 [48, 32]."),
        ("backbone.4.weight", None, "missing: backbone.4.weight [8]."),
        ("ssl_head.weight", None, "missing: ssl_head.weight [16, 16]."),
        (
            "backbone.1.net.0.weight",
            lambda x: x.transpose(2, 1, 0),
            "of the wrong shape: backbone.1.net.0.weight [10, 6, 8] instead of [8, 6, 10].",
        ),
        (
            "backbone.5.weight_ih_l0",
            lambda x: x.T,
            "of the wrong shape: backbone.5.weight_ih_l0 [32, 48] instead of [48, 32].",
        ),
        (
            "backbone.5.weight_ih_l0",
            lambda x: x[0, :1],
            "of the wrong shape: backbone.5.weight_ih_l0 [1] instead of [48, 32].",
        ),
    ],
)
def test_the_damaged_tensor_is_named_and_no_other(name, change, words, tmp_path):
    tensors = random_tensors(PRIMUS)
    value = tensors.pop(name)
    if change is not None:
        tensors[name] = np.ascontiguousarray(change(value))
    message = refusal(tensors, tmp_path)
    assert message.endswith(f"these are not the weights of this encoder: {words}")


def test_a_first_convolution_alone_lacks_the_rest(tmp_path):
    tensors = {"net.1.net.0.weight": np.zeros((8, 6, 10), np.float32)}
    assert "missing: net.0.weight [6], net.0.bias [6]" in refusal(tensors, tmp_path)
    tensors = random_tensors(MotionConfig(channels=4))
    del tensors["trunk.stem.bias"]
    assert refusal(tensors, tmp_path).endswith("encoder: missing: trunk.stem.bias [4].")


def test_names_do_not_write_to_the_terminal(tmp_path, capsys):
    tensors = random_tensors(PRIMUS)
    tensors["backbone.\x1b[2J\n" + "x" * 10_000] = np.zeros(2, np.float32)
    save_file(tensors, tmp_path / "x.safetensors")
    assert main(["import", str(tmp_path / "x.safetensors"), "--to", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.rstrip("\n").isprintable()
    assert r"unexpected: backbone.\x1b[2J\nxxx" in said
    assert len(said) < 500


def test_members_that_readers_disagree_about(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(value) for name, value in random_tensors(PRIMUS).items()}
    path = tmp_path / "x.pt"
    torch.save(tensors, path)
    whole, [number] = path.read_bytes(), np.ones(1, np.float32)
    for member, message in (("x/data/0", "x/data/0 is there twice"), ("y/data/99", "2 folders")):
        path.write_bytes(whole)
        with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
            warnings.simplefilter("ignore")  # zipfile's own, of the repeated name
            archive.writestr(member, number.tobytes() * 6)
        with pytest.raises(PrimusError, match=message):
            load_encoder(path)


class Colour(enum.Enum):
    """A hyper-parameter."""

    RED = 1


def test_what_is_skipped_beside_good_weights(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(value) for name, value in random_tensors(PRIMUS).items()}
    noted = torch.nn.Parameter(tensors["ssl_head.bias"])
    noted.note = "seen"
    content = {
        "state_dict": tensors | {"ssl_head.bias": noted},
        "seed": np.random.RandomState(0),
        "generator": np.random.default_rng(0),
        "mask": torch.zeros(3, dtype=torch.uint16),
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.zeros(3, device="meta"),
    }
    torch.save(content, tmp_path / "x.ckpt")
    encoder = load_encoder(tmp_path / "x.ckpt", **STATED)
    np.testing.assert_array_equal(
        encoder.params["ssl_head"]["bias"], tensors["ssl_head.bias"].numpy()
    )
    torch.save(content | {"colour": Colour.RED}, tmp_path / "x.ckpt")
    with pytest.raises(
        PrimusError, match=r"would call .*Colour, .* torch\.save\(model\.state_dict"
    ):
        load_encoder(tmp_path / "x.ckpt", **STATED)


def test_windows_and_rates_of_import(tmp_path, capsys):
    save_file(random_tensors(PRIMUS), tmp_path / "x.safetensors")
    command = ["import", str(tmp_path / "x.safetensors"), "--to", str(tmp_path / "out")]
    for option, message in (
        (["--window", "1"], "windows of 50 samples; this encoder takes at least 123"),
        (["--rate", "1"], "windows of 5 samples"),
        (["--window", "1e5"], "at most 100,000"),
        (["--rate", "nan", "--onnx"], "rate_hz is nan"),
    ):
        assert main([*command, *option]) == 2
        assert message in capsys.readouterr().err
    assert main([*command, "--rate", "25", "--window", "10"]) == 0
    assert "assumed" not in capsys.readouterr().out
    assert load_encoder(tmp_path / "out").metadata["source"] == "x.safetensors"


def test_folders_that_cannot_be_made(tmp_path, capsys):
    save_file(random_tensors(PRIMUS), tmp_path / "x.safetensors")
    file = tmp_path / "file"
    file.write_text("somebody's")
    for to, message in (
        (file / "y", f"{file} is no folder"),
        (file / "y" / "z", f"{file} is no folder"),
        (file, "already exists and is no folder"),
        ("/proc/x", "cannot write /proc/x"),
    ):
        for more in ([], ["--overwrite"]):
            command = ["import", str(tmp_path / "x.safetensors"), "--to", str(to), *more]
            assert main(command) == 2
            assert message in capsys.readouterr().err
    for place in (file / "y.csv", tmp_path):
        with pytest.raises(PrimusError, match=r"is no folder|is a folder"), replace_file(place):
            pass
    assert file.read_text() == "somebody's"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "x.safetensors"}


def test_written_files_have_the_mode_of_other_files(tmp_path):
    save_file(random_tensors(PRIMUS), tmp_path / "x.safetensors")
    assert main(["import", str(tmp_path / "x.safetensors"), "--to", str(tmp_path / "out")]) == 0
    (tmp_path / "plain").write_text("")
    (tmp_path / "folder").mkdir()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert modes == {stat.S_IMODE((tmp_path / "plain").stat().st_mode)}
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "folder").stat().st_mode
