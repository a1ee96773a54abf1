"""The hub folder outside this package: PyTorch, ONNX, int8, StableHLO, the model card."""

import dataclasses
import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import primus_jax
from primus_jax.cli import main
from primus_jax.commands.check_windows import check_windows, simulated_windows
from primus_jax.encoder import Encoder, load_encoder
from primus_jax.errors import PrimusError
from primus_jax.export.run import ExportOptions, write_export
from primus_jax.hub.loading import AssumptionWarning
from primus_jax.hub.torch_names import to_torch_names
from primus_jax.models.encoders import encoder_to_dict
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import ReleasedConfig

MOTION = MotionConfig(channels=4, blocks=2, head_layers=2)
CONFIGS = [
    ReleasedConfig(channels=8, embed_dim=16),
    ReleasedConfig(channels=8, embed_dim=16, third_pool="max", multihead=False),
    ReleasedConfig(channels=8, embed_dim=16, readout="gru_time", bins=4, input_norm="fixed"),
    ReleasedConfig(channels=8, embed_dim=16, readout="gru_time", third_pool="max", multihead=False),
    ReleasedConfig(channels=8, embed_dim=16, readout="pool", activation="gelu", head_layers=2),
    ReleasedConfig(channels=8, embed_dim=16, readout="pool", third_pool="max"),
    ReleasedConfig(channels=6, embed_dim=16, norm="layer"),
    ReleasedConfig(channels=6, embed_dim=16, norm="instance", third_pool="max", multihead=False),
    ReleasedConfig(channels=6, embed_dim=16, norm="layer", input_norm="fixed", readout="gru_time"),
    MOTION,
    MotionConfig(channels=4, multihead=False),
]


def name_of(config):
    return "-".join(map(str, dataclasses.astuple(config)))


def windows(config, n=6, seed=0):
    """Gravity, smooth movement, and one window that lies still."""
    low, high = config.sample_range()
    time = high or max(low, 250)
    rng = np.random.default_rng(seed)
    imu = rng.normal(size=(n, time, 6)).cumsum(1) / 4
    imu[:, :, :3] += rng.normal(size=(n, 1, 3)) * 6
    imu[0] = [0, 0, 9.81, 0, 0, 0]
    return imu.astype(np.float32)


def encoder_of(config, seed=1):
    """Random weights, without the compilation that `Encoder.random` needs."""
    imu, rng = windows(config, 1), np.random.default_rng(seed)
    shapes = jax.eval_shape(config.build().init, jax.random.key(0), imu)["params"]
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: np.float32(
            rng.normal(size=leaf.shape) * 0.2 + (path[-1].key == "scale")
        ),
        shapes,
    )
    return Encoder(config, params, rate_hz=50, window_seconds=imu.shape[1] / 50)


