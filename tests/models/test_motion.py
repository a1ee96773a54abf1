"""The motion trunk: what it measures, what it does not see, and the same network in PyTorch."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from primus_jax.config_file import read_config
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.hub.torch_names import from_torch_names, to_torch_names
from primus_jax.models.motion import (
    BANDS,
    EDGES,
    MotionConfig,
    band_powers,
    extremes,
    level_and_spread,
    orientation_free,
)

CONFIG = MotionConfig(channels=8, head_layers=2, blocks=2)


@pytest.fixture(scope="module")
def encoder():
    return Encoder.random(CONFIG, seed=3, rate_hz=50, window_seconds=3)


def windows(count, time, seed=0):
    rng = np.random.default_rng(seed)
    imu = rng.normal(size=(count, time, 6)).cumsum(1) / 8
    imu[..., :3] += rng.normal(size=(count, 1, 3)) * 6
    return imu.astype(np.float32)


def test_orientation_free_channels_do_not_see_a_turn_of_the_sensor():
    imu = windows(4, 100)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turned = np.concatenate([imu[..., :3] @ turn.T, imu[..., 3:] @ turn.T], -1).astype(np.float32)
    free = jax.jit(orientation_free)
    np.testing.assert_allclose(free(turned), free(imu), atol=3e-5)
    assert np.abs(np.asarray(free(imu)) - np.asarray(free(1.1 * imu))).max() > 0.1


def test_moments_are_numpys():
    x = windows(3, 50)
    expected = np.concatenate([x.mean(1), np.sqrt(x.var(1) + 1e-5)], -1)
    np.testing.assert_allclose(jax.jit(level_and_spread)(x), expected, rtol=2e-5, atol=1e-5)
    expected = np.concatenate([x.max(1), x.min(1)], -1)
    np.testing.assert_array_equal(jax.jit(extremes)(x), expected)


@pytest.mark.parametrize("time", [150, 250])
def test_a_sine_has_its_power_in_its_band_at_any_phase(time):
    steps = np.arange(time)
    for band in range(4, BANDS):
        cycles = np.sqrt(EDGES[band] * EDGES[band + 1])
        phases = np.array([0.0, 1.0, 2.0])
        x = np.sin(2 * np.pi * cycles * steps[:, None] + phases).astype(np.float32)[None]
        power = np.asarray(jax.jit(band_powers)(x)).reshape(3, BANDS)
        np.testing.assert_array_equal(power.argmax(1), band)


def test_weights_survive_pytorch_names_bit_for_bit_and_stay_small(encoder):
    tensors = to_torch_names(encoder.params, CONFIG)
    again, config = from_torch_names(tensors, CONFIG)
    assert config == CONFIG
    jax.tree.map(np.testing.assert_array_equal, again, jax.device_get(encoder.params))
    assert tensors["trunk.stem.weight"].shape == (8, 12, 7)
    full = MotionConfig(head_layers=2, blocks=2)
    shapes = jax.eval_shape(full.build().init, jax.random.key(0), jnp.zeros((1, 150, 6)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) <= 3_000_000


def test_an_exported_folder_gives_the_same_embedding(encoder, tmp_path):
    encoder.save(tmp_path / "encoder")
    from primus_jax import load_encoder

    imu = windows(5, 150)
    again = load_encoder(tmp_path / "encoder")
    assert again.config == CONFIG
    np.testing.assert_array_equal(again.encode_windows(imu), encoder.encode_windows(imu))


def test_a_still_window_has_a_finite_gradient(encoder):
    imu = jnp.zeros((2, 64, 6), jnp.float32)

    def total(imu):
        return CONFIG.build().apply({"params": encoder.params}, imu)["ssl"].sum()

    value, grad = jax.jit(jax.value_and_grad(total))(imu)
    assert np.isfinite(value)
    assert np.isfinite(grad).all()


def test_choices_of_the_released_encoder_are_refused():
    file = str(Path(__file__).parents[1] / "support" / "tiny_config.py")
    words = ["--config.encoder.kind=motion", "--config.encoder.channels=8"]
    assert read_config(file, words).encoder == MotionConfig(channels=8)
    for word in ("readout=pool", "embed_dim=512"):
        with pytest.raises(PrimusError, match=word.split("=")[0]):
            read_config(file, [*words, f"--config.encoder.{word}"])
    with pytest.raises(PrimusError, match="expected one of"):
        read_config(file, ["--config.encoder.kind=resnet"])
    with pytest.raises(PrimusError, match="multiple of 4"):
        MotionConfig(channels=6).validate()
    assert MotionConfig(channels=8).embed_dim == 272
    with pytest.raises(PrimusError, match="at least 32"):
        Encoder.random(CONFIG, 0, 50, 1).encode_windows(windows(1, 31))


def test_a_recording_is_no_window(encoder):
    """The trunk's Fourier transform is a matrix, time by time."""
    assert encoder.encode(np.resize(windows(1, 150), (1500, 6)), 50).shape == (1, CONFIG.embed_dim)
    message = r"30,000 samples \(600 s\).*made for 3 s.*at most 10 times.*1,500.*embed_recording"
    with pytest.raises(PrimusError, match=message):
        encoder.encode(np.resize(windows(1, 150), (30000, 6)), 50)


