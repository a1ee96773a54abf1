"""The PyTorch module of RelCon's folders against JAX, through the folder."""

import importlib.util
import warnings

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from support.relcon_golden import golden

from primus_jax.encoder import load_encoder
from primus_jax.hub.folder import read_folder, write_folder
from primus_jax.hub.loading import AssumptionWarning
from primus_jax.models.motif import MotifConfig
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.weights.safetensors import write_safetensors

torch = pytest.importorskip("torch")

RESNET = ResNet1DConfig(width1=4, width2=6, width3=8, multihead=True, head_layers=2)
SAMPLES = 64


def exported(config, folder):
    """A folder with random weights, statistics included, and its module in PyTorch."""
    window = np.zeros((1, SAMPLES, 6), np.float32)
    params = config.build().init(jax.random.key(0), window)["params"]
    rng = np.random.default_rng(1)
    moved = {
        path: np.asarray(x) + rng.uniform(0, 0.3, x.shape).astype(np.float32)
        for path, x in flatten_dict(params).items()
    }
    write_folder(
        folder, unflatten_dict(moved), config,
        rate_hz=100, window_seconds=SAMPLES / 100, provenance={},
    )  # fmt: skip
    spec = importlib.util.spec_from_file_location("modeling_relcon", folder / "modeling_relcon.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("channels", [3, 6])
def test_the_encoder_in_pytorch_is_that_in_jax(tmp_path, channels):
    config = ResNet1DConfig(
        width1=4, width2=6, width3=8, multihead=True, head_layers=2, channels=channels
    )
    module = exported(config, tmp_path / "encoder")
    theirs = module.RelConEncoder.from_pretrained(tmp_path / "encoder")
    windows = np.random.default_rng(0).normal(size=(3, SAMPLES, 6)).astype(np.float32) * 5
    encoder = load_encoder(tmp_path / "encoder")
    with torch.no_grad():
        outputs = theirs(torch.from_numpy(windows))
        np.testing.assert_array_equal(theirs.embed(torch.from_numpy(windows)), outputs["emb"])
    assert set(outputs) == {"emb", "ssl", "mmcl"}
    for head, values in outputs.items():
        ours = encoder.encode_windows(windows, head)
        scale = np.abs(ours).max()
        np.testing.assert_allclose(values.numpy() / scale, ours / scale, atol=1e-5)
    with pytest.raises(ValueError, match="at least 11"):
        theirs(torch.zeros(1, 10, 6))


@pytest.mark.parametrize("attention", ["sparsemax", "released"])
def test_the_distance_in_pytorch_is_that_in_jax(tmp_path, attention):
    config = MotifConfig(features=16, attention=attention)
    module = exported(config, tmp_path / "distance")
    rng = np.random.default_rng(0)
    anchor, candidate = (rng.normal(size=(4, SAMPLES, 6)).astype(np.float32) for _ in range(2))
    with torch.no_grad():
        network = module.MotifDist.from_pretrained(tmp_path / "distance")
        theirs = network.distance(torch.from_numpy(anchor), torch.from_numpy(candidate)).numpy()
    params, found, _ = read_folder(tmp_path / "distance")
    assert found == config
    distance = config.build()
    memory = distance.apply({"params": params}, candidate[..., :3], method="remember")
    ours = distance.apply(
        {"params": params}, anchor[..., :3], memory, config.attend(training=False),
        method="distance",
    )  # fmt: skip
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)


def test_the_cards_name_the_module_and_the_paper(tmp_path):
    for config, words in (
        (RESNET, "from modeling_relcon import RelConEncoder"),
        (MotifConfig(features=8, blocks=1), "from modeling_relcon import MotifDist"),
    ):
        exported(config, tmp_path / config.kind)
        card = (tmp_path / config.kind / "README.md").read_text()
        assert words in card
        assert "2411.18822" in card
        assert "PRIMUS" not in card


def test_released_files_are_recognised_with_their_window(tmp_path):
    weights = {
        name.removeprefix("param/"): value
        for name, value in golden("resnet1d.weights/small").items()
        if name.startswith("param/") and not name.endswith("tracked")
    }
    write_safetensors(weights, tmp_path / "relcon.safetensors", {"format": "pt"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encoder = load_encoder(tmp_path / "relcon.safetensors")
    assert [type(w.message) for w in caught if w.category is AssumptionWarning]
    assert encoder.config == ResNet1DConfig(width1=8, width2=16, width3=24)
    assert (encoder.rate_hz, encoder.window_seconds) == (100.0, 2.56)
    theirs = golden("resnet1d.eval/small_256")
    x = theirs["in/x"].transpose(0, 2, 1).astype(np.float32)
    windows = np.concatenate([x, np.zeros_like(x)], -1)
    scale = np.abs(theirs["out/embedding"]).max()
    np.testing.assert_allclose(
        encoder.encode_windows(windows) / scale, theirs["out/embedding"] / scale, atol=1e-5
    )
