"""The PyTorch module in the folder of a vision encoder: outputs, gradients, and there and back."""

import copy
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from primus_jax.encoder import Encoder, load_encoder
from primus_jax.hub.torch_names import to_torch_names
from primus_jax.models.batch_norm import RUNNING
from primus_jax.models.vision.encoder import VisionConfig

torch = pytest.importorskip("torch")
CONFIGS = [
    VisionConfig(channels=2, nfft=32, overlap=28, gyroscope="image", multihead=True, head_dim=5),
    VisionConfig(
        depth=50, channels=2, form="clean", nfft=64, overlap=52, joint=True,
        gyroscope="channels", multihead=True, head_layers=2,
    ),
    VisionConfig(channels=2, form="released", overlap=116),
]  # fmt: skip


def windows(count=3, time=150):
    imu = np.random.default_rng(0).normal(size=(count, time, 6)).cumsum(1) / 8
    imu[..., 2] += 9.81
    return imu.astype(np.float32)


def module_of(folder):
    spec = importlib.util.spec_from_file_location("modeling_vision", folder / "modeling_vision.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PrimusEncoder.from_pretrained(folder)


@pytest.fixture(
    scope="module",
    params=[CONFIGS[0], *(pytest.param(config, marks=pytest.mark.slow) for config in CONFIGS[1:])],
    ids=lambda config: config.form,
)
def both(request, tmp_path_factory):
    """An encoder with statistics of its own, and the module of its folder."""
    folder = tmp_path_factory.mktemp("vision") / "encoder"
    encoder = Encoder.random(request.param, seed=1, rate_hz=50, window_seconds=3)
    rng = np.random.default_rng(2)
    encoder.params = jax.tree.map(
        lambda x: x + jnp.float32(rng.uniform(0, 0.3, x.shape)) if x.ndim == 1 else x,
        encoder.params,
    )
    encoder.save(folder)
    return encoder, module_of(folder), folder


def test_pytorch_agrees_in_outputs_and_gradients(both):
    """In float64: a grey level or a ReLU that float32 puts on the other side is no difference."""
    encoder, module, _ = both
    config, imu = encoder.config, windows().astype(np.float64)
    module = copy.deepcopy(module).double()
    outputs = module(torch.from_numpy(imu))

    def loss(params):
        ours = config.build().apply({"params": params}, jnp.asarray(imu))
        return sum(jnp.sum(x**2) for x in ours.values()), ours

    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), encoder.params)
        (_, ours), grad = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    sum(output.square().sum() for output in outputs.values()).backward()
    assert list(outputs) == list(config.heads)
    for head in config.heads:
        scale = float(np.abs(ours[head]).max())
        np.testing.assert_allclose(outputs[head].detach(), ours[head], atol=1e-8 * scale)
    expected = to_torch_names(grad, config)
    theirs = {name: x.grad.numpy() for name, x in module.named_parameters()}
    assert theirs.keys() == {name for name in expected if not name.endswith(RUNNING)}
    for name, value in theirs.items():
        # `to_torch_names` rounds to float32.
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(value, expected[name], atol=1e-6 * scale, err_msg=name)


def test_tuned_in_pytorch_and_back(both, tmp_path):
    encoder, module, folder = both
    module.save(tmp_path / "tuned.safetensors")
    again = load_encoder(tmp_path / "tuned.safetensors")
    assert again.config == encoder.config
    assert (again.rate_hz, again.window_seconds) == (50, 3)
    assert len(again.metadata["tuned_from"]) == 64
    jax.tree.map(np.testing.assert_array_equal, again.params, encoder.params)
    with pytest.raises(ValueError, match="only from_pretrained"):
        type(module)(module.architecture).save(tmp_path / "x.safetensors")
    assert {path.name for path in folder.iterdir()} >= {"modeling_vision.py", "README.md"}


def test_other_windows_are_refused(both):
    encoder, module, _ = both
    low = encoder.config.sample_range()[0]
    assert module(torch.from_numpy(windows(1, low)))["emb"].shape == (1, encoder.config.embed_dim)
    for shape in ((1, low - 1, 6), (low, 6), (1, low, 3)):
        with pytest.raises(ValueError, match=r"this encoder takes|expected \[batch, time, 6\]"):
            module(torch.zeros(shape))
