"""Who is held out and which windows are labelled: the draws that every method shares.

A draw depends on the seed and the dataset (its labels and people, in order), on nothing of the
method, so differences between methods are paired.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from primus_jax.errors import PrimusError

TEST_FRACTION = 0.25
VALIDATION_FRACTION = 0.2
PEOPLE = ("resampled", "folder", "kfold:N", "leave-one-out", "a .json file of folds")
_ATTEMPTS = 200


@dataclasses.dataclass(frozen=True)
class Sides:
    """Which windows belong to the training and to the test people.

    `train` and `test` are bool `[draws, n]`; `seed` int `[draws]` is the seed of each draw. There
    is one draw per seed, or, with folds, one per seed and fold. `validation` bool `[draws, n]`
    marks the people that only the paper's protocol, which needs some, keeps apart: those of the
    dataset's own validation split, and nobody where `validation_people` has not been called.
    """

    train: np.ndarray
    test: np.ndarray
    validation: np.ndarray
    seed: np.ndarray


@dataclasses.dataclass(frozen=True)
class Shots:
    """The labelled windows that the classifier learns from.

    `rows` is int32 `[draws, classes, most]`, indices of windows; `valid` is bool of that shape,
    False where a class has fewer than `most` training windows. The first k along the last axis are
    the k-shot windows, so shots are nested.
    """

    rows: np.ndarray
    valid: np.ndarray


def choose_sides(
    people: str, label: np.ndarray, group: np.ndarray, split: np.ndarray, seeds: Sequence[int]
) -> Sides:
    """The people of every draw, chosen as `people` names it: see `PEOPLE`.

    Raises:
        PrimusError: an unknown word, fewer people than needed, or a split without windows.
    """
    if people == "resampled":
        return resampled_people(label, group, seeds)
    if people == "folder":
        return folder_people(split, seeds)
    if people == "leave-one-out":
        return fold_people(group, seeds, None)
    word, _, count = people.partition(":")
    if word != "kfold" or not count.isdigit() or int(count) < 2:
        raise PrimusError(
            f"people={people!r}; expected one of {', '.join(PEOPLE)}, with N at least 2, such as "
            f"kfold:5."
        )
    return fold_people(group, seeds, int(count))


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
    names, member = _groups(group, 2)
    held_out = max(1, round(TEST_FRACTION * len(names)))
    test = np.zeros((len(seeds), len(label)), bool)
    for row, seed in enumerate(seeds):
        chosen = _held_out(label, member, held_out, [seed, 0])
        test[row] = np.isin(member, chosen)
    return Sides(~test, test, np.zeros_like(test), np.asarray(seeds))


def folder_people(split: np.ndarray, seeds: Sequence[int]) -> Sides:
    """Use the dataset's own `train` and `test` people for every seed; `validation` is left alone.

    Raises:
        PrimusError: one of the two splits has no windows.
    """
    for name in ("train", "test"):
        if not (split == name).any():
            raise PrimusError(
                f"the dataset has no windows in its {name!r} split. Prepare it with {name} "
                f"people, or let few-shot draw the people itself (people='resampled')."
            )
    train, test, validation = (
        np.tile(split == name, (len(seeds), 1)) for name in ("train", "test", "validation")
    )
    return Sides(train, test, validation, np.asarray(seeds))


def fold_people(group: np.ndarray, seeds: Sequence[int], folds: int | None) -> Sides:
    """Test every person once per seed: in `folds` seeded parts, or one at a time (None).

    Raises:
        PrimusError: fewer groups than folds, or than two.
    """
    what = "people, one for each fold" if folds else "people to hold one out"
    names, member = _groups(group, folds or 2, what)
    parts, seed_of = [], []
    for seed in seeds:
        order = np.random.default_rng([seed, 2]).permutation(len(names))
        for part in np.array_split(order, folds or len(names)):
            parts.append(np.isin(member, part))
            seed_of.append(seed)
    test = np.stack(parts)
    return Sides(~test, test, np.zeros_like(test), np.asarray(seed_of))


def validation_people(
    sides: Sides, label: np.ndarray, group: np.ndarray, share: float = VALIDATION_FRACTION
) -> Sides:
    """Move a share of every draw's training people to `validation`, unless it has some already.

    As for the test people, a permutation is preferred that leaves every class on both sides.

    Raises:
        PrimusError: a single training person.
    """
    train, validation = sides.train.copy(), sides.validation.copy()
    for i, seed in enumerate(sides.seed):
        if validation[i].any():
            continue
        inside = np.flatnonzero(train[i])
        names, member = _groups(group[inside], 2, "training people to hold one out for validation")
        held_out = max(1, round(share * len(names)))
        chosen = np.isin(member, _held_out(label[inside], member, held_out, [int(seed), 3]))
        validation[i, inside[chosen]], train[i, inside[chosen]] = True, False
    return Sides(train, sides.test, validation, sides.seed)


def draw_shots(
    label: np.ndarray, sides: Sides, most: int, classes: int, seeds: Sequence[int] | np.ndarray
) -> Shots:
    """Draw up to `most` windows of every class from each draw's training people.

    A class with fewer windows gives all it has; nothing is dropped. `seeds` are those of the draws.
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


def validation_folds(group: np.ndarray, sides: Sides, shots: Shots, folds: int) -> np.ndarray:
    """Fold 0 to folds - 1 of every labelled window, int32 like `shots.rows`, by its person.

    People with a labelled window are dealt to the folds in a seeded order.
    """
    fold = np.zeros(shots.rows.shape, np.int32)
    _, member = np.unique(group, return_inverse=True)
    for i, seed in enumerate(sides.seed):
        who = member[shots.rows[i]]
        labelled = np.unique(who[shots.valid[i]])
        order = np.random.default_rng([int(seed), 4]).permutation(len(labelled))
        part = np.zeros(member.max() + 1, np.int32)
        part[labelled[order]] = np.arange(len(labelled)) % folds
        fold[i] = part[who]
    return fold


def padded_rows(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows where `mask` bool `[draws, n]`, int32 `[draws, width]`, and which of them are valid."""
    count = mask.sum(1)
    valid = np.arange(max(1, count.max())) < count[:, None]
    rows = np.zeros(valid.shape, np.int32)
    rows[valid] = np.nonzero(mask)[1]
    return rows, valid


def _groups(
    group: np.ndarray, least: int, what: str = "people to hold one out"
) -> tuple[np.ndarray, np.ndarray]:
    names, member = np.unique(group, return_inverse=True)
    if len(names) < least:
        number = "two" if least == 2 else str(least)
        raise PrimusError(
            f"few-shot needs at least {number} {what}; there are {len(names)} "
            f"({', '.join(map(repr, names.tolist())) or 'none'}). Give every recording its "
            f"subject, or hold out fewer."
        )
    return names, member


def _held_out(label: np.ndarray, member: np.ndarray, count: int, seed: list[int]) -> np.ndarray:
    """`count` groups such that, if at all possible, every class is in and outside of them."""
    people = int(member.max()) + 1
    has = np.zeros((people, int(label.max(initial=-1)) + 1), bool)
    has[member[label >= 0], label[label >= 0]] = True
    best, chosen = (-1, -1), np.arange(count)
    for attempt in range(_ATTEMPTS):
        order = np.random.default_rng([*seed, attempt]).permutation(people)
        inside, outside = has[order[:count]].any(0), has[order[count:]].any(0)
        score = (int((inside & outside).sum()), int(outside.sum()))
        if score > best:
            best, chosen = score, order[:count]
        if score[0] == has.any(0).sum():
            break
    return chosen
