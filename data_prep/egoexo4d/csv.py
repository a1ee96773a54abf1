"""Inertial samples exported from VRS to CSV: one file for each stream of a take."""

from collections import Counter
from pathlib import Path

import numpy as np

from data_prep.egoexo4d.samples import Samples, ordered
from primus_jax.errors import PrimusError
from primus_jax.files import replace_file
from primus_jax.recordings.columns import read_columns

STAMP = "timestamp_ns"
VALUES = ("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z")


def csv_name(camera: str, stream: str) -> str:
    """Name of the file in the take's folder, such as `aria01_imu-right.csv`."""
    return f"{camera}_imu-{stream}.csv"


def read_csv(path: Path, drops: Counter[str]) -> Samples:
    """Read columns `timestamp_ns`, `accel_x`.. (m/s^2) and `gyro_x`.. (rad/s); empty cells are NaN.

    Raises:
        PrimusError: a missing column, a cell that is not a number, a row without a time.
    """
    table = read_columns(path, (STAMP, *VALUES))
    stamps = table.numbers[STAMP]
    if not np.isfinite(stamps).all():
        bad = int(np.argmin(np.isfinite(stamps)))
        raise PrimusError(f"{table.row(bad)}: no {STAMP}; expected nanoseconds.")
    signal = np.stack([table.numbers[name] for name in VALUES], 1)
    return ordered(stamps.astype(np.int64), signal, path, drops)


def write_csv(path: Path, samples: Samples) -> None:
    """Write the columns of `read_csv`, with the nine digits that tell float32 values apart."""
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(",".join((STAMP, *VALUES)) + "\n")
        for stamp, row in zip(samples.stamps.tolist(), samples.signal.tolist(), strict=True):
            cells = ("" if value != value else f"{value:.9g}" for value in row)
            file.write(f"{stamp},{','.join(cells)}\n")
