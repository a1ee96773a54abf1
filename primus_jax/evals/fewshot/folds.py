"""Folds of people from a file: who is tested, who chooses, who trains, in each of them."""

from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot.sampling import Sides
from primus_jax.files import read_json

_SIDES = ("test", "validation", "train")
_EXPECTED = (
    'expected {"folds": [{"test": [names], "validation": [names], "train": [names]}, ...]}; '
    "without train, all others train"
)


def file_people(path: Path, group: np.ndarray, seeds: tuple[int, ...]) -> Sides:
    """The folds that a JSON file states, the same for every seed.

    Args:
        path: {"folds": [{"test": [...], "validation": [...], "train": [...]}, ...]}; "validation"
            and "train" may be left out: all others train.
        group: str `[n]`, the person or group of every window.
        seeds: one by one.

    Raises:
        PrimusError: another layout, a name that no window has, a person on two sides of a fold, or
            one who is tested in two folds.
    """
    folds = [_names(path, number, fold) for number, fold in enumerate(_folds(path), 1)]
    known = set(group.tolist())
    tested: dict[str, int] = {}
    parts: dict[str, list[np.ndarray]] = {side: [] for side in _SIDES}
    for number, fold in enumerate(folds, 1):
        for side, names in fold.items():
            unknown = sorted(names - known)
            if unknown:
                raise PrimusError(
                    f"{path}: fold {number} has {unknown[0]!r} in {side}; the dataset has "
                    f"{', '.join(sorted(known)[:20])}."
                )
        _check_apart(path, number, fold)
        for name in sorted(fold["test"]):
            if name in tested:
                raise PrimusError(
                    f"leak: {path} tests {name!r} in fold {tested[name]} and in fold {number}. "
                    f"Give all windows of a person to one fold."
                )
            tested[name] = number
        if "train" not in fold:
            fold["train"] = known - fold["test"] - fold.get("validation", set())
        for side in _SIDES:
            parts[side].append(np.isin(group, sorted(fold.get(side, set()))))
    test, validation, train = (np.tile(np.stack(parts[s]), (len(seeds), 1)) for s in _SIDES)
    return Sides(train, test, validation, np.repeat(seeds, len(folds)))


def _folds(path: Path) -> list[Any]:
    stated = read_json(path, f"--people names a file of folds: {_EXPECTED}.")
    folds = stated.get("folds") if isinstance(stated, dict) else None
    if not isinstance(folds, list) or not folds:
        raise PrimusError(f"{path}: {_EXPECTED}.")
    return folds


def _names(path: Path, number: int, fold: Any) -> dict[str, set[str]]:
    if not isinstance(fold, dict) or not fold.get("test") or fold.keys() - set(_SIDES):
        raise PrimusError(f"{path}: fold {number} is {fold!r:.80}; {_EXPECTED}.")
    for side, names in fold.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise PrimusError(f"{path}: {side} of fold {number} is {names!r:.80}; {_EXPECTED}.")
    return {side: set(names) for side, names in fold.items()}


def _check_apart(path: Path, number: int, fold: dict[str, set[str]]) -> None:
    """Raise PrimusError for a person on two sides of a fold."""
    sides = list(fold)
    for i, first in enumerate(sides):
        for second in sides[i + 1 :]:
            both = sorted(fold[first] & fold[second])
            if both:
                raise PrimusError(
                    f"leak: {path} has {both[0]!r} on the {first} and the {second} side of fold "
                    f"{number}. A score with tested people in training would be too high: take "
                    f"them out of {second}."
                )
