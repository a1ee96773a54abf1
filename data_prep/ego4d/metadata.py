"""What ego4d.json says of the videos."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primus_jax.errors import PrimusError
from primus_jax.files import read_json

# The published splits of benchmarks, by video.
SPLIT_KEYS = {"em": "split_em", "av": "split_av", "fho": "split_fho"}
_SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


@dataclasses.dataclass(frozen=True)
class Clip:
    """A part of a video that is a file of its own; `start` and `end` in seconds of the video."""

    uid: str
    start: float
    end: float


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """One canonical video.

    Attributes:
        seconds: length of the video stream.
        has_imu: whether the corpus has inertial data of it.
        participant: number of the camera wearer, or None where nobody knows.
        scenarios: tags, as "Cooking".
        splits: benchmark (a key of `SPLIT_KEYS`) -> "train", "validation" or "test".
        clips: parts that are files of their own.
    """

    seconds: float
    has_imu: bool
    participant: int | None
    scenarios: tuple[str, ...]
    splits: Mapping[str, str]
    clips: tuple[Clip, ...]


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Version in words, and the videos by uid."""

    version: str
    videos: Mapping[str, VideoInfo]

    @functools.cached_property
    def uids(self) -> frozenset[str]:
        """All videos."""
        return frozenset(self.videos)


def read_metadata(path: Path) -> Metadata:
    """Read ego4d.json; a process reads an unchanged file once.

    Raises:
        PrimusError: not such a file, a video without uid or length, or a uid that appears twice.
    """
    stat = path.stat()
    return _read(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _read(path: Path, size: int, changed: int) -> Metadata:
    data = read_json(path)
    videos = data.get("videos") if isinstance(data, dict) else None
    if not isinstance(videos, list):
        raise PrimusError(f"{path}: no list 'videos'; expected Ego4D's ego4d.json.")
    clips: dict[str, list[Clip]] = {}
    for clip in data.get("clips") or ():
        start, end = _number(clip.get("video_start_sec")), _number(clip.get("video_end_sec"))
        if start is not None and end is not None and clip.get("clip_uid"):
            clips.setdefault(clip.get("video_uid"), []).append(Clip(clip["clip_uid"], start, end))
    found: dict[str, VideoInfo] = {}
    for number, video in enumerate(videos):
        uid, info = _video(video, f"{path}, videos[{number}]", clips)
        if uid in found:
            raise PrimusError(f"{path}: the video {uid} appears twice.")
        found[uid] = info
    words = (data.get("version"), data.get("date"))
    return Metadata(", ".join(str(word) for word in words if word) or "not stated", found)


def _video(video: Any, where: str, clips: Mapping[str, list[Clip]]) -> tuple[str, VideoInfo]:
    if not isinstance(video, dict) or not isinstance(video.get("video_uid"), str):
        raise PrimusError(f"{where}: no video_uid.")
    uid = video["video_uid"]
    stream = video.get("video_metadata") or {}
    seconds = _number(stream.get("video_duration_sec")) or _number(video.get("duration_sec"))
    if not seconds or seconds < 0:
        raise PrimusError(f"{where} ({uid}): no duration_sec above 0.")
    splits = {
        benchmark: _SPLITS[video[key]]
        for benchmark, key in SPLIT_KEYS.items()
        if video.get(key) in _SPLITS
    }
    return uid, VideoInfo(
        seconds,
        bool(video.get("has_imu")),
        video.get("fb_participant_id"),
        tuple(video.get("scenarios") or ()),
        splits,
        tuple(sorted(clips.get(uid, ()), key=lambda clip: clip.start)),
    )


def _number(value: Any) -> float | None:
    ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if ok else None
