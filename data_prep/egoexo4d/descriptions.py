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
NO_TIME = "sentences without a time"
UNREADABLE = "entries of annotations that cannot be read"
KEPT = " (kept)"
WEARER_SUBJECT = "C"
# Annotators mark a time to within one or two seconds; the same words this close are one event.
SAME_TIME = 0.5

# Some annotators write the wearer's letter small; capital, it is the tag that all of Ego4D uses.
_SMALL = re.compile(r"\A\s*c(?=\s)")


@dataclasses.dataclass(frozen=True, slots=True)
class Description:
    """One sentence at one time; `wearer`: its subject is the camera wearer."""

    seconds: float
    text: str
    wearer: bool
    unsure: bool


@dataclasses.dataclass(frozen=True)
class Annotation:
    """The sentences of one annotator about a take; `rejected`: the publishers rejected the job.

    `unreadable` has the reason for each entry that is left out.
    """

    rejected: bool
    descriptions: tuple[Description, ...]
    unreadable: tuple[str, ...] = ()


def read_descriptions(raw: Path) -> dict[str, tuple[Annotation, ...]]:
    """Read the descriptions of all takes, train and val, by take uid.

    Raises:
        PrimusError: neither file is there, or one is not an object with annotations by take.
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
    """Sentences (seconds of the take, text) of all annotators, ordered by time, without repeats.

    A sentence about the camera wearer has the subject "C" and begins with the tag C. The subject
    alone does not suffice: one in ninety such sentences is about a ball or a partner.

    Args:
        annotations: of one take.
        drops: counts sentences and annotations left out, by reason.
        others: keep sentences about other people and things too.
        unsure: keep sentences whose annotator was unsure of a name (counted either way).
        rejected: keep the jobs that the publishers rejected.
    """
    found: list[tuple[float, str]] = []
    for annotation in annotations:
        if annotation.rejected and not rejected:
            drops[REJECTED] += 1
            continue
        drops.update(annotation.unreadable)
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


def _annotations(entries: Any) -> tuple[Annotation, ...]:
    """The annotations of one take, with a reason for each entry that cannot be read."""
    if not isinstance(entries, list):
        return (Annotation(False, (), (UNREADABLE,)),)
    return tuple(map(_annotation, entries))


def _annotation(entry: Any) -> Annotation:
    said = entry.get("descriptions") if isinstance(entry, dict) else None
    if not isinstance(said, list):
        return Annotation(False, (), (UNREADABLE,))
    found = [_description(item) for item in said]
    return Annotation(
        bool(entry.get("rejected")),
        tuple(item for item in found if isinstance(item, Description)),
        tuple(item for item in found if isinstance(item, str)),
    )


def _description(said: Any) -> Description | str:
    """A sentence, or the reason to leave it out."""
    if not isinstance(said, dict) or "subject" not in said:
        return UNREADABLE
    text = said.get("text")
    if text is None or text == "":
        return EMPTY
    if not isinstance(text, str):
        return UNREADABLE
    try:
        seconds = float(said["timestamp"])
    except (KeyError, TypeError, ValueError):
        return NO_TIME
    if not math.isfinite(seconds):
        return NO_TIME
    # A few of the published sentences have neither a subject nor flags, but null.
    return Description(seconds, text, said["subject"] == WEARER_SUBJECT, said.get("unsure") is True)
