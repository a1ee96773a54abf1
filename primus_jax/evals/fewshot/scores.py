"""Scores of a few-shot evaluation: counted by person, summed up in rows of results.jsonl."""

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from primus_jax.evals import metrics
from primus_jax.evals.features import Features
from primus_jax.evals.fewshot.draws import Draws
from primus_jax.evals.fewshot.fold_scores import FoldScores, fold_rows, fold_scores
from primus_jax.reports.rows import FitDetails, FittedClassifier, ScoreRow


@dataclasses.dataclass(frozen=True)
class FewShotResult:
    """Outcome of one encoder on one dataset.

    `by_person` is int `[shots, seeds, people, classes, classes]` over test windows, rows true,
    columns predicted, the folds of a seed added up; `labelled` int `[shots, draws]` counts
    the labelled training windows; `classifier` is what was fitted, `details` what the fits
    report, one entry per shot count, both ready for JSON. `folds` are the scores of every draw,
    one entry per shot count, where they were asked for.
    """

    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    label_names: tuple[str, ...]
    people: str
    by_person: np.ndarray
    labelled: np.ndarray
    classifier: FittedClassifier
    details: tuple[FitDetails, ...]
    folds: tuple[FoldScores, ...] | None = None

    @property
    def confusion(self) -> np.ndarray:
        """Counts `[shots, seeds, classes, classes]`."""
        return self.by_person.sum(2)

    @property
    def accuracy(self) -> np.ndarray:
        """Share of test windows predicted right, `[shots, seeds]`."""
        return metrics.accuracy(self.confusion)

    @property
    def macro_f1(self) -> np.ndarray:
        """Mean over the classes that have test windows of the F1 score, `[shots, seeds]`."""
        return metrics.macro_f1(self.confusion)


def score(
    features: Features,
    draws: Draws,
    logits: np.ndarray,
    classifier: FittedClassifier,
    details: Sequence[FitDetails],
) -> FewShotResult:
    """Count the predictions of `logits` `[draws, shots, tested, classes]` by person; those of a
    draw's labelled test windows come first, in their order."""
    predicted = logits.argmax(-1)
    label, classes = features.label, len(features.label_names)
    names, member = np.unique(features.group, return_inverse=True)
    shape = (len(draws.shots), len(draws.seeds), len(names), classes, classes)
    counts = np.zeros(shape, np.int64)
    for i, seed in enumerate(draws.sides.seed):
        rows = np.flatnonzero(draws.sides.test[i] & (label >= 0))
        for k in range(len(draws.shots)):
            counts[k, draws.seeds.index(int(seed))] += metrics.confusion_by_person(
                predicted[i, k, : len(rows)], label[rows], member[rows], len(names), classes
            )
    return FewShotResult(
        shots=draws.shots,
        seeds=draws.seeds,
        label_names=features.label_names,
        people=draws.people,
        by_person=counts,
        labelled=np.stack([draws.labelled.valid[:, :, :k].sum((1, 2)) for k in draws.shots]),
        classifier=classifier,
        details=tuple(details),
        folds=fold_scores(features, draws, logits) if draws.detail else None,
    )


def summarize(results: Sequence[FewShotResult]) -> list[ScoreRow]:
    """Rows for results.jsonl, one per shot count; several results (initialisations) are averaged.

    Averaging is per seed of people and shots; the standard error is over those seeds. The interval
    is over people (`metrics.bootstrap_interval`), of all results together.
    """
    first = results[0]
    rows: list[ScoreRow] = []
    for i, k in enumerate(first.shots):
        row: dict[str, Any] = {"shots": k}
        confusion = np.stack([result.confusion[i] for result in results])
        everyone = np.concatenate([result.by_person[i] for result in results])
        for name, metric in metrics.METRICS.items():
            values = metric(confusion).mean(0)
            row[name] = float(values.mean())
            row[f"{name}_se"] = standard_error(values)
            row[f"{name}_per_seed"] = [round(float(v), 6) for v in values]
            interval = metrics.bootstrap_interval(everyone, metric)
            row[f"{name}_interval"] = None if interval is None else list(interval)
        row |= {
            "seeds": list(first.seeds),
            # a key of files that exist: labelled training windows of every draw
            "windows_shown": [int(n) for n in first.labelled[i]],
            "windows_tested": [int(n) for n in confusion[0].sum((1, 2))],
            "people_tested": int(first.by_person[i].any((0, 2, 3)).sum()),
            "classes": len(first.label_names),
            "label_names": list(first.label_names),
            "confusion": confusion.sum((0, 1)).tolist(),
            "people": first.people,
            "classifier": first.classifier,
            "fits": [result.details[i] for result in results],
            "averaged_over": len(results),
        }
        detailed = [result.folds[i] for result in results if result.folds is not None]
        row |= fold_rows(detailed) if detailed else {}
        rows.append(cast(ScoreRow, row))
    return rows


def standard_error(values: np.ndarray) -> float | None:
    """Standard error of the mean of `[n]` values; None (not zero) when there is a single one."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