def assert_close(ours, theirs):
    """Within 1e-5 of the largest value."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1, np.abs(ours).max()))


def module_of(encoder):
    torch = pytest.importorskip("torch")
    from primus_jax.hub.modeling_primus import PrimusEncoder

    module = PrimusEncoder(encoder_to_dict(encoder.config), encoder.head)
    tensors = to_torch_names(encoder.params, encoder.config)
    module.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()})
    return torch, module


def folder_of(encoder, folder, check_data=None, **options):
    return write_export(
        folder,
        encoder.params,
        encoder.config,
        ExportOptions(
            head=encoder.head,
            check_windows=functools.partial(check_windows, check_data),
            **options,
        ),
        rate_hz=encoder.rate_hz,
        window_seconds=encoder.window_seconds,
        provenance={},
    )


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
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


def onnx_session(path):
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
def test_onnx_agrees(config, tmp_path):
    pytest.importorskip("onnx")
    from primus_jax.export.onnx_file import CheckWindows, OnnxFile

    encoder, imu = encoder_of(config), windows(config)
    write_onnx = OnnxFile(CheckWindows(imu, "random"))
    about = write_onnx(tmp_path / "m.onnx", encoder.params, config, {"head": "emb"})
    session = onnx_session(tmp_path / "m.onnx")
    assert [output.name for output in session.get_outputs()] == list(config.heads)
    for batch in (imu[:1], imu):
        for head in config.heads:
            [theirs] = session.run([head], {"imu": batch})
            assert_close(encoder.encode_windows(batch, head), theirs)
    assert about["opset"] == 17
    assert 0 <= about["largest_relative_difference"] <= 1e-5


@pytest.mark.parametrize("config", [CONFIGS[1], CONFIGS[4], MOTION], ids=name_of)
def test_int8_says_what_it_costs(config, tmp_path):
    pytest.importorskip("onnx")
    from primus_jax.export.onnx_file import CheckWindows, OnnxFile

    encoder, imu, head = encoder_of(config), windows(config), config.heads[-1]
    check, path = CheckWindows(imu, "random"), tmp_path / "m.onnx"
    about = OnnxFile(check, int8=True)(path, encoder.params, config, {"head": head})
    session = onnx_session(path)
    assert [output.name for output in session.get_outputs()] == [head]
    [theirs] = session.run(None, {"imu": imu})
    ours = encoder.encode_windows(imu, head)
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    np.testing.assert_allclose(about["cosine_mean"], cosine.mean(), atol=1e-6)
    np.testing.assert_allclose(about["cosine_lowest"], cosine.min(), atol=1e-6)
    assert 0.99 < about["cosine_lowest"] < 1
    # A window's embedding does not depend on its neighbours in the batch.
    np.testing.assert_allclose(session.run(None, {"imu": imu[2:3]})[0], theirs[2:3], atol=2e-3)
    whole = OnnxFile(check)(tmp_path / "f.onnx", encoder.params, config, {"head": head})
    assert path.stat().st_size < (tmp_path / "f.onnx").stat().st_size
    assert whole["outputs"] == list(config.heads)


def test_a_float_file_that_disagrees_is_not_kept(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    from primus_jax.export import onnx_file

    monkeypatch.setattr(onnx_file, "TOLERANCE", 0.0)
    with pytest.raises(PrimusError, match="ONNX differs from JAX"):
        folder_of(encoder_of(CONFIGS[0]), tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("config", [CONFIGS[0], MOTION], ids=name_of)
def test_stablehlo_needs_only_jax(config, tmp_path):
    pytest.importorskip("flatbuffers")
    encoder, imu = encoder_of(config), windows(config)
    folder_of(encoder, tmp_path / "out", stablehlo=True)
    exported = export.deserialize((tmp_path / "out" / "model.stablehlo").read_bytes())
    for batch in (imu[:1], imu):
        outputs = exported.call(batch)
        for head in config.heads:
            assert_close(encoder.encode_windows(batch, head), np.asarray(outputs[head]))


def test_card_and_description(tmp_path):
    pytest.importorskip("onnxruntime")
    encoder = encoder_of(CONFIGS[0])
    options = {"onnx": True, "int8": True, "licence": "CC-BY-4.0"}
    description = folder_of(encoder, tmp_path / "out", **options)
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == description
    names = {"model.safetensors", "config.json", "README.md", "modeling_primus.py"}
    onnx = {"model.onnx", "model_int8.onnx"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names | onnx
    assert set(description["files"]) == onnx
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith('---\nlicense: "CC-BY-4.0"\n')
    for heading in ("Intended use", "Limits", "Evaluation", "Licence", "Citation"):
        assert f"## {heading}\n" in card
    assert f"{description['files']['model_int8.onnx']['cosine_mean']:.5f} on average" in card
    assert "Not evaluated." in card
    for key in ("units", "axes", "normalisation", "head", "license", "metrics", "provenance"):
        assert key in description


def test_missing_packages_name_their_extra(tmp_path, monkeypatch):
    encoder = encoder_of(CONFIGS[0])
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(PrimusError, match=re.escape("primus-jax[onnx]")):
        folder_of(encoder, tmp_path / "out", onnx=True)
    for name in ("flatbuffers", "jax._src.export.serialization"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PrimusError, match=re.escape("primus-jax[stablehlo]")):
        folder_of(encoder, tmp_path / "out", stablehlo=True)
    assert list(tmp_path.iterdir()) == []


def test_wrong_options_are_explained(tmp_path, simulated):
    encoder = encoder_of(CONFIGS[1])
    encoder.head = "ssl"
    with pytest.raises(PrimusError, match="no heads; use emb"):
        folder_of(encoder, tmp_path / "out")
    encoder.head = "emb"
    with pytest.raises(PrimusError, match="this encoder expects"):
        folder_of(encoder, tmp_path / "out", onnx=True, check_data=simulated)
    (tmp_path / "rows.jsonl").write_text('{"method": "x"}\n')
    for file, message in (("rows.jsonl", "not a results.jsonl"), ("none", "cannot read")):
        with pytest.raises(PrimusError, match=message):
            folder_of(encoder, tmp_path / "out", results=tmp_path / file)


def test_check_windows_of_any_rate_and_length():
    for rate, seconds in ((50, 5), (25, 1), (5, 4), (800, 0.5)):
        imu = simulated_windows(rate, seconds).imu
        assert imu.shape[1:] == (rate * seconds, 6)
        assert imu.dtype == np.float32
        assert np.isfinite(imu).all()


def test_real_recordings_agree(shared_data, tmp_path):
    from primus_jax.export.onnx_file import CheckWindows, OnnxFile

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
