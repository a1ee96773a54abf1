"""MotionSense: 24 people, 6 activities, an iPhone 6s in the front trouser pocket, 50 Hz.

By its README, `A_DeviceMotion_data/dws_1/sub_1.csv` is trial 1 of walking downstairs by person 1.
It has `gravity` and `userAcceleration` in g and `rotationRate` in rad/s. Core Motion reports the
direction of gravity's pull, -1 g on the axis that points up. User acceleration has the same
inverted sign. The reader negates their sum, so that this axis reads +1 g at rest, as in all other
datasets.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.source import Source, believable
from primus_jax.errors import PrimusError
from primus_jax.recordings.columns import read_columns
from primus_jax.recordings.recording import Recording
from primus_jax.window import to_si

ACTIVITIES = {
    "dws": "walking downstairs",
    "ups": "walking upstairs",
    "wlk": "walking",
    "jog": "jogging",
    "std": "standing",
    "sit": "sitting",
}


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each trial of each person."""
    name = r"([a-z]{3})_(\d+)/sub_(\d+)\.csv"
    columns = [
        f"{kind}.{axis}"
        for kind in ("gravity", "userAcceleration", "rotationRate")
        for axis in "xyz"
    ]
    for path, match in SOURCE.files(raw, "sub_*.csv", name, drops):
        code, trial, person = match.groups()
        if code not in ACTIVITIES:
            raise PrimusError(f"{path}: activity {code!r}; expected one of {list(ACTIVITIES)}.")
        table = read_columns(path, columns)
        values = np.stack([table.numbers[c] for c in columns], 1)
        finite = np.isfinite(values).all(1)
        if not finite.all():
            raise PrimusError(
                f"{table.row(int(np.argmin(finite)))}: a missing value; expected numbers."
            )
        signal = np.concatenate([-(values[:, :3] + values[:, 3:6]), values[:, 6:]], 1)
        yield from believable(
            drops,
            id=f"motionsense/{code}_{trial}/sub_{person}",
            signal=to_si(signal, "g", "rad/s"),
            rate_hz=50.0,
            subject=f"motionsense/{person}",
            placement="front trouser pocket",
            label=ACTIVITIES[code],
        )


SOURCE = Source(
    name="motionsense",
    title="MotionSense",
    licence="MIT (the repository's)",
    citation=(
        "M. Malekzadeh, R. G. Clegg, A. Cavallaro, H. Haddadi. Mobile sensor data anonymization. "
        "IoTDI 2019."
    ),
    download=(
        "A_DeviceMotion_data.zip from github.com/mmalekzadeh/motion-sense (data); unzip it and "
        "give the folder as --raw."
    ),
    layout="A_DeviceMotion_data/dws_1/sub_1.csv to .../wlk_15/sub_24.csv",
    recordings=recordings,
)
