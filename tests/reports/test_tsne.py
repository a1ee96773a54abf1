"""t-SNE keeps neighbours together and does not depend on chance."""

import numpy as np

from primus_jax.reports.tsne import tsne


def test_clusters_stay_clusters():
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(5), 40)
    x = 4 * rng.normal(size=(5, 20))[label] + rng.normal(size=(200, 20))
    place = tsne(x)
    assert place.shape == (200, 2)
    distance = np.square(place[:, None] - place[None]).sum(-1)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, :10]
    assert (label[nearest] == label[:, None]).mean() > 0.98
    np.testing.assert_array_equal(place, tsne(x))


def test_few_or_equal_points_are_finite():
    for x in (np.zeros((12, 3)), np.random.default_rng(0).normal(size=(4, 1))):
        assert np.isfinite(tsne(x)).all()
