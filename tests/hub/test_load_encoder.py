"""load_encoder and Encoder: real and self-made weights, units, rates, window lengths."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file
from support.tiny_config import PRIMUS

from primus_jax.encoder import Encoder, load_encoder
from primus_jax.errors import PrimusError
from primus_jax.hub.loading import AssumptionWarning
from primus_jax.hub.torch_names import to_torch_names
from primus_jax.models.released import ReleasedConfig
from primus_jax.window import GRAVITY

IMU2CLIP = ReleasedConfig(third_pool="max", multihead=False)


@pytest.fixture(scope="module")
def encoder():
    return Encoder.random(PRIMUS, seed=3, rate_hz=50, window_seconds=5)


def walk(samples, rate_hz, n=1):
    """Smooth movement below 3 Hz about gravity, `[n, samples, 6]`."""
    t = np.arange(samples)[:, None] / rate_hz
    rows = [np.sin(2 * np.pi * (0.5 + 0.4 * np.arange(6)) * t + i) for i in range(n)]
    return np.array(rows) * [3, 3, 3, 1, 1, 1] + [0, GRAVITY, 0, 0, 0, 0]


def equal_trees(a, b):
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@pytest.mark.parametrize(
    ("name", "first_four", "norm"),
    [
        ("_t_ie_mw2_w_2.5", [-0.03568658, 0.36920113, -0.08790813, -0.22183994], 9.36159528),
        ("_v_ie_mw2_w_5.0", [0.02501338, -0.12849888, -0.02570776, -0.03960221], 6.75963310),
    ],
)
def test_released_imu2clip_checkpoints(shared_data, name, first_four, norm):
    [path] = (shared_data / "imu2clip").glob(f"*{name}_master_imu_encoder.pt")
    with pytest.warns(AssumptionWarning, match="taken as 5 s at 200 Hz"):
        encoder = load_encoder(path)
    assert encoder.config == IMU2CLIP
    assert (encoder.rate_hz, encoder.window_seconds) == (200, 5)
    assert sum(leaf.size for leaf in jax.tree.leaves(encoder.params)) == 850_892
    t, c = np.arange(1000)[:, None], np.arange(6)
    window = np.sin(0.01 * (c + 1) * t + 0.5 * c) + 0.1 * c
    embedding = encoder.encode_windows(window[None])
    assert embedding.shape == (1, 512)
    np.testing.assert_allclose(embedding[0, :4], first_four, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embedding), norm, rtol=1e-6)


def test_real_windows_at_their_own_rate(shared_data, encoder):
    with np.load(shared_data / "usc_had.npz", allow_pickle=False) as file:
        pack = dict(file)
    signal = np.ascontiguousarray(pack["signal"][:2000])
    signal = signal * np.repeat([pack["acc_scale"], pack["gyro_scale"]], 3)
    windows = signal.reshape(4, 500, 6)
    embeddings = encoder.encode(windows, rate_hz=float(pack["rate_hz"]))
    assert embeddings.shape == (4, 16)
    assert np.isfinite(embeddings).all()
    assert np.ptp(embeddings, 0).max() > 1e-3


def test_units_rate_and_number_of_windows():
    """With fixed scaling: group normalisation would hide a wrong unit."""
    config = ReleasedConfig(channels=8, embed_dim=16, input_norm="fixed")
    encoder = Encoder.random(config, seed=3, rate_hz=50, window_seconds=5)
    signal = walk(250, 50)
    plain = encoder.encode(signal, rate_hz=50)
    assert plain.dtype == np.float32
    np.testing.assert_array_equal(encoder.encode(signal[0], rate_hz=50), plain)
    other = signal / np.repeat([GRAVITY, np.pi / 180], 3)
    np.testing.assert_allclose(encoder.encode(other, 50, "g", "deg/s"), plain, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(walk(1000, 200), 200), plain, atol=2e-3)
    assert np.abs(encoder.encode(walk(250, 50) * 0.5, 50) - plain).max() > 2e-3
    assert encoder.encode(walk(400, 50), rate_hz=50).shape == (1, 16)


def test_batching_loses_and_mixes_no_window(encoder):
    windows = walk(130, 50, n=11).astype(np.float32)
    alone = np.concatenate([encoder.encode_windows(w[None]) for w in windows])
    np.testing.assert_allclose(encoder.encode_windows(windows), alone, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_windows(windows, batch_size=4), alone, atol=1e-6)
    assert encoder.encode_windows(windows[:0]).shape == (0, 16)


def test_heads(encoder):
    signal = walk(250, 50)
    emb, ssl, mmcl = (encoder.encode(signal, 50, head=head) for head in ("emb", "ssl", "mmcl"))
    layer = encoder.params["mmcl_head"]
    np.testing.assert_allclose(emb @ layer["kernel"] + layer["bias"], mmcl, atol=1e-6)
    assert np.abs(ssl - mmcl).max() > 1e-2
    np.testing.assert_array_equal(encoder.encode(signal, 50), emb)
    with pytest.raises(PrimusError, match="head 'video'; this encoder has"):
        encoder.encode(signal, 50, head="video")


@pytest.mark.parametrize(
    ("signal", "options", "message"),
    [
        (walk(250, 50)[..., :4], {}, "shape"),
        (walk(250, 50)[0, 0], {}, "shape"),
        (walk(250, 50)[None], {}, r"expected \[n, time, 6\]"),
        (walk(250, 50) * np.nan, {}, "finite"),
        (walk(250, 50) * 1000, {}, "Check the unit"),
        (walk(250, 50), {"acc_unit": "kg"}, "accelerometer unit 'kg'"),
        (walk(250, 50), {"rate_hz": 0}, "rate 0 Hz"),
        (walk(122, 50), {}, "windows of 122 samples; this encoder takes at least 123"),
        ([["a"] * 6] * 250, {}, "numbers"),
    ],
)
def test_wrong_signals(encoder, signal, options, message):
    with pytest.raises(PrimusError, match=message):
        encoder.encode(signal, **({"rate_hz": 50} | options))


def test_random_is_a_function_of_the_seed(encoder):
    again = Encoder.random(PRIMUS, seed=3, rate_hz=50, window_seconds=5)
    other = Encoder.random(PRIMUS, seed=4, rate_hz=50, window_seconds=5)
    assert equal_trees(again.params, encoder.params)
    assert not equal_trees(other.params, encoder.params)
    with pytest.raises(PrimusError, match="windows of 100 samples"):
        Encoder.random(PRIMUS, seed=3, rate_hz=50, window_seconds=2)


@pytest.mark.parametrize(
    "config",
    [
        PRIMUS,
        ReleasedConfig(input_norm="fixed", activation="gelu", readout="pool", embed_dim=16),
        ReleasedConfig(readout="gru_time", third_pool="max", multihead=False, embed_dim=16),
    ],
    ids=lambda config: config.readout,
)
def test_saved_encoder_is_the_same(config, tmp_path):
    encoder = Encoder.random(config, seed=0, rate_hz=40.5, window_seconds=4)
    encoder.head = config.heads[-1]
    encoder.save(tmp_path / "out", {"steps": 12})
    signal = walk(300, 40.5, n=2)
    # The file alone must do too: names and shapes do not tell these architectures apart.
    for path in (tmp_path / "out", tmp_path / "out" / "model.safetensors"):
        loaded = load_encoder(path)
        assert loaded.config == config
        assert (loaded.rate_hz, loaded.window_seconds) == (40.5, 4.0)
        assert loaded.head == config.heads[-1]
        assert loaded.metadata == {"random_seed": 0, "steps": 12}
        assert equal_trees(loaded.params, encoder.params)
        np.testing.assert_array_equal(loaded.encode(signal, 40.5), encoder.encode(signal, 40.5))


def test_foreign_safetensors_take_the_released_rate_and_window(encoder, tmp_path):
    save_file(to_torch_names(encoder.params, PRIMUS), tmp_path / "primus.safetensors")
    with pytest.warns(AssumptionWarning, match=r"5 s at 50 Hz.*readout gru_channels.*--window"):
        loaded = load_encoder(tmp_path / "primus.safetensors")
    assert loaded.config == PRIMUS
    assert (loaded.rate_hz, loaded.window_seconds) == (50, 5)
    assert equal_trees(loaded.params, encoder.params)
    loaded = load_encoder(tmp_path / "primus.safetensors", rate_hz=100, window_seconds=2)
    assert (loaded.rate_hz, loaded.window_seconds) == (100, 2)
    over_time = ReleasedConfig(channels=8, embed_dim=16, readout="gru_time")
    with pytest.raises(
        PrimusError, match=r"primus.safetensors: .*weight_ih_l0 \[48, 32\] instead of"
    ):
        load_encoder(tmp_path / "primus.safetensors", config=over_time)


def test_paths_that_are_no_encoder(encoder, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    for name, message in (
        ("nothing", "does not exist"),
        ("model.onnx", "expected an export folder"),
        (".", r"has no config.json"),
    ):
        with pytest.raises(PrimusError, match=message):
            load_encoder(tmp_path / name)
    encoder.save(tmp_path / "out")
    with pytest.raises(PrimusError, match="cannot be loaded as"):
        load_encoder(tmp_path / "out", config=IMU2CLIP)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"window_seconds": 1}, "1 s at 50 Hz: windows of 50 samples; .* at least 123"),
        ({"rate_hz": 1}, "5 s at 1 Hz: windows of 5 samples"),
        ({"window_seconds": 1e5}, "5,000,000 samples; expected at most 100,000"),
        ({"rate_hz": True}, "rate_hz is True; expected a positive number"),
        ({"rate_hz": 1e-300}, "windows of 0 samples"),
    ],
)
def test_windows_that_the_encoder_cannot_take(stated, message, encoder, tmp_path):
    encoder.save(tmp_path / "out")
    for path in (tmp_path / "out", tmp_path / "out" / "model.safetensors"):
        with pytest.raises(PrimusError, match=message):
            load_encoder(path, **stated)
