"""The protocol of a regression: who is tested, what is fitted, and what was predicted."""

import dataclasses

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features
from primus_jax.evals.fewshot.leaks import check_sides
from primus_jax.evals.fewshot.sampling import Sides, choose_sides
from primus_jax.evals.regression.ridge import PENALTIES, choose

LEAST_PEOPLE = 3
FOLDS = 5
INNER_FOLDS = 5


@dataclasses.dataclass(frozen=True)
class RegressionOptions:
    """Who is tested, and how strongly the fit is held back.

    Attributes:
        people: as in few-shot (`sampling.PEOPLE`); with folds everybody is tested once per seed.
            "" is kfold:5, and leave-one-out where there are fewer than five people.
        seeds: number of draws of people.
        penalty: of the ridge regression; 0 is least squares; None chooses it on people left out of
            the training people.

    Raises:
        PrimusError: no seed, or a penalty that is not a number from 0.
    """

    people: str = ""
    seeds: int = 5
    penalty: float | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise PrimusError(f"seeds {self.seeds}; expected a whole number from 1.")
        if self.penalty is not None and not 0 <= self.penalty < float("inf"):
            raise PrimusError(f"penalty {self.penalty}; expected a number from 0.")


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Numbers of the windows that have a target, predicted once per seed.

    Attributes:
        rows: int `[known]`, the windows that have a target, in the order of the features.
        true: float64 `[known]`.
        predicted: float64 `[seeds, known]`; NaN where a seed does not test a window.
        penalties: of every ridge regression.
        epochs: of every training, the best.
    """

    rows: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    penalties: tuple[float, ...]
    epochs: tuple[int, ...] = ()


def target_of(features: Features, target: str) -> np.ndarray:
    """The numbers to predict, float64 `[n]`, NaN where there is none.

    Raises:
        PrimusError: no such target, none known, less than `LEAST_PEOPLE` people, or one value.
    """
    if features.targets is None:
        raise PrimusError(
            f"no target {target!r}: the dataset has none. Prepare it again with `primus-jax "
            f"prepare table ... --target-column {target}`."
        )
    if target not in features.target_names:
        raise PrimusError(f"no target {target!r}; the dataset has {list(features.target_names)}.")
    values = features.targets[:, features.target_names.index(target)].astype(np.float64)
    known = np.isfinite(values)
    people = np.unique(features.group[known])
    if len(people) < LEAST_PEOPLE:
        raise PrimusError(
            f"target {target!r} is known for {len(people)} people; expected {LEAST_PEOPLE} at "
            f"least: one to test, and two to choose the penalty."
        )
    if np.ptp(values[known]) == 0:
        raise PrimusError(
            f"target {target!r} is {values[known][0]:g} in every window; expected a number that "
            f"varies."
        )
    return values


def draw_sides(features: Features, target: np.ndarray, options: RegressionOptions) -> Sides:
    """The people of every draw, checked for leaks; windows without a target are on no side.

    The draw depends on the seed and on the people who have a target.

    Raises:
        PrimusError: too few people for the folds, or a leak (`leaks.check_sides`).
    """
    rows = np.flatnonzero(np.isfinite(target))
    group, label = features.group[rows], np.zeros(len(rows), np.int32)
    few = len(np.unique(group)) < FOLDS
    people = options.people or ("leave-one-out" if few else f"kfold:{FOLDS}")
    sides = choose_sides(people, label, group, features.split[rows], range(options.seeds))

    def everywhere(side: np.ndarray) -> np.ndarray:
        whole = np.zeros((len(side), len(target)), bool)
        whole[:, rows] = side
        return whole

    sides = Sides(
        everywhere(sides.train), everywhere(sides.test), everywhere(sides.validation), sides.seed
    )
    check_sides(features, sides)
    return sides


def predict(
    features: Features, target: np.ndarray, sides: Sides, penalty: float | None = None
) -> Predictions:
    """Fit the training people of every draw, and predict the windows of its test people.

    Args:
        features: of the whole dataset.
        target: float64 `[n]`, from `target_of`.
        sides: from `draw_sides`.
        penalty: see `RegressionOptions`.

    Raises:
        PrimusError: features that are not finite, or a single training person.
    """
    features.check_finite()
    rows = np.flatnonzero(np.isfinite(target))
    x = features.embedding[rows].astype(np.float64)
    # For the sake of rounding alone: every fit standardises by its own training people.
    spread = x.std(0)
    x = (x - x.mean(0)) / np.where(spread > 0, spread, 1)
    level = target[rows].mean()
    y = target[rows] - level
    _, member = np.unique(features.group[rows], return_inverse=True)
    seeds = sorted(set(sides.seed.tolist()))
    predicted = np.full((len(seeds), len(rows)), np.nan)
    grid, chosen = PENALTIES if penalty is None else (penalty,), []
    for i, seed in enumerate(sides.seed.tolist()):
        train, test = sides.train[i, rows], sides.test[i, rows]
        if not test.any():
            continue
        linear, best = choose(x[train], y[train], inner_folds(member[train], seed), grid)
        chosen.append(best)
        predicted[seeds.index(seed), test] = linear(x[test])[:, 0] + level
    return Predictions(rows, target[rows], predicted, tuple(chosen))


def predict_mean(target: np.ndarray, sides: Sides) -> Predictions:
    """Predict the mean of the training people for everybody: what features have to beat."""
    rows = np.flatnonzero(np.isfinite(target))
    seeds = sorted(set(sides.seed.tolist()))
    predicted = np.full((len(seeds), len(rows)), np.nan)
    for i, seed in enumerate(sides.seed.tolist()):
        mean = target[sides.train[i]].mean()
        predicted[seeds.index(seed), sides.test[i, rows]] = mean
    return Predictions(rows, target[rows], predicted, ())


def inner_folds(member: np.ndarray, seed: int) -> np.ndarray:
    """Fold of every training row, int `[n]`: people are dealt to `INNER_FOLDS` in a seeded order.

    Raises:
        PrimusError: a single training person.
    """
    names, person = np.unique(member, return_inverse=True)
    if len(names) < 2:
        raise PrimusError(
            "a fold has a single training person; expected two at least, to choose the penalty. "
            "Hold out fewer people, or record more."
        )
    place = np.random.default_rng([seed, 5]).permutation(len(names))
    return place[person] % min(INNER_FOLDS, len(names))
