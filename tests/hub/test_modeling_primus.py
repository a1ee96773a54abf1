"""The PyTorch module of an exported folder: outputs, gradients, and there and back."""

import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.exported import (
    CONFIGS,
    assert_close,
    encoder_of,
    module_of,
    name_of,
    onnx_session,
    windows,
)
from support.tiny_config import MOTION

import primus_jax
from primus_jax.cli import main
from primus_jax.encoder import load_encoder
from primus_jax.export.onnx.checked_file import CheckWindows, OnnxFile
from primus_jax.hub.loading import AssumptionWarning
from primus_jax.hub.torch_names import to_torch_names
from primus_jax.models.encoders import encoder_to_dict


@pytest.mark.parametrize(
    "config",
    [*CONFIGS[:5], *(pytest.param(config, marks=pytest.mark.slow) for config in CONFIGS[5:])],
    ids=name_of,
)
def test_pytorch_agrees_in_outputs_and_gradients(config):
    encoder, imu = encoder_of(config), windows(config)
    torch, module = module_of(encoder)
    outputs = module(torch.from_numpy(imu))
    rng = np.random.default_rng(5)
    targets = {h: rng.normal(size=outputs[h].shape).astype(np.float32) for h in config.heads}

    def loss(params):
        ours = config.build().apply({"params": params}, imu)
        return sum(jnp.vdot(ours[head], targets[head]) for head in config.heads), ours

    (_, ours), grad = jax.jit(jax.value_and_grad(loss, has_aux=True))(encoder.params)
    sum((outputs[h] * torch.from_numpy(targets[h])).sum() for h in config.heads).backward()
    assert set(outputs) == set(config.heads)
    for head in config.heads:
        assert_close(np.asarray(ours[head]), outputs[head].detach().numpy())
    theirs = {name: parameter.grad.numpy() for name, parameter in module.named_parameters()}
    expected = to_torch_names(grad, config)
    assert theirs.keys() == expected.keys()
    if config.kind == "released" and config.norm == "instance":
        # Instance normalisation takes the bias in front of it away: what is left is rounding.
        both = np.abs([theirs.pop("net.0.bias"), expected.pop("net.0.bias")])
        assert both.max() < 1e-3 * max(np.abs(value).max() for value in expected.values())
    for name, value in expected.items():
        largest = np.abs(value).max()
        np.testing.assert_allclose(theirs[name], value, rtol=0, atol=1e-3 * largest, err_msg=name)


def test_jax_to_pytorch_to_jax_is_exact(tmp_path):
    encoder = encoder_of(MOTION)
    torch, module = module_of(encoder)
    torch.save(module.state_dict(), tmp_path / "tuned.pt")
    with pytest.warns(AssumptionWarning, match="taken as 5 s at 50 Hz"):
        again = load_encoder(tmp_path / "tuned.pt")
    assert again.config == MOTION
    jax.tree.map(np.testing.assert_array_equal, again.params, encoder.params)


def test_fine_tuned_in_pytorch_and_back(tmp_path):
    """Rate, window, head and an architecture that shapes do not tell come back too."""
    torch, config = pytest.importorskip("torch"), CONFIGS[4]
    from primus_jax.hub.modeling_primus import PrimusEncoder

    made = encoder_of(config)
    made.rate_hz, made.window_seconds, made.head = 25.0, 10.0, "mmcl"
    made.save(tmp_path / "folder")
    module = PrimusEncoder.from_pretrained(tmp_path / "folder")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.5
    module.save(tmp_path / "tuned.safetensors")
    again = load_encoder(tmp_path / "tuned.safetensors")
    assert (again.config, again.head) == (config, "mmcl")
    assert (again.rate_hz, again.window_seconds) == (25, 10)
    assert len(again.metadata["tuned_from"]) == 64
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b + 0.5), again.params, made.params)
    assert main(["import", str(tmp_path / "tuned.safetensors"), "--to", str(tmp_path / "2")]) == 0
    with pytest.raises(ValueError, match="only from_pretrained"):
        PrimusEncoder(encoder_to_dict(config)).save(tmp_path / "x.safetensors")


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_pytorch_takes_the_windows_that_jax_takes(config):
    encoder = encoder_of(config)
    torch, module = module_of(encoder)
    low, high = config.sample_range()
    assert module(torch.zeros(1, low, 6))["emb"].shape == (1, config.embed_dim)
    wrong = [(1, low - 1, 6), (1, 4, 6), (low, 6), (1, 6, low), (1, low, 3)]
    for shape in [*wrong, (1, high + 1, 6)] if high else wrong:
        with pytest.raises(ValueError, match=r"this encoder takes|expected \[batch, time, 6\]"):
            module(torch.zeros(shape))


