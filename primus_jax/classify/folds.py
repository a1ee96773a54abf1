"""How a user's labelled windows are held out: by person, else recording, bout, or stretch of time.

A score is worth what was kept apart, so the strictest way that the data allow is taken, and said.
"""

import dataclasses

import numpy as np

MOST_FOLDS = 10
BLOCKS = 5


@dataclasses.dataclass(frozen=True)
class Held:
    """`fold` int `[n]`, 0 to folds - 1; `unit` int `[n]`, the person (recording...) of a window;
    `names` of the units; `by`, one word, and `meaning`, a sentence, for people."""

    fold: np.ndarray
    unit: np.ndarray
    names: tuple[str, ...]
    by: str
    meaning: str

    @property
    def folds(self) -> int:
        """Number of folds."""
        return int(self.fold.max()) + 1


def hold_out(
    label: np.ndarray, subject: np.ndarray, recording: np.ndarray, bout: np.ndarray
) -> Held:
    """The strictest way to hold windows out that leaves every class something to learn from.

    By person, if at least two classes were done by two people each; else by recording, or by bout
    (an uninterrupted stretch of one label), if every class has two; else each class's windows are
    cut into five stretches of time.

    Args:
        label: int `[n]`.
        subject: str `[n]`, "unknown" where nobody knows.
        recording: str `[n]`.
        bout: str `[n]`; windows of a bout follow one another in time.
    """
    classes = label.max() + 1
    people = [len(set(subject[label == k])) for k in range(classes)]
    if "unknown" not in subject and sum(count > 1 for count in people) > 1:
        meaning = (
            "People were left out in turn: this is what to expect of a new person who wears the "
            "same sensor in the same way."
        )
        return _by(subject, "person", meaning)
    alone = (
        "one person was recorded" if len(set(subject)) == 1 else "no two people did the same things"
    )
    for unit, by in ((recording, "recording"), (bout, "bout")):
        if all(len(set(unit[label == k])) > 1 for k in range(classes)):
            what = "Recordings" if by == "recording" else "Bouts (stretches of one label)"
            meaning = f"{what} were left out in turn, since {alone}: expect less of a new person."
            return _by(unit, by, meaning, label)
    fold = np.empty(len(label), np.int64)
    for k in range(classes):
        rows = np.flatnonzero(label == k)
        fold[rows] = np.arange(len(rows)) * min(BLOCKS, len(rows)) // len(rows)
    return Held(
        fold,
        fold,
        tuple(f"stretch {i + 1}" for i in range(BLOCKS)),
        "time",
        f"Stretches of time of the same recordings were left out in turn, since {alone}, and some "
        f"label occurs once only: expect clearly less of another day or person.",
    )


def training_rows(
    held: Held, fold: int, bout: np.ndarray, start: np.ndarray, window: int
) -> np.ndarray:
    """Rows to train on while `fold` is tested, bool `[n]`.

    Stretches of time lie side by side: windows that share samples with a tested one of their bout,
    or touch it, are left out.

    Args:
        held: of `hold_out`.
        fold: the one that is tested.
        bout: str `[n]`.
        start: int `[n]`, first samples of the windows in their bout, ascending within it.
        window: samples of a window.
    """
    tested = held.fold == fold
    train = ~tested
    if held.by == "time":
        for name in np.unique(bout[tested]):
            rows = np.flatnonzero(bout == name)
            first = start[rows[tested[rows]]]
            # none of the tested ones starts from a window's length before to one after
            before = np.searchsorted(first, start[rows] - window, "left")
            train[rows] &= before == np.searchsorted(first, start[rows] + window, "right")
    return train


def _by(unit: np.ndarray, by: str, meaning: str, label: np.ndarray | None = None) -> Held:
    """Units to folds: one each up to `MOST_FOLDS`; more are dealt out, the largest first, each to
    the emptiest fold; of bouts, those of each class in turn."""
    names, index = np.unique(unit, return_inverse=True)
    size = np.bincount(index)
    folds = min(len(names), MOST_FOLDS if by != "bout" else BLOCKS)
    fold_of = np.empty(len(names), np.int64)
    if by == "bout" and label is not None:
        for k in range(label.max() + 1):
            mine = np.unique(index[label == k])
            fold_of[mine] = np.arange(len(mine)) % folds
    else:
        filled = np.zeros(folds, np.int64)
        for i in np.argsort(-size, kind="stable"):
            fold_of[i] = filled.argmin()
            filled[fold_of[i]] += size[i]
    fold = np.unique(fold_of[index], return_inverse=True)[1]
    return Held(fold, index, tuple(map(str, names)), by, meaning)
