"""WISDM 2019: 51 people, 18 activities, a phone in the trouser pocket and a watch, 20 Hz nominal.

By its description, `raw/phone/accel/data_1600_accel_phone.txt` has rows
`1600,A,252207666810782,-0.36,8.79,1.05;`. Their fields are person, activity (a letter of
activity_key.txt, which has no N), time in ns, and x, y, z. Values are m/s^2 with gravity, or rad/s
in `gyro`. The four sensors of a person have separate files and clocks that start anywhere. The
reader joins the two sensors of a device where both were sampled. The watch is on the dominant hand.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.raw_files import read_rows, text_lines
from data_prep.har.source import Source, believable
from data_prep.streams import join, ordered
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording

PLACEMENTS = {"phone": "trouser pocket", "watch": "dominant wrist"}
ACTIVITIES = {
    "A": "walking",
    "B": "jogging",
    "C": "taking stairs",
    "D": "sitting",
    "E": "standing",
    "F": "typing",
    "G": "brushing teeth",
    "H": "eating soup",
    "I": "eating chips",
    "J": "eating pasta",
    "K": "drinking from a cup",
    "L": "eating a sandwich",
    "M": "kicking a soccer ball",
    "O": "playing catch with a tennis ball",
    "P": "dribbling a basketball",
    "Q": "writing",
    "R": "clapping",
    "S": "folding clothes",
}
ALONE = "accelerometer files without a gyroscope file"


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each activity of a person on each device, cut at gaps."""
    name = r"(phone|watch)/accel/data_(\d+)_accel_\1\.txt"
    for path, match in SOURCE.files(raw, "accel/data_*.txt", name, drops):
        device, person = match.groups()
        other = path.parents[1] / "gyro" / f"data_{person}_gyro_{device}.txt"
        if not other.is_file():
            drops[ALONE] += 1
            continue
        acc, gyro = _read(path, person), _read(other, person)
        for letter in dict.fromkeys(acc[:, 1].tolist()):
            sensors = [
                ordered(rows[:, 2] / 1e9, rows[:, 3:], drops)
                for rows in (acc[acc[:, 1] == letter], gyro[gyro[:, 1] == letter])
            ]
            rate, pieces = join(sensors[0], sensors[1], str(path), drops)
            for number, piece in enumerate(pieces, 1):
                yield from believable(
                    drops,
                    id=f"wisdm/{device}/{person}/{chr(int(letter))}#{number}",
                    signal=piece.signal,
                    rate_hz=rate,
                    subject=f"wisdm/{person}",
                    placement=PLACEMENTS[device],
                    label=ACTIVITIES[chr(int(letter))],
                    start_seconds=piece.start_seconds,
                )


def _read(path: Path, person: str) -> np.ndarray:
    rows = read_rows(text_lines(path), str(path), 6, end=";", letter=1)
    good = (rows[:, 0] == int(person)) & np.isin(rows[:, 1], [ord(x) for x in ACTIVITIES])
    if not good.all():
        row = int(np.argmin(good))
        raise PrimusError(
            f"{path}, row {row + 1}: person {rows[row, 0]:g}, activity "
            f"{chr(int(rows[row, 1]))!r}; expected person {person} and A to S without N."
        )
    return rows


SOURCE = Source(
    name="wisdm",
    title="WISDM Smartphone and Smartwatch Activity and Biometrics (2019)",
    licence="CC BY 4.0",
    citation=(
        "G. M. Weiss, K. Yoneda, T. Hayajneh. Smartphone and smartwatch-based biometrics using "
        "activities of daily living. IEEE Access 7, 2019."
    ),
    download="archive.ics.uci.edu, dataset 507; unzip it (twice) and give the folder as --raw.",
    layout="raw/phone/accel/data_1600_accel_phone.txt, raw/phone/gyro/..., raw/watch/...",
    recordings=recordings,
)
