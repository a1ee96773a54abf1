"""Sentences with their times from narration.json, one video at a time.

The file holds some four million sentences. A process remembers where each video begins in it, and
parses the entries of the videos that it prepares.
"""

import functools
import itertools
import json
import math
import mmap
import re
from collections import Counter
from collections.abc import Collection, Mapping, Set
from pathlib import Path
from typing import Any

from data_prep.narration_text import OTHERS, SUMMARY, UNTAGGED, WEARER, clean, subject_of
from primus_jax.errors import PrimusError

PASSES = (1, 2)
LEFT_OUT = {
    WEARER: "narrations about the camera wearer",
    OTHERS: "narrations about other people (#O)",
    SUMMARY: "summaries among the narrations",
    UNTAGGED: "narrations that do not say about whom",
}
EMPTY = "narrations without words"
NO_TIME = "narrations without a time"
REPEATED = "repeated narrations (same time and words)"
# Narrators' times may lie a little before the first frame.
EARLY_SECONDS = 1.0

_OBJECT = re.compile(rb'"\s*:\s*(?=\{)')


def read_narrations(
    path: Path,
    uid: str,
    known: Set[str],
    drops: Counter[str],
    *,
    passes: Collection[int] = PASSES,
    subjects: Collection[str] = (WEARER,),
) -> list[tuple[float, str]]:
    """The cleaned narrations of one video, ordered by time in seconds of the video's own clock.

    Args:
        path: narration.json.
        uid: of the video; one that the file does not have has no narrations.
        known: hashable, the uids of all videos, which are the keys of the file.
        drops: counts the narrations left out, by reason.
        passes: of the two independent annotators.
        subjects: of the narrations to keep (`data_prep.narration_text`).

    Raises:
        PrimusError: damaged or unexpected JSON (names file and video), or a file that was cut off.
    """
    where = f"{path}, video {uid}"
    found: list[tuple[float, str]] = []
    video = _video(path, uid, known, where)
    for number in sorted(passes):
        part = video.get(f"narration_pass_{number}") or {}
        items = (part.get("narrations") or ()) if isinstance(part, dict) else None
        if not isinstance(items, list | tuple):
            raise PrimusError(f"{where}, pass {number}: no list of narrations.")
        for item in items:
            text = item.get("narration_text") if isinstance(item, dict) else None
            if not isinstance(text, str) or not text.strip():
                drops[EMPTY] += 1
                continue
            subject, sentence = subject_of(text), clean(text)
            seconds = _seconds(item.get("timestamp_sec"))
            if subject not in subjects:
                drops[LEFT_OUT[subject]] += 1
            elif not sentence:
                drops[EMPTY] += 1
            elif seconds is None:
                drops[NO_TIME] += 1
            else:
                found.append((max(seconds, 0.0) if seconds > -EARLY_SECONDS else seconds, sentence))
    unique = sorted(set(found))
    drops[REPEATED] += len(found) - len(unique)
    return unique


def check_file(path: Path, known: Set[str]) -> None:
    """Check that narration.json is whole, before hours of work begin.

    Raises:
        PrimusError: not a JSON object, or cut off.
    """
    stat = path.stat()
    _index(path, stat.st_size, stat.st_mtime_ns, known)


def _video(path: Path, uid: str, known: Set[str], where: str) -> Mapping[str, Any]:
    stat = path.stat()
    index = _index(path, stat.st_size, stat.st_mtime_ns, known)
    if uid not in index:
        return {}
    begin, end = index[uid]
    with path.open("rb") as file:
        file.seek(begin)
        part = file.read(end - begin)
    try:
        return json.JSONDecoder().raw_decode(part.decode("utf-8"))[0]
    except ValueError as error:
        raise PrimusError(
            f"{where}: damaged JSON ({error}). Download the annotations again."
        ) from error


@functools.lru_cache(maxsize=2)
def _index(path: Path, size: int, changed: int, known: Set[str]) -> dict[str, tuple[int, int]]:
    """First byte of the object behind every known key, and of the next object (or the end).

    Quotes inside JSON strings are escaped, so that `"key": {` never lies inside a sentence.
    """
    begins: dict[str, int] = {}
    with path.open("rb") as file:
        if not re.match(rb"(?:\xef\xbb\xbf)?\s*\{", file.read(4096)):
            raise PrimusError(f"{path}: not a JSON object; expected Ego4D's narration.json.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for match in _OBJECT.finditer(data):
                key = data[data.rfind(b'"', 0, match.start()) + 1 : match.start()]
                if (name := key.decode("utf-8", "replace")) in known:
                    begins[name] = match.end()
    order = [*begins.values(), size]
    if begins:
        _check_end(path, order[-2])
    return dict(zip(begins, itertools.pairwise(order), strict=True))


def _check_end(path: Path, last: int) -> None:
    """Raise PrimusError if the file was cut: later videos would seem to have no narrations.

    Where only the last video is damaged, the file is closed behind it; `read_narrations` reports
    that video.

    Args:
        path: narration.json.
        last: first byte of the last known video.
    """
    with path.open("rb") as file:
        file.seek(last)
        text = file.read().decode("utf-8", "replace")
    try:
        closed = "}" in text[json.JSONDecoder().raw_decode(text)[1] :]
    except ValueError:
        closed = "".join(text[-200:].split()).endswith("}}")
    if not closed:
        raise PrimusError(
            f"{path}: cut off, so that videos are missing. Download the annotations again."
        )


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if math.isfinite(seconds) else None
