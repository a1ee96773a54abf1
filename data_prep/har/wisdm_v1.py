"""WISDM v1.1: 36 people, 6 activities, a phone in the front trouser pocket, accelerometer, 20 Hz.

By `WISDM_ar_v1.1_raw_about.txt`, `WISDM_ar_v1.1_raw.txt` has rows
`33,Jogging,49105962326000,-0.6946377,12.680544,0.50395286;`. Their fields are person, activity,
time since the phone was started in ns, and x, y, z in m/s^2 with gravity.

Published rows are known to be broken: two on a line, a missing z, a comma behind z, a time of zero.
The reader counts the rows that it cannot read, up to one in twenty. Rows of a person and activity
are sorted by time, since stretches of a recording appear in any order. The rate is the nominal one,
and gaps cut a recording. No real file was at hand: the format is that of the public description.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.raw_files import text_lines
from data_prep.har.source import Source, believable
from data_prep.streams import ordered
from primus_jax.errors import PrimusError
from primus_jax.recordings.grid import uniform_pieces
from primus_jax.recordings.recording import Recording

RATE = 20.0
ACTIVITIES = {
    "Walking": "walking",
    "Jogging": "jogging",
    "Sitting": "sitting",
    "Standing": "standing",
    "Upstairs": "walking upstairs",
    "Downstairs": "walking downstairs",
}
BROKEN = "broken rows"
NO_TIME = "rows whose time is zero"
# Of all rows. The published file has a few broken rows in a million.
MOST_BROKEN = 0.05


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each activity of a person, cut at gaps."""
    name = r"WISDM_ar_v1\.1_raw\.txt"
    for path, _ in SOURCE.files(raw, "WISDM_ar_v1.1_raw.txt", name, drops):
        rows = _read(path, drops)
        for person, code in dict.fromkeys(map(tuple, rows[:, :2].tolist())):
            own = rows[(rows[:, 0] == person) & (rows[:, 1] == code)]
            stream = ordered(own[:, 2] / 1e9, own[:, 3:], drops)
            if not len(stream.time):
                continue
            signal = np.pad(stream.values, [(0, 0), (0, 3)])
            word, label = list(ACTIVITIES.items())[int(code)]
            for number, piece in enumerate(uniform_pieces(stream.time, signal, RATE, drops), 1):
                yield from believable(
                    drops,
                    id=f"wisdm_v1/{person:g}/{word}#{number}",
                    signal=piece.signal,
                    rate_hz=RATE,
                    subject=f"wisdm_v1/{person:g}",
                    placement="front trouser pocket",
                    label=label,
                    has_gyro=False,
                    start_seconds=piece.start_seconds,
                    bad_spans=piece.bad_spans,
                )


def _read(path: Path, drops: Counter[str]) -> np.ndarray:
    """Rows float64 `[rows, 6]`: person, index of the activity, ns, x, y, z."""
    words = {word: float(index) for index, word in enumerate(ACTIVITIES)}
    rows, broken = [], []
    for number, line in enumerate(text_lines(path), 1):
        for text in filter(None, (part.strip() for part in line.split(";"))):
            fields = text.removesuffix(",").split(",")
            try:
                person, word, *values = fields
                numbers = [float(person), *map(float, values)]
            except ValueError:
                numbers = []
            if len(numbers) != 5:
                broken.append((number, text))
                continue
            if word not in words:
                raise PrimusError(
                    f"{path}, line {number}: activity {word!r}; expected one of {list(words)}."
                )
            rows.append([numbers[0], words[word], *numbers[1:]])
    if len(broken) > MOST_BROKEN * (len(rows) + len(broken)) or not rows:
        number, text = broken[0] if broken else (1, "")
        raise PrimusError(
            f"{path}: {len(broken)} of {len(rows) + len(broken)} rows are broken, the first in "
            f"line {number}: {text!r}; expected person, activity, time, x, y, z."
        )
    drops[BROKEN] += len(broken)
    array = np.array(rows)
    timed = array[:, 2] > 0
    drops[NO_TIME] += int((~timed).sum())
    return array[timed]


SOURCE = Source(
    name="wisdm_v1",
    title="WISDM Activity Prediction v1.1 (accelerometer only)",
    licence="none stated; its authors ask for a citation",
    citation=(
        "J. R. Kwapisz, G. M. Weiss, S. A. Moore. Activity recognition using cell phone "
        "accelerometers. SIGKDD Explorations 12(2), 2011."
    ),
    download=(
        "WISDM_ar_latest.tar.gz (activity prediction) from cis.fordham.edu/wisdm/dataset.php; "
        "unpack it and give the folder as --raw."
    ),
    layout="WISDM_ar_v1.1_raw.txt",
    recordings=recordings,
)
