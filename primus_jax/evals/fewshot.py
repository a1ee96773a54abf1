"""Few-shot: k labelled windows per class from some people, tested on other people."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features
from primus_jax.evals.probe import TOLERANCE, probe_grid
from primus_jax.evals.sampling import draw_shots, folder_people, resampled_people

PEOPLE = ("resampled", "folder")


@dataclasses.dataclass(frozen=True)
class FewShotResult:
    """Outcome of one encoder on one data set.

    `confusion` is int `[shots, seeds, classes, classes]` over test windows, rows true, columns
    predicted; `shown` int `[shots, seeds]` counts the labelled training windows; `gradient_norm`
    `[shots, seeds]` is the solver's final gradient over the first.
    """

    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    label_names: tuple[str, ...]
    people: str
    c: float
    confusion: np.ndarray
    shown: np.ndarray
    gradient_norm: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """Share of test windows predicted right, `[shots, seeds]`."""
        right = np.trace(self.confusion, axis1=-2, axis2=-1)
        return right / self.confusion.sum((-2, -1))

    @property
    def macro_f1(self) -> np.ndarray:
        """Mean over the classes that have test windows of the F1 score, `[shots, seeds]`."""
        right = np.diagonal(self.confusion, axis1=-2, axis2=-1)
        true, predicted = self.confusion.sum(-1), self.confusion.sum(-2)
        f1 = 2 * right / np.maximum(true + predicted, 1)
        return np.where(true > 0, f1, 0).sum(-1) / (true > 0).sum(-1)


def fewshot(
    features: Features,
    shots: Sequence[int] = (1, 5, 10, 20, 50),
    seeds: int | Sequence[int] = 5,
    c: float = 1.0,
    people: str = "resampled",
) -> FewShotResult:
    """Accuracy and macro-F1 of logistic regression on frozen features, for all shots and seeds.

    Each seed holds out its own quarter of the people (`people="resampled"`) or the data set's own
    test people (`"folder"`), and draws its own windows; the draws are the same for every encoder.
    A class that no training person shows counts as missed in the test, never as left out.

    Args:
        features: of the whole data set.
        shots: labelled windows per class; a class with fewer gives all it has.
        seeds: a number of seeds (0, 1, ...), or the seeds.
        c: inverse strength of the penalty, scikit-learn's C.
        people: "resampled" or "folder".

    Raises:
        PrimusError: no labelled windows, a single class, fewer than two people, shots below 1, no
            seed, c not positive, features not finite, or no labelled training or test windows.
    """
    shots, seeds = _checked(shots, seeds, c, people)
    label, classes = features.label, len(features.label_names)
    present = np.unique(label[label >= 0])
    if len(present) < 2:
        what = f"only {features.label_names[present[0]]!r}" if len(present) else "no labels"
        raise PrimusError(
            f"few-shot needs windows of at least two classes; the data set has {what}. "
            f"Prepare it with a label for each recording."
        )
    if not np.isfinite(features.embedding).all():
        row = int(np.flatnonzero(~np.isfinite(features.embedding).all(1))[0])
        raise PrimusError(
            f"the embedding of window {row} (recording {features.recording[row]!r}) is not finite; "
            f"the encoder's weights are damaged or its training diverged."
        )
    if people == "folder":
        sides = folder_people(features.split, seeds)
    else:
        sides = resampled_people(label, features.group, seeds)
    drawn = draw_shots(label, sides, max(shots), classes, seeds)
    test = sides.test & (label >= 0)
    for i, seed in enumerate(seeds):
        if not drawn.valid[i].any() or not test[i].any():
            side = "test" if drawn.valid[i].any() else "training"
            raise PrimusError(
                f"seed {seed}: the {side} people have no labelled windows. Label recordings of "
                f"more people, or choose other splits."
            )
    predicted, gradient = probe_grid(
        features.embedding,
        sides.train,
        drawn.rows,
        drawn.valid,
        np.asarray(shots, np.int32),
        np.float32(c),
    )
    gradient = np.asarray(gradient).T
    if gradient.max() > 10 * TOLERANCE:
        warnings.warn(
            f"logistic regression stopped at {gradient.max():.1e} of its first gradient (expected "
            f"below {TOLERANCE:.0e}); scores may change in the third digit. A smaller c helps.",
            stacklevel=2,
        )
    return FewShotResult(
        shots=shots,
        seeds=seeds,
        label_names=features.label_names,
        people=people,
        c=float(c),
        confusion=_confusion(np.asarray(predicted), label, test, classes),
        shown=np.stack([drawn.valid[:, :, :k].sum((1, 2)) for k in shots]),
        gradient_norm=gradient,
    )


def summarize(results: Sequence[FewShotResult]) -> list[dict[str, Any]]:
    """Rows for results.jsonl, one per shot count; several results (initialisations) are averaged.

    Averaging is per seed of people and shots; the standard error is over those seeds.
    """
    first = results[0]
    rows = []
    for i, k in enumerate(first.shots):
        row: dict[str, Any] = {"shots": k}
        for metric in ("accuracy", "macro_f1"):
            values = np.mean([getattr(result, metric)[i] for result in results], axis=0)
            row[metric] = float(values.mean())
            row[f"{metric}_se"] = standard_error(values)
            row[f"{metric}_per_seed"] = [round(float(v), 6) for v in values]
        row |= {
            "seeds": list(first.seeds),
            "windows_shown": [int(n) for n in first.shown[i]],
            "windows_tested": [int(n) for n in first.confusion[i].sum((1, 2))],
            "classes": len(first.label_names),
            "people": first.people,
            "classifier": {"name": "logistic regression", "c": first.c},
            "gradient_norm": float(max(result.gradient_norm[i].max() for result in results)),
            "averaged_over": len(results),
        }
        rows.append(row)
    return rows


def standard_error(values: np.ndarray) -> float | None:
    """Standard error of the mean of `[n]` values; None (not zero) when there is a single one."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def _checked(
    shots: Sequence[int], seeds: int | Sequence[int], c: float, people: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shots = tuple(sorted(set(shots)))
    seeds = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not shots or min(shots) < 1:
        raise PrimusError(f"shots {shots}; expected whole numbers of at least 1.")
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise PrimusError(f"seeds {seeds}; expected at least one, none negative, none twice.")
    if not 0 < c < float("inf"):
        raise PrimusError(f"c={c}; expected a positive number (1.0 is scikit-learn's default).")
    if people not in PEOPLE:
        raise PrimusError(f"people={people!r}; expected one of {PEOPLE}.")
    return shots, seeds


def _confusion(
    predicted: np.ndarray, label: np.ndarray, test: np.ndarray, classes: int
) -> np.ndarray:
    """Counts `[shots, seeds, classes, classes]` from predictions `[seeds, shots, n]`."""
    seeds, shots = predicted.shape[:2]
    counts = np.zeros((shots, seeds, classes, classes), np.int64)
    for s in range(seeds):
        for k in range(shots):
            pairs = classes * label[test[s]] + predicted[s, k, test[s]]
            counts[k, s] = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    return counts
