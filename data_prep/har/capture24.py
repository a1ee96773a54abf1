"""Capture-24: 151 people for a day, an Axivity AX3 at the wrist, accelerometer only, 100 Hz.

By its README, `P001.csv.gz` has time, x, y, z (g) and annotation.
`annotation-label-dictionary.csv` translates an annotation into several schemes. The reader takes
`label:WillettsSpecific2018`, which has ten activities, and leaves out rows without an annotation.
The authors hold out P101 to P151 for the test. Reading needs pyarrow and 2 GB of memory.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.raw_files import read_large_csv
from data_prep.har.source import Source, believable
from data_prep.streams import UNLABELLED, increasing, runs
from primus_jax.errors import PrimusError
from primus_jax.recordings.columns import read_columns
from primus_jax.recordings.grid import uniform_pieces
from primus_jax.recordings.recording import Recording
from primus_jax.window import GRAVITY

RATE = 100.0
SCHEME = "label:WillettsSpecific2018"
ACTIVITIES = {
    "sleep": "sleeping",
    "sitting": "sitting",
    "standing": "standing",
    "walking": "walking",
    "bicycling": "bicycling",
    "vehicle": "riding in a vehicle",
    "household-chores": "doing household chores",
    "manual-work": "doing manual work",
    "mixed-activity": "doing mixed activities",
    "sports": "doing sports",
}


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each stretch of one activity."""
    numbers = {"time": "time", "x": "number", "y": "number", "z": "number"}
    for path, match in SOURCE.files(raw, "P*.csv.gz", r"(P\d{3})\.csv\.gz", drops):
        labels = _dictionary(path.with_name("annotation-label-dictionary.csv"))
        table, annotations = read_large_csv(path, numbers, ("annotation",))
        words, codes = annotations["annotation"]
        unknown = [word for word in words if word and word not in labels]
        if unknown:
            raise PrimusError(
                f"{path}: annotation {unknown[0]!r} is not in annotation-label-dictionary.csv."
            )
        kinds = ["", *ACTIVITIES.values()]
        kind_of_word = np.array([kinds.index(labels.get(word, "")) for word in words])
        later = increasing(table["time"], drops)
        codes = kind_of_word[codes[later]]
        time = table["time"][later] - table["time"][later][0]
        axes = [table[axis][later] * GRAVITY for axis in "xyz"]
        for part in runs(codes):
            label = kinds[codes[part.start]]
            if not label:
                drops[UNLABELLED] += part.stop - part.start
                continue
            acc = [axis[part] for axis in axes]
            signal = np.stack([*acc, *[np.zeros(part.stop - part.start)] * 3], 1)
            for number, piece in enumerate(uniform_pieces(time[part], signal, RATE, drops)):
                yield from believable(
                    drops,
                    id=f"capture24/{match[1]}/{part.start + 1}.{number}",
                    signal=piece.signal,
                    rate_hz=RATE,
                    subject=f"capture24/{match[1]}",
                    placement="wrist",
                    label=label,
                    has_gyro=False,
                    start_seconds=float(time[part.start] + piece.start_seconds),
                    bad_spans=piece.bad_spans,
                )


def _dictionary(path: Path) -> dict[str, str]:
    table = read_columns(path, [], ["annotation", SCHEME])
    labels = {}
    for row, word in enumerate(table.text["annotation"]):
        kind = table.text[SCHEME][row]
        if kind not in ACTIVITIES:
            raise PrimusError(f"{table.row(row)}: {kind!r}; expected one of {list(ACTIVITIES)}.")
        labels[word] = ACTIVITIES[kind]
    return labels


SOURCE = Source(
    name="capture24",
    title="CAPTURE-24 (accelerometer only)",
    licence="CC BY 4.0",
    citation=(
        "S. Chan et al. CAPTURE-24: a large dataset of wrist-worn activity tracker data collected "
        "in the wild for human activity recognition. Scientific Data 2024."
    ),
    download=(
        "capture24.zip from ora.ox.ac.uk/objects/uuid:99d7c092-d865-4a19-b096-cc16440cd001; unzip "
        "it and give the folder as --raw."
    ),
    layout="annotation-label-dictionary.csv and P001.csv.gz to P151.csv.gz",
    recordings=recordings,
    official_split={f"capture24/P{p:03d}": "train" if p <= 100 else "test" for p in range(1, 152)},
)
