"""UCI HAR: 30 people, 6 activities, a phone at the waist, 50 Hz.

By its README, `train` and `test` hold windows of 128 readings (2.56 s) with an overlap of half.
`total_acc_*` is in g with gravity and `body_gyro_*` in rad/s, one file an axis and one row a
window. The reader stitches windows of one person and activity where the second half equals the
first half of the next. The stitched recordings can be cut to any window length and hop.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.raw_files import read_rows, text_lines
from data_prep.har.source import Source, believable
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording
from primus_jax.window import to_si

ACTIVITIES = (
    "walking",
    "walking upstairs",
    "walking downstairs",
    "sitting",
    "standing",
    "lying down",
)
TEST_PEOPLE = (2, 4, 9, 10, 12, 13, 18, 20, 24)
HALF = 64


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each uninterrupted stretch of one activity."""
    name = r"(train|test)/y_(train|test)\.txt"
    for path, match in SOURCE.files(raw, "y_t*.txt", name, drops):
        split = match[1]
        labels = _whole(path, len(ACTIVITIES))
        people = _whole(path.with_name(f"subject_{split}.txt"), 30)
        signals = path.parent / "Inertial Signals"
        names = [f"{kind}_{axis}" for kind in ("total_acc", "body_gyro") for axis in "xyz"]
        paths = [signals / f"{name}_{split}.txt" for name in names]
        axes = [read_rows(text_lines(p), str(p), 2 * HALF, delimiter=None) for p in paths]
        for file, rows in zip(
            [path.with_name(f"subject_{split}.txt"), *paths], [people, *axes], strict=True
        ):
            if len(rows) != len(labels):
                raise PrimusError(f"{file}: {len(rows)} rows; {path} has {len(labels)}.")
        windows = np.stack(axes, 2)
        follows = (windows[1:, :HALF] == windows[:-1, HALF:]).all((1, 2))
        follows &= (people[1:] == people[:-1]) & (labels[1:] == labels[:-1])
        for rows in np.split(np.arange(len(labels)), np.flatnonzero(~follows) + 1):
            stretch = [*windows[rows, :HALF], windows[rows[-1], HALF:]]
            yield from believable(
                drops,
                id=f"uci_har/{split}/{rows[0] + 1}",
                signal=to_si(np.concatenate(stretch), "g", "rad/s"),
                rate_hz=50.0,
                subject=f"uci_har/{people[rows[0]]}",
                placement="waist",
                label=ACTIVITIES[labels[rows[0]] - 1],
            )


def _whole(path: Path, most: int) -> np.ndarray:
    numbers = read_rows(text_lines(path), str(path), 1, delimiter=None)[:, 0]
    wrong = ~np.isin(numbers, np.arange(1, most + 1))
    if wrong.any():
        line = int(np.argmax(wrong))
        raise PrimusError(f"{path}, line {line + 1}: {numbers[line]:g}; expected 1 to {most}.")
    return numbers.astype(np.int64)


SOURCE = Source(
    name="uci_har",
    title="UCI HAR (Human Activity Recognition Using Smartphones)",
    licence="CC BY 4.0 at the UCI repository; its README forbids commercial use",
    citation=(
        "D. Anguita, A. Ghio, L. Oneto, X. Parra, J. L. Reyes-Ortiz. A public domain dataset for "
        "human activity recognition using smartphones. ESANN 2013."
    ),
    download="archive.ics.uci.edu, dataset 240; unzip it (twice) and give the folder as --raw.",
    layout="train/y_train.txt, train/subject_train.txt, train/Inertial Signals/*.txt, test/...",
    recordings=recordings,
    official_split={f"uci_har/{p}": "test" if p in TEST_PEOPLE else "train" for p in range(1, 31)},
)
