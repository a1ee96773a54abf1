"""The draws of a few-shot evaluation: people, labelled windows, and the checks of both."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features
from primus_jax.evals.fewshot.folds import file_people
from primus_jax.evals.fewshot.leaks import check_sides
from primus_jax.evals.fewshot.sampling import (
    Shots,
    Sides,
    choose_sides,
    draw_shots,
    validation_people,
)


@dataclasses.dataclass(frozen=True)
class DrawOptions:
    """What is drawn, the same for every method.

    Attributes:
        shots: labelled windows per class; a class with fewer gives all it has. Empty: all windows
            of every class.
        seeds: a number of seeds (0, 1, ...), or the seeds.
        people: "resampled": each seed holds out its own quarter of the people; "folder": the
            dataset's own test people; "kfold:N" and "leave-one-out": everybody is tested once
            per seed; a path that ends in .json: see `folds.file_people`.
        detail: report every draw by itself, and the area under the ROC curve.
    """

    shots: Sequence[int] = (1, 5, 10, 20, 50)
    seeds: int | Sequence[int] = 5
    people: str = "resampled"
    detail: bool = False

    def seed_list(self) -> tuple[int, ...]:
        """The seeds, one by one."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else tuple(self.seeds)


@dataclasses.dataclass(frozen=True)
class Draws:
    """People and labelled windows of every draw; one per seed, or per seed and fold of people."""

    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    people: str
    sides: Sides
    labelled: Shots
    detail: bool = False


def sides_of(people: str, features: Features, seeds: tuple[int, ...]) -> Sides:
    """The people of every draw, before validation people are taken from those who train.

    Raises:
        PrimusError: what `sampling.choose_sides` and `folds.file_people` raise.
    """
    if people.endswith(".json"):
        return file_people(Path(people), features.group, seeds)
    return choose_sides(people, features.label, features.group, features.split, seeds)


def make_draws(features: Features, options: DrawOptions, validation: float = 0.0) -> Draws:
    """Check the request, draw people and windows, and check the draws for leaks.

    Args:
        features: of the whole dataset.
        options: what to draw.
        validation: share of the training people that is kept apart, for a protocol that picks its
            best epoch; 0: nobody.

    Raises:
        PrimusError: no labelled windows, a single class, too few people, shots below 1, no seed,
            features not finite, no labelled training or test windows, or a leak
            (`leaks.check_sides`).
    """
    shots, seeds, people = tuple(sorted(set(options.shots))), options.seed_list(), options.people
    if shots and min(shots) < 1:
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
    features.check_finite()
    sides = sides_of(people, features, seeds)
    if validation:
        sides = validation_people(sides, label, features.group, validation)
    check_sides(features, sides)
    # No class has more windows than there are; larger arrays would only be padding.
    largest = int(np.bincount(label[label >= 0]).max())
    shots = shots or (largest,)
    most = min(max(shots), largest)
    labelled = draw_shots(label, sides, most, classes, sides.seed)
    for i, seed in enumerate(sides.seed):
        sides_with_labels = {"training": labelled.valid[i].any()}
        if people in ("resampled", "folder"):
            # with folds, a person without labels is simply not tested
            sides_with_labels["test"] = (sides.test[i] & (label >= 0)).any()
        if validation:
            sides_with_labels["validation"] = (sides.validation[i] & (label >= 0)).any()
        for side, found in sides_with_labels.items():
            if not found:
                raise PrimusError(
                    f"seed {seed}: the {side} people have no labelled windows. Label recordings "
                    f"of more people, or choose other splits."
                )
    return Draws(shots, seeds, people, sides, labelled, options.detail)


def everyone(features: Features, shots: int | None, seed: int) -> Draws:
    """One draw that tests nobody: all people train, but for a fifth who choose the epoch.

    Args:
        features: of the whole dataset.
        shots: most windows of each class; None: all.
        seed: of the people and the windows.

    Raises:
        PrimusError: windows of fewer than two classes, a single person, or a leak.
    """
    label = features.label
    if len(np.unique(label[label >= 0])) < 2:
        raise PrimusError("windows of fewer than two classes; there is nothing to tell apart.")
    nobody = np.zeros((1, len(label)), bool)
    sides = Sides(~nobody, nobody, nobody, np.array([seed]))
    sides = validation_people(sides, label, features.group)
    check_sides(features, sides)
    largest = int(np.bincount(label[label >= 0]).max())
    most = largest if shots is None else min(shots, largest)
    labelled = draw_shots(label, sides, most, len(features.label_names), sides.seed)
    return Draws((most,), (seed,), "everyone", sides, labelled)
