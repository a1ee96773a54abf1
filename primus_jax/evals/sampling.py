"""Who is held out and which labelled windows are shown: the draws that every method shares.

A draw depends on the seed and the data set (its labels and people, in order), on nothing of the
method, so differences between methods are paired.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from primus_jax.errors import PrimusError

TEST_FRACTION = 0.25
_ATTEMPTS = 200


@dataclasses.dataclass(frozen=True)
class Sides:
    """Which windows belong to the training and to the test people: bool `[seeds, n]` each."""

    train: np.ndarray
    test: np.ndarray


@dataclasses.dataclass(frozen=True)
class Shots:
    """Labelled windows shown to the classifier.

    `rows` is int32 `[seeds, classes, most]`, indices of windows; `valid` is bool of that shape,
    False where a class has fewer than `most` training windows. The first k along the last axis are
    the k-shot windows, so shots are nested.
    """

    rows: np.ndarray
    valid: np.ndarray


def resampled_people(label: np.ndarray, group: np.ndarray, seeds: Sequence[int]) -> Sides:
    """Hold out a quarter of the people, another quarter for each seed.

    A group (people who share recordings, or one person) is never on both sides. Of up to 200
    seeded permutations the first is taken that puts every class on both sides; where none does,
    the first with the most classes on both sides, then with the most classes to learn from.

    Args:
        label: int `[n]`, -1 for unlabelled.
        group: str `[n]`.

    Raises:
        PrimusError: fewer than two groups.
    """
    names, member = np.unique(group, return_inverse=True)
    if len(names) < 2:
        raise PrimusError(
            f"few-shot needs at least two people to hold one out; the data set has {len(names)} "
            f"({', '.join(map(repr, names)) or 'none'}). Give every recording its subject."
        )
    has = np.zeros((len(names), int(label.max(initial=-1)) + 1), bool)
    has[member[label >= 0], label[label >= 0]] = True
    held_out = max(1, round(TEST_FRACTION * len(names)))
    test = np.zeros((len(seeds), len(label)), bool)
    for row, seed in enumerate(seeds):
        best, chosen = (-1, -1), None
        for attempt in range(_ATTEMPTS):
            order = np.random.default_rng([seed, 0, attempt]).permutation(len(names))
            in_test, in_train = has[order[:held_out]].any(0), has[order[held_out:]].any(0)
            score = (int((in_test & in_train).sum()), int(in_train.sum()))
            if score > best:
                best, chosen = score, order[:held_out]
            if score[0] == has.any(0).sum():
                break
        test[row] = np.isin(member, chosen)
    return Sides(train=~test, test=test)


def folder_people(split: np.ndarray, seeds: Sequence[int]) -> Sides:
    """Use the data set's own `train` and `test` people for every seed; `validation` is left alone.

    Raises:
        PrimusError: one of the two splits has no windows.
    """
    for name in ("train", "test"):
        if not (split == name).any():
            raise PrimusError(
                f"the data set has no windows in its {name!r} split. Prepare it with {name} "
                f"people, or let few-shot draw the people itself (people='resampled')."
            )
    repeat = (len(seeds), 1)
    return Sides(train=np.tile(split == "train", repeat), test=np.tile(split == "test", repeat))


def draw_shots(
    label: np.ndarray, sides: Sides, most: int, classes: int, seeds: Sequence[int]
) -> Shots:
    """Draw up to `most` windows of every class from each seed's training people.

    A class with fewer windows gives all it has; nothing is dropped.
    """
    rows = np.zeros((len(seeds), classes, most), np.int32)
    valid = np.zeros(rows.shape, bool)
    for i, seed in enumerate(seeds):
        for k in range(classes):
            candidates = np.flatnonzero(sides.train[i] & (label == k))
            order = np.random.default_rng([seed, 1, k]).permutation(len(candidates))[:most]
            rows[i, k, : len(order)] = candidates[order]
            valid[i, k, : len(order)] = True
    return Shots(rows=rows, valid=valid)
