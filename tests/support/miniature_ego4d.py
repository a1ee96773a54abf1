"""A small Ego4D download in the official formats, with the oddities of the real one.

The motion is known: video `n` sways with `FREQUENCY` Hz, so that a window's place in the video can
be read from its phase (`sway`).
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from support.videos import write_video

GRAVITY = 9.80665
RATE = 200.0
FREQUENCY = 0.05
HEADER = (
    "component_idx,component_timestamp_ms,canonical_timestamp_ms,"
    "gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"
)
CONSTRUCTION = (
    "jobs related to construction/renovation company\n"
    "(Director of work, tiler, plumber, Electrician, Handyman, etc)"
)


def uid(number: int) -> str:
    """A video's uid."""
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def sway(t: np.ndarray) -> np.ndarray:
    """acc x in m/s^2 at seconds of the video."""
    return 3.0 * np.sin(2 * np.pi * FREQUENCY * t)


def motion(t: np.ndarray, seed: int = 0) -> np.ndarray:
    """Samples float64 `[time, 6]` (acc, gyro) at seconds of the video."""
    rng = np.random.default_rng(seed)
    x = sway(t)
    acc = np.stack([x, 0 * t, np.sqrt(GRAVITY**2 - x**2)], 1)
    gyro = np.stack([0 * t, 0.2 * np.cos(2 * np.pi * FREQUENCY * t), 0 * t], 1)
    return np.concatenate([acc, gyro], 1) + rng.normal(0, 0.01, (len(t), 6))


@dataclasses.dataclass
class Imu:
    """Rows of a CSV file; `cells` (text) replaces numbers when it is written."""

    canonical: np.ndarray
    values: np.ndarray
    component: np.ndarray
    component_time: np.ndarray
    cells: dict[tuple[int, int], str] = dataclasses.field(default_factory=dict)

    def take(self, rows: np.ndarray) -> "Imu":
        """The rows, in that order."""
        columns = (self.canonical, self.values, self.component, self.component_time)
        return Imu(*(column[rows] for column in columns))

    def write(self, path: Path) -> Path:
        """Write the CSV file; NaN becomes an empty cell."""
        gyro_first = self.values[:, [3, 4, 5, 0, 1, 2]]
        lines = [HEADER]
        columns = (self.component, self.component_time * 1e3, self.canonical * 1e3, *gyro_first.T)
        for number, row in enumerate(zip(*columns, strict=True)):
            cells = ["" if np.isnan(cell) else repr(float(cell)) for cell in row]
            cells[0] = str(int(row[0]))
            for column in range(len(cells)):
                cells[column] = self.cells.get((number, column), cells[column])
            lines.append(",".join(cells))
        path.write_text("\n".join(lines) + "\n")
        return path


def imu(seconds: float, start: float = 0.0, rate: float = RATE, seed: int = 0) -> Imu:
    """A clean recording from `start` to `seconds` of the video, of one component."""
    t = start + np.arange(round((seconds - start) * rate)) / rate
    return Imu(t, motion(t, seed), np.zeros(len(t)), t - start)


def narration(seconds: float, text: str, number: int = 0) -> dict[str, object]:
    """One item of narration.json."""
    return {
        "timestamp_sec": seconds,
        "timestamp_frame": round(seconds * 30),
        "narration_text": text,
        "annotation_uid": uid(90000 + number),
    }


def passes(first: list, second: list | None = None) -> dict[str, object]:
    """A video of narration.json."""
    video: dict[str, object] = {"status": "complete"}
    for name, items in (("narration_pass_1", first), ("narration_pass_2", second)):
        if items is not None:
            summary = {"start_sec": 0.0, "end_sec": 60.0, "summary_text": "#Summary C was at home"}
            video[name] = {"narrations": items, "summaries": [summary]}
    return video


