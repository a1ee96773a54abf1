"""USC-HAD: 14 people, 12 activities, a MotionNode at the front right hip, 100 Hz.

By the Readme of the dataset, `SubjectN/aAtT.mat` holds activity A, trial T as `sensor_readings`
`[time, 6]`: accelerometer in g, then gyroscope in degrees a second. Fields inside the file repeat
subject and activity in several spellings, and some are wrong. The reader therefore takes both from
the path.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from data_prep.har.raw_files import read_mat
from data_prep.har.source import Source, believable
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording
from primus_jax.window import to_si

ACTIVITIES = (
    "walking forward",
    "walking left",
    "walking right",
    "walking upstairs",
    "walking downstairs",
    "running forward",
    "jumping up",
    "sitting",
    "standing",
    "sleeping",
    "elevator up",
    "elevator down",
)
SENTENCES = {
    "elevator up": "a person is standing in an elevator that goes up",
    "elevator down": "a person is standing in an elevator that goes down",
}


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each trial."""
    name = r"Subject(\d+)/a(\d+)t(\d+)\.mat"
    for path, match in SOURCE.files(raw, "a*t*.mat", name, drops):
        person, activity, trial = map(int, match.groups())
        if not 1 <= activity <= len(ACTIVITIES):
            raise PrimusError(f"{path}: activity {activity}; expected 1 to {len(ACTIVITIES)}.")
        label = ACTIVITIES[activity - 1]
        yield from believable(
            drops,
            id=f"usc_had/Subject{person}/a{activity}t{trial}",
            signal=to_si(read_mat(path, "sensor_readings", 6), "g", "deg/s"),
            rate_hz=100.0,
            subject=f"usc_had/s{person:02d}",
            placement="front right hip",
            label=label,
            text=SENTENCES.get(label, ""),
        )


SOURCE = Source(
    name="usc_had",
    title="USC-HAD",
    licence="none stated; free for research, by its authors' page",
    citation=(
        "M. Zhang, A. A. Sawchuk. USC-HAD: a daily activity dataset for ubiquitous activity "
        "recognition using wearable sensors. UbiComp 2012 workshops."
    ),
    download="USC-HAD.zip from sipi.usc.edu/had; unzip it and give the folder as --raw.",
    layout="Subject1/a1t1.mat to Subject14/a12t5.mat",
    recordings=recordings,
)
