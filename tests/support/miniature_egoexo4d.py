"""A small Ego-Exo4D download in the official formats, with the oddities of the real one.

The motion is a known function of the take's time, so that where a window comes from can be read
from its samples. The glasses' clock starts at `START_NS` and runs `1 + clock_error` times as fast.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from support.aria_vrs import write_vrs
from support.videos import write_video

FPS = 30
START_NS = 284_324_000_123
RATES = {"right": (1, 1000.0), "left": (2, 800.0)}
CAMERA = "aria01"


@dataclasses.dataclass
class FakeTake:
    """A take and its oddities.

    Attributes:
        name: the capture's name, then the number of the take.
        seconds: length of the videos.
        sentences: (time, text) of one annotator, subject C.
        entries: further annotations, as they stand in the JSON file.
        steps: (start, end, name) of keysteps.
        split: train, val or test.
        participant: uid, or None.
        imu: "vrs", "csv" or None.
        streams: right, left or both.
        offset: take time of the first sample.
        short: how much earlier than the videos the samples end.
        clock_error: of the glasses' clock against the videos.
        rate_error: of the sensor against its nominal rate, on the glasses' clock.
        gap: (from, to) in seconds of the take without samples.
        jitter: of the stamps, in sample periods.
        timesync: whether the capture has timesync.csv.
        video: whether the RGB video is there.
        change: changes the signal `[n, 6]`, given the seconds of the take.
    """

    name: str
    seconds: float = 12.0
    sentences: Sequence[tuple[float, str]] = ((6.0, "C picks a cup with his left hand."),)
    entries: Sequence[dict[str, Any]] = ()
    steps: Sequence[tuple[float, float, str]] = ()
    split: str = "train"
    participant: int | None = 1
    parent_task: str = "Cooking"
    imu: str | None = "csv"
    streams: Sequence[str] = ("right",)
    offset: float = 0.0
    short: float = 0.0
    clock_error: float = 0.0
    rate_error: float = 0.0
    gap: tuple[float, float] | None = None
    jitter: float = 0.0
    timesync: bool = True
    video: bool = False
    change: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    @property
    def uid(self) -> str:
        """The take's uid, made from its name."""
        return uid_of(self.name)


def uid_of(name: str) -> str:
    """A uid that depends on a name."""
    return f"{sum(ord(c) * 31**i for i, c in enumerate(name)) % 16**8:08x}-0000-4000-8000-{0:012d}"


def motion(t: np.ndarray) -> np.ndarray:
    """acc in m/s^2 and gyro in rad/s, float64 `[n, 6]`, at seconds of the take; below 8 Hz."""
    t = np.asarray(t, np.float64)[:, None]
    k = np.arange(6)
    return (
        np.array([0.0, 9.81, 0.0, 0.0, 0.0, 0.0])
        + 0.8 * np.sin(2 * np.pi * (0.31 + 0.07 * k) * t + k)
        + 0.4 * np.sin(2 * np.pi * (2.3 + 0.9 * k) * t + 2 * k)
        + 0.3 * np.sin(0.05 * (k + 1) * t**2)
    )


def annotation(sentences: Sequence[dict[str, Any]], *, rejected: bool = False) -> dict[str, Any]:
    """One annotator's work on a take."""
    return {
        "annotation_uid": "a" * 8,
        "annotator_id": "1",
        "job_id": 2,
        "response_id": 3,
        "response_time": 1700000000,
        "rejected": rejected,
        "reject_reason": "other" if rejected else None,
        "descriptions": list(sentences),
    }


def sentence(seconds: float, text: str, subject: str | None = "C", unsure: bool | None = False):
    """One atomic description."""
    return {
        "text": text,
        "timestamp": seconds,
        "subject": subject,
        "ego_visible": True,
        "best_exo": {"raw_cam_id": "1", "cam_id": "cam01"},
        "unsure": unsure,
    }


def write_download(raw: Path, takes: Sequence[FakeTake], seed: int = 0) -> Path:
    """Write a whole download and return its folder; every take has a capture of its own."""
    if len({_capture(take) for take in takes}) < len(takes):
        raise ValueError("two takes of one capture would need one timesync.csv")
    (raw / "annotations").mkdir(parents=True)
    _json(raw / "takes.json", [_entry(take) for take in takes])
    _json(
        raw / "annotations" / "splits.json",
        {
            "take_uid_to_split": {take.uid: take.split for take in takes},
            "split_to_take_uids": {
                split: [take.uid for take in takes if take.split == split]
                for split in ("train", "val", "test")
            },
            "take_uid_to_benchmark": {},
        },
    )
    for split in ("train", "val"):
        here = [take for take in takes if (take.split == "train") == (split == "train")]
        said = {take.uid: _annotations(take) for take in here}
        content = {"ds": "240324", "take_cam_id_map": {}, "annotations": said}
        content["annotations"] = {uid: entries for uid, entries in said.items() if entries}
        _json(raw / "annotations" / f"atomic_descriptions_{split}.json", content)
        steps = {take.uid: _keysteps(take) for take in here if take.steps}
        keysteps = {"annotations": steps, "taxonomy": {}, "vocabulary": {}}
        _json(raw / "annotations" / f"keystep_{split}.json", keysteps)
    for number, take in enumerate(takes):
        _files(raw, take, np.random.default_rng((seed, number)))
    return raw


