"""Leak checks: nobody and nothing that is tested may have been trained on.

Between the two sides of a few-shot draw, and between a dataset and the pretraining of an encoder.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features, window_digest
from primus_jax.evals.fewshot.sampling import Sides
from primus_jax.reports.rows import LeakCheck

PRETRAINED_ON = ("train", "validation")  # validation chose the checkpoint
_LISTED = 3


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a dataset folder gave to pretraining: digests, (group, recording) pairs, groups."""

    content: frozenset[bytes]
    recordings: frozenset[tuple[str, str]]
    people: frozenset[str]


def check_sides(features: Features, sides: Sides) -> None:
    """Raise PrimusError if a draw has something of its training side on another side.

    Compared are people (`subject`, unless "unknown", and `group`), recordings, and the windows'
    content. Training, validation and test are all kept apart.
    """
    names = ("train", "validation", "test")
    for i, seed in enumerate(sides.seed):
        parts = [(name, getattr(sides, name)[i]) for name in names if getattr(sides, name)[i].any()]
        for first, (a, rows_a) in enumerate(parts):
            for b, rows_b in parts[first + 1 :]:
                for what, column in _columns(features):
                    both = np.intersect1d(column[rows_a], column[rows_b])
                    both = both[both != "unknown"] if what == "person" else both
                    if len(both):
                        where = _where(features, what, column, both[0], rows_a, rows_b)
                        raise PrimusError(
                            f"leak (seed {seed}): {len(both)} {what}(s) on both the {a} and the "
                            f"{b} side, first {where}. Give recordings that belong together one "
                            f"subject or group and prepare the dataset again; scores with this "
                            f"leak would be too high."
                        )


def check_pretraining(
    metadata: dict[str, Any], folder: DatasetFolder, features: Features, tested: np.ndarray
) -> LeakCheck:
    """Compare tested windows with what the encoder was pretrained on, as its export states.

    The datasets that the export names are read where they still lie there unchanged, and compared
    by window content, by recording (with its group), and, where they have the source or the name
    of `folder`, by person. What was pretrained on are their train and validation splits, or the
    splits that the export names as `trained_on` (fine-tuning). A dataset that is gone can only be
    compared by hash and by name.

    Args:
        metadata: `Encoder.metadata`.
        folder: of `features`.
        tested: bool `[n]`, windows that any draw tests.

    Returns:
        the check, "untrained", "clean" or "not verified".

    Raises:
        PrimusError: something tested was, or in all likelihood was, pretrained on.
    """
    if "random_seed" in metadata:
        return {"status": "untrained", "why": "random initialisation"}
    data = metadata.get("data")
    if not isinstance(data, dict) or not data:
        return {
            "status": "not verified",
            "why": "the encoder does not state what it was trained on",
        }
    unknown = []
    for path, about in data.items():
        if about["content_hash"] == folder.content_hash:
            seen = _seen_features(features, _splits(about))
            _raise_if_seen(seen, features, tested, path, people=True)
            continue
        try:
            source = DatasetFolder(path)
            changed = source.content_hash != about["content_hash"]
        except PrimusError:
            changed = True
        if changed:
            if Path(path).name in (folder.name, folder.path.name):
                raise PrimusError(
                    f"leak: the encoder was pretrained on {path}, which has the name of "
                    f"{folder.path} but is not there (or no longer the same), so nobody can tell "
                    f"whether the tested people were in it. Restore it, or evaluate on other data."
                )
            unknown.append(path)
            continue
        kin = source.name == folder.name or source.metadata.source == folder.metadata.source
        seen = _seen_folder(str(source.path.resolve()), source.content_hash, _splits(about))
        _raise_if_seen(seen, features, tested, path, people=kin)
    if unknown:
        return {
            "status": "not verified",
            "why": f"not there to compare with, or changed since: {', '.join(unknown)}",
        }
    return {"status": "clean", "why": f"compared with {', '.join(data)}"}


def _columns(features: Features) -> list[tuple[str, np.ndarray]]:
    columns = [
        ("person", features.subject),
        ("group", features.group),
        ("recording", features.recording),
    ]
    if features.content is not None:
        columns.append(("window", features.content))
    return columns


def _where(
    features: Features,
    what: str,
    column: np.ndarray,
    value: object,
    rows_a: np.ndarray,
    rows_b: np.ndarray,
) -> str:
    """Words for the first thing found on both sides: its name, or the recordings of a window."""
    if what != "window":
        return repr(str(value))
    a, b = (np.flatnonzero((column == value) & rows)[0] for rows in (rows_a, rows_b))
    return f"in recordings {str(features.recording[a])!r} and {str(features.recording[b])!r}"


def _splits(about: dict[str, Any]) -> tuple[str, ...]:
    """The splits of a dataset that training saw."""
    return tuple(about.get("trained_on", PRETRAINED_ON))


def _seen_features(features: Features, splits: tuple[str, ...]) -> Seen:
    rows = np.isin(features.split, splits)
    content = features.content if features.content is not None else np.zeros(len(rows), "S1")
    return Seen(
        frozenset(content[rows].tolist()) - {b""},
        frozenset(zip(features.group[rows], features.recording[rows], strict=True)),
        frozenset(features.group[rows].tolist()),
    )


@functools.lru_cache(maxsize=32)
def _seen_folder(path: str, content_hash: str, splits: tuple[str, ...]) -> Seen:
    """Read once per process; `content_hash` is part of the key, so a changed folder is reread."""
    folder, content, recordings = DatasetFolder(path), set(), set()
    for split in splits:
        if not folder.splits.get(split):
            continue
        for rows in folder.windows(split):
            for window in rows:
                content.add(window_digest(window["imu"]))
                recordings.add((window["group"], window["recording"]))
    people = frozenset(group for group, _ in recordings)
    return Seen(frozenset(content), frozenset(recordings), people)


def _raise_if_seen(
    seen: Seen, features: Features, tested: np.ndarray, path: str, *, people: bool
) -> None:
    rows = np.flatnonzero(tested)
    found: list[tuple[str, list[str]]] = []
    if features.content is not None:
        hits = [i for i in rows if features.content[i] in seen.content]
        found.append(("window", [f"one of recording {str(features.recording[i])!r}" for i in hits]))
    pairs = dict.fromkeys(zip(features.group[rows], features.recording[rows], strict=True))
    found.append(("recording", [repr(str(p[1])) for p in pairs if p in seen.recordings]))
    if people:
        people_tested = dict.fromkeys(features.group[rows].tolist())
        found.append(("person", [repr(name) for name in people_tested if name in seen.people]))
    for what, names in found:
        if names:
            listed = ", ".join(dict.fromkeys(names[:_LISTED]))
            raise PrimusError(
                f"leak: {len(names)} tested {what}(s) were in the encoder's pretraining set "
                f"{path} (train or validation): {listed}. Test on other people: --people folder "
                f"tests the dataset's own test split, which pretraining never reads."
            )
