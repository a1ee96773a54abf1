"""Daily and Sports Activities: 8 people, 19 activities, five Xsens units, 25 Hz.

By the description at the UCI repository, `aAA/pP/sSS.txt` is the SS-th of 60 consecutive segments
of 5 s. It has 125 rows of 45 columns: torso, right arm, left arm, right leg, left leg. Each unit
has accelerometer (m/s^2, gravity included), gyroscope (rad/s) and magnetometer. The reader joins
segments in sequence; a missing one cuts the recording.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.raw_files import read_rows, text_lines
from data_prep.har.source import Source, believable, sentence
from primus_jax.errors import PrimusError
from primus_jax.recordings.grid import GAPS
from primus_jax.recordings.recording import Recording

PLACEMENTS = ("torso", "right arm", "left arm", "right leg", "left leg")
ACTIVITIES = (
    "sitting",
    "standing",
    "lying on the back",
    "lying on the right side",
    "walking upstairs",
    "walking downstairs",
    "standing still in an elevator",
    "moving around in an elevator",
    "walking in a parking lot",
    "walking on a flat treadmill",
    "walking on an inclined treadmill",
    "running on a treadmill",
    "exercising on a stepper",
    "exercising on a cross trainer",
    "cycling on an exercise bike in horizontal position",
    "cycling on an exercise bike in vertical position",
    "rowing",
    "jumping",
    "playing basketball",
)


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each person, activity and placement."""
    segments: dict[tuple[int, int], dict[int, Path]] = {}
    for path, match in SOURCE.files(raw, "s*.txt", r"a(\d+)/p(\d+)/s(\d+)\.txt", drops):
        activity, person, segment = map(int, match.groups())
        if not 1 <= activity <= len(ACTIVITIES):
            raise PrimusError(f"{path}: activity {activity}; expected 1 to {len(ACTIVITIES)}.")
        segments.setdefault((activity, person), {})[segment] = path
    for (activity, person), paths in segments.items():
        numbers = np.array(sorted(paths))
        parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
        drops[GAPS] += len(parts) - 1
        for part in parts:
            rows = np.concatenate([_segment(paths[number]) for number in part.tolist()])
            stem = f"dsads/a{activity:02d}/p{person}" + ("" if len(parts) == 1 else f"/s{part[0]}")
            for index, placement in enumerate(PLACEMENTS):
                yield from believable(
                    drops,
                    id=f"{stem}/{placement}",
                    signal=rows[:, 9 * index : 9 * index + 6],
                    rate_hz=25.0,
                    subject=f"dsads/p{person}",
                    placement=placement,
                    label=ACTIVITIES[activity - 1],
                    text=sentence(ACTIVITIES[activity - 1]),
                    start_seconds=5.0 * float(part[0] - numbers[0]),
                )


def _segment(path: Path) -> np.ndarray:
    rows = read_rows(text_lines(path), str(path), 45)
    if len(rows) != 125:
        raise PrimusError(f"{path}: {len(rows)} rows; expected 125 (5 s at 25 Hz).")
    if not np.isfinite(rows).all():
        line = int(np.argmin(np.isfinite(rows).all(1))) + 1
        raise PrimusError(f"{path}, line {line}: a value is not finite; expected numbers.")
    return rows


SOURCE = Source(
    name="dsads",
    title="Daily and Sports Activities (DSADS)",
    licence="CC BY 4.0",
    citation=(
        "B. Barshan, M. C. Yuksek. Recognizing daily and sports activities in two open source "
        "machine learning environments using body-worn sensor units. The Computer Journal 2014."
    ),
    download="archive.ics.uci.edu, dataset 256; unzip it and give the folder as --raw.",
    layout="a01/p1/s01.txt to a19/p8/s60.txt",
    recordings=recordings,
)
