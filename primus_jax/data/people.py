"""Who wore the sensor in every window of a split: the index that draws windows of one person."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from primus_jax.data.embeddings import load_arrays
from primus_jax.data.folder import READ_TOGETHER, DatasetFolder
from primus_jax.errors import PrimusError

FILE = "people.npz"
# Names of readers for a person whom the recordings do not name.
NOBODY = ("", "unknown")
NEAR = ("minutes", "recording", "person")


@dataclasses.dataclass(frozen=True)
class People:
    """One row for every window of a split, in its order.

    Attributes:
        subject: int32 `[windows]`, equal numbers for equal people; -1 where nobody is named.
        recording: int32 `[windows]`, equal numbers for equal recordings.
        start_seconds: float32 `[windows]`, within the recording.
    """

    subject: np.ndarray
    recording: np.ndarray
    start_seconds: np.ndarray


def read_people(folder: DatasetFolder, split: str) -> People:
    """Return the table of a split: from `people.npz`, or of folders without it from every record.

    `primus-jax prepare` writes the file. To read every record of a million windows takes a minute.

    Raises:
        PrimusError: a `people.npz` that does not fit the split, or a dataset without people.
    """
    found = _stored(folder, split) or _scanned(folder, split)
    if not (found.subject >= 0).any():
        raise PrimusError(
            f"{folder.path}: no window of the split {split!r} names the person who wore the "
            f"sensor, so that no other window of the same person can be drawn. Prepare it with "
            f"people (--subject-column, or `subject` in a pack), or train by another objective."
        )
    return found


def people_arrays(split: str, people: People) -> dict[str, np.ndarray]:
    """Return the arrays of `people.npz` for one split."""
    return {f"{split}_{field.name}": getattr(people, field.name) for field in _fields()}


def coded(
    subjects: Sequence[str],
    recordings: Sequence[str],
    sizes: Sequence[int],
    starts: Sequence[float],
) -> People:
    """Return the table of recordings, one after another.

    Args:
        subjects, recordings: names for each recording; one name may stand more than once.
        sizes: windows of each recording.
        starts: seconds, of every window.
    """
    people, subject = np.unique(np.asarray(subjects, np.str_), return_inverse=True)
    subject = np.where(np.isin(people, NOBODY)[subject], -1, subject)
    # One name may be given to recordings of several people.
    pairs = [f"{who}\0{which}" for who, which in zip(subjects, recordings, strict=True)]
    _, recording = np.unique(np.asarray(pairs, np.str_), return_inverse=True)
    return People(
        np.repeat(subject.astype(np.int32), sizes),
        np.repeat(recording.astype(np.int32), sizes),
        np.asarray(starts, np.float32),
    )


@dataclasses.dataclass(frozen=True)
class PeopleIndex:
    """The windows of a split in groups of one person, near in time.

    Attributes:
        group: int64 `[windows]`, the group of each window; one of its own without a person.
        order: int64 `[windows]`, all windows by group and, within it, by number.
        bounds: int64 `[groups + 1]`, where each group begins in `order`.
        place: int64 `[windows]`, where each window stands in `order`.
    """

    group: np.ndarray
    order: np.ndarray
    bounds: np.ndarray
    place: np.ndarray

    @functools.cached_property
    def others(self) -> np.ndarray:
        """How many other windows the group of each window has, int64 `[windows]`."""
        return np.diff(self.bounds)[self.group] - 1

    def draw(
        self, number: int, count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return `count` other windows of the group of window `number`, and which are there.

        Drawn without replacement. Where the group has too few, all of them come, then repetitions
        of them (of the window itself where it is alone), which are marked as not there.

        Returns:
            int64 `[count]`, numbers of windows, and bool `[count]`.
        """
        group = self.group[number]
        first, size = self.bounds[group], self.bounds[group + 1] - self.bounds[group]
        drawn = rng.choice(size - 1, min(count, size - 1), replace=False)
        drawn = drawn + (drawn >= self.place[number] - first)
        windows = self.order[first + drawn] if len(drawn) else np.array([number])
        there = np.arange(count) < len(drawn)
        return windows[np.arange(count) % len(windows)], there


def index_people(people: People, near: str, minutes: float) -> PeopleIndex:
    """Return the index of a table.

    Args:
        people: of a split.
        near: which windows of a person form a group: those of one "recording" that start within
            the same `minutes` of it ("minutes"), all of one "recording", or all ("person").
        minutes: length of such a stretch; read with "minutes" alone.
    """
    count = len(people.subject)
    keys = [people.subject.astype(np.int64)]
    if near != "person":
        keys.append(people.recording.astype(np.int64))
    if near == "minutes":
        keys.append((people.start_seconds.astype(np.float64) // (60 * minutes)).astype(np.int64))
    # Windows without a person differ from each other by their number.
    keys.append(np.where(people.subject < 0, np.arange(count), 0))
    order = np.lexsort(keys[::-1])
    ordered = [key[order] for key in keys]
    new = np.zeros(count, bool)
    for key in ordered:
        new[1:] |= key[1:] != key[:-1]
    group, place = np.empty(count, np.int64), np.empty(count, np.int64)
    group[order], place[order] = np.cumsum(new), np.arange(count)
    bounds = np.concatenate([[0], np.flatnonzero(new), [count]])
    return PeopleIndex(group, order, bounds, place)


def _stored(folder: DatasetFolder, split: str) -> People | None:
    """The table of `people.npz`, or None without the file or the split in it."""
    path = folder.path / FILE
    names = tuple(f"{split}_{field.name}" for field in _fields())
    if not path.is_file():
        return None
    arrays = load_arrays(path, names)
    whole = all(n in arrays and arrays[n].shape == (folder.splits[split],) for n in names)
    if arrays and not whole:
        raise PrimusError(
            f"{path} does not describe the {folder.splits[split]} windows of the split {split!r}. "
            f"Prepare the dataset again, or remove the file to read every window instead."
        )
    return People(*(arrays[name] for name in names)) if arrays else None


def _scanned(folder: DatasetFolder, split: str) -> People:
    """The table from every record; of a damaged record, from the next good one."""
    source = folder.source(split, skip_damaged=True)
    rows: list[tuple[str, str, float]] = []
    for first in range(0, len(source), READ_TOGETHER):
        for record in source.__getitems__(range(first, min(first + READ_TOGETHER, len(source)))):
            rows.append((record["subject"], record["recording"], record["start_seconds"]))
    subjects, recordings, starts = map(list, zip(*rows, strict=True))
    return coded(subjects, recordings, [1] * len(rows), starts)


def _fields() -> tuple[dataclasses.Field[np.ndarray], ...]:
    return dataclasses.fields(People)
