"""Windows to recordings and people: the mean of what was predicted for each."""

from typing import NamedTuple

import numpy as np


class Grouped(NamedTuple):
    """`names` `[groups]`, sorted; `first` int `[groups]`, the first row of each; `values`
    `[groups, ...]`, means over its rows."""

    names: np.ndarray
    first: np.ndarray
    values: np.ndarray


def mean_by_group(values: np.ndarray, group: np.ndarray) -> Grouped:
    """Mean of the rows of each group.

    Of class probabilities `[n, classes]` these means are probabilities again, and their argmax is
    the class of the group (a recording, or a person doing one activity). RelCon's tables call the
    levels subsequence and workout; how the paper pools over a workout is not published.

    Args:
        values: float `[n, ...]`.
        group: `[n]`, any kind that sorts.
    """
    names, first, member = np.unique(group, return_index=True, return_inverse=True)
    total = np.zeros((len(names), *values.shape[1:]), np.float64)
    np.add.at(total, member, values)
    count = np.bincount(member, minlength=len(names)).astype(np.float64)
    return Grouped(names, first, total / count.reshape(-1, *[1] * (values.ndim - 1)))
