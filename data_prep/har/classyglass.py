"""ClassyGlass: smart glasses with a MetaMotionC at the right temple, 100 Hz; 27 and 35 people.

`Dataset_1A/User1/1_MetaWear_TIME_ID_Accelerometer_100.000Hz_1.4.5.csv` and a Gyroscope file beside
it have separate clocks (epoch in ms). The files' headers state g and degrees a second. The README
states m/s^2, which the values contradict.

The data collection sheets give person and activity by the number of the experiment. Experiments 1
to 132 are 11 activities of 12 people (1A), and 133 to 297 are 15 activities of 11 people (1B). From
298 on, four people of 1B did 14 activities, all but running. Dataset_2 has other people with 6
activities each.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.source import Source, believable
from data_prep.streams import Stream, join, ordered
from primus_jax.errors import PrimusError
from primus_jax.recordings.columns import read_columns
from primus_jax.recordings.recording import Recording
from primus_jax.window import to_si

ACTIVITIES = (
    "reading a book",
    "writing in a notebook",
    "typing on a computer",
    "browsing on a computer",
    "moving head and body while sitting",
    "moving the chair while sitting",
    "standing up from sitting",
    "standing",
    "walking",
    "running",
    "taking stairs",
    "putting glasses on and off while sitting",
    "putting glasses on and off while standing",
    "picking up items from the floor while sitting",
    "picking up items from the floor while standing",
)
WITHOUT_RUNNING = tuple(a for a in ACTIVITIES if a != "running")
OTHER_ACTIVITIES = (
    "reading a book",
    "working on a computer",
    "standing up from sitting",
    "walking",
    "picking up items from the floor while standing",
    "timed up and go test",
)
# Dataset -> (first experiment, first person, activities) of each block.
BLOCKS = {
    "1A": ((1, 1, ACTIVITIES[:11]),),
    "1B": ((133, 13, ACTIVITIES), (298, 24, WITHOUT_RUNNING)),
    "2": ((1, 1, OTHER_ACTIVITIES),),
}
SENTENCES = {"timed up and go test": "a person is doing the timed up and go test"}
ALONE = "accelerometer files without a gyroscope file"


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each experiment; two sensors on one grid of 10 ms."""
    name = r"Dataset_(1A|1B|2)/(?:SensorData/)?User(\d+)/((\d+)_MetaWear_[^/]*)_Accelerometer_[^/]*"
    for path, match in SOURCE.files(raw, "*_Accelerometer_*.csv", name, drops):
        part, user, stem, number = match.groups()
        person, label = _meaning(path, part, int(user), int(number))
        gyros = sorted(path.parent.glob(f"{stem}_Gyroscope_*.csv"))
        if len(gyros) != 1:
            drops[ALONE] += 1
            continue
        rate, pieces = join(
            _read(path, "g", drops), _read(gyros[0], "deg/s", drops), str(path), drops
        )
        for index, piece in enumerate(pieces, 1):
            yield from believable(
                drops,
                id=f"classyglass/{part}/{stem}" + ("" if len(pieces) == 1 else f"#{index}"),
                signal=to_si(piece.signal, "g", "deg/s"),
                rate_hz=rate,
                subject=f"classyglass/cg{part[0]}-{person:02d}",
                placement="head",
                label=label,
                text=SENTENCES.get(label, ""),
                start_seconds=piece.start_seconds,
            )


def _meaning(path: Path, part: str, user: int, number: int) -> tuple[int, str]:
    first, start, activities = next(
        (b for b in reversed(BLOCKS[part]) if b[0] <= number), BLOCKS[part][0]
    )
    person = start + (number - first) // len(activities)
    if person != user:
        raise PrimusError(
            f"{path}: experiment {number} belongs to person {person} by the data collection "
            f"sheets, and lies in the folder of {user}."
        )
    return person, activities[(number - first) % len(activities)]


def _read(path: Path, unit: str, drops: Counter[str]) -> Stream:
    axes = [f"{axis}-axis ({unit})" for axis in "xyz"]
    table = read_columns(path, ["epoch (ms)", *axes])
    values = np.stack([table.numbers[axis] for axis in axes], 1)
    return ordered(table.numbers["epoch (ms)"] / 1e3, values, drops)


SOURCE = Source(
    name="classyglass",
    title="ClassyGlass",
    licence="CC BY 4.0",
    citation="ClassyGlass Dataset, MU-Smart group (github.com/MU-Smart/ClassyGlass).",
    download="clone github.com/MU-Smart/ClassyGlass and give its folder Datasets as --raw.",
    layout=(
        "Dataset_1A/User1/1_MetaWear_..._Accelerometer_100.000Hz_1.4.5.csv with a Gyroscope file "
        "beside it, Dataset_1B, Dataset_2/SensorData"
    ),
    recordings=recordings,
)
