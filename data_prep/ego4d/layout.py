"""The paths at which the official Ego4D downloader puts its files."""

import dataclasses
import re
from pathlib import Path

from primus_jax.errors import PrimusError

# Smaller pictures first: the towers see 224 pixels.
VIDEO_FOLDERS = ("video_540ss", "full_scale")


@dataclasses.dataclass(frozen=True)
class Layout:
    """Paths of one download.

    Attributes:
        metadata: ego4d.json.
        imu: the folder of `<video_uid>.csv`.
        narrations: narration.json, or None.
        videos: folders of `<video_uid>.mp4`.
        clips: the folder of `<clip_uid>.mp4`, or None.
    """

    metadata: Path
    imu: Path
    narrations: Path | None
    videos: tuple[Path, ...]
    clips: Path | None


def find_layout(raw: Path) -> Layout:
    """Find the files in the downloader's output folder, or in its version folder (v1, v2, ...).

    Take each file from the newest version that has it, where several lie beside each other.

    Raises:
        PrimusError: no such folder, or neither ego4d.json nor a folder of IMU files in it.
    """
    if not raw.is_dir():
        raise PrimusError(f"{raw}: no such folder.")
    versions = sorted((p for p in raw.iterdir() if re.fullmatch(r"v\d.*", p.name)), reverse=True)
    roots = [raw, *versions]
    if re.fullmatch(r"v\d.*", raw.absolute().name):
        roots.append(raw.absolute().parent)

    def first(*names: str) -> Path | None:
        return next((p for root in roots for name in names if (p := root / name).exists()), None)

    metadata, imu = first("ego4d.json"), first("imu")
    if metadata is None or imu is None:
        missing = "ego4d.json" if metadata is None else "folder imu"
        raise PrimusError(
            f"{raw}: no {missing} there (looked in {', '.join(map(str, roots))}). Expected the "
            f"output folder of the official downloader: ego4d.json, and imu and annotations, "
            f"maybe in a folder v2."
        )
    return Layout(
        metadata,
        imu,
        first("annotations/narration.json", "narration.json"),
        tuple(folder for name in VIDEO_FOLDERS if (folder := first(name))),
        first("clips"),
    )
