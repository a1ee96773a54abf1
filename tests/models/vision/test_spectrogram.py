"""Images of windows: the published programs' numbers, silence, gradients, and words for errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.img2imu_golden import golden

from primus_jax.errors import PrimusError
from primus_jax.models.vision.spectrogram import (
    SpectrogramConfig,
    grey,
    one_sided,
    power_spectra,
    spectrograms,
)

APP = {"nfft": 128, "overlap": 116}
FORMS = [
    SpectrogramConfig(nfft=32, overlap=24),
    SpectrogramConfig("released", **APP),
    SpectrogramConfig("clean", nfft=32, overlap=16),
    SpectrogramConfig("clean", nfft=32, overlap=16, joint=True),
]


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def dtype(request):
    with jax.enable_x64(request.param == np.float64):
        yield request.param


def draw(signal, config, dtype):
    """The image before and after it is resized, of one window."""
    batch = jnp.asarray(signal[None], dtype)
    return np.asarray(grey(batch, config))[0], np.asarray(spectrograms(batch, config))[0]


def moving(count, time, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    imu = rng.normal(size=(count, time, channels)).cumsum(1) / 4 + rng.normal(size=channels) * 6
    return imu.astype(np.float32)


@pytest.mark.parametrize(
    "case",
    ["500_128_120", *(pytest.param(x, marks=pytest.mark.slow) for x in ("250_64_56", "100_32_30"))],
)
def test_paper_is_matplotlibs(case, dtype):
    theirs = golden(f"spectrogram.paper/{case}")
    config = SpectrogramConfig("paper", int(theirs["opt/nfft"]), int(theirs["opt/noverlap"]))
    image, resized = draw(theirs["in/signal"], config, dtype)
    tolerance = 1e-6 if dtype == np.float64 else 5e-5
    np.testing.assert_allclose(image.transpose(2, 0, 1), theirs["out/image"], atol=tolerance)
    if "out/image_96x128" in theirs:
        theirs96 = theirs["out/image_96x128"]
        np.testing.assert_allclose(resized.transpose(2, 0, 1), theirs96, atol=tolerance)
    power = power_spectra(jnp.asarray(theirs["in/signal"][None], dtype), config.nfft, config.hop)
    density = np.asarray(power)[0] * one_sided(config.nfft) / theirs["opt/rate_hz"]
    rtol = 1e-9 if dtype == np.float64 else 2e-3
    np.testing.assert_allclose(density.transpose(2, 0, 1), theirs["out/psd"], rtol=rtol)


def test_paper_is_what_matplotlib_draws(dtype):
    from matplotlib import mlab

    imu = moving(1, 200)[0]
    config = SpectrogramConfig(nfft=64, overlap=60)
    image, _ = draw(imu, config, dtype)
    for axis in range(3):
        psd, _, _ = mlab.specgram(imu[:, axis].astype(np.float64), 64, 50.0, noverlap=60)
        level = 10 * np.log10(psd)[::-1]
        level = (level - level.min()) / np.ptp(level)
        np.testing.assert_allclose(image[..., axis], level, atol=5e-6)


@pytest.mark.parametrize(
    "case", ["128", *(pytest.param(x, marks=pytest.mark.slow) for x in ("600", "256"))]
)
def test_released_is_the_apps(case, dtype):
    theirs = golden(f"spectrogram.released/{case}")
    image, resized = draw(theirs["in/signal"], SpectrogramConfig("released", **APP), dtype)
    for ours, app in ((image, theirs["out/image"]), (resized, theirs["out/image_96x128"])):
        levels = np.abs(ours * 255 - app)
        assert levels.max() < 1.001
        assert (levels > 0.5).mean() < (1e-4 if dtype == np.float64 else 0.01)
    assert not image[0].any()


@pytest.mark.parametrize(
    "case",
    ["128", "silent_axis", *(pytest.param(x, marks=pytest.mark.slow) for x in ("600", "256"))],
)
def test_clean_has_the_lowest_frequency_and_no_nan(case, dtype):
    theirs = golden(f"spectrogram.clean/{case}")
    source = "clean" if case == "silent_axis" else "released"
    signal = golden(f"spectrogram.{source}/{case}")["in/signal"]
    image, resized = draw(signal, SpectrogramConfig("clean", **APP), dtype)
    tolerance = 1e-6 if dtype == np.float64 else 5e-5
    for ours, expected in ((image, "image"), (resized, "image_96x128")):
        ours = ours.transpose(2, 0, 1)
        np.testing.assert_allclose(ours, theirs[f"out/{expected}"], atol=tolerance)


def levels_of_the_app(signal):
    """Logarithms of power `[65, frames, 3]` under a Hann window of 128, every 12 samples."""
    starts = range(0, len(signal) - 127, 12)
    frames = np.stack([signal[start : start + 128] for start in starts], 1)
    spectra = np.fft.rfft(np.hanning(128)[:, None, None] * frames, axis=0)
    return np.log10(np.abs(spectra) ** 2)


def test_released_and_clean_are_what_numpy_computes():
    with jax.enable_x64(True):
        signal = moving(1, 300)[0].astype(np.float64)
        levels = levels_of_the_app(signal)
        stretched = levels - levels.min((0, 1))
        stretched /= stretched.max((0, 1))
        image, _ = draw(signal, SpectrogramConfig("clean", **APP), np.float64)
        np.testing.assert_allclose(image, stretched[::-1], atol=1e-9)
        joint, _ = draw(signal, SpectrogramConfig("clean", **APP, joint=True), np.float64)
        together = (levels - levels.min()) / np.ptp(levels)
        np.testing.assert_allclose(joint, together[::-1], atol=1e-9)
        image, resized = draw(signal, SpectrogramConfig("released", **APP), np.float64)
        app = np.floor(0.99 * np.floor(stretched * 255 + 0.5) + 0.5)
        app[0] = 0
        app = np.roll(app[::-1], 1, 0)
        np.testing.assert_allclose(image * 255, app, atol=1e-9)
        centre = lambda n, old: (2 * np.arange(n) + 1) * old // (2 * n)  # noqa: E731
        rows, columns = centre(96, 65), centre(128, app.shape[1])
        np.testing.assert_allclose(resized * 255, app[rows][:, columns], atol=1e-9)


@pytest.mark.parametrize("config", FORMS, ids=lambda c: c.form + ("_joint" if c.joint else ""))
def test_silence_is_black_or_the_apps_nan(config):
    imu = moving(3, 160)
    imu[0] = 0
    imu[1, :, 1] = 0
    imu[2, :, 2] = 9.81
    images, pull = jax.vjp(lambda x: spectrograms(x, config), imu)
    (slope,) = pull(jnp.ones_like(images))
    images = np.asarray(images)
    assert images.shape == (3, 96, 128, 3)
    if config.form == "released":
        assert np.isnan(images[0][40:]).all()
        assert np.isnan(images[1][40:, :, 1]).all()
        assert np.isfinite(images[1][..., [0, 2]]).all()
        return
    assert np.isfinite(images).all()
    assert np.isfinite(slope).all()
    assert not images[0].any()
    assert not images[1][..., 1].any()
    assert 0 <= images.min() < images.max() <= 1


def test_silence_is_black_however_many_frames_there_are():
    """Equal powers once had unequal logarithms, where frames do not fill a vector register."""
    imu = np.zeros((1, 250, 3), np.float32)
    imu[..., 2] = 9.81
    assert not np.asarray(spectrograms(imu, SpectrogramConfig(nfft=64, overlap=56)))[..., :2].any()


@pytest.mark.parametrize("config", FORMS, ids=lambda c: c.form + ("_joint" if c.joint else ""))
def test_gradients_are_slopes(config):
    imu = moving(2, 160, seed=1)
    weights = np.random.default_rng(2).normal(size=(2, 96, 128, 3)).astype(np.float32)
    with jax.enable_x64(True):
        imu, weights = jnp.asarray(imu, np.float64), jnp.asarray(weights, np.float64)
        value = lambda x: jnp.sum(weights * spectrograms(x, config))  # noqa: E731
        slope = jax.grad(value)(imu)
        step = 1e-6 * jnp.cos(jnp.arange(imu.size)).reshape(imu.shape)
        found = (value(imu + step) - value(imu - step)) / 2
        expected = jnp.sum(slope * step)
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0
    if config.form != "released":
        assert float(found) == pytest.approx(float(expected), rel=1e-4)


def test_a_tone_is_bright_in_its_row_and_colour():
    time = np.arange(250)
    imu = np.random.default_rng(0).normal(size=(1, 250, 3)).astype(np.float32) * 1e-3
    imu[0, :, 1] += np.sin(2 * np.pi * 0.125 * time)
    config = SpectrogramConfig("clean", nfft=64, overlap=48, joint=True)
    image = np.asarray(spectrograms(imu, config))[0]
    row, _, channel = np.unravel_index(image.argmax(), image.shape)
    # A quarter of the way up from rest (bottom) to half a cycle in a sample (top).
    assert channel == 1
    assert abs(row - 0.75 * 96) < 2
    alone = np.asarray(spectrograms(imu, SpectrogramConfig("clean", nfft=64, overlap=48)))[0]
    assert image[..., 0].max() < 0.5 < alone[..., 0].max()


def test_the_gyroscope_is_an_image_or_channels():
    imu = moving(2, 160, 6)
    draw_as = lambda x, gyroscope: np.asarray(  # noqa: E731
        spectrograms(x, SpectrogramConfig(nfft=64, overlap=56, gyroscope=gyroscope))
    )
    first, second = draw_as(imu[..., :3], "none"), draw_as(imu[..., 3:], "none")
    np.testing.assert_allclose(draw_as(imu, "none"), first, atol=1e-6)
    channels = np.concatenate([first, second], -1)
    np.testing.assert_allclose(draw_as(imu, "channels"), channels, atol=1e-6)
    np.testing.assert_allclose(draw_as(imu, "image"), np.stack([first, second], 1), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "values", "message"),
    [
        ((1, 127, 3), {}, "127 samples are shorter than a frame of the spectrogram .128."),
        ((1, 200, 4), {}, r"shape \(1, 200, 4\); expected \[batch, time, 3 or 6\]"),
        ((1, 200, 3), {"gyroscope": "image"}, r"expected \[batch, time, 6\]"),
        ((1, 200, 3), {"form": "app"}, "spectrogram.form is 'app'; expected one of"),
        ((1, 200, 3), {"nfft": 100}, "spectrogram.nfft is 100"),
        ((1, 200, 3), {"overlap": 128}, "spectrogram.overlap is 128"),
        ((1, 200, 3), {"form": "released"}, "'released' has 128 and 116"),
        ((1, 200, 3), {"joint": True}, "spectrogram.joint is True with form 'paper'"),
    ],
)
def test_wrong_words(shape, values, message):
    with pytest.raises(PrimusError, match=message):
        spectrograms(jnp.zeros(shape), SpectrogramConfig(**values))
