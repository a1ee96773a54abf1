"""Rows of a study's retrieval: their scores, how they are grouped, and their interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from primus_jax.study.study import RANDOM, Study

KS = (1, 10, 50)
SCORES = (*(f"recall_at_{k}" for k in KS), "mrr")
# A method, an encoder of it, a dataset, a direction and a pool, averaged over draws of the pool.
RetrievedRow = dict[str, Any]


def by_pool(rows: Sequence[RetrievedRow]) -> dict[tuple[str, int, str], list[RetrievedRow]]:
    """(dataset, pool size, target) -> its rows, both directions."""
    groups: dict[tuple[str, int, str], list[RetrievedRow]] = {}
    for row in rows:
        target = next(word for word in row["direction"].split("->") if word != "imu")
        groups.setdefault((row["dataset"], row["pool"], target), []).append(row)
    return groups


def table_methods(study: Study, rows: Sequence[RetrievedRow]) -> dict[str, tuple[str, ...]]:
    """Title of each table -> its methods, those of random initialisation last."""
    names = dict.fromkeys(row["method"] for row in rows)
    random = tuple(name for name in names if name.startswith(RANDOM))
    tables = study.tables or {"Retrieval": tuple(study.methods)}
    return {title: (*methods, *random) for title, methods in tables.items()}


def half_interval(values: np.ndarray) -> float | None:
    """Half of the 95 % interval of the mean of a few values, by Student's t; None for one."""
    count = len(values)
    if count < 2:
        return None
    return float(stdtrit(count - 1, 0.975) * values.std(ddof=1) / count**0.5)
