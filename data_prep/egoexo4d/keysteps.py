"""Keystep segments: what is done from when to when, with a name from the vocabulary."""

import dataclasses
from pathlib import Path
from typing import Any

from data_prep.egoexo4d.annotations import read_by_take


@dataclasses.dataclass(frozen=True, slots=True)
class Keystep:
    """A segment of a take in seconds, the step's name and the annotator's own words."""

    start: float
    end: float
    name: str
    text: str


def read_keysteps(raw: Path) -> dict[str, tuple[Keystep, ...]]:
    """Read the keysteps of all takes, train and val, by take uid, ordered by start.

    Raises:
        PrimusError: neither file is there, or one is not in the published format; the take is
            named.
    """
    return read_by_take(raw, "keystep", _keysteps)


def _keysteps(entry: dict[str, Any]) -> tuple[Keystep, ...]:
    steps = [_keystep(segment) for segment in entry["segments"]]
    return tuple(sorted(steps, key=lambda step: (step.start, step.end, step.name)))


def _keystep(segment: dict[str, Any]) -> Keystep:
    start, end = float(segment["start_time"]), float(segment["end_time"])
    if not 0 <= start < end < float("inf"):
        raise ValueError(f"start_time {start}, end_time {end}")
    name = segment["step_name"].strip()
    return Keystep(start, end, name, (segment.get("step_description") or name).strip())