def video(number: int, seconds: float, **fields) -> dict[str, object]:
    """One video of ego4d.json."""
    return {
        "video_uid": uid(number),
        "duration_sec": seconds,
        "scenarios": ["Cooking"],
        "video_metadata": {"fps": 30.0, "video_start_sec": 0.0, "video_duration_sec": seconds},
        "split_em": ("train", "val", "test", None)[number % 4],
        "split_av": None,
        "split_fho": "multi",
        "origin_video_id": f"subject{number:05d}_video0",
        "video_source": "unict",
        "device": "GoPro Hero 7",
        "physical_setting_name": None,
        "fb_participant_id": 100 + number // 2,
        "is_stereo": False,
        "has_imu": True,
        "has_gaze": False,
        "video_components": [],
        "concurrent_sets": None,
        "has_redacted_regions": False,
        "redacted_intervals": [],
        "gaps": None,
    } | fields


def write_download(
    raw: Path,
    videos: list[dict[str, object]],
    imus: dict[int, Imu],
    narrations: dict[int, dict[str, object]],
    *,
    version: str = "v2",
    clips: tuple[dict[str, object], ...] = (),
) -> Path:
    """Write ego4d.json, VERSION/imu/*.csv and VERSION/annotations/narration.json below `raw`."""
    for folder in ("imu", "annotations"):
        (raw / version / folder).mkdir(parents=True, exist_ok=True)
    about = {"date": "220901", "version": "2.0", "description": "made by a test"}
    metadata = about | {"videos": videos, "clips": list(clips), "concurrent_video_sets": []}
    (raw / "ego4d.json").write_text(json.dumps(metadata))
    for number, rows in imus.items():
        rows.write(raw / version / "imu" / f"{uid(number)}.csv")
    told = {uid(number): value for number, value in narrations.items()}
    text = json.dumps(about | {"videos": told}, ensure_ascii=False)
    (raw / version / "annotations" / "narration.json").write_text(text, encoding="utf-8")
    return raw


