"""The statistics: their number, what they see, and that nothing makes them fail."""

import numpy as np

from primus_jax.evals.hand_features import BANDS_HZ, COUNT, HandFeatures, statistics


def windows(n: int = 20, samples: int = 200, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    imu = rng.normal(size=(n, samples, 6)).astype(np.float32)
    imu[..., 2] += 9.81
    return imu


def test_batches_do_not_matter():
    imu = windows(21)
    hand = HandFeatures(50.0)
    whole = hand.encode_windows(imu)
    assert whole.shape == (21, COUNT)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(hand.encode_windows(imu, batch_size=8), whole, atol=1e-4)
    assert hand.encode_windows(imu[:0]).shape == (0, COUNT)


def test_level_spread_and_percentiles():
    imu = windows()
    x = np.asarray(statistics(imu, 50.0))
    np.testing.assert_allclose(x[:, :6], imu.mean(1), atol=1e-5)
    np.testing.assert_allclose(x[:, 6:12], np.log(imu.std(1) + 1e-3), atol=1e-5)
    size = np.stack([np.linalg.norm(imu[..., :3], axis=-1), np.linalg.norm(imu[..., 3:], axis=-1)])
    np.testing.assert_allclose(x[:, 12:14], size.mean(2).T, rtol=1e-5)
    expected = np.percentile(size, (10, 25, 50, 75, 90), axis=2).transpose(2, 0, 1).reshape(20, 10)
    np.testing.assert_allclose(x[:, 14:24], expected, rtol=1e-4)


def test_a_tone_is_in_its_band():
    time = np.arange(250) / 50
    for band, hertz in enumerate((0.6, 1.4, 2.8, 4.8, 8.0, 15.0)):
        assert BANDS_HZ[band] <= hertz
        imu = np.zeros((1, 250, 6), np.float32)
        imu[0, :, 2] = 9.81 + np.sin(2 * np.pi * hertz * time)
        x = np.asarray(statistics(imu, 50.0))[0]
        bands = x[30:42].reshape(6, 2)[:, 0]
        assert bands.argmax() == band
        assert abs(x[42] - hertz) <= 0.2  # the dominant frequency
        axes = x[44:56].reshape(4, 3)
        if band < 4:
            assert np.unravel_index(axes.argmax(), axes.shape) == (band, 2)


def test_still_and_zero_windows_are_finite():
    still = np.zeros((2, 100, 6), np.float32)
    still[0, :, 2] = 9.81
    assert np.isfinite(np.asarray(statistics(still, 50.0))).all()


def test_axes_that_move_together_correlate():
    imu = windows(1)
    imu[..., 1] = 2 * imu[..., 0]
    imu[..., 5] = -imu[..., 4]
    corr = np.asarray(statistics(imu, 50.0))[0, -6:]
    np.testing.assert_allclose(corr[[0, 5]], [1, -1], atol=1e-4)
