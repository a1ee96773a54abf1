"""The videos as ego4d.json lists them."""

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
    """A part of a video in a file of its own; `start` and `end` in seconds of the video."""

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
    participant: int | float | str | None
    scenarios: tuple[str, ...]
    splits: Mapping[str, str]
    clips: tuple[Clip, ...]


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Version in words, and the videos by uid.

    Attributes:
        version: and date.
        videos: those whose entry can be read.
        broken: the fault in the entry of each other video, by uid.
    """

    version: str
    videos: Mapping[str, VideoInfo]
    broken: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def uids(self) -> frozenset[str]:
        """All videos."""
        return frozenset(self.videos) | frozenset(self.broken)


def read_metadata(path: Path) -> Metadata:
    """Read ego4d.json, once in each process while the file does not change.

    Raises:
        PrimusError: not such a file, or no video in it can be read; names the first.
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
    listed = data.get("clips")
    for clip in listed if isinstance(listed, list) else ():
        if not isinstance(clip, dict) or not isinstance(clip.get("video_uid"), str):
            continue
        start, end = _number(clip.get("video_start_sec")), _number(clip.get("video_end_sec"))
        if start is not None and end is not None and isinstance(clip.get("clip_uid"), str):
            clips.setdefault(clip["video_uid"], []).append(Clip(clip["clip_uid"], start, end))
    found: dict[str, VideoInfo] = {}
    broken: dict[str, str] = {}
    for number, video in enumerate(videos):
        where = f"{path}, videos[{number}]"
        uid = video.get("video_uid") if isinstance(video, dict) else None
        if not isinstance(uid, str) or not uid:
            # Its inertial file, if there is one, is of a video that ego4d.json does not have.
            broken[where] = f"{where}: no video_uid."
            continue
        try:
            info = _video(video, f"{where} ({uid})", clips)
        except PrimusError as error:
            broken[uid] = str(error)
            continue
        if uid in found:
            broken[uid] = f"{path}: the video {uid} appears twice."
        found[uid] = info
    found = {uid: info for uid, info in found.items() if uid not in broken}
    if broken and not found:
        raise PrimusError(next(iter(broken.values())))
    words = (data.get("version"), data.get("date"))
    return Metadata(", ".join(str(word) for word in words if word) or "not stated", found, broken)


def _video(video: dict[str, Any], where: str, clips: Mapping[str, list[Clip]]) -> VideoInfo:
    stream = video.get("video_metadata")
    stream = stream if isinstance(stream, dict) else {}
    seconds = _number(stream.get("video_duration_sec")) or _number(video.get("duration_sec"))
    if not seconds or seconds < 0:
        raise PrimusError(f"{where}: no duration_sec above 0.")
    tags = video.get("scenarios")
    participant = video.get("fb_participant_id")
    splits = {
        benchmark: _SPLITS[video[key]]
        for benchmark, key in SPLIT_KEYS.items()
        if isinstance(video.get(key), str) and video[key] in _SPLITS
    }
    return VideoInfo(
        seconds,
        bool(video.get("has_imu")),
        participant if isinstance(participant, int | float | str) else None,
        tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        splits,
        tuple(sorted(clips.get(video["video_uid"], ()), key=lambda clip: clip.start)),
    )


def _number(value: Any) -> float | None:
    ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if ok else None
