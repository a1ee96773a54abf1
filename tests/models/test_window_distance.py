"""Distances that nobody learns, against plain loops."""

import jax
import numpy as np
import pytest

from primus_jax.models.window_distance import BAND, dtw, plain_distances


def slow_dtw(first, second, band):
    """The recurrence as it is printed."""
    time = len(first)
    radius = int(np.ceil(band * time))
    best = np.full((time + 1, time + 1), np.inf)
    best[0, 0] = 0
    for i in range(time):
        for j in range(max(0, i - radius), min(time, i + radius + 1)):
            before = min(best[i, j], best[i, j + 1], best[i + 1, j])
            best[i + 1, j + 1] = np.square(first[i] - second[j]).sum() + before
    return best[time, time]


@pytest.fixture(scope="module")
def windows():
    draw = np.random.default_rng(0).normal(size=(14, 23, 3)).astype(np.float32)
    return draw[:4], draw[4:6], draw[6:].reshape(4, 2, 23, 3)


@pytest.mark.parametrize("kind", ["euclidean", "dtw"])
def test_every_pair_is_measured(windows, kind):
    anchors, everybody, own = windows
    found = jax.jit(lambda *x: plain_distances(kind, *x, pairs=3))(*windows)
    slow = (lambda x, y: np.square(x - y).sum()) if kind == "euclidean" else None
    slow = slow or (lambda x, y: slow_dtw(x, y, BAND))
    shared = [[slow(x, y) for y in everybody] for x in anchors]
    mine = [[slow(x, y) for y in some] for x, some in zip(anchors, own, strict=True)]
    np.testing.assert_allclose(found, np.concatenate([shared, mine], 1), rtol=1e-5)


def test_warping_forgives_a_delay_within_the_band_alone():
    wave = np.sin(np.arange(60) / 4)[:, None].astype(np.float32) ** 3
    late, later = np.roll(wave, 3, axis=0), np.roll(wave, 25, axis=0)
    assert dtw(wave, wave) == 0
    assert dtw(wave, late) < 0.3 * np.square(wave - late).sum()
    assert dtw(wave, later, 1.0) < dtw(wave, later)
