"""Split by group (person, clip...), never by window: neighbours in time are near copies."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from primus_jax.errors import PrimusError

NAMES = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Splits:
    """Fractions of the windows for training, validation and test, and the seed of the draw.

    With `test_groups`, a published split: these groups are the test, and the fractions (of which
    the last must be 0) divide the others.

    Raises:
        PrimusError: fractions that are not three numbers in [0, 1] with sum 1, a negative seed.
    """

    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    test_groups: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        values = np.asarray(self.fractions, np.float64)
        if values.shape != (3,) or not (values >= 0).all() or abs(values.sum() - 1) > 1e-6:
            raise PrimusError(
                f"splits {tuple(self.fractions)}; expected three fractions (train, validation, "
                f"test) that sum to 1, such as 0.8 0.1 0.1."
            )
        if self.test_groups and values[2]:
            raise PrimusError(
                f"splits {tuple(self.fractions)} with a published test set; expected no fraction "
                f"for the test."
            )
        if self.seed < 0:
            raise PrimusError(f"seed {self.seed}; expected a whole number from 0.")


def assign(windows: Mapping[str, int], splits: Splits) -> dict[str, str]:
    """Give every group a split, so that the window counts approach the fractions.

    Groups are taken in an order drawn from the seed; each goes to the split that lacks most
    windows. Every split with a fraction above zero gets at least one group.

    Args:
        windows: windows of each group, all positive.
        splits: fractions and seed.

    Raises:
        PrimusError: fewer groups than splits.
    """
    result = {group: "test" for group in windows if group in splits.test_groups}
    windows = {group: count for group, count in windows.items() if group not in result}
    wanted = [i for i in range(3) if splits.fractions[i] > 0]
    groups = sorted(windows)
    if len(groups) < len(wanted):
        raise PrimusError(
            f"{len(groups)} group(s) with windows cannot fill {len(wanted)} splits, since a group "
            f"(a person, or a recording of nobody known) stays on one side. Give more people, or "
            f"--splits 1 0 0."
        )
    order = np.random.default_rng(splits.seed).permutation(len(groups))
    lack = np.asarray(splits.fractions, np.float64) * sum(windows.values())
    empty = set(wanted)
    for position, index in enumerate(order):
        must_fill = len(groups) - position <= len(empty)
        split = max(empty if must_fill else wanted, key=lambda i: (lack[i], -i))
        empty.discard(split)
        lack[split] -= windows[groups[index]]
        result[groups[index]] = NAMES[split]
    return result
