"""Every draw of people by itself: its scores, its people, and areas under ROC curves."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from primus_jax.evals import metrics
from primus_jax.evals.features import Features
from primus_jax.evals.fewshot.draws import Draws
from primus_jax.evals.roc import auc_interval, mean_over, one_vs_rest_auc

_SIDES = ("test", "validation", "train")


@dataclasses.dataclass(frozen=True)
class FoldScores:
    """The draws of one shot count.

    `confusion` is int `[draws, classes, classes]`; `auc` float `[draws, classes]`, NaN where a
    class is not tested; `interval`, of the mean area, over people; `about`, the seed and the people
    of every draw.
    """

    confusion: np.ndarray
    auc: np.ndarray
    interval: tuple[float, float] | None
    about: tuple[dict[str, Any], ...]


def fold_scores(features: Features, draws: Draws, logits: np.ndarray) -> tuple[FoldScores, ...]:
    """The scores of every draw, one entry per shot count.

    Args:
        features: of the whole dataset.
        draws: people and windows.
        logits: `[draws, shots, tested, classes]`, those of labelled test windows first.
    """
    label, classes = features.label, len(features.label_names)
    names, member = np.unique(features.group, return_inverse=True)
    tested = [np.flatnonzero(test & (label >= 0)) for test in draws.sides.test]
    about = []
    for i, seed in enumerate(draws.sides.seed):
        sides = {name: np.unique(member[getattr(draws.sides, name)[i]]) for name in _SIDES}
        people = {name: names[who].tolist() for name, who in sides.items()}
        about.append({"seed": int(seed), "people": people, "windows_tested": len(tested[i])})
    found = []
    for k in range(len(draws.shots)):
        probability = [_softmax(logits[i, k, : len(rows)]) for i, rows in enumerate(tested)]
        confusion = [
            metrics.confusion_by_person(
                p.argmax(1), label[rows], np.zeros(len(rows), int), 1, classes
            )[0]
            for p, rows in zip(probability, tested, strict=True)
        ]
        areas = [
            one_vs_rest_auc(p, label[rows]) for p, rows in zip(probability, tested, strict=True)
        ]
        interval = auc_interval(
            probability, [label[rows] for rows in tested], [member[rows] for rows in tested],
            len(names),
        )  # fmt: skip
        found.append(FoldScores(np.stack(confusion), np.stack(areas), interval, tuple(about)))
    return tuple(found)


def fold_rows(results: Sequence[FoldScores]) -> dict[str, Any]:
    """What a row of results.jsonl states about its draws; several results are averaged.

    The interval is that of the first result where several are averaged.
    """
    areas = mean_over(np.stack([result.auc for result in results]), 0)
    folds = []
    for i, about in enumerate(results[0].about):
        row = dict(about)
        for name, metric in metrics.METRICS.items():
            values = np.array([metric(result.confusion[i]) for result in results], float)
            row[name] = _number(mean_over(values, 0))
        folds.append(
            row | {"auc": _number(mean_over(areas[i])), "auc_by_class": _numbers(areas[i])}
        )
    interval = results[0].interval
    return {
        "auc": _number(mean_over(mean_over(areas, 1), 0)),
        "auc_interval": None if interval is None else list(interval),
        "auc_by_class": _numbers(mean_over(areas, 0)),
        "folds": folds,
    }


def _softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True, initial=-np.inf))
    return p / p.sum(1, keepdims=True)


def _number(value: np.ndarray) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]
