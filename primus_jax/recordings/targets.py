"""Numbers to predict, known at some times of a recording, become one number a window."""

from collections.abc import Mapping

import numpy as np


def window_means(
    targets: Mapping[str, np.ndarray], begin: np.ndarray, seconds: float
) -> np.ndarray:
    """The mean of the values that are known inside each window.

    A window holds the times from its beginning up to, and without, its end. A number that is known
    once a second and one that is known in every row are treated alike.

    Args:
        targets: by name, float `[known, 2]`: seconds after the first sample, in any order, and
            values.
        begin: float `[n]`, seconds after the first sample.
        seconds: length of a window.

    Returns:
        float32 `[n, names]`, NaN where a window holds no value.
    """
    means = np.full((len(begin), len(targets)), np.nan, np.float32)
    for column, known in enumerate(targets.values()):
        time, value = known[np.argsort(known[:, 0], kind="stable")].T
        # A time on the border belongs to one window, whatever the last digit of a sum is.
        first, last = (np.searchsorted(time + 1e-6, edge) for edge in (begin, begin + seconds))
        total = np.concatenate([[0.0], np.cumsum(value)])
        some = last > first
        means[some, column] = (total[last] - total[first])[some] / (last - first)[some]
    return means
