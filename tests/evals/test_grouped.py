"""Means over recordings and people."""

import numpy as np

from primus_jax.evals.grouped import mean_by_group


def test_probabilities_of_windows_become_those_of_recordings():
    probability = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.1, 0.9]])
    recording = np.array(["b", "b", "a", "a"])
    found = mean_by_group(probability, recording)
    assert found.names.tolist() == ["a", "b"]
    assert found.first.tolist() == [2, 0]
    np.testing.assert_allclose(found.values, [[0.15, 0.85], [0.65, 0.35]])
    np.testing.assert_allclose(found.values.sum(1), 1)
    # the windows disagree, their recording is told
    assert found.values.argmax(1).tolist() == [1, 0]


def test_numbers_have_one_mean_a_group():
    np.testing.assert_allclose(mean_by_group(np.arange(4.0), np.zeros(4)).values, [1.5])
