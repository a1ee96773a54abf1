"""PVS: 3 vehicles with 3 drivers on 3 kinds of road, six inertial units a vehicle, 100 Hz.

The subject is a vehicle. By the dataset's page, `PVS 1` to `PVS 9` are drives. 1 to 3 are of a
Volkswagen Saveiro, 4 to 6 of a Fiat Bravo, 7 to 9 of a Fiat Palio. `dataset_gps_mpu_left.csv` has
`timestamp` in s, columns such as `acc_x_dashboard` in m/s^2, and `gyro_x_dashboard` in degrees a
second. Columns for `above_suspension` and `below_suspension` follow; the right side has such a file
too. `dataset_labels.csv` has a row for each of those rows, with a 1 in the column of the road. No
real file was at hand: the format is that of the public description.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.raw_files import read_large_csv
from data_prep.har.source import Source, believable
from data_prep.streams import UNLABELLED, increasing, runs
from primus_jax.errors import PrimusError
from primus_jax.recordings.grid import uniform_pieces
from primus_jax.recordings.recording import Recording
from primus_jax.window import to_si

RATE = 100.0
VEHICLES = ("volkswagen-saveiro", "fiat-bravo", "fiat-palio")
PLACEMENTS = ("dashboard", "above suspension", "below suspension")
ROADS = {"asphalt_road": "asphalt", "dirt_road": "dirt", "cobblestone_road": "cobblestone"}


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each stretch of one road and each unit."""
    name = r"PVS (\d)/dataset_gps_mpu_(left|right)\.csv"
    axes = [f"{sensor}_{axis}" for sensor in ("acc", "gyro") for axis in "xyz"]
    columns = {
        place: [f"{axis}_{place.replace(' ', '_')}" for axis in axes] for place in PLACEMENTS
    }
    names = ("timestamp", *(column for own in columns.values() for column in own))
    for path, match in SOURCE.files(raw, "dataset_gps_mpu_*.csv", name, drops):
        drive, side = int(match[1]), match[2]
        if not 1 <= drive <= 9:
            raise PrimusError(f"{path}: drive {drive}; expected PVS 1 to PVS 9.")
        table, _ = read_large_csv(path, dict.fromkeys(names, "number"), ())
        codes = _roads(path.with_name("dataset_labels.csv"), len(table["timestamp"]), path)
        later = increasing(table["timestamp"], drops)
        time, codes = table["timestamp"][later], codes[later]
        drops[UNLABELLED] += int((codes < 0).sum())
        for part in runs(codes):
            if codes[part.start] < 0:
                continue
            label = list(ROADS.values())[codes[part.start]]
            for place, own in columns.items():
                values = np.stack([table[column][later][part] for column in own], 1)
                signal = to_si(values, "m/s2", "deg/s")
                pieces = uniform_pieces(time[part], signal, RATE, drops)
                for number, piece in enumerate(pieces):
                    yield from believable(
                        drops,
                        id=f"pvs/{drive}/{side}/{part.start + 1}.{number}/{place}",
                        signal=piece.signal,
                        rate_hz=RATE,
                        subject=f"pvs/{VEHICLES[(drive - 1) // 3]}",
                        placement=f"{side} {place}",
                        label=label,
                        text=f"a vehicle is driving on {label}",
                        start_seconds=float(time[part.start] - time[0] + piece.start_seconds),
                        bad_spans=piece.bad_spans,
                    )


def _roads(path: Path, rows: int, beside: Path) -> np.ndarray:
    """Index of the road of every row, int `[rows]`, -1 where none is marked."""
    if not path.is_file():
        raise PrimusError(f"{path}: no such file; the labels of {beside.name} are there.")
    table, _ = read_large_csv(path, dict.fromkeys(ROADS, "number"), ())
    marks = np.stack([table[road] for road in ROADS], 1)
    if len(marks) != rows:
        raise PrimusError(f"{path}: {len(marks)} rows; {beside.name} has {rows}.")
    wrong = (marks.sum(1) > 1) | ~np.isin(marks, (0, 1)).all(1)
    if wrong.any():
        line = int(np.argmax(wrong)) + 2
        raise PrimusError(f"{path}, line {line}: expected a 1 for at most one of {list(ROADS)}.")
    return np.where(marks.any(1), marks.argmax(1), -1)


SOURCE = Source(
    name="pvs",
    title="Passive Vehicular Sensors (PVS), road surfaces",
    licence="CC BY-NC-ND 4.0",
    citation=(
        "J. Menegazzo, A. von Wangenheim. Multi-contextual and multi-aspect analysis for road "
        "surface type classification through inertial sensors and deep learning. SBESC 2020."
    ),
    download=(
        "the dataset jefmenegazzo/pvs-passive-vehicular-sensors-datasets of kaggle.com; unzip it "
        "and give the folder as --raw."
    ),
    layout="PVS 1/dataset_gps_mpu_left.csv, .../dataset_gps_mpu_right.csv, .../dataset_labels.csv",
    recordings=recordings,
)
