"""The encoder of IMG2IMU as one kind of encoder: its parts, its folder, meshes, and refusals."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import primus_jax
from primus_jax.config_file import read_config
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.hub.torch_names import from_torch_names, to_torch_names
from primus_jax.models.batch_norm import split
from primus_jax.models.compute import ComputeConfig, mark_varying
from primus_jax.models.encoders import encoder_from_dict, encoder_to_dict
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.models.vision.resnet import ResNet, standardise
from primus_jax.models.vision.spectrogram import spectrograms
from primus_jax.parallel.sharding import make_mesh

TINY = VisionConfig(channels=2, nfft=32, overlap=24)


def windows(count=3, time=80, seed=0):
    rng = np.random.default_rng(seed)
    imu = rng.normal(size=(count, time, 6)).cumsum(1) / 8
    imu[..., 2] += 9.81
    return imu.astype(np.float32)


@pytest.fixture(scope="module")
def encoder():
    return Encoder.random(TINY, seed=3, rate_hz=50, window_seconds=1.6)


def test_it_is_the_resnet_of_the_spectrogram(encoder):
    imu = windows()
    images = standardise(spectrograms(jnp.asarray(imu), TINY.spectrogram))
    features = ResNet(TINY.resnet).apply({"params": encoder.params["vision"]}, images)["features"]
    np.testing.assert_allclose(encoder.encode_windows(imu), features, atol=1e-5)
    assert TINY.embed_dim == features.shape[1] == 16


@pytest.mark.slow
def test_the_gyroscope_by_option():
    imu = windows()
    still = imu * (np.arange(6) < 3).astype(np.float32)
    for gyroscope, width, alike in (
        ("none", 16, True),
        ("channels", 16, False),
        ("image", 32, False),
    ):
        config = VisionConfig(channels=2, nfft=32, overlap=24, gyroscope=gyroscope)
        one = Encoder.random(config, seed=0, rate_hz=50, window_seconds=1.6)
        first, second = one.encode_windows(imu), one.encode_windows(still)
        assert first.shape == (3, width)
        assert np.array_equal(first, second) == alike
        if gyroscope == "image":
            np.testing.assert_allclose(first[:, :16], second[:, :16], atol=1e-6)


def test_an_exported_folder_gives_the_same_embedding(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    again = primus_jax.load_encoder(tmp_path / "encoder")
    assert again.config == TINY
    imu = windows(5)
    np.testing.assert_array_equal(again.encode_windows(imu), encoder.encode_windows(imu))


def test_names_are_torchvisions_behind_a_prefix(encoder):
    tensors = to_torch_names(encoder.params, TINY)
    assert tensors["vision.layer1.0.conv1.weight"].shape == (2, 2, 3, 3)
    params, config = from_torch_names(tensors, TINY)
    jax.tree.map(np.testing.assert_array_equal, params, jax.device_get(encoder.params))
    # Names and shapes hold no spectrogram; it is then the paper's.
    _, config = from_torch_names(tensors | {"vision.bn1.num_batches_tracked": np.int64(3)})
    assert config == VisionConfig(channels=2)


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        VisionConfig(depth=50, channels=2, gyroscope="channels", multihead=True, head_layers=2),
        VisionConfig(form="clean", joint=True, multihead=True, head_dim=8),
    ],
    ids=range(3),
)
def test_configs_survive_json(config):
    assert encoder_from_dict(encoder_to_dict(config), "a test") == config
    shapes = jax.eval_shape(config.build().init, jax.random.key(0), jnp.zeros((1, 160, 6)))
    outputs = jax.eval_shape(config.build().apply, shapes, jnp.zeros((2, 160, 6)))
    assert {name: x.shape for name, x in outputs.items()} == {
        head: (2, config.width(head)) for head in config.heads
    }


def test_flags_choose_it():
    file = str(Path(__file__).parents[2] / "support" / "tiny_config.py")
    words = ["kind=vision", "nfft=64", "overlap=56", "gyroscope=image"]
    config = read_config(file, [f"--config.encoder.{word}" for word in words])
    assert config.encoder == VisionConfig(nfft=64, overlap=56, gyroscope="image")


@pytest.mark.slow
def test_gradients_and_other_compute(encoder):
    imu = jnp.asarray(windows()).at[0].set(0)

    def total(imu, compute=ComputeConfig()):  # noqa: B008
        return jnp.sum(TINY.build(compute).apply({"params": encoder.params}, imu)["emb"])

    slope = jax.jit(jax.grad(total))(imu)
    assert np.isfinite(slope).all()
    assert np.abs(slope[1:]).max() > 0
    plain = float(total(imu))
    assert float(total(imu, ComputeConfig(remat=True))) == pytest.approx(plain, rel=1e-5)
    assert float(total(imu, ComputeConfig("bfloat16"))) == pytest.approx(plain, rel=0.05)


@pytest.mark.slow
def test_batch_statistics_on_a_mesh(encoder):
    params, imu = encoder.params, jnp.asarray(windows(4))

    @functools.cache
    def slopes(devices):
        def loss(params, imu):
            def local(params, imu):
                outputs, _ = TINY.build().apply(
                    {"params": mark_varying(params, imu)}, imu, True, "data", mutable=["running"]
                )
                return jax.lax.psum(jnp.sum(outputs["emb"] ** 2), "data")

            specs = PartitionSpec(), PartitionSpec("data")
            return jax.shard_map(
                local, mesh=make_mesh(devices), in_specs=specs, out_specs=PartitionSpec()
            )(params, imu)

        return jax.jit(jax.value_and_grad(loss))(params, imu)

    (value, whole), (again, parts) = slopes(1), slopes(2)
    assert float(value) == pytest.approx(float(again), rel=1e-5)
    whole, parts = split(whole)[0], split(parts)[0]
    largest = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(whole))
    assert largest > 0
    for mine, theirs in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4 * largest)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"form": "app"}, "spectrogram.form is 'app'"),
        ({"depth": 34}, "depth is 34"),
        ({"channels": 0}, "encoder.channels is 0"),
        ({"head_layers": 3}, "head_layers is 3"),
    ],
)
def test_wrong_configs(values, message):
    with pytest.raises(PrimusError, match=message):
        VisionConfig(**values).validate()


def test_short_windows_are_refused(encoder):
    with pytest.raises(PrimusError, match="windows of 31 samples; this encoder takes at least 32"):
        encoder.encode_windows(windows(1, 31))
