"""Goat movement: 5 goats, six units around a collar in different orientations, 100 Hz.

The subject is a goat. By public descriptions, `G1/pos_A.csv` to `pos_F.csv` hold one goat, a file
for each place on the collar, with a header. The reader takes `timestamp_ms`, `ax`, `ay`, `az`
(m/s^2 with gravity) and `label`. The four classes are those of IMG2IMU (arXiv 2209.00945 v2):
stationary (lying or standing), walking, trotting and running. Rows of other behaviour, such as
grazing, and rows without a label are left out. The descriptions do not state the unit of the
gyroscope, so the reader does not take it. No real file was at hand.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.raw_files import read_large_csv
from data_prep.har.source import Source, believable
from data_prep.streams import UNLABELLED, increasing, runs
from primus_jax.recordings.grid import uniform_pieces
from primus_jax.recordings.recording import Recording

RATE = 100.0
BEHAVIOUR = {
    "lying": "stationary",
    "standing": "stationary",
    "stationary": "stationary",
    "walking": "walking",
    "trotting": "trotting",
    "running": "running",
}
NONE = ("", "unknown", "null", "nan")
OTHER = "rows of a behaviour outside the four classes"


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each stretch of one class and each place on the collar."""
    numbers = dict.fromkeys(("timestamp_ms", "ax", "ay", "az"), "number")
    labels = [*dict.fromkeys(BEHAVIOUR.values()), "", OTHER]
    for path, match in SOURCE.files(raw, "pos_*.csv", r"(G\d+)/pos_([A-F])\.csv", drops):
        table, words = read_large_csv(path, numbers, ("label",))
        kinds = [word.strip().lower() for word in words["label"].names]
        kind_of_word = [
            labels.index("" if kind in NONE else BEHAVIOUR.get(kind, OTHER)) for kind in kinds
        ]
        later = increasing(table["timestamp_ms"], drops)
        time = table["timestamp_ms"][later] / 1e3
        codes = np.array(kind_of_word)[words["label"].codes[later]]
        drops[UNLABELLED] += int((codes == labels.index("")).sum())
        drops[OTHER] += int((codes == labels.index(OTHER)).sum())
        acc = np.stack([table[axis][later] for axis in ("ax", "ay", "az")], 1)
        signal = np.pad(acc, [(0, 0), (0, 3)])
        for part in runs(codes):
            label = labels[codes[part.start]]
            if label in ("", OTHER):
                continue
            for number, piece in enumerate(uniform_pieces(time[part], signal[part], RATE, drops)):
                yield from believable(
                    drops,
                    id=f"goat/{match[1]}/{match[2]}/{part.start + 1}.{number}",
                    signal=piece.signal,
                    rate_hz=RATE,
                    subject=f"goat/{match[1]}",
                    placement=f"collar {match[2]}",
                    label=label,
                    text=f"a goat is {label}",
                    has_gyro=False,
                    start_seconds=float(time[part.start] - time[0] + piece.start_seconds),
                    bad_spans=piece.bad_spans,
                )


SOURCE = Source(
    name="goat",
    title="Multi Sensor-Orientation Movement Data of Goats (accelerometer only)",
    licence="none stated in the descriptions; see the archive's page",
    citation=(
        "J. W. Kamminga, D. V. Le, J. P. Meijers, H. Bisby, N. Meratnia, P. J. M. Havinga. Robust "
        "sensor-orientation-independent feature selection for animal activity recognition on "
        "collar tags. IMWUT 2(1), 2018."
    ),
    download=(
        "the goats' movement data of J. W. Kamminga in the DANS archive (doi "
        "10.17026/dans-xhn-bsfb); unzip it and give the folder as --raw."
    ),
    layout="G1/pos_A.csv to G5/pos_F.csv",
    recordings=recordings,
)
