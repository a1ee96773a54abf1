"""Few-shot: k labelled windows per class from some people, tested on other people."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.evals import metrics
from primus_jax.evals.features import Features
from primus_jax.evals.fewshot.leaks import check_sides
from primus_jax.evals.fewshot.logistic import TOLERANCE
from primus_jax.evals.fewshot.probe import CLASSIFIERS, probe_grid
from primus_jax.evals.fewshot.sampling import (
    Shots,
    Sides,
    choose_sides,
    draw_shots,
    padded_rows,
    validation_folds,
    validation_people,
)

VALIDATION_FOLDS = 3


@dataclasses.dataclass(frozen=True)
class Draws:
    """People and labelled windows of every draw; one per seed, or per seed and fold of people."""

    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    people: str
    sides: Sides
    shown: Shots


@dataclasses.dataclass(frozen=True)
class FewShotResult:
    """Outcome of one encoder on one dataset.

    `by_person` is int `[shots, seeds, people, classes, classes]` over test windows, rows true,
    columns predicted, the folds of a seed added up; `shown` int `[shots, draws]` counts the
    labelled training windows; `classifier` says what was fitted, `details` what came out of the
    fits, one entry per shot count, both ready for JSON.
    """

    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    label_names: tuple[str, ...]
    people: str
    by_person: np.ndarray
    shown: np.ndarray
    classifier: dict[str, Any]
    details: tuple[dict[str, Any], ...]

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


def fewshot(
    features: Features,
    shots: Sequence[int] = (1, 5, 10, 20, 50),
    seeds: int | Sequence[int] = 5,
    c: float | None = None,
    people: str = "resampled",
    classifier: str = "logistic",
) -> FewShotResult:
    """A convex classifier on frozen features for all shots and seeds, in one compiled program.

    The draws of people and windows are the same for every encoder. A class that no training person
    shows counts as missed in the test, never as left out.

    Args:
        features: of the whole dataset.
        shots: labelled windows per class; a class with fewer gives all it has.
        seeds: a number of seeds (0, 1, ...), or the seeds.
        c: inverse strength of the penalty, scikit-learn's C (for ridge its alpha is 1 / (2 C));
            None chooses it on shown windows of people left out of the fit, see `probe.probe_grid`.
        people: "resampled": each seed holds out its own quarter of the people; "folder": the
            dataset's own test people; "kfold:N" and "leave-one-out": everybody is tested once
            per seed.
        classifier: "logistic" or "ridge".

    Raises:
        PrimusError: no labelled windows, a single class, too few people, shots below 1, no seed, c
            not positive, features not finite, no labelled training or test windows, or a leak
            (`leaks.check_sides`).
    """
    if c is not None and not 0 < c < float("inf"):
        raise PrimusError(f"c={c}; expected a positive number (1.0 is scikit-learn's default).")
    if classifier not in CLASSIFIERS:
        raise PrimusError(f"classifier={classifier!r}; expected one of {tuple(CLASSIFIERS)}.")
    draws = make_draws(features, shots, seeds, people)
    test, _ = padded_rows(draws.sides.test & (features.label >= 0))
    result = probe_grid(
        features.embedding,
        draws.sides.train,
        draws.shown.rows,
        draws.shown.valid,
        validation_folds(features.group, draws.sides, draws.shown, VALIDATION_FOLDS),
        test,
        shots=draws.shots,
        grid=None if c is None else (float(c),),
        folds=VALIDATION_FOLDS,
        classifier=classifier,
    )
    predicted, gradient, chosen, counted = (np.asarray(part) for part in result)
    name = CLASSIFIERS[classifier].name
    if gradient.max() > 10 * TOLERANCE:
        warnings.warn(
            f"{name} stopped at {gradient.max():.1e} of its first gradient (expected below "
            f"{TOLERANCE:.0e}); scores may change in the third digit. A smaller c helps.",
            stacklevel=2,
        )
    about = {
        "protocol": "probe",
        "name": f"{name} on frozen, standardised features",
        "c": "chosen on people left out" if c is None else float(c),
    }
    details = [
        {
            "c": [float(f"{value:.6g}") for value in chosen[:, k]],
            "c_chosen_by_windows": counted[:, k].tolist(),
            "gradient_norm": float(gradient[:, k].max()),
        }
        for k in range(len(draws.shots))
    ]
    return score(features, draws, predicted, about, details)


def make_draws(
    features: Features,
    shots: Sequence[int],
    seeds: int | Sequence[int],
    people: str,
    validation: bool = False,
) -> Draws:
    """Check the request, draw people and windows, and check the draws for leaks.

    Args:
        validation: keep some training people apart, for a protocol that picks its best epoch.

    Raises:
        PrimusError: see `fewshot`.
    """
    shots = tuple(sorted(set(shots)))
    seeds = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not shots or min(shots) < 1:
        raise PrimusError(f"shots {shots}; expected whole numbers of at least 1.")
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise PrimusError(f"seeds {seeds}; expected at least one, none negative, none twice.")
    label, classes = features.label, len(features.label_names)
    present = np.unique(label[label >= 0])
    if len(present) < 2:
        what = f"only {features.label_names[present[0]]!r}" if len(present) else "no labels"
        raise PrimusError(
            f"few-shot needs windows of at least two classes; the dataset has {what}. "
            f"Prepare it with a label for each recording."
        )
    if not np.isfinite(features.embedding).all():
        row = int(np.flatnonzero(~np.isfinite(features.embedding).all(1))[0])
        raise PrimusError(
            f"the embedding of window {row} (recording {str(features.recording[row])!r}) is not "
            f"finite; the encoder's weights are damaged or its training diverged."
        )
    sides = choose_sides(people, label, features.group, features.split, seeds)
    if validation:
        sides = validation_people(sides, label, features.group)
    check_sides(features, sides)
    # No class has more windows than there are; larger arrays would only be padding.
    most = min(max(shots), int(np.bincount(label[label >= 0]).max()))
    shown = draw_shots(label, sides, most, classes, sides.seed)
    for i, seed in enumerate(sides.seed):
        labelled = {"training": shown.valid[i].any(), "test": (sides.test[i] & (label >= 0)).any()}
        if people == "leave-one-out" or people.startswith("kfold"):
            labelled.pop("test")  # a person without labels is simply not tested
        if validation:
            labelled["validation"] = (sides.validation[i] & (label >= 0)).any()
        for side, found in labelled.items():
            if not found:
                raise PrimusError(
                    f"seed {seed}: the {side} people have no labelled windows. Label recordings "
                    f"of more people, or choose other splits."
                )
    return Draws(shots, seeds, people, sides, shown)


def score(
    features: Features,
    draws: Draws,
    predicted: np.ndarray,
    classifier: dict[str, Any],
    details: Sequence[dict[str, Any]],
) -> FewShotResult:
    """Count predictions `[draws, shots, tested]` by person, those of a draw's labelled test windows
    in their order first."""
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
        shown=np.stack([draws.shown.valid[:, :, :k].sum((1, 2)) for k in draws.shots]),
        classifier=classifier,
        details=tuple(details),
    )


def summarize(results: Sequence[FewShotResult]) -> list[dict[str, Any]]:
    """Rows for results.jsonl, one per shot count; several results (initialisations) are averaged.

    Averaging is per seed of people and shots; the standard error is over those seeds. The interval
    is over people (`metrics.bootstrap_interval`), of all results together.
    """
    first = results[0]
    rows = []
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
            row[f"{name}_interval"] = interval and list(interval)
        row |= {
            "seeds": list(first.seeds),
            "windows_shown": [int(n) for n in first.shown[i]],
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
        rows.append(row)
    return rows


def standard_error(values: np.ndarray) -> float | None:
    """Standard error of the mean of `[n]` values; None (not zero) when there is a single one."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