def _files(raw: Path, take: FakeTake, rng: np.random.Generator) -> None:
    folder = raw / "takes" / take.name
    (folder / "frame_aligned_videos").mkdir(parents=True)
    if take.imu:
        streams = {name: samples(take, name, rng) for name in take.streams}
        if take.imu == "vrs":
            rows = {RATES[name][0]: (RATES[name][1], *found) for name, found in streams.items()}
            write_vrs(folder / f"{CAMERA}_noimagestreams.vrs", rows)
        else:
            for name, (stamps, signal) in streams.items():
                _csv(folder / f"{CAMERA}_imu-{name}.csv", stamps, signal)
    if take.video:
        write_video(folder / "frame_aligned_videos" / f"{CAMERA}_214-1.mp4", take.seconds, fps=FPS)
    if take.timesync:
        _timesync(raw / "captures" / _capture(take) / "timesync.csv", take, rng)


def samples(take: FakeTake, stream: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Stamps int64 `[n]` of the glasses' clock in ns, and signal float32 `[n, 6]`."""
    rate = RATES[stream][1] * (1 + take.rate_error)
    count = int((take.seconds - take.short - take.offset) * (1 + take.clock_error) * rate) + 1
    device = take.offset * (1 + take.clock_error) + np.arange(count) / rate
    device += rng.uniform(-1, 1, count) * take.jitter / rate
    time = device / (1 + take.clock_error)
    keep = np.ones(count, bool)
    if take.gap:
        keep = (time <= take.gap[0]) | (time >= take.gap[1])
    signal = motion(time)
    if take.change:
        signal = take.change(time, signal)
    stamps = START_NS + np.round(device * 1e9).astype(np.int64)
    return stamps[keep], signal[keep].astype(np.float32)


def _timesync(path: Path, take: FakeTake, rng: np.random.Generator) -> None:
    """Rows before and after the take, cameras that see up to half a frame off, unknown cells."""
    before, frames = 4, round(take.seconds * FPS)
    time = (np.arange(before + 1 + frames + 3) - before - 1) / FPS
    stamps = START_NS + (time + rng.uniform(-0.5, 0.5, len(time)) / FPS) * 1e9 * (
        1 + take.clock_error
    )
    stamps[rng.random(len(time)) < 0.02] = np.nan
    lines = [f"cam01_pts,cam01_frame_number,{CAMERA}_214-1_capture_timestamp_ns"]
    for i, stamp in enumerate(stamps.tolist()):
        lines.append(f"{i},{i},{'' if stamp != stamp else f'{stamp:.1f}'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _entry(take: FakeTake) -> dict[str, Any]:
    frames = round(take.seconds * FPS)
    streams = {}
    for name, number in (("rgb", "214-1"), ("slam-left", "1201-1")):
        path = f"frame_aligned_videos/{CAMERA}_{number}.mp4"
        streams[name] = {"cam_id": CAMERA, "stream_id": number, "relative_path": path}
    gopro = {"0": {"relative_path": "frame_aligned_videos/cam01.mp4"}}
    return {
        "root_dir": f"takes/{take.name}",
        "take_name": take.name,
        "take_uid": take.uid,
        "capture_uid": uid_of(_capture(take)),
        "participant_uid": take.participant,
        "is_dropped": False,
        "task_name": "Making coffee",
        "parent_task_name": take.parent_task,
        "duration_sec": take.seconds,
        "has_trimmed_vrs": take.imu == "vrs",
        "vrs_relative_path": f"{CAMERA}_noimagestreams.vrs" if take.imu == "vrs" else None,
        "timesync_start_idx": 4,
        "timesync_end_idx": 4 + frames + 1,
        "frame_aligned_videos": {"cam01": gopro, CAMERA: streams},
        "capture": {
            "capture_name": _capture(take),
            "cameras": [{"cam_id": "cam01", "is_ego": False}, {"cam_id": CAMERA, "is_ego": True}],
        },
    }


def _annotations(take: FakeTake) -> list[dict[str, Any]]:
    own = [annotation([sentence(*said) for said in take.sentences])] if take.sentences else []
    return [*own, *take.entries]


def _keysteps(take: FakeTake) -> dict[str, Any]:
    segments = [
        {"start_time": a, "end_time": b, "step_id": 1, "step_name": name, "step_unique_id": 7}
        for a, b, name in take.steps
    ]
    return {"take_uid": take.uid, "take_name": take.name, "segments": segments}


def _capture(take: FakeTake) -> str:
    return take.name.rpartition("_")[0]


def _csv(path: Path, stamps: np.ndarray, signal: np.ndarray) -> None:
    lines = ["timestamp_ns,accel_x,accel_y,accel_z,gyro_x,gyro_y,gyro_z"]
    for stamp, row in zip(stamps.tolist(), signal.tolist(), strict=True):
        lines.append(f"{stamp},{','.join('' if v != v else f'{v:.9g}' for v in row)}")
    path.write_text("\n".join(lines) + "\n")


def _json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
