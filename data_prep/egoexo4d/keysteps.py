"""Keystep segments: a step's start, end, and name from the vocabulary."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from data_prep.egoexo4d.annotations import read_by_take

NO_TIME = "keysteps without a start before an end"
UNREADABLE = "keysteps that cannot be read"


@dataclasses.dataclass(frozen=True, slots=True)
class Keystep:
    """A segment of a take in seconds, the step's name and the annotator's own words."""

    start: float
    end: float
    name: str
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Keysteps:
    """The steps of one take, ordered by start, and a reason for each step left out."""

    steps: tuple[Keystep, ...] = ()
    unreadable: tuple[str, ...] = ()


def read_keysteps(raw: Path) -> dict[str, Keysteps]:
    """Read the keysteps of all takes, train and val, by take uid.

    Raises:
        PrimusError: neither file is there, or one is not an object with annotations by take.
    """
    return read_by_take(raw, "keystep", _keysteps)


def _keysteps(entry: Any) -> Keysteps:
    segments = entry.get("segments") if isinstance(entry, dict) else None
    if not isinstance(segments, list):
        return Keysteps(unreadable=(UNREADABLE,))
    found = [_keystep(segment) for segment in segments]
    steps = [item for item in found if isinstance(item, Keystep)]
    return Keysteps(
        tuple(sorted(steps, key=lambda step: (step.start, step.end, step.name))),
        tuple(item for item in found if isinstance(item, str)),
    )


def _keystep(segment: Any) -> Keystep | str:
    """A keystep, or the reason to leave it out."""
    name = segment.get("step_name") if isinstance(segment, dict) else None
    if not isinstance(name, str) or not name.strip():
        return UNREADABLE
    try:
        start, end = float(segment["start_time"]), float(segment["end_time"])
    except (KeyError, TypeError, ValueError):
        return NO_TIME
    if not 0 <= start < end < math.inf:
        return NO_TIME
    words = segment.get("step_description")
    words = words.strip() if isinstance(words, str) else ""
    return Keystep(start, end, name.strip(), words or name.strip())
