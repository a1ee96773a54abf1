"""Area under the receiver operating characteristic, one class against the rest."""

import numpy as np

from primus_jax.evals.metrics import REPLICATES

_TOGETHER = 50  # replicates of the bootstrap at once, for its memory


def one_vs_rest_auc(
    probability: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Area under each class's curve: how often one of its windows ranks before one of the others.

    A tie counts half, so that equal scores for all windows give 0.5.

    Args:
        probability: float `[n, classes]`, higher where the class is more likely.
        label: int `[n]`, none negative.
        weight: float `[replicates, n]`, of the windows; None: 1 for each.

    Returns:
        float64 `[classes]`, or `[replicates, classes]` with weights; NaN for a class that has no
        window, or all of them.
    """
    weights = np.ones((1, len(label))) if weight is None else np.asarray(weight, np.float64)
    areas = np.full((len(weights), probability.shape[1]), np.nan)
    for k in range(probability.shape[1]) if len(label) else ():
        order = np.argsort(probability[:, k], kind="stable")
        value = probability[order, k]
        starts = np.flatnonzero(np.concatenate([[True], value[1:] != value[:-1]]))
        own, ordered = label[order] == k, weights[:, order]
        inside = np.add.reduceat(ordered * own, starts, axis=1)
        outside = np.add.reduceat(ordered * ~own, starts, axis=1)
        before = np.cumsum(outside, 1) - outside / 2
        pairs = inside.sum(1) * outside.sum(1)
        areas[:, k] = np.where(
            pairs > 0, (inside * before).sum(1) / np.where(pairs > 0, pairs, 1), np.nan
        )
    return areas[0] if weight is None else areas


def mean_over(values: np.ndarray, axis: int | tuple[int, ...] = -1) -> np.ndarray:
    """Mean along `axis` of the values that are there; NaN where none is."""
    there = ~np.isnan(values)
    count = there.sum(axis)
    total = np.where(there, values, 0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def auc_interval(
    probability: list[np.ndarray],
    label: list[np.ndarray],
    person: list[np.ndarray],
    people: int,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Percentile interval of the mean area over classes and folds, when other people are met.

    A replicate draws people with replacement, as `metrics.bootstrap_interval` does. A fold counts
    by the number of its people that were drawn.

    Args:
        probability: of each fold, `[n, classes]`.
        label: of each fold, int `[n]`.
        person: of each fold, int `[n]`, 0 to people - 1.
        people: number of people.
        level: of the interval.
        seed: of the draws.

    Returns:
        (low, high), or None when fewer than two people are tested.
    """
    tested = np.unique(np.concatenate(person))
    if len(tested) < 2:
        return None
    rng = np.random.default_rng(seed)
    times = np.zeros((REPLICATES // 5, people))
    share = np.full(len(tested), 1 / len(tested))
    times[:, tested] = rng.multinomial(len(tested), share, len(times))
    means = []
    for start in range(0, len(times), _TOGETHER):
        drawn = times[start : start + _TOGETHER]
        area, drawn_of = [], []
        for p, true, who in zip(probability, label, person, strict=True):
            area.append(mean_over(one_vs_rest_auc(p, true, drawn[:, who])))
            drawn_of.append(drawn[:, np.unique(who)].sum(1))
        areas, weight = np.stack(area, 1), np.stack(drawn_of, 1)
        weight = np.where(np.isnan(areas), 0, weight)
        total = weight.sum(1)
        mean = (np.nan_to_num(areas) * weight).sum(1) / np.maximum(total, 1)
        means.append(mean[total > 0])
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