def write_ego4d(raw: Path, *, with_video: bool = False) -> Path:
    """Write the download of the tests; the videos and their oddities are listed in the code."""
    videos, imus, told = [], {}, {}

    def add(number: int, seconds: float, rows: Imu | None, narrations: dict | None, **fields):
        videos.append(video(number, seconds, **fields))
        if rows is not None:
            imus[number] = rows
        if narrations is not None:
            told[number] = narrations

    # 0: everything is as it should be; two passes, one sentence in both
    first = [narration(5 * k + 3.3, f"#C C opens box {k}") for k in range(7)]
    second = [narration(12.0, "#C C walks to the fridge"), narration(3.3, "#C C opens box 0")]
    add(0, 40.0, imu(40, seed=0), passes(first, second))

    # 1: what narrators write; IMU shorter than the video
    sentences = [
        "#C C picks a #unsure",
        "#c c looks around.",
        "#C C trinkt Coca-Cola für Zoë",
        "#C C 走到厨房",
        "#O man X waves at C",
        "#Summary C was in the kitchen",
        "#C C ",
        "looks at nothing in particular",
    ]
    items = [narration(4.0 + k, text, k) for k, text in enumerate(sentences)]
    items += [narration(-0.04, "#C C begins"), narration(29.0, "#C C is late")]
    items += [{"timestamp_sec": None, "narration_text": "#C C is nowhere"}]
    add(1, 30.0, imu(20, seed=1), passes(items), scenarios=["Eating"])

    # 2: no IMU; 3: an IMU file that was not downloaded; 4: no narrations
    add(2, 30.0, None, passes([narration(9.0, "#C C sits down")]), has_imu=False)
    add(3, 30.0, None, passes([narration(9.0, "#C C sits down")]))
    add(4, 30.0, imu(30, seed=4), {"status": "redacted"}, scenarios=["Cooking", "Eating"])

    # 5: two components with an offset, a pause between them, rows without canonical time
    a, b = imu(18, seed=5), imu(40, start=24.0, seed=6)
    rows = Imu(
        np.concatenate([a.canonical, b.canonical]),
        np.concatenate([a.values, b.values]),
        np.repeat([0.0, 1.0], [len(a.canonical), len(b.canonical)]),
        np.concatenate([a.component_time + 1.5, b.component_time]),
    )
    rows.canonical[:100] = np.nan
    items = [narration(2.0 * k, f"#C C steps {k}") for k in range(1, 20)]
    add(5, 40.0, rows, passes(items), scenarios=["Walking on street"], fb_participant_id=None)

    # 6: NaN, repeated rows, late packets, a stray time, a spike, at 198 Hz
    rows = imu(40, rate=198.0, seed=7)
    rows.values[2000:2200, :3] = np.nan
    order = np.arange(len(rows.canonical))
    order[4000:4400] = np.concatenate([order[4200:4400], order[4000:4200]])
    rows = rows.take(np.concatenate([order[:1000], order[990:1000], order[1000:]]))
    rows.canonical[3000] = 1e9
    rows.values[6000, 0] = 1e6
    items = [narration(4.0 * k + 2.6, f"#C C turns {k}") for k in range(9)]
    add(6, 40.0, rows, passes(items), scenarios=[CONSTRUCTION])

    # 7: stuck, saturated and without gravity, ten seconds each
    rows = imu(60, seed=8)
    rows.values[2000:4000, :3] = rows.values[2000, :3]
    t = rows.canonical[4800:6000]
    rows.values[4800:6000, 1] = (30 * np.sin(2 * np.pi * 2 * t)).clip(-19.6, 19.6)
    rows.values[8000:10000, :3] *= 0.3
    items = [narration(5.0 * k + 2.5, f"#C C lifts {k}") for k in range(12)]
    add(7, 60.0, rows, passes(items), scenarios=["Farmer"])

    # 8: no gyroscope; 9: no accelerometer; 10: in g
    rows = imu(20, seed=9)
    rows.values[:, 3:] = np.nan
    add(8, 20.0, rows, passes([narration(9.0, "#C C stands up")]))
    rows = imu(20, seed=10)
    rows.values[:, :3] = np.nan
    add(9, 20.0, rows, passes([narration(9.0, "#C C stands up")]))
    rows = imu(20, seed=11)
    rows.values[:, :3] /= GRAVITY
    add(10, 20.0, rows, passes([narration(9.0, "#C C stands up")]))

    # 11: cut off in the middle of a row; 12: text in a number
    add(11, 20.0, imu(20, seed=12), passes([narration(9.0, "#C C stands up")]))
    rows = imu(20, seed=13)
    rows.cells[(123, 5)] = "0.1o2"
    add(12, 20.0, rows, passes([narration(9.0, "#C C stands up")]))

    clips = [
        {
            "clip_uid": uid(70000),
            "video_uid": uid(1),
            "video_start_sec": 2.0,
            "video_end_sec": 14.0,
        }
    ]
    write_download(raw, videos, imus, told, clips=tuple(clips))
    cut = raw / "v2" / "imu" / f"{uid(11)}.csv"
    cut.write_text(cut.read_text()[:100_000])
    if with_video:
        for folder, number, seconds in (("full_scale", 0, 40.0), ("clips", 70000, 12.0)):
            (raw / "v2" / folder).mkdir()
            write_video(raw / "v2" / folder / f"{uid(number)}.mp4", seconds, 10.0)
    return raw


def write_labels(path: Path) -> Path:
    """Write IMU2CLIP's labelled windows of videos 0, 1 and 5."""
    rows = [
        "window_start,window_end,video_uid,narration_uid,text,Score-TFIDF,label",
        f"3,8,{uid(0)},{uid(1)},c c looks around,1.0,looks around",
        f"20,25,{uid(0)},{uid(2)},sits down. #unsure,1.0,sits down",
        f"20,25,{uid(0)},{uid(2)},sits down. #unsure,1.0,sits down",
        f"10,15,{uid(1)},{uid(3)},stands up,0.9,stands up",
        f"18,23,{uid(1)},{uid(3)},stands up,0.9,stands up",
        f"30,35,{uid(5)},{uid(4)},walks,0.8,walk",
        f"1,6,{uid(77)},{uid(5)},walks,0.8,walk",
    ]
    path.write_text("\n".join(rows) + "\n")
    return path
