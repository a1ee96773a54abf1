"""Opportunity: 4 people in a kitchen, locomotion labels, five Xsens units on the upper body, 30 Hz.

By `column_names.txt` (counted from 1), column 1 is time in ms and 244 is Locomotion. A unit begins
at each of 38 BACK, 51 RUA, 64 RLA, 77 LUA and 90 LLA. Its first columns are accelerometer x, y, z
in milli-g, round(original / 9.8 * 1000). Then come gyroscope x, y, z, round(original * 1000).

The gyroscope's unit is "unknown" there. The reader takes rad/s, which the Xsens units give; arm
swings of a few thousand counts confirm it. It does not read the shoe units, which report other
quantities. The loose accelerometers have no gyroscope. The reader takes the one at the right wrist,
RWR at 23 in milli-g, where `--placement "right wrist"` asks for it.

By `label_legend.txt`, 1 is stand, 2 walk, 4 sit, 5 lie and 0 none. The reader leaves out rows
without a label. Missing values are NaN. The official challenge splits by session, not by person, so
the reader offers no official split.
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

RATE = 30.0
COLUMNS = 250
LOCOMOTION = 244
# Column of the accelerometer's x, counted from 1.
PLACEMENTS = {
    "back": 38,
    "right upper arm": 51,
    "right lower arm": 64,
    "left upper arm": 77,
    "left lower arm": 90,
}
# The accelerometer alone, and only where it is asked for.
LOOSE = {"right wrist": 23}
TO_SI = np.repeat([9.8 / 1000, 1 / 1000], 3)
ACTIVITIES = {1: "standing", 2: "walking", 4: "sitting", 5: "lying"}


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each stretch of one mode of locomotion and each placement."""
    loose = [c - 1 + i for c in LOOSE.values() for i in range(3)]
    units = [c - 1 + i for c in PLACEMENTS.values() for i in range(6)]
    use = [0, *units, *loose, LOCOMOTION - 1]
    name = r"S(\d)-(ADL\d|Drill)\.dat"
    for path, match in SOURCE.files(raw, "S*-*.dat", name, drops):
        rows = read_rows(text_lines(path), str(path), COLUMNS, delimiter=None, use=use)
        known = np.isin(rows[:, -1], [0, *ACTIVITIES])
        if not known.all():
            line = int(np.argmin(known))
            raise PrimusError(
                f"{path}, line {line + 1}: locomotion {rows[line, -1]:g}; expected 0 or one of "
                f"{list(ACTIVITIES)}."
            )
        rows = rows[increasing(rows[:, 0], drops)]
        time, codes = rows[:, 0] / 1e3, rows[:, -1]
        drops[UNLABELLED] += int((codes == 0).sum())
        for part in runs(codes):
            if codes[part.start] == 0:
                continue
            for index, place in enumerate((*PLACEMENTS, *LOOSE)):
                has_gyro, first = place in PLACEMENTS, 1 + 6 * index
                signal = rows[part, first : first + (6 if has_gyro else 3)]
                signal = np.pad(signal, [(0, 0), (0, 6 - signal.shape[1])]) * TO_SI
                pieces = uniform_pieces(time[part], signal, RATE, drops)
                for number, piece in enumerate(pieces):
                    yield from believable(
                        drops,
                        id=f"opportunity/{path.stem}/{part.start + 1}.{number}/{place}",
                        signal=piece.signal,
                        rate_hz=RATE,
                        subject=f"opportunity/S{match[1]}",
                        placement=place,
                        label=ACTIVITIES[int(codes[part.start])],
                        start_seconds=float(time[part.start] - time[0] + piece.start_seconds),
                        bad_spans=piece.bad_spans,
                        has_gyro=has_gyro,
                    )


SOURCE = Source(
    name="opportunity",
    title="Opportunity Activity Recognition",
    licence="CC BY 4.0",
    citation=(
        "R. Chavarriaga et al. The Opportunity challenge: a benchmark database for on-body "
        "sensor-based activity recognition. Pattern Recognition Letters 34(15), 2013."
    ),
    download="archive.ics.uci.edu, dataset 226; unzip it and give the folder as --raw.",
    layout="dataset/S1-ADL1.dat to S4-Drill.dat",
    recordings=recordings,
    on_request=frozenset(LOOSE),
)
