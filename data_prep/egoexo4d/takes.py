"""`takes.json` and `annotations/splits.json` of an Ego-Exo4D download."""

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

from data_prep.egoexo4d.annotations import DOWNLOADED, MALFORMED, in_words, version_of
from primus_jax.errors import PrimusError
from primus_jax.files import read_json

# Frame-aligned videos have this rate, and annotations count time in it.
FRAMES_PER_SECOND = 30
SPLITS = {"train": "train", "val": "validation", "test": "test"}
_RGB = "214-1"


@dataclasses.dataclass(frozen=True)
class Take:
    """One take: the fields that the reader uses.

    Attributes:
        uid: of the take.
        folder: of its files.
        camera: id of the Aria glasses, such as aria01.
        subject: the participant, or "unknown".
        group: the participant, else the capture; a split may not divide it.
        activity: parent task, take name and task, for `activity.activity_of`.
        seconds: length of the frame-aligned videos.
        vrs: names that the VRS file may have, best first.
        timesync: `timesync.csv` of the capture.
        frames: first and one past the last row of `timesync` that the videos show, or None.
        videos: paths that the Aria's RGB video may have, smallest first.
    """

    uid: str
    folder: Path
    camera: str
    subject: str
    group: str
    activity: tuple[str, str, str]
    seconds: float
    vrs: tuple[str, ...]
    timesync: Path
    frames: tuple[int, int] | None
    videos: tuple[Path, ...]

    @property
    def vrs_file(self) -> Path | None:
        """The best VRS file of the take, or None."""
        files = (self.folder / name for name in self.vrs)
        return next((path for path in files if path.is_file()), None)

    @property
    def rgb_column(self) -> str:
        """The column of `timesync` with the device time of the Aria's RGB frames, in ns."""
        return f"{self.camera}_{_RGB}_capture_timestamp_ns"


def read_takes(raw: Path) -> dict[str, Take]:
    """Read `takes.json`, by take uid, without dropped takes and without `broken_takes`.

    Raises:
        PrimusError: the file is missing or not a list of takes, or no take can be read; names the
            first.
    """
    return _takes(raw, version_of(raw / "takes.json"))[0]


def broken_takes(raw: Path) -> dict[str, str]:
    """The fault in each entry of `takes.json` that cannot be read, by take uid.

    An entry without a uid has the number of the entry in its place.

    Raises:
        PrimusError: as `read_takes`.
    """
    return _takes(raw, version_of(raw / "takes.json"))[1]


def read_split(raw: Path) -> dict[str, str]:
    """Split group -> "train", "validation" or "test", from `annotations/splits.json`.

    The published split is of takes. Put a participant with takes on several sides on the most
    held-out one (test, then validation), so that nobody is on two sides.

    Raises:
        PrimusError: the file is missing, or not a split of takes.
    """
    path = raw / "annotations" / "splits.json"
    splits = read_json(path, DOWNLOADED)
    found = splits.get("take_uid_to_split") if isinstance(splits, dict) else None
    if isinstance(found, dict):
        # A take with another value is in no split.
        found = {u: side for u, side in found.items() if isinstance(side, str) and side in SPLITS}
    if not found:
        raise PrimusError(
            f"{path}: expected an object take_uid_to_split with the values {list(SPLITS)}."
        )
    held_out = list(SPLITS)
    sides: dict[str, str] = {}
    for uid, take in read_takes(raw).items():
        if uid in found:
            side = sides.get(take.group, "train")
            sides[take.group] = max(side, found[uid], key=held_out.index)
    return {group: SPLITS[side] for group, side in sides.items()}


@functools.lru_cache(maxsize=2)
def _takes(raw: Path, version: tuple[int, int]) -> tuple[dict[str, Take], dict[str, str]]:
    path = raw / "takes.json"
    entries = read_json(path, DOWNLOADED)
    if not isinstance(entries, list):
        raise PrimusError(f"{path}: expected a list of takes.")
    takes: dict[str, Take] = {}
    broken: dict[str, str] = {}
    for number, entry in enumerate(entries):
        if isinstance(entry, dict) and entry.get("is_dropped"):
            continue
        try:
            take = _take(raw, entry)
        except MALFORMED as error:
            name = entry.get("take_name") if isinstance(entry, dict) else None
            uid = entry.get("take_uid") if isinstance(entry, dict) else None
            uid = uid if isinstance(uid, str) and uid else f"takes.json entry {number}"
            broken[uid] = f"{path}, take {number} ({name}): {in_words(error)}."
            continue
        if take.uid in takes:
            broken[take.uid] = f"{path}, take {number}: take_uid {take.uid} is given twice."
        takes[take.uid] = take
    takes = {uid: take for uid, take in takes.items() if uid not in broken}
    if broken and not takes:
        raise PrimusError(next(iter(broken.values())))
    return takes, broken


def _take(raw: Path, entry: dict[str, Any]) -> Take:
    if not isinstance(entry, dict):
        raise TypeError(f"expected an object, got {str(entry)[:50]!r}")
    if not isinstance(entry["take_uid"], str):
        raise TypeError("take_uid is not a text")
    name, folder = entry["take_name"], raw / entry["root_dir"]
    seconds = float(entry["duration_sec"])
    if not 0 < seconds < float("inf"):
        raise ValueError(f"duration_sec {entry['duration_sec']!r}")
    capture = entry.get("capture") or {}
    aligned = entry.get("frame_aligned_videos") or {}
    cameras = [camera for camera, streams in aligned.items() if "rgb" in (streams or {})]
    cameras += [c["cam_id"] for c in capture.get("cameras") or () if c.get("is_ego")]
    camera = next((c for c in cameras if c.startswith("aria")), "aria01")
    participant = entry.get("participant_uid")
    subject = "unknown" if participant is None else f"egoexo4d-{participant}"
    video = Path("frame_aligned_videos", f"{camera}_{_RGB}.mp4")
    stated = (aligned.get(camera) or {}).get("rgb", {}).get("relative_path")
    first, last = entry.get("timesync_start_idx"), entry.get("timesync_end_idx")
    names = (entry.get("vrs_relative_path"), f"{camera}_noimagestreams.vrs", f"{camera}.vrs")
    capture_name = capture.get("capture_name") or re.sub(r"_\d+$", "", name)
    return Take(
        uid=entry["take_uid"],
        folder=folder,
        camera=camera,
        subject=subject,
        group=f"egoexo4d-capture-{entry['capture_uid']}" if participant is None else subject,
        activity=(entry.get("parent_task_name") or "", name, entry.get("task_name") or ""),
        seconds=seconds,
        vrs=tuple(name for name in names if name),
        timesync=raw / "captures" / capture_name / "timesync.csv",
        # The bounds themselves are not shown: frame 0 is the row after the start index.
        frames=None if first is None or last is None else (int(first) + 1, int(last)),
        videos=(
            folder / "frame_aligned_videos" / "downscaled" / "448" / video.name,
            folder / (stated or video),
        ),
    )
