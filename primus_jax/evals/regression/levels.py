"""Predictions of windows to scores by window, by recording and by person."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from primus_jax.evals.features import Features
from primus_jax.evals.fewshot.scores import standard_error
from primus_jax.evals.grouped import mean_by_group
from primus_jax.evals.regression.agreement import SCORES, intervals, pair_sums, scores
from primus_jax.evals.regression.protocol import Predictions

LEVELS = ("window", "recording", "person")


def level_pairs(
    features: Features, found: Predictions, seed: int, level: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and predicted numbers of what one seed tests, and whose they are.

    Args:
        features: of the whole dataset.
        found: predictions of its windows.
        seed: number of the seed, from 0.
        level: of `LEVELS`; truth and prediction are means over the windows of a recording or
            person that have a target.

    Returns:
        true and predicted float64 `[units]`, and the group of each, str `[units]`.
    """
    tested = np.isfinite(found.predicted[seed])
    rows = found.rows[tested]
    pairs = np.stack([found.true[tested], found.predicted[seed, tested]], 1)
    group = features.group[rows]
    if level != "window":
        units = mean_by_group(pairs, group if level == "person" else features.recording[rows])
        pairs, group = units.values, group[units.first]
    return pairs[:, 0], pairs[:, 1], group


def summarise(features: Features, found: Sequence[Predictions], level: str) -> dict[str, Any]:
    """Scores at one level, ready for JSON; None where a score is not defined.

    Scores are averaged over encoders (initialisations); `_se` is the standard error over seeds and
    `_interval` holds 95 % of a bootstrap over people.

    Args:
        features: of the whole dataset; its people and recordings are those of every encoder.
        found: of one encoder each.
        level: of `LEVELS`.
    """
    names = np.unique(features.group[found[0].rows])
    seeds = len(found[0].predicted)
    centre = found[0].true.mean()
    sums = []
    for one in found:
        for seed in range(seeds):
            true, predicted, group = level_pairs(features, one, seed, level)
            person = np.searchsorted(names, group)
            sums.append(pair_sums(true - centre, predicted - centre, person, len(names)))
    by_person = np.stack(sums)
    by_person = by_person[:, by_person[..., 0].any(0)]
    values = scores(by_person.sum(1))
    bounds = intervals(by_person)
    row: dict[str, Any] = {"level": level, "people_tested": by_person.shape[1]}
    row["pairs_tested"] = [int(n) for n in by_person[:seeds, :, 0].sum(1)]
    for name in SCORES:
        per_seed = values[name].reshape(len(found), seeds).mean(0)
        known = bool(np.isfinite(per_seed).all())
        interval = bounds[name]
        row[name] = float(per_seed.mean()) if known else None
        row[f"{name}_se"] = standard_error(per_seed) if known else None
        row[f"{name}_interval"] = list(interval) if known and interval else None
    return row
