"""PAMAP2: 9 people, 18 activities, three Colibri units (wrist, chest, ankle), 100 Hz.

By its readme, a row of `Protocol/subject101.dat` (and `Optional/`) has 54 columns, parted by
spaces. The first three are time (s), activity and heart rate (NaN except at 9 Hz). Then come 17 for
each of hand, chest and ankle: temperature, accelerometer +-16 g (m/s^2), accelerometer +-6 g,
gyroscope (rad/s), magnetometer, orientation (invalid). The +-6 g accelerometer saturates and is not
well calibrated, so the readme recommends the other one. Missing values are NaN. Activity 0 is
transient, and the reader leaves it out.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.raw_files import read_rows, text_lines
from data_prep.har.source import Source, believable
from data_prep.streams import UNLABELLED, increasing, runs
from primus_jax.errors import PrimusError
from primus_jax.recordings.grid import uniform_pieces
from primus_jax.recordings.recording import Recording

RATE = 100.0
PLACEMENTS = {"dominant wrist": 3, "chest": 20, "dominant ankle": 37}
TRANSIENT = 0
ACTIVITIES = {
    1: "lying",
    2: "sitting",
    3: "standing",
    4: "walking",
    5: "running",
    6: "cycling",
    7: "Nordic walking",
    9: "watching TV",
    10: "working on a computer",
    11: "driving a car",
    12: "ascending stairs",
    13: "descending stairs",
    16: "vacuum cleaning",
    17: "ironing",
    18: "folding laundry",
    19: "cleaning the house",
    20: "playing soccer",
    24: "jumping rope",
}


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each stretch of one activity and each placement."""
    units = {
        place: [*range(c + 1, c + 4), *range(c + 7, c + 10)] for place, c in PLACEMENTS.items()
    }
    use = [0, 1, *(column for columns in units.values() for column in columns)]
    for path, match in SOURCE.files(raw, "subject*.dat", r"(\w+)/subject(\d+)\.dat", drops):
        rows = read_rows(text_lines(path), str(path), 54, delimiter=None, use=use)
        known = np.isin(rows[:, 1], [TRANSIENT, *ACTIVITIES])
        if not known.all():
            line = int(np.argmin(known))
            raise PrimusError(
                f"{path}, line {line + 1}: activity {rows[line, 1]:g}; expected {TRANSIENT} or one "
                f"of {list(ACTIVITIES)}."
            )
        rows = rows[increasing(rows[:, 0], drops)]
        time, codes = rows[:, 0], rows[:, 1]
        drops[UNLABELLED] += int((codes == TRANSIENT).sum())
        for part in runs(codes):
            if codes[part.start] == TRANSIENT:
                continue
            for index, place in enumerate(units):
                signal = rows[part, 2 + 6 * index : 8 + 6 * index]
                pieces = uniform_pieces(time[part], signal, RATE, drops)
                for number, piece in enumerate(pieces):
                    yield from believable(
                        drops,
                        id=f"pamap2/{match[1]}/{path.stem}/{part.start + 1}.{number}/{place}",
                        signal=piece.signal,
                        rate_hz=RATE,
                        subject=f"pamap2/{match[2]}",
                        placement=place,
                        label=ACTIVITIES[int(codes[part.start])],
                        start_seconds=float(time[part.start] - time[0] + piece.start_seconds),
                        bad_spans=piece.bad_spans,
                    )


SOURCE = Source(
    name="pamap2",
    title="PAMAP2 Physical Activity Monitoring",
    licence="CC BY 4.0",
    citation=(
        "A. Reiss, D. Stricker. Introducing a new benchmarked dataset for activity monitoring. "
        "ISWC 2012."
    ),
    download="archive.ics.uci.edu, dataset 231; unzip it (twice) and give the folder as --raw.",
    layout="Protocol/subject101.dat to subject109.dat, and Optional/...",
    recordings=recordings,
)