@pytest.mark.parametrize(
    "time", [97, *(pytest.param(n, marks=pytest.mark.slow) for n in (150, 151))]
)
def test_the_same_network_in_pytorch(encoder, time):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    tensors = {k: torch.tensor(v) for k, v in to_torch_names(encoder.params, CONFIG).items()}
    imu = windows(6, time, seed=time)

    def linear(x, name):
        return functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def conv(x, name, stride=1):
        weight = tensors[f"trunk.{name}.weight"]
        bias = tensors[f"trunk.{name}.bias"]
        return functional.conv1d(x, weight, bias, stride, padding=weight.shape[-1] // 2)

    def rms(x, dim):
        return x / torch.sqrt((x**2).mean(dim, keepdim=True) + 1e-3)

    def length(x):
        return torch.sqrt((x**2).sum(-1, keepdim=True) + 1e-6)

    def two(x):  # [batch, channels, time]
        return torch.cat([x.mean(-1), torch.sqrt(x.var(-1, unbiased=False) + 1e-5)], -1)

    def ends(x):
        return torch.cat([x.amax(-1), x.amin(-1)], -1)

    x = torch.tensor(imu) / torch.tensor([9.80665] * 3 + [2.0] * 3)
    up = x[..., :3].mean(1, keepdim=True)
    up = up / length(up)
    parts = [x]
    for vector in (x[..., :3], x[..., 3:]):
        along = (vector * up).sum(-1, keepdim=True)
        parts += [length(vector), along, length(vector - along * up)]
    x = torch.cat(parts, -1).transpose(1, 2)
    window = torch.hann_window(time, periodic=False, dtype=torch.float64)
    window = (window / torch.linalg.norm(window)).float()
    spectrum = (
        torch.fft.rfft((x - x.mean(-1, keepdim=True)) * window).abs()[..., 1 : time // 2] ** 2
    )
    cycles = np.arange(1, time // 2) / time
    powers = []
    for low, high in itertools.pairwise(EDGES):
        inside = np.flatnonzero((cycles >= low) & (cycles < high))
        if not len(inside):
            inside = [int(np.argmin(np.abs(np.log(cycles / np.sqrt(low * high)))))]
        powers.append(spectrum[..., inside].mean(-1))
    bands = (torch.log(torch.stack(powers, -1) + 1e-4) / 4).flatten(1)
    features, last = [two(x), ends(x), bands], []
    h = conv(x, "stem", 2)
    for stage in range(3):
        if stage:
            h = conv(functional.gelu(h), f"down{stage}", 2)
        for block in range(CONFIG.blocks):
            name = f"block{stage}{block}"
            y = rms(h, 1) * tensors[f"trunk.{name}_norm.weight"][:, None]
            h = h + conv(functional.gelu(conv(y, f"{name}_conv0")), f"{name}_conv1")
        features.append(two(functional.gelu(h)))
        last.append(ends(functional.gelu(h)))
    feature = rms(torch.cat(features + last, -1) * tensors["trunk.feature_norm.weight"], -1)
    shared = linear(functional.gelu(linear(feature, "projector.hidden")), "projector.out")
    shared = torch.cat([shared + linear(feature, "projector.skip"), feature[:, :192]], -1)
    mmcl = linear(functional.gelu(linear(shared, "mmcl_head.0")), "mmcl_head.2")
    np.testing.assert_allclose(encoder.encode_windows(imu), feature[:, :272].numpy(), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_windows(imu, "mmcl"), mmcl.numpy(), atol=1e-5)
