"""Numbers known at some times of a recording, one for each window."""

import numpy as np
import pytest
from support.recording_files import recording

from primus_jax.errors import PrimusError
from primus_jax.recordings.targets import window_means


def test_a_window_gets_the_mean_of_what_is_known_in_it():
    known = np.array([[0.0, 1.0], [4.99, 3.0], [12.0, 7.0], [10.0, 5.0]])
    means = window_means({"a": known, "b": np.empty((0, 2))}, np.array([0.0, 5.0, 10.0]), 5.0)
    assert means.dtype == np.float32
    np.testing.assert_array_equal(means, [[2, np.nan], [np.nan, np.nan], [6, np.nan]])


def test_the_time_of_a_border_belongs_to_the_later_window():
    begin = np.arange(10) * 0.1
    known = np.stack([begin, np.arange(10.0)], 1)
    np.testing.assert_array_equal(window_means({"a": known}, begin, 0.1)[:, 0], np.arange(10))


@pytest.mark.parametrize("known", [np.ones(3), np.ones((2, 3)), np.array([[0.0, np.nan]])])
def test_targets_are_finite_pairs(known):
    with pytest.raises(PrimusError, match=r"target 'a' .*expected finite \[known, 2\]"):
        recording("r", targets={"a": known})
