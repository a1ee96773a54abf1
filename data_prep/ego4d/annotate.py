"""Soft labels of movements for Ego4D's windows, made from its narrations.

The file has the columns of IMU2CLIP's `dataset_motion_narr_2.5.csv`, which
`prepare ego4d --task movement --labels FILE` reads.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from data_prep.ego4d.layout import find_layout
from data_prep.ego4d.metadata import read_metadata
from data_prep.ego4d.narrations import check_file, read_narrations
from data_prep.ego4d.prompts import MOVEMENT
from data_prep.soft_labels import Matcher, Patterns, TfIdf
from primus_jax.errors import PrimusError

COLUMNS = ("window_start", "window_end", "video_uid", "text", "Score-TFIDF", "label")
# Whole movements of the body; "stands on a ladder" and "puts the cup down" are none of them.
MOVEMENT4_PATTERNS = {
    "head movement": re.compile(
        r"\blook(?:s|ing)? (?:\w+ )?(?:around|up|down|left|right)\b"
        r"|\b(?:move|turn|shake|nod|raise|lower|tilt)(?:s|ing)? (?:\w+ )?(?:head|neck)\b"
    ),
    "stands up": re.compile(r"\bstand(?:s|ing)? up\b|\b(?:gets|rises) up\b|\brises from\b"),
    "sits down": re.compile(r"\bsit(?:s|ting)? (?:back )?down\b"),
    "walking": re.compile(r"\bwalk(?:s|ing)?\b(?! way)"),
}
CLASSES = ("movement", "movement4")


def matcher(classes: str, narrations: Iterator[str], least: float) -> Matcher:
    """What labels the narrations.

    Args:
        classes: "movement", nine labels by TF-IDF; "movement4", four by patterns.
        narrations: every sentence, from which TF-IDF weighs words.
        least: of a TF-IDF score.
    """
    if classes == "movement":
        return TfIdf.fit(tuple(MOVEMENT), narrations, least)
    return Patterns(MOVEMENT4_PATTERNS)


class Narrations:
    """Every narration of the wearer in a download, video by video.

    Attributes:
        drops: what was left out by reason, once `sentences` was read.

    Raises:
        PrimusError: no such download, or one without narrations.
    """

    def __init__(self, raw: Path) -> None:
        layout = find_layout(raw)
        if layout.narrations is None:
            raise PrimusError(
                f"{raw}: no annotations/narration.json there. Download the dataset annotations."
            )
        self._path = layout.narrations
        self._known = read_metadata(layout.metadata).uids
        check_file(self._path, self._known)
        self.drops: Counter[str] = Counter()

    def sentences(self) -> Iterator[tuple[str, float, str]]:
        """Yield (video uid, seconds, sentence), of one video in memory at a time."""
        self.drops.clear()
        for uid in sorted(self._known):
            for seconds, text in read_narrations(self._path, uid, self._known, self.drops):
                yield uid, seconds, text


def annotate(
    narrations: Narrations, classes: str, path: Path, *, window_seconds: float, least: float
) -> tuple[dict[str, Counter[str]], Counter[str]]:
    """Write a row for every narration that fits one class; the window is centred on it.

    Args:
        narrations: of a download; read once or, for TF-IDF, twice.
        classes: one of `CLASSES`.
        path: the CSV file.
        window_seconds: length of the windows; one that would begin before the video begins there.
        least: of a TF-IDF score.

    Returns:
        how often each sentence was given each label, and what got none, by reason.

    Raises:
        PrimusError: a length that is not positive, no narration, or no label at all.
    """
    if not 0 < window_seconds < 3600:
        raise PrimusError(f"--window {window_seconds:g}; expected a positive number of seconds.")
    found = matcher(classes, (text for _, _, text in narrations.sentences()), least)
    counts: dict[str, Counter[str]] = {label: Counter() for label in found.labels}
    drops: Counter[str] = Counter()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for uid, seconds, text in narrations.sentences():
            match = found.match(text)
            if not match.label:
                drops[match.why] += 1
                continue
            begin = max(seconds - window_seconds / 2, 0.0)
            times = (f"{begin:.3f}", f"{begin + window_seconds:.3f}")
            writer.writerow([*times, uid, text, f"{match.score:.6f}", match.label])
            counts[match.label][text] += 1
    if not any(counts.values()):
        raise PrimusError(f"no narration fits a class of {classes!r}; lower --least.")
    return counts, drops + narrations.drops
