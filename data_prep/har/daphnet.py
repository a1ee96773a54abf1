"""Daphnet: 10 people with Parkinson's disease, freezing of gait, three accelerometers, 64 Hz.

By its readme, a row of `dataset/S01R01.txt` (person 1, run 1) has 11 numbers, parted by spaces. The
first is time in ms. Nine are acceleration in mg, at the ankle, the upper leg and the trunk. Each
place has horizontal forward, vertical, and horizontal lateral. The last is an annotation. 0 is not
part of the experiment, and the reader leaves those rows out. 1 is no freeze and 2 is a freeze. No
real file was at hand: the format is that of the public description.
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
from primus_jax.window import GRAVITY

RATE = 64.0
# Column of the first axis, counted from 0.
PLACEMENTS = {"ankle": 1, "upper leg": 4, "trunk": 7}
ACTIVITIES = {1: "no freeze", 2: "freeze"}
SENTENCES = {
    1: "a person is walking, turning or standing, without a freeze of gait",
    2: "a person is in a freeze of gait",
}


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each stretch of one annotation and each placement."""
    name = r"S(\d{2})R(\d{2})\.txt"
    for path, match in SOURCE.files(raw, "S*R*.txt", name, drops):
        rows = read_rows(text_lines(path), str(path), 11, delimiter=None)
        known = np.isin(rows[:, -1], [0, *ACTIVITIES])
        if not known.all():
            line = int(np.argmin(known))
            raise PrimusError(
                f"{path}, line {line + 1}: annotation {rows[line, -1]:g}; expected 0, 1 or 2."
            )
        rows = rows[increasing(rows[:, 0], drops)]
        time, codes = rows[:, 0] / 1e3, rows[:, -1]
        drops[UNLABELLED] += int((codes == 0).sum())
        for part in runs(codes):
            code = int(codes[part.start])
            if code == 0:
                continue
            for place, first in PLACEMENTS.items():
                acc = rows[part, first : first + 3] * (GRAVITY / 1000)
                pieces = uniform_pieces(time[part], np.pad(acc, [(0, 0), (0, 3)]), RATE, drops)
                for number, piece in enumerate(pieces):
                    yield from believable(
                        drops,
                        id=f"daphnet/{path.stem}/{part.start + 1}.{number}/{place}",
                        signal=piece.signal,
                        rate_hz=RATE,
                        subject=f"daphnet/S{match[1]}",
                        placement=place,
                        label=ACTIVITIES[code],
                        text=SENTENCES[code],
                        has_gyro=False,
                        start_seconds=float(time[part.start] - time[0] + piece.start_seconds),
                        bad_spans=piece.bad_spans,
                    )


SOURCE = Source(
    name="daphnet",
    title="Daphnet Freezing of Gait (accelerometer only)",
    licence="CC BY 4.0",
    citation=(
        "M. Bachlin et al. Wearable assistant for Parkinson's disease patients with the freezing "
        "of gait symptom. IEEE Transactions on Information Technology in Biomedicine 14(2), 2010."
    ),
    download="archive.ics.uci.edu, dataset 245; unzip it and give the folder as --raw.",
    layout="dataset/S01R01.txt to S10R01.txt",
    recordings=recordings,
)
