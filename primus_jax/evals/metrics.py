"""Scores from confusion matrices, and bootstrap confidence intervals over people."""

from collections.abc import Callable

import numpy as np

REPLICATES = 1000


def confusion_by_person(
    predicted: np.ndarray, label: np.ndarray, person: np.ndarray, people: int, classes: int
) -> np.ndarray:
    """Counts int64 `[people, classes, classes]`, rows true, columns predicted.

    Args:
        predicted: int `[n]`, classes.
        label: int `[n]`, true classes; none may be negative.
        person: int `[n]`, 0 to people - 1.
    """
    cell = (person * classes + label) * classes + predicted
    counts = np.bincount(cell, minlength=people * classes**2)
    return counts.reshape(people, classes, classes)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of windows predicted right; `[..., classes, classes]` -> `[...]`. NaN without any."""
    return _ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum((-2, -1)))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Mean recall of the classes that have windows."""
    true = confusion.sum(-1)
    recall = np.diagonal(confusion, axis1=-2, axis2=-1) / np.maximum(true, 1e-300)
    return _ratio(np.where(true > 0, recall, 0).sum(-1), (true > 0).sum(-1))


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Mean F1 score of the classes that have windows.

    scikit-learn also averages over classes that are only predicted; those score 0 there and are
    left out here, so that a test person who does not do everything is not counted against anyone.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    true, predicted = confusion.sum(-1), confusion.sum(-2)
    f1 = 2 * right / np.maximum(true + predicted, 1e-300)
    return _ratio(np.where(true > 0, f1, 0).sum(-1), (true > 0).sum(-1))


def cohen_kappa(confusion: np.ndarray) -> np.ndarray:
    """Agreement beyond chance: 0 for guessing, 1 for perfect; 0 where both are one class."""
    total = confusion.sum((-2, -1))
    chance = _ratio((confusion.sum(-1) * confusion.sum(-2)).sum(-1), total * total)
    observed = accuracy(confusion)
    beyond = 1 - chance
    return np.where(beyond > 1e-12, (observed - chance) / np.where(beyond > 1e-12, beyond, 1), 0.0)


METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "balanced_accuracy": balanced_accuracy,
    "kappa": cohen_kappa,
}


def bootstrap_interval(
    confusion: np.ndarray,
    metric: Callable[[np.ndarray], np.ndarray],
    level: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Percentile interval of a score, averaged over seeds, when other people are met.

    A replicate draws as many people as there are, with replacement; a person drawn twice counts
    twice in every seed that tests them, so seeds that share test people are not taken as
    independent. Labelled windows and pretraining are held fixed. Few people give a rough interval.

    Args:
        confusion: int `[seeds, people, classes, classes]`.
        metric: `[..., classes, classes]` -> `[...]`.

    Returns:
        (low, high), or None when fewer than two people are tested.
    """
    seeds, people, classes = confusion.shape[:3]
    tested = confusion.any((0, 2, 3))
    if tested.sum() < 2:
        return None
    confusion = confusion[:, tested].reshape(seeds, -1, classes**2).astype(np.float64)
    people = confusion.shape[1]
    rng = np.random.default_rng(seed)
    times = rng.multinomial(people, np.full(people, 1 / people), replicates).astype(np.float64)
    scores = np.stack([metric((times @ one).reshape(-1, classes, classes)) for one in confusion])
    met = ~np.isnan(scores)
    score = np.where(met, scores, 0).sum(0) / np.maximum(met.sum(0), 1)
    low, high = np.quantile(score[met.any(0)], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