ALONE = """
import sys
sys.path += {paths!r}
for name in ("jax", "jaxlib", "flax", "primus_jax", "data_prep"):
    sys.modules[name] = None
sys.path.insert(0, {folder!r})
import numpy, torch
from modeling_primus import PrimusEncoder
encoder = PrimusEncoder.from_pretrained({folder!r})
imu = torch.from_numpy(numpy.load("imu.npy"))
with torch.no_grad():
    numpy.save("out.npy", encoder.embed(imu).numpy())
optimizer = torch.optim.SGD(encoder.train().parameters(), lr=1e-3)
before = encoder.embed(imu).square().mean()
before.backward()
optimizer.step()
assert encoder.embed(imu).square().mean() < before
"""


@pytest.mark.slow
@pytest.mark.parametrize("config", [CONFIGS[0], MOTION], ids=name_of)
def test_the_folder_works_without_this_package(config, tmp_path):
    torch = pytest.importorskip("torch")
    encoder, imu = encoder_of(config), windows(config)
    encoder.head = "mmcl"
    encoder.save(tmp_path / "folder")
    (tmp_path / "elsewhere").mkdir()
    np.save(tmp_path / "elsewhere" / "imu.npy", imu)
    # -I -S: no current folder, no environment, no .pth files: only the libraries' own folder
    paths = [str(Path(torch.__file__).parents[1])]
    code = ALONE.format(paths=paths, folder=str(tmp_path / "folder"))
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=tmp_path / "elsewhere", check=True, env={}
    )
    theirs = np.load(tmp_path / "elsewhere" / "out.npy")
    assert_close(encoder.encode_windows(imu), theirs)


@pytest.mark.slow
def test_real_recordings_agree(shared_data, tmp_path):
    pytest.importorskip("onnx")
    with np.load(shared_data / "usc_had.npz", allow_pickle=False) as file:
        pack = dict(file)
    signal = np.ascontiguousarray(pack["signal"][:200_000:2])
    signal = (signal * np.repeat([pack["acc_scale"], pack["gyro_scale"]], 3)).astype(np.float32)
    for config in (CONFIGS[0], CONFIGS[4], MOTION):
        imu = signal[: 400 * 250].reshape(400, 250, 6)[::8]
        encoder = encoder_of(config)
        torch, module = module_of(encoder)
        with torch.no_grad():
            outputs = module(torch.from_numpy(imu))
        for head in config.heads:
            assert_close(encoder.encode_windows(imu, head), outputs[head].numpy())
        path = tmp_path / f"{config.kind}.onnx"
        OnnxFile(CheckWindows(imu[:8], "real"))(path, encoder.params, config, {"head": "emb"})
        session = onnx_session(path)
        for head in config.heads:
            [theirs] = session.run([head], {"imu": imu})
            assert_close(encoder.encode_windows(imu, head), theirs)


def test_the_module_needs_only_torch_and_safetensors():
    text = (Path(primus_jax.__file__).parent / "hub" / "modeling_primus.py").read_text()
    found = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE))
    assert found - set(sys.stdlib_module_names) == {"torch", "safetensors"}
