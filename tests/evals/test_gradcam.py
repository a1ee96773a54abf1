"""Grad-CAM where the answer is known: a class with a burst must light up at the burst."""

import jax.numpy as jnp
import numpy as np
import pytest

from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.gradcam import activation_maps, class_score, map_layer
from primus_jax.models.motif import MotifConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.models.vision.resnet import ResNet, standardise
from primus_jax.models.vision.spectrogram import spectrograms

TIME, WIDE = 256, 40
LOCAL = {
    "motion": MotionConfig(channels=8, multihead=False),
    "resnet1d": ResNet1DConfig(width1=8, width2=8, width3=16, multihead=False),
}


def windows(rng, count):
    """Noise about gravity; the odd windows have a burst, whose first sample is returned too."""
    imu = rng.normal(0, 0.3, (count, TIME, 6)).astype(np.float32)
    imu[:, :, 2] += 9.8
    start = rng.integers(0, TIME - WIDE, count)
    burst = 8 * np.sin(np.pi / 2 * np.arange(WIDE)) * np.hanning(WIDE)
    for k in range(1, count, 2):
        imu[k, start[k] : start[k] + WIDE, 0] += burst
    return imu, start


def burst_score(encoder, imu):
    """The direction between the means of both classes, in standardised embeddings."""
    embedding = encoder.encode_windows(imu)
    mean, deviation = embedding.mean(0), embedding.std(0) + 1e-3
    x = (embedding - mean) / deviation
    kernel = np.stack([x[::2].mean(0), x[1::2].mean(0)], 1)
    return class_score(kernel, mean, deviation, 1)


@pytest.mark.parametrize("kind", ["motion", pytest.param("resnet1d", marks=pytest.mark.slow)])
def test_the_map_lights_up_at_the_instant_that_makes_the_class(kind):
    rng = np.random.default_rng(0)
    encoder = Encoder.random(LOCAL[kind], 0, 100.0, TIME / 100)
    score = burst_score(encoder, windows(rng, 128)[0])
    tested, start = windows(rng, 64)
    over_time = activation_maps(encoder, tested, "emb", score)[1::2]
    start = start[1::2]
    assert over_time.max() == 1
    assert over_time.min() >= 0
    steps = over_time.shape[1]
    brightest = (over_time.argmax(1) + 0.5) / steps * TIME
    off = np.abs(brightest - (start + WIDE / 2))
    # Half a burst, and one step of the map on either side.
    assert np.median(off) < WIDE / 2 + TIME / steps
    chance = np.abs(brightest[:, None] - (start + WIDE / 2)[None]).mean()
    assert off.mean() < 0.6 * chance


@pytest.mark.slow
def test_the_map_of_an_image_is_that_of_the_last_block_by_its_channels():
    """Behind a mean over the map a linear score has a closed form: the map times the direction."""
    config = VisionConfig(channels=4, nfft=32, overlap=24, form="clean")
    encoder = Encoder.random(config, 1, 100.0, TIME / 100)
    imu, _ = windows(np.random.default_rng(1), 4)
    images = standardise(spectrograms(jnp.asarray(imu), config.spectrogram))
    last = ResNet(config.resnet).apply({"params": encoder.params["vision"]}, images)["map"]
    direction = np.random.default_rng(2).normal(size=last.shape[-1]).astype(np.float32)
    zero, one = np.zeros_like(direction), np.ones_like(direction)
    score = class_score(np.stack([-direction, direction], 1), zero, 100 * one, 1)
    expected = np.maximum(np.asarray(last) @ direction, 0)
    expected /= expected.max((1, 2), keepdims=True)
    found = activation_maps(encoder, imu, "emb", score)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_an_encoder_without_a_map_is_refused():
    with pytest.raises(PrimusError, match="'motif' has no map over time"):
        map_layer(MotifConfig())
