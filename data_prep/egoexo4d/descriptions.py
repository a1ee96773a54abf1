"""Atomic descriptions (timestamped sentences) of Ego-Exo4D."""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.egoexo4d.annotations import read_by_take
from data_prep.narration_text import WEARER, clean, subject_of

REJECTED = "annotations rejected by the publishers"
OTHERS = "sentences that are not about the camera wearer"
EMPTY = "sentences without words"
AGAIN = "sentences said again at the same time"
UNSURE = "sentences marked unsure"
KEPT = " (kept)"
# Annotators mark a time to within one or two seconds; the same words this close are one event.
SAME_TIME = 0.5

# Some annotators write the wearer's letter small; capital, it is the tag that all of Ego4D uses.
_SMALL = re.compile(r"\A\s*c(?=\s)")


@dataclasses.dataclass(frozen=True, slots=True)
class Description:
    """One sentence at one time; `wearer` tells that its subject is the camera wearer."""

    seconds: float
    text: str
    wearer: bool
    unsure: bool


@dataclasses.dataclass(frozen=True)
class Annotation:
    """What one annotator said about a take, and whether the publishers rejected the job."""

    rejected: bool
    descriptions: tuple[Description, ...]


def read_descriptions(raw: Path) -> dict[str, tuple[Annotation, ...]]:
    """Read the descriptions of all takes, train and val, by take uid.

    Raises:
        PrimusError: neither file is there, or one is not in the published format; the take is
            named.
    """
    return read_by_take(raw, "atomic_descriptions", _annotations)


def narrations(
    annotations: Sequence[Annotation],
    drops: Counter[str],
    *,
    others: bool = False,
    unsure: bool = True,
    rejected: bool = False,
) -> tuple[tuple[float, str], ...]:
    """Sentences (seconds of the take, text) ordered by time; all annotators', each said once.

    A sentence about the camera wearer has the subject "C" and begins with the tag C: about one in
    ninety of those with that subject is in fact about a ball or a partner.

    Args:
        annotations: of one take.
        drops: counts what is left out.
        others: keep sentences about somebody or something else too.
        unsure: keep sentences whose annotator was unsure of a name (counted either way).
        rejected: keep the jobs that the publishers rejected.
    """
    found: list[tuple[float, str]] = []
    for annotation in annotations:
        if annotation.rejected and not rejected:
            drops[REJECTED] += 1
            continue
        for description in annotation.descriptions:
            said = _SMALL.sub("C", description.text)
            if not others and not (description.wearer and subject_of(said) == WEARER):
                drops[OTHERS] += 1
                continue
            if description.unsure:
                drops[UNSURE + KEPT * unsure] += 1
                if not unsure:
                    continue
            text = clean(said)
            if not text:
                drops[EMPTY] += 1
                continue
            found.append((description.seconds, text))
    last: dict[str, float] = {}
    result = []
    for seconds, text in sorted(found):
        key = text.casefold()
        if seconds - last.get(key, -1e9) <= SAME_TIME:
            drops[AGAIN] += 1
            continue
        last[key] = seconds
        result.append((seconds, text))
    return tuple(result)


def _annotations(entries: list[dict[str, Any]]) -> tuple[Annotation, ...]:
    return tuple(
        Annotation(bool(entry["rejected"]), tuple(map(_description, entry["descriptions"])))
        for entry in entries
    )


def _description(said: dict[str, Any]) -> Description:
    seconds = float(said["timestamp"])
    if not math.isfinite(seconds):
        raise ValueError(f"timestamp {seconds}")
    # A few of the published sentences have neither a subject nor flags, but null.
    return Description(seconds, str(said["text"]), said["subject"] == "C", said["unsure"] is True)
